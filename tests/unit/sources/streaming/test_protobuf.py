"""Protobuf into columns, against Google's own encoder and parser."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from tests.support.protobuf import encoded, framed, message_types

from importers.exceptions import ContractError
from importers.sources._text.json_lines import UnknownKeys
from importers.sources.streaming._protobuf import ProtobufReader
from importers.sources.streaming._registered import (
    CONFLUENT_PROTOBUF,
    UNFIT,
    UNFRAMED,
    UNKNOWN,
    UNUSABLE,
    Framed,
    UnfitError,
)
from importers.sources.streaming._registries import Schemas
from importers.transport.schema_registry import Part, Registered

HEAD = 'syntax = "proto3"; package shop;'
PLAY = f"""{HEAD}
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/duration.proto";
enum How {{ UNSAID = 0; WEB = 1; OLD = -2; }}
message Play {{
  message By {{ string mail = 1; uint64 number = 2; message Home {{ bool known = 1; }} Home home = 3; }}
  int64 id = 1;
  string plain = 2;
  optional string said = 3;
  repeated sint32 marks = 4;
  map<string, int64> counts = 5;
  map<int32, By> by_day = 6;
  oneof paid {{ string card = 7; int32 cash = 8; By other = 9; }}
  How how = 10;
  repeated How hows = 11;
  google.protobuf.Timestamp at = 12;
  google.protobuf.Int64Value wrapped = 13;
  google.protobuf.Duration took = 14;
  By by = 15;
  repeated By all = 16;
  bytes raw = 17;
  double share = 18;
  fixed64 most = 19;
  optional How perhaps = 20;
  repeated google.protobuf.Timestamp seen = 21;
}}
message Second {{
  int32 n = 1;
  message Inner {{ string who = 1; }}
  map<string, string> first = 2;
  message Last {{ bool yes = 1; }}
}}
"""
EMPTY: dict[str, Any] = {
    "id": 0,
    "plain": "",
    "said": None,
    "marks": [],
    "counts": [],
    "by_day": [],
    "card": None,
    "cash": None,
    "other": None,
    "how": "UNSAID",
    "hows": [],
    "at": None,
    "wrapped": None,
    "took": None,
    "by": None,
    "all": [],
    "raw": b"",
    "share": 0.0,
    "most": 0,
    "perhaps": None,
    "seen": [],
}
BY = {"mail": "", "number": 0, "home": None}


@pytest.fixture(scope="module")
def play() -> Any:
    return message_types(PLAY)["shop.Play"]


@pytest.fixture(scope="module")
def reader() -> ProtobufReader:
    return ProtobufReader(PLAY, (), [0], "schema 1")


def read(reader: ProtobufReader, *records: bytes) -> list[dict[str, Any]]:
    rows = reader.read(pa.array(records, pa.binary()))
    rows.validate(full=True)
    assert rows.schema.names == reader.schema.names
    return list(rows.to_pylist())


def test_every_kind_of_field_arrives_as_it_was_written(reader: ProtobufReader, play: Any) -> None:
    said = {
        "id": -(2**63),
        "plain": "ünï",
        "said": "",
        "marks": [-1, 2**31 - 1],
        "counts": {"a": 7},
        "by_day": {"3": {"mail": "q"}},
        "other": {"number": str(2**64 - 1)},
        "how": "WEB",
        "hows": ["OLD", "UNSAID"],
        "at": "2026-01-31T23:59:59.123456Z",
        "wrapped": "0",
        "took": "-1.5s",
        "by": {"home": {"known": True}},
        "all": [{"mail": "x"}, {}],
        "raw": "AP8=",
        "share": 0.1,
        "most": str(2**64 - 1),
        "perhaps": "UNSAID",
        "seen": ["1969-12-31T23:59:59Z"],
    }
    assert read(reader, encoded(play, said), b"") == [
        EMPTY
        | {
            "id": -(2**63),
            "plain": "ünï",
            "said": "",
            "marks": [-1, 2**31 - 1],
            "counts": [("a", 7)],
            "by_day": [(3, BY | {"mail": "q"})],
            "other": BY | {"number": 2**64 - 1},
            "how": "WEB",
            "hows": ["OLD", "UNSAID"],
            "at": datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC),
            "wrapped": 0,
            "took": timedelta(seconds=-1.5),
            "by": BY | {"home": {"known": True}},
            "all": [BY | {"mail": "x"}, BY],
            "raw": b"\0\xff",
            "share": 0.1,
            "most": 2**64 - 1,
            "perhaps": "UNSAID",
            "seen": [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)],
        },
        EMPTY,
    ]


def test_a_number_that_no_name_stands_for_is_kept(reader: ProtobufReader, play: Any) -> None:
    assert read(reader, play(how=77).SerializeToString()) == [EMPTY | {"how": "77"}]


def test_fields_that_the_schema_lacks_aren_t_read(reader: ProtobufReader) -> None:
    later = message_types(f"{HEAD} message Play {{ int64 id = 1; string more = 900; }}")["shop.Play"]
    assert read(reader, later(id=4, more="ada@example.org").SerializeToString()) == [EMPTY | {"id": 4}]


@pytest.mark.parametrize(
    ("what", "record"),
    [
        ("cut off", b"\x12\x05abc"),
        ("not UTF-8", b"\x12\x02\xff\xfe"),
        ("a field 0", b"\x00\x01"),
        ("a number that doesn't end", b"\x08" + b"\xff" * 11),
        ("a length of nearly 2**64", b"\x7a" + b"\xff" * 9 + b"\x01"),
        ("a group that ends and never began", b"\xa4\x06"),
        ("two of a oneof", b"\x3a\x01x\x40\x05"),
        ("a time beyond 9999", b"\x62\x07\x08\x80\xb8\xe5\x8a\xf5\x07"),
        ("an entry without its value", b"\x32\x02\x08\x03"),
    ],
)
def test_what_is_no_message_stands_alone_in_failing(
    reader: ProtobufReader, play: Any, what: str, record: bytes
) -> None:
    good = play(id=5).SerializeToString()
    decoder = Framed(
        CONFLUENT_PROTOBUF, lambda _: reader, reader.schema, pa.schema([("id", pa.int64())]), UnknownKeys.STOP
    )
    values = [framed(1, [0], each) for each in (good, record, good)]
    found = decoder.read(pa.array(values), lambda number: f"message {number}")
    assert found.rows.to_pylist() == [{"id": 5}, {"id": 5}], what
    assert found.kept == [0, 2]
    assert [(each.raw, each.location, each.reason) for each in found.rejects] == [(values[1], "message 1", UNFIT)]


def test_what_is_read_of_broken_messages_is_what_google_s_parser_reads(reader: ProtobufReader, play: Any) -> None:
    """Bytes changed and left out at random; of fields whose bytes may mean something in two ways only the simple."""
    chance, compared, refused = random.Random(7), 0, 0
    simple = ["id", "plain", "said", "marks", "raw", "share", "most"]
    for _ in range(1500):
        message = play(id=chance.randrange(2**40), plain="ü" * chance.randrange(4), marks=[1, -3], share=0.5)
        message.by.number = chance.randrange(2**64)
        raw = bytearray(message.SerializeToString())
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(raw))
            raw[at : at + 1] = bytes([chance.randrange(256)] * chance.randrange(2))
        try:
            theirs = play.FromString(bytes(raw))
        except DecodeError:
            refused += 1
            with pytest.raises(UnfitError):
                read(reader, bytes(raw))
            continue
        try:
            (ours,) = read(reader, bytes(raw))
        except UnfitError:  # it may say two of a oneof, or a time that is none
            continue
        compared += 1
        said = {name: getattr(theirs, name) for name in simple}
        said |= {"marks": list(theirs.marks), "said": theirs.said if theirs.HasField("said") else None}
        assert repr({name: ours[name] for name in simple}) == repr(said)
    assert min(compared, refused) > 300


class Registry:
    def __init__(self, *schemas: Registered) -> None:
        self.schemas = schemas

    def schema(self, number: str) -> Registered | None:
        return self.schemas[int(number) - 1] if int(number) <= len(self.schemas) else None


def test_a_value_names_its_type_among_those_of_its_schema() -> None:
    """The message types within one are counted without those that maps are made of, which nobody declared."""
    many = HEAD + "".join(f"message M{n} {{ int32 n = 1; }}" for n in range(70))
    schemas = Schemas(Registry(Registered("PROTOBUF", PLAY), Registered("PROTOBUF", many)))
    values = [
        framed(1, [1], b"\x08\x05"),
        framed(1, [1, 0], b"\x0a\x03ada"),
        framed(1, [1, 1], b"\x08\x01"),
        framed(2, [69], b"\x08\x07"),
        framed(2, [70], b"\x08\x07"),
        framed(1, [0, 0, 0], b"\x08\x01"),
        framed(3, [0], b""),
        b"\0\0\0\0\1",
        b"\0\0\0\0\1\x01",
        b"\1\0\0\0\1\0",
        b"\0\0\0\0\1\xff\xff",
        None,
    ]
    heads = [CONFLUENT_PROTOBUF.number(CONFLUENT_PROTOBUF.head(value or b"")) for value in values]
    assert heads == ["1:1", "1:1.0", "1:1.1", "2:69", "2:70", "1:0.0.0", "3:0", None, None, None, None, None]
    known = schemas.columns([head for head in heads[:4] if head])
    assert known is not None
    assert known.names == ["n", "first", "who", "yes"]
    decoder = Framed(CONFLUENT_PROTOBUF, schemas, known, known, UnknownKeys.IGNORE)
    found = decoder.read(pa.array(values), str)
    assert [{name: each for name, each in row.items() if each} for row in found.rows.to_pylist()] == [
        {"n": 5},
        {"who": "ada"},
        {"yes": True},
        {"n": 7},
        {},
    ]
    assert [(each.location, each.reason) for each in found.rejects] == [
        ("4", UNUSABLE),
        ("6", UNKNOWN),
        *((str(number), UNFRAMED) for number in range(7, 11)),
        ("11", "it has no value (a tombstone)"),
    ]


def test_a_schema_that_grows_keeps_to_what_the_policy_has_seen() -> None:
    old, new = (f"{HEAD} message Play {{ int64 id = 1; {more} }}" for more in ("", "optional string mail = 2;"))
    schemas = Schemas(Registry(Registered("PROTOBUF", old), Registered("PROTOBUF", new)))
    values = [framed(1, [0], b"\x08\x01"), framed(2, [0], b"\x08\x02\x12\x01x")]
    known = schemas.columns(["1:0"])
    assert known is not None
    with pytest.raises(ContractError, match="got mail"):
        Framed(CONFLUENT_PROTOBUF, schemas, known, known, UnknownKeys.STOP).read(pa.array(values), str)
    ignoring = Framed(CONFLUENT_PROTOBUF, schemas, known, known, UnknownKeys.IGNORE).read(pa.array(values), str)
    assert ignoring.rows.to_pylist() == [{"id": 1}, {"id": 2}]
    both = schemas.columns(["1:0", "2:0"])
    assert both is not None
    found = Framed(CONFLUENT_PROTOBUF, schemas, both, both, UnknownKeys.STOP).read(pa.array(values), str)
    assert found.rows.to_pylist() == [{"id": 1, "mail": None}, {"id": 2, "mail": "x"}]


def test_what_a_schema_imports_is_found_by_its_name() -> None:
    by = Part("people/by.proto", f"{HEAD} message By {{ string mail = 1; }}")
    text = f'{HEAD} import "people/by.proto"; message Play {{ By by = 1; }}'
    assert read(ProtobufReader(text, [by], [0], "schema 1"), b"\x0a\x03\x0a\x01x") == [{"by": {"mail": "x"}}]


@pytest.mark.parametrize(
    ("text", "parts", "why"),
    [
        (f"{HEAD} message Node {{ Node next = 1; }}", (), "holds itself"),
        (
            'syntax = "proto3"; import "google/protobuf/struct.proto"; message M { google.protobuf.Struct s = 1; }',
            (),
            "holds itself",
        ),
        (f"{HEAD} message {{", (), "protoc"),
        (f'{HEAD} import "gone.proto"; message M {{ int32 n = 1; }}', (), "protoc"),
        (f"{HEAD} message M {{ int32 n = 1; }}", [Part("../../etc/cron.d/x", "")], "a file that can't be one"),
        *(
            (f'{HEAD} import "{each}"; message M {{ int32 n = 1; }}', [Part(each, HEAD)], "names or texts")
            for each in ("importers/main.proto", "importers/all.proto", "importers", "x" * 300)
        ),
        (f"{HEAD} message M {{ int32 n = 1; }}", [Part("a.proto", HEAD), Part("a.proto", "")], "names or texts"),
        (f"{HEAD} message M {{ int32 n = 1; }}", [Part("a.proto", "\ud800")], "names or texts"),
        (f"{HEAD} message M {{ int32 n = 1; }} // \ud800", (), "names or texts"),
        (f"{HEAD} enum E {{ A = 0; }}", (), "no such message type"),
        ('syntax = "proto3"; package importers_all; message All { int32 n = 1; }', (), "importers_all"),
    ],
)
def test_a_schema_that_columns_can_t_hold_is_refused(text: str, parts: list[Part], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        ProtobufReader(text, parts, [0], "schema 1")
