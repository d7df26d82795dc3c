"""Documents are written by the standard library, and hold what it reads."""

import base64
import gzip
import json
import random
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support import reading
from tests.support.properties import examples

from importers.core import untold
from importers.core.model import Column, Window
from importers.exceptions import ContractError
from importers.sources._text import json_keys
from importers.sources._text.json_lines import Lines, _Parser
from importers.sources.files.json import Json, JsonConfig
from importers.sources.files.jsonl import Jsonl


class Small(Json):
    block = 24


def source(path, kind=Json, **config):
    return kind(kind.config_model(path=str(path), **config), tenant="acme")


def everything(of, only=None):
    table, rejects, _ = reading.everything(of, only)
    return table.to_pylist(), rejects


def untold_by(of):
    (stream,) = of.streams()
    return {path: why.what for column in stream.columns for path, why in column.untold.items()}


def written(path, document, **options):
    path.write_text(document if isinstance(document, str) else json.dumps(document, **options), encoding="utf-8")
    return path


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", '\\"', "[{,}]", "\n", "\\\\"]
)


def test_no_key_that_nobody_names_is_in_a_plan(tmp_path):
    """Flattened, each key of each object is a column."""
    rows = [{"id": n, "u": {"n": n, "in": {f"{who}@x.org": n}}} for n, who in enumerate(("ann", "bob"))]
    of = source(written(tmp_path / "n.json", rows), nested="flatten")
    (stream,) = of.streams()
    assert stream.schema.names == ["id", "u_n", "u_in_ann@x.org", "u_in_bob@x.org"]
    asked = replace(stream, columns=stream.columns[:2], unread=(Column(untold.NAME, pa.null(), None),))
    (partition,) = of.plan(asked, Window(), {}).partitions
    assert b"x.org" not in base64.b64decode(partition["schema"])
    read = [row for batch in of.read(asked, partition) for row in batch.rows.to_pylist()]
    assert read == [{"id": 0, "u_n": 0}, {"id": 1, "u_n": 1}]


@settings(max_examples=examples(25), deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "s": st.none() | TEXT,
                "l": st.none() | st.lists(st.fixed_dictionaries({"x": st.none() | TEXT}), max_size=2),
                "o": st.none() | st.fixed_dictionaries({"f": st.floats(allow_nan=False, allow_infinity=False)}),
            },
        ),
        max_size=12,
    ),
    block=st.integers(1, 60),
    indent=st.sampled_from([None, 0, 3]),
    keys=st.lists(st.sampled_from(["data", "items", 'a"b']), max_size=3),
    ascii_only=st.booleans(),
)
def test_any_document_holds_each_record_once(tmp_path_factory, rows, block, indent, keys, ascii_only):
    first = {"i": 1, "s": "a", "l": [{"x": "y"}], "o": {"f": 0.5}}
    document = [first, *rows]
    for key in reversed(keys):
        document = {"before": ["{", {"items": [7]}], key: document, "after": {"data": None, "s": "]}"}}
    path = written(tmp_path_factory.mktemp("json") / "rows.json", document, indent=indent, ensure_ascii=ascii_only)
    got, rejects = everything(source(path, type("Smaller", (Json,), {"block": block}), records=".".join(keys)))
    assert not rejects
    assert got == [{**dict.fromkeys(first), **row} for row in [first, *rows]]


def test_a_records_place_is_told(tmp_path):
    text = '[\n  {"id": 1},\n  7,\n  {"id": "two"}, null,\n\n [1], {"id": 1e400}, {"id": NaN},\n {"id": 1} {"id": 2},'
    text += '\n{"id": 99999999999999999999}, {"id": 3, "id": 4},\n{"id": "a\nb"}, {"id": 10}\n]\n'
    path = written(tmp_path / "rows.json", text)
    for kind in (Json, Small):
        got, rejects = everything(source(path, kind, sample_rows=1))
        assert [row["id"] for row in got] == [1, 10]
        places = [reject.location.rpartition("rows.json:record ")[2] for reject in rejects]
        assert places == [str(number) for number in range(2, 12)]
    assert rejects[0].raw == b"7"
    assert [r.reason for r in rejects] == [
        "not a JSON object",
        "column 'id': not a whole number: see `types`",
        *["not a JSON object"] * 2,
        *["column 'id': not a whole number: see `types`"] * 2,
        "not a JSON object",
        "column 'id': a whole number of more than 64 bits",
        "column 'id': it is there twice",
        "not a JSON object",
    ]


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_one_object_is_one_record(tmp_path, block):
    path = written(tmp_path / "one.json", {"meta": {"n": 1}, "deep": {"one": {"id": 7, "tags": ["a}", "b"]}}}, indent=2)
    kind = type("Smaller", (Json,), {"block": block})
    assert everything(source(path, kind, records="deep.one"))[0] == [{"id": 7, "tags": ["a}", "b"]}]
    assert everything(source(path, kind))[0][0]["meta"] == {"n": 1}


