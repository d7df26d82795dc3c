"""Values whose schemas a registry has. fastavro writes them by its own encoder; what is expected is what it got."""

from __future__ import annotations

import io
import json
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers.exceptions import ContractError
from importers.sources._text.json_lines import UnknownKeys
from importers.sources.streaming._registered import AZURE, CONFLUENT, OTHER, UNFIT, UNFRAMED, UNKNOWN, UNUSABLE, Framed
from importers.sources.streaming._registries import Schemas
from importers.transport.schema_registry import Part, Registered

PLAY = {"type": "record", "name": "Play", "fields": [{"name": "id", "type": "long"}, {"name": "who", "type": "string"}]}
RICH = {
    "type": "record",
    "name": "Rich",
    "namespace": "plays",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "ms", "type": ["null", "int"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "how", "type": {"type": "enum", "name": "How", "symbols": ["WEB", "APP"]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "by", "type": {"type": "record", "name": "By", "fields": [{"name": "mail", "type": "string"}]}},
    ],
}
MIXED = {"type": "record", "name": "Mixed", "fields": [{"name": "what", "type": ["null", "string", "long"]}]}


class Registry:
    """Has these schemas under 1, 2, …, and counts how often it is asked."""

    def __init__(self, *schemas: Any, written: str = "AVRO") -> None:
        self.schemas, self.written, self.asked = schemas, written, 0

    def schema(self, number: str) -> Registered | None:
        self.asked += 1
        at = int(number) - 1
        return Registered(self.written, json.dumps(self.schemas[at])) if at < len(self.schemas) else None


def record(schema: Any, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


def value(number: int, schema: Any, row: dict[str, Any]) -> bytes:
    return struct.pack(">bI", 0, number) + record(schema, row)


def read(
    registry: Registry,
    values: list[bytes | None],
    unknown: UnknownKeys = UnknownKeys.STOP,
    known: pa.Schema | None = None,
) -> tuple[list[tuple[int, Any]], list[tuple[str, str]]]:
    """Rows by the number of their value; why the others are none, and where."""
    schemas = Schemas(registry)
    columns = known or schemas.columns([str(n + 1) for n in range(len(registry.schemas))])
    framed = Framed(CONFLUENT, schemas, columns, columns, unknown)
    found = framed.read(pa.array(values, pa.binary()), lambda number: f"message {number}")
    kept = range(len(values)) if found.kept is None else found.kept
    rejects = [(each.location.removeprefix("message "), each.reason) for each in found.rejects]
    assert [each.raw for each in found.rejects] == [values[int(at)] or b"" for at, _ in rejects]
    return list(zip(kept, found.rows.to_pylist(), strict=True)), rejects


def test_every_type_is_as_it_was_written() -> None:
    row = {
        "id": 2**62,
        "ms": None,
        "at": datetime(2026, 1, 1, 12, 0, 0, 123456, UTC),
        "day": date(1899, 12, 31),
        "fee": Decimal("-1234567.89"),
        "how": "APP",
        "tags": ["a", "b"],
        "by": {"mail": "ada@example.org"},
    }
    rows, rejects = read(Registry(RICH), [value(1, RICH, row), value(1, RICH, row | {"ms": 7, "tags": []})])
    assert rows == [(0, row), (1, row | {"ms": 7, "tags": []})]
    assert rejects == []


def test_a_union_of_several_types_is_read_by_another_decoder() -> None:
    rows, _ = read(Registry(MIXED), [value(1, MIXED, {"what": said}) for said in ("x", 7, None)])
    assert [row for _, row in rows] == [
        {"what": {"string": "x", "long": None}},
        {"what": {"string": None, "long": 7}},
        {"what": None},
    ]


def test_each_poisonous_value_is_told_and_the_others_are_read() -> None:
    good = [value(1, PLAY, {"id": n, "who": f"listener {n}"}) for n in range(9)]
    values: list[bytes | None] = [
        good[0],
        good[1][:-3],  # cut off: its neighbour's bytes mustn't become its own
        good[2],
        good[3] + b"\0\0",  # another record, {0, ""}, behind it
        None,
        b"{}",
        b"\1" + good[4][1:],
        value(7, PLAY, {"id": 1, "who": "x"}),
        good[5][:5] + b"\2\x40x",  # says that 32 characters follow
        b"",
        good[8],
    ]
    rows, rejects = read(Registry(PLAY), values)
    assert rows == [(at, {"id": n, "who": f"listener {n}"}) for at, n in ((0, 0), (2, 2), (10, 8))]
    assert rejects == sorted(rejects, key=lambda each: int(each[0]))
    assert dict(rejects) == {
        "1": UNFIT,
        "3": UNFIT,
        "4": "it has no value (a tombstone)",
        "5": UNFRAMED,
        "6": UNFRAMED,
        "7": UNKNOWN,
        "8": UNFIT,
        "9": UNFRAMED,
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=3)), max_size=6))
def test_no_mutant_changes_its_neighbours(cuts: list[tuple[int, bytes]]) -> None:
    """Every second value is cut and gets other bytes behind: fastavro alone says what that still is, if anything."""
    values, expected = [], {}
    for n, (cut, more) in enumerate(cuts):
        values += [
            value(1, PLAY, {"id": n, "who": "x" * 6}),
            value(1, PLAY, {"id": n, "who": "y" * 6})[: 5 + cut] + more,
        ]
        expected[2 * n] = {"id": n, "who": "x" * 6}
        if (row := alone(values[-1][5:])) is not None:
            expected[2 * n + 1] = row
    rows, rejects = read(Registry(PLAY), list(values))
    assert dict(rows) == expected
    assert len(rows) + len(rejects) == len(values)