def test_nested_objects_stay_or_become_columns(tmp_path):
    rows = [{"id": 1, "user": {"name": "ann", "at": {"city": "X"}}, "l": [{"x": 1}]}, {"id": 2, "user": None}]
    path = written(tmp_path / "rows.json", rows)
    assert everything(source(path))[0][0]["user"] == {"name": "ann", "at": {"city": "X"}}
    got, rejects = everything(source(path, nested="flatten"))
    assert not rejects
    assert got == [
        {"id": 1, "user_name": "ann", "user_at_city": "X", "l": [{"x": 1}]},
        {"id": 2, "user_name": None, "user_at_city": None, "l": None},
    ]
    assert everything(source(path, nested="flatten"), only=["user_at_city"])[0][0] == {"user_at_city": "X"}
    of = source(written(tmp_path / "n.json", [{"u": {"n": 1}}, {"u": {"n": 2.5}}]), nested="flatten", sample_rows=1)
    assert everything(of)[1][0].reason == "column 'u.n': not a whole number: see `types`"
    of = source(tmp_path / "n.json", nested="flatten", sample_rows=1, types={"u_n": "number"})
    assert everything(of) == ([{"u_n": 1.0}, {"u_n": 2.5}], [])
    with pytest.raises(ContractError, match="several columns of one name"):
        source(written(tmp_path / "n.json", [{"u": {"n": 1}, "u_n": 2}]), nested="flatten").streams()


WAYS = {
    "jsonl": (Jsonl, {}, ["id"]),
    "json": (Json, {}, ["id"]),
    "flatten": (Json, {"nested": "flatten"}, ["id", "u_id"]),
}
"""Sources, and which columns of `id`, `n` and `u` are wanted."""


def in_a_way(name, path, rows, **config):
    kind, settings, wanted = WAYS[name]
    text = "\n".join(map(json.dumps, rows)) if kind is Jsonl else json.dumps(rows)
    return source(written(path, text), kind, **settings, **config), wanted