def alone(data: bytes) -> dict[str, Any] | None:
    source = io.BytesIO(data)
    try:
        row: dict[str, Any] = fastavro.schemaless_reader(source, fastavro.parse_schema(PLAY))  # type: ignore[call-arg,assignment]
    except (EOFError, IndexError, ValueError):
        return None
    return row if not source.read() and len(row["who"].encode()) == len(data) - 2 else None


def test_a_schema_that_changes_in_mid_topic_keeps_the_columns_and_the_order() -> None:
    later = {
        **PLAY,
        "fields": [
            {"name": "who", "type": "string"},
            {"name": "id", "type": "int"},
            {"name": "mail", "type": "string"},
        ],
    }
    values = [value(1 + n % 2, (PLAY, later)[n % 2], {"id": n, "who": str(n), "mail": "m"}) for n in range(5)]
    registry = Registry(PLAY, later)
    rows, rejects = read(registry, list(values))
    assert rows == [(n, {"id": n, "who": str(n), "mail": "m" if n % 2 else None}) for n in range(5)]
    assert rejects == []
    assert registry.asked == 2  # once a schema
    with pytest.raises(ContractError, match=r"message 1 is of a schema with a column.*got mail"):
        read(registry, list(values), known=Schemas(registry).columns(["1"]))
    rows, _ = read(registry, list(values), UnknownKeys.IGNORE, Schemas(registry).columns(["1"]))
    assert rows == [(n, {"id": n, "who": str(n)}) for n in range(5)]


def test_a_field_that_is_new_within_an_object_stops_the_run_too() -> None:
    def of(*names: str) -> Any:
        inner = {"type": "record", "name": "By", "fields": [{"name": name, "type": "string"} for name in names]}
        by = {"type": "array", "items": inner}
        return {"type": "record", "name": "Play", "fields": [{"name": "by", "type": by}]}

    registry = Registry(of("name"), of("name", "mail"))
    values: list[bytes | None] = [value(2, of("name", "mail"), {"by": [{"name": "ada", "mail": "m"}]})]
    known = Schemas(registry).columns(["1"])
    with pytest.raises(ContractError, match=r"got by\[\]\.mail"):
        read(registry, values, known=known)
    assert read(registry, values, UnknownKeys.IGNORE, known)[0] == [(0, {"by": [{"name": "ada"}]})]


def test_what_a_column_cannot_hold_is_poison_and_what_it_can_is_widened() -> None:
    def of(kind: str) -> Any:
        return {"type": "record", "name": "Play", "fields": [{"name": "id", "type": kind}]}

    registry = Registry(of("int"), of("long"), of("boolean"))
    values: list[bytes | None] = [value(2, of("long"), {"id": 2**31}), value(2, of("long"), {"id": 5})]
    assert read(registry, values, known=Schemas(registry).columns(["1"])) == ([(1, {"id": 5})], [("0", OTHER)])
    assert read(registry, values, known=Schemas(registry).columns(["1", "2"]))[0] == [
        (0, {"id": 2**31}),
        (1, {"id": 5}),
    ]
    with pytest.raises(ContractError, match="types that don't go together"):
        Schemas(registry).columns(["1", "3"])


@pytest.mark.parametrize(
    ("known", "said", "row"),
    [
        ("long", "string", "0x10"),
        ("string", "long", 7),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            {"type": "long", "logicalType": "local-timestamp-millis"},
            0,
        ),
        ({"type": "int", "logicalType": "date"}, "string", "2026-01-01"),
    ],
)
def test_a_value_of_another_kind_is_poison_and_never_interpreted(known: Any, said: Any, row: Any) -> None:
    def of(kind: Any) -> Any:
        return {"type": "record", "name": "Play", "fields": [{"name": "it", "type": kind}]}

    plain = said if isinstance(said, str) else said["type"]
    registry = Registry(of(known), of(said))
    values: list[bytes | None] = [value(2, of(plain), {"it": row})]
    assert read(registry, values, known=Schemas(registry).columns(["1"])) == ([], [("0", OTHER)])


def test_a_schema_that_is_no_record_of_columns_is_poison() -> None:
    loop = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    known = Schemas(Registry(PLAY)).columns(["1"])
    for registry in (Registry(loop), Registry("string"), Registry(PLAY, written="PROTOBUF")):
        assert read(registry, [struct.pack(">bI", 0, 1) + b"\0"], known=known) == ([], [("0", UNUSABLE)])
    assert Schemas(Registry(loop)).columns(["1"]) is None


def test_schemas_refer_to_others() -> None:
    class Parts(Registry):
        def schema(self, number: str) -> Registered | None:
            by = {"type": "record", "name": "people.By", "fields": [{"name": "mail", "type": "string"}]}
            play = {"type": "record", "name": "Play", "fields": [{"name": "by", "type": "people.By"}]}
            return Registered("AVRO", json.dumps(play), (Part("By", json.dumps(by)),))

    assert read(Parts(None), [struct.pack(">bI", 0, 1) + b"\2m"])[0] == [(0, {"by": {"mail": "m"}})]


def test_azure_names_a_schema_in_front() -> None:
    number = "0123456789abcdef0123456789abcdef"

    class One(Registry):
        def schema(self, number: str) -> Registered | None:
            return super().schema("1") if number.startswith("0123") else None

    schemas = Schemas(One(PLAY))
    columns = schemas.columns([number])
    assert columns is not None
    values = [number.encode() + record(PLAY, {"id": 1, "who": "x"}), record(PLAY, {"id": 1, "who": "x"})]
    found = Framed(AZURE, schemas, columns, columns, UnknownKeys.STOP).read(pa.array(values), str)
    assert found.rows.to_pylist() == [{"id": 1, "who": "x"}]
    assert [each.reason for each in found.rejects] == [UNFRAMED]