@pytest.mark.parametrize("unknown", ["stop", "ignore"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_wanted_may_have_values_of_any_type(tmp_path, way, unknown):
    other = ["x", {"a": 1}, [], True, 2**64, 1.5, None]
    rows = [{"id": 0, "n": 1, "u": {"id": 0, "n": 1}}, *({"id": 1, "n": n, "u": {"id": 1, "n": n}} for n in other)]
    rows += [{"id": 1.5, "n": "x", "u": {"id": 2}}, {"id": "none"}]
    of, wanted = in_a_way(way, tmp_path / "rows", rows, sample_rows=1, unknown_keys=unknown)
    got, rejects = everything(of, only=wanted)
    within = {"u_id": 1} if "u_id" in wanted else {}
    assert got == [dict.fromkeys(wanted, 0), *[{"id": 1} | within] * len(other)]
    assert [reject.reason for reject in rejects] == ["column 'id': not a whole number: see `types`"] * 2


@pytest.mark.parametrize("way", WAYS)
def test_beside_what_is_not_wanted_a_new_key_stops_and_what_is_wanted_widens(tmp_path, way):
    rows = [{"id": n, "n": "x" if n else 1, "u": {"id": n}} for n in range(3)]
    with pytest.raises(ContractError, match="got late; in 1 line"):
        everything(*in_a_way(way, tmp_path / "late", [*rows, {"id": 3, "late": 1}], sample_rows=1))
    of, wanted = in_a_way(way, tmp_path / "wide", [*rows, {"id": 0.5}], sample_rows=1)
    (stream,) = of.streams()
    (partition,) = of.plan(stream, Window(), {}).partitions
    asked = tuple(replace(c, widens=True) for c in stream.columns if c.name in wanted)
    (batch,) = of.read(replace(stream, columns=asked), partition)
    assert batch.rows["id"].to_pylist() == [0.0, 1.0, 2.0, 0.5]


@pytest.mark.parametrize("late", [0, 1])
def test_values_of_another_type_that_are_not_wanted_are_found_once(tmp_path, monkeypatch, late):
    """Where all fit, new keys are found by the parser that reads: another pass takes as long."""
    asked = []
    has_all_of = json_keys.Keys.has_all_of
    monkeypatch.setattr(json_keys.Keys, "has_all_of", lambda *args: asked.append(1) or has_all_of(*args))
    monkeypatch.setattr(Lines, "_one_by_one", None)
    tried = []
    table = _Parser.table
    monkeypatch.setattr(_Parser, "table", lambda *args: tried.append(1) or table(*args))
    rows = [{"id": n, "n": "x" if late and n > 5 else n} for n in range(20)]
    got, rejects = everything(source(written(tmp_path / "rows", rows), Small, sample_rows=2), only=["id"])
    assert (got, rejects) == ([{"id": n} for n in range(20)], [])
    blocks = len(tried) - bool(late)
    assert 0 < len(asked) < blocks if late else not asked


def test_what_is_of_several_types_within_a_flattened_object_is_of_the_one_that_is_said_of_its_column(tmp_path):
    rows = [{"u": {"n": 1, "l": [{"q": 1}]}}, {"u": {"n": "x", "l": [{"q": 2}]}}, {"u": {"n": 2, "l": [{"q": "y"}]}}]
    path = written(tmp_path / "rows.json", rows)
    assert untold_by(source(path, nested="flatten")) == {
        "u_n": "it is a number in 2 places and a string in one place, in the sample",
        "u_l[].q": "it is a number in 2 places and a string in one place, in the sample",
    }
    assert list(untold_by(source(path, nested="flatten", types={"u_n": "integer"}))) == ["u_l[].q"]
    got, rejects = everything(source(path, nested="flatten", types={"u_n": "integer", "u_l[].q": "integer"}))
    assert got == [{"u_n": 1, "u_l": [{"q": 1}]}]
    assert [reject.raw for reject in rejects] == [json.dumps(row).encode() for row in rows[1:]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "rows.json"
    path.write_bytes('[{"s": "ünï"}, {"s": "x"}]'.encode(encoding))
    said = {"encoding": encoding} if encoding == "latin-1" else {}
    got, rejects = everything(source(path, Small, **said))
    assert (got, rejects) == ([{"s": "ünï"}, {"s": "x"}], [])
    if encoding == "latin-1":
        got, rejects = everything(source(path))
        told = "not in the file's encoding: set `encoding`, to `cp1252` for example"
        assert (len(got), [r.reason for r in rejects]) == (1, [told])


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_an_encoding_is_to_be_said_where_no_record_is_utf8(tmp_path, encoding):
    (tmp_path / "rows.json").write_bytes('[{"s": "ünï"}]'.encode(encoding))
    with pytest.raises(ContractError, match=r"rows\.json' isn't UTF-8; got .*Set `encoding`, to `cp1252` for example"):
        source(tmp_path / "rows.json").streams()


@pytest.mark.parametrize("said", ["cp1252", "latin-1"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf8_that_is_said_to_be_of_one_byte_a_character(tmp_path, said, mark):
    path, text = tmp_path / "rows.json", '[{"s": "ünï"}]'
    path.write_bytes(mark + text.encode())
    of = source(path, encoding=said)
    with pytest.raises(ContractError, match=r"is UTF-8 by its bytes; got `encoding: \S+, .*Set `encoding: utf-8`$"):
        of.streams()
    path.write_bytes(text.encode(said))
    assert everything(source(path, encoding=said)) == ([{"s": "ünï"}], [])


@pytest.mark.parametrize("wrong", ["base64", "rot13", "utf-9"])
def test_an_encoding_is_one_of_text(wrong):
    with pytest.raises(ValidationError, match="isn't an encoding"):
        JsonConfig(path="x", encoding=wrong)


def test_what_polars_reads(tmp_path):
    rows = [{"id": n, "x": n / 8, "s": f"t{n}", "ok": n % 2 == 0, "l": [n] * (n % 3)} for n in range(2000)]
    path = written(tmp_path / "rows.json", rows, indent=1)
    table, _, _ = reading.everything(source(path, type("Smaller", (Json,), {"block": 4096})))
    assert table.to_pylist() == pl.read_json(path).to_dicts()
    assert table.schema == pa.schema(
        [("id", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("ok", pa.bool_()), ("l", pa.list_(pa.int64()))]
    )


@pytest.mark.parametrize(
    ("settings", "late"),
    [({}, {"id": 3, "email": "x"}), ({"nested": "flatten"}, {"id": 3, "u": {"name": "n", "email": "x"}})],
)
def test_a_key_past_the_sample_stops_the_run_or_is_not_read(tmp_path, settings, late):
    path = written(tmp_path / "rows.json", [{"id": 1, "u": {"name": "a"}}, {"id": 2}, late])
    with pytest.raises(ContractError, match=r"email; in 1 line"):
        everything(source(path, sample_rows=1, **settings))
    got, rejects = everything(source(path, sample_rows=1, unknown_keys="ignore", **settings))
    assert ([row["id"] for row in got], rejects) == ([1, 2, 3], [])


# -- an object of arrays

PLAYS = [{"id": n, "s": 'a"\\b]{,' * 3} for n in range(40)]
PEOPLE = [{"name": f"é{n}", "tags": [{"t": "}]"}]} for n in range(30)]
ARRAYS = {"version": 3, "plays": PLAYS, "data": {"Old People": PEOPLE, "none": None}, "rest": {"x": [[], {}, "["]}}


@pytest.mark.parametrize("kind", [Json, Small])
def test_arrays_of_an_object_are_streams(tmp_path, kind):
    path = written(tmp_path / "dump.json", ARRAYS, indent=1)
    several = source(path, kind, records=["plays", "data.Old People"])
    assert [stream.name for stream in several.streams()] == ["plays", "old_people"]
    for stream, rows in zip(several.streams(), (PLAYS, PEOPLE), strict=True):
        (part,) = (plan := several.plan(stream, Window(), {})).partitions
        batches = list(several.read(stream, part))
        assert [row for batch in batches for row in batch.rows.to_pylist()] == rows
        assert several.plan(stream, Window(), plan.position).partitions == []
    assert several.check().ok
    several.close()


def test_an_array_that_one_document_lacks_is_told(tmp_path):
    written(tmp_path / "a.json", {"plays": PLAYS, "data": {}})
    written(tmp_path / "b.json", ARRAYS)
    several = source(tmp_path / "*.json", records=["plays", "data.Old People"])
    assert not several.check().ok
    with pytest.raises(ContractError, match="no key 'Old People'"):
        several.streams()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("records", ["plays", "data.Old People", "rest.x"])
def test_what_stands_beside_the_records_is_never_held_whole(tmp_path, monkeypatch, records, packed):
    monkeypatch.setattr("importers.sources.files._json_documents.LONGEST", 1 << 12)
    monkeypatch.setattr("importers.sources.files._json_outline.LONGEST", 1 << 12)
    monkeypatch.setattr("importers.sources.files._json_outline.KEPT", 1 << 8)
    monkeypatch.setattr("importers.sources.files._json_outline._WINDOW", 1 << 4)
    document = json.dumps(ARRAYS | {"rest": {"before": PLAYS * 20, "x": PEOPLE, "after": {"y": PLAYS * 20}}})
    assert len(document) > 10 << 12
    path = tmp_path / ("dump.json.gz" if packed else "dump.json")
    path.write_bytes(gzip.compress(document.encode()) if packed else document.encode())
    kind = type("Smaller", (Json,), {"block": 100})
    assert everything(source(path, kind, records=records))[0] == (PLAYS if records == "plays" else PEOPLE)


@pytest.mark.parametrize("long", ['"%s"', '["%s"]'])
@pytest.mark.parametrize("document", ['{"i": [{"a": 1}], "b": %s}', '{"b": %s, "i": [{"a": 1}]}'])
def test_a_string_without_end_beside_the_records(tmp_path, monkeypatch, document, long):
    monkeypatch.setattr("importers.sources.files._json_outline.LONGEST", 1 << 8)
    monkeypatch.setattr("importers.sources.files._json_outline._WINDOW", 1 << 4)
    path = written(tmp_path / "rows.json", document % long % ("x" * 999))
    with pytest.raises(ContractError, match="a string of more than"):
        everything(source(path, Small, records="i"))


@pytest.mark.parametrize("records", ["plays", "data.Old People"])
def test_what_stands_beside_the_records_must_be_whole(tmp_path, monkeypatch, records):
    path, document = tmp_path / "dump.json", json.dumps(ARRAYS)
    for kept in (1 << 20, 64):
        monkeypatch.setattr("importers.sources.files._json_outline.KEPT", kept)
        for size in range(0, len(document), 397):
            path.write_text(document[:size])
            with pytest.raises(ContractError, match="JSON file"):
                everything(source(path, Small, records=records))


@pytest.mark.parametrize("beside", ["[1,, 2]", "{1}", "[tru]", '{"a" 1}', '"a" 1', "[}"])
def test_what_stands_beside_the_records_must_be_json(tmp_path, beside):
    for document in (f'{{"b": {beside}, "i": [{{"a": 1}}]}}', f'{{"i": [{{"a": 1}}], "b": {beside}}}'):
        with pytest.raises(ContractError, match="JSON file"):
            everything(source(written(tmp_path / "rows.json", document), records="i"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"records": []}, "at least 1 item"),
        ({"records": [""]}, "at least 1 character"),
        ({"records": ["a.plays", "b.Plays"]}, "would be the stream 'plays'"),
        ({"records": ["a"], "types": {"n": "number"}}, "'n': of several arrays write STREAM.COLUMN, as `a.amount`"),
        ({"records": ["a", "x.b"], "types": {"c.n": "number"}}, "'c.n': of several arrays"),
        ({"records": ["a"], "stream": "b"}, "is for one array"),
    ],
)
def test_arrays_that_are_named_wrongly(wrong, said):
    with pytest.raises(ValidationError, match=said):
        JsonConfig(path="x.json", **wrong)


# -- what isn't whole

WHOLE = json.dumps({"data": {"items": [{"id": n, "s": 'a"\\b' * 3} for n in range(30)], "next": None}, "n": [1]})


@pytest.mark.parametrize("block", [40, 1 << 20])
def test_a_document_that_was_cut_off_anywhere(tmp_path, block):
    kind = type("Smaller", (Json,), {"block": block})
    path = tmp_path / "rows.json"
    got, _ = everything(source(written(path, WHOLE), kind, records="data.items"))
    assert [row["id"] for row in got] == list(range(30))
    for size in range(0, len(WHOLE), 11):
        path.write_text(WHOLE[:size])
        with pytest.raises(ContractError, match="JSON file"):
            everything(source(path, kind, records="data.items"))


def test_a_sample_of_records_that_are_no_rows_tells_their_keys(tmp_path):
    for document, kinds, why in (
        ('{"data": [{"a": 1}, {"a": "x"}]}', {"data": pa.list_(pa.struct([("a", pa.null())]))}, ""),
        ('[{"a": 1, "a": 2}]', {"a": pa.int64()}, "column 'a': it is there twice"),
        ('[{"a": 1e400}]', {"a": pa.string()}, "column 'a': not text: see `types`"),
        ('[{"a": "\\ud83d"}]', {"a": pa.string()}, "column 'a': half a character"),
    ):
        of = source(written(tmp_path / "rows.json", document))
        (stream,) = of.streams()
        assert stream.schema == pa.schema(kinds)
        if why:
            rows, (reject,) = everything(of)
            assert not rows
            assert reject.reason.startswith(why)


@pytest.mark.parametrize(
    ("document", "records", "said"),
    [
        ('{"a": 1}\n{"a": 2}', "", "goes on after its end: is it JSON Lines"),
        ('[{"a": 1}] x', "", "goes on after its end"),
        ('{"i": [{"a": 1}], "i": [{"a": 2}]}', "i", "records twice under one key"),
        ('{"i": [{"a": 1}]}', "j", "no key 'j'"),
        ('{"i": [{"a": 1}]}', "i.j", "no object that could hold 'j'"),
        ('{"i": 7}', "i", "neither an array nor an object"),
        ("7", "", "neither an array nor an object"),
        ("", "", "cut off"),
        ("[1, 2]", "", "no objects where"),
        ("[]", "", "has no records, so that nothing says which columns"),
        ('[{"a": ' + "[" * 300 + "]" * 300 + "}]", "", "nested in more than 200 levels"),
        ('{"i": [{"a": 1}], "j": "x', "i", "cut off"),
        ('{"i": [{"a": 1}]', "i", "cut off"),
        ('[{"a": 1}}', "", "closes its array of records with no bracket of an array, at byte 9"),
        ('[{"a": 1}, {"a": 2}}', "", "with no bracket of an array, at byte 19"),
        ("[}", "", "with no bracket of an array, at byte 1"),
        ('{"i": [{"a": 1}}', "i", "with no bracket of an array, at byte 15"),
        ('{"i": [{"a": 1}], "j": {"k": 7]}', "i", "cut off"),
    ],
)
def test_a_document_that_is_wrong_otherwise(tmp_path, document, records, said):
    with pytest.raises(ContractError, match=said):
        everything(source(written(tmp_path / "rows.json", document), records=records))


@pytest.mark.parametrize("kind", [Json, Small])
@pytest.mark.parametrize(
    ("document", "before"),
    [
        ('[{"a": 1},, {"a": 2}]', 10),
        ('[{"a": 1}, 7\n,\n, {"a": 2}]', 15),
        ('[{"a": 1}, ]', 11),
        ('[{"a": 1}, {"a": 2}, {"a": 3},\n]', 31),
        ('[ ,{"a": 1}]', 2),
        ("[,]", 1),
    ],
)
def test_a_comma_too_many(tmp_path, kind, document, before):
    """No value is empty, RFC 8259 section 5: something may be lacking there."""
    with pytest.raises(ContractError, match=f"has a comma too many, before byte {before}\\."):
        everything(source(written(tmp_path / "rows.json", document), kind))


def test_a_record_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("importers.sources.files._json_documents.LONGEST", 1 << 10)
    path = written(tmp_path / "rows.json", [{"s": "x" * 2000}])
    with pytest.raises(ContractError, match="a record of more than"):
        everything(source(path, Small))


def test_mutants_have_all_records_or_an_error(tmp_path):
    """A record is read, refused or part of an error: a bracket or a quote too many may join records, never lose one."""
    path, chance, stopped = tmp_path / "rows.json", random.Random(7), 0
    for _ in range(120):
        raw = bytearray(WHOLE.encode())
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(len(raw))] = chance.choice(b'{}[],:"\\ x0\n')
        path.write_bytes(raw)
        try:
            got, rejects = everything(source(path, Small, records="data.items", sample_rows=30))
        except ContractError:
            stopped += 1
        else:
            said = len(got) + sum(max(1, r.raw.count(b'"id"')) for r in rejects)
            assert said >= 30 - raw.count(b"\n") - 3
            assert got or rejects
    assert 10 < stopped < 120


def test_a_page_in_place_of_a_document_is_told(tmp_path):
    with pytest.raises(ContractError, match="is an HTML page"):
        source(written(tmp_path / "x.json", "<html>\n<title>gone</title></html>")).streams()


@pytest.mark.parametrize(
    ("kind", "setting", "lines", "seen"),
    [
        (Jsonl, {}, '{"b": {"c": 1}}\n7\n{"d": null}\n', {"b": pa.struct([("c", pa.int64())]), "d": pa.string()}),
        (Json, {}, '[{"b": {"c": 1}}, {"d": null}]', {"b": pa.struct([("c", pa.int64())]), "d": pa.string()}),
        (Json, {"nested": "flatten"}, '[{"b": {"c": 1}}]', {"b_c": pa.int64()}),
        (Json, {}, "[]", None),
        (Json, {}, '[{"at": "2026-01-01T00:00:00Z"}]', {"at": pa.timestamp("us", "UTC")}),
    ],
)
def test_a_plan_says_what_the_records_have_that_are_to_be_read(tmp_path, kind, setting, lines, seen):
    """Which isn't what the files have together."""
    (tmp_path / "a").write_text('[{"a": 1, "at": "2025-01-01T00:00:00Z"}]' if kind is Json else '{"a": 1}\n')
    of = source(tmp_path / "*", kind, **setting)
    (stream,) = of.streams()
    loaded = of.plan(stream, Window(), {})
    (tmp_path / "b").write_text(lines)
    of = source(tmp_path / "*", kind, **setting)
    (stream,) = of.streams()
    planned = of.plan(replace(stream, held_to=(1,)), Window(), loaded.position)
    assert planned.seen == (None if seen is None else pa.schema(seen))
    assert (loaded.seen, of.plan(stream, Window(), loaded.position).seen) == (None, None)
