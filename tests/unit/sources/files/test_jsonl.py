import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import reading
from tests.support.properties import examples

from importers.core import untold
from importers.core.model import Column, Window
from importers.core.places import located
from importers.core.registry import source_class
from importers.core.tenant import Load
from importers.exceptions import ConfigError, ContractError
from importers.pipeline.contract import agreed
from importers.sources._text import json_lines
from importers.sources._text.json_misfits import ROUNDED
from importers.sources.files.jsonl import Jsonl, JsonlConfig


class Small(Jsonl):
    whole_below = 1
    block = 24


def source(path, kind=Jsonl, **config):
    return kind(JsonlConfig(path=str(path), **config), tenant="acme")


def everything(of, only=None):
    table, rejects, plan = reading.everything(of, only)
    return table.to_pylist(), rejects, plan


def lines(path, *rows):
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


WITHIN = {
    "user.seen": "timestamp_tz",
    "user.score": "number",
    "items[].price": "decimal(9,2)",
    "tags[]": "timestamp",
}
"""Types of what a sample would take for text and for integers."""


def visit(seen, score, price, tag):
    return {"user": {"seen": seen, "score": score, "name": "ann"}, "items": [{"price": price}, None], "tags": [tag]}


@pytest.mark.parametrize("kind", [Jsonl, Small])
def test_types_reach_what_is_within_objects_and_lists(tmp_path, kind):
    told = [visit("2026-01-01T01:00:00+01:00", n, "3", "2026-01-01 02:00:00") for n in (1, 2.5)]
    wrong = [visit("2026-01-01", 1, "3", None), visit(None, "x", "3", None), visit(None, 1, "0.001", None)]
    path = lines(tmp_path / "visits.jsonl", *told, *wrong, {"user": None})
    rows, rejects, _ = everything(source(path, kind, types=WITHIN, sample_rows=1))
    midnight, two = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC).replace(tzinfo=None)
    assert rows == [
        visit(midnight, 1.0, Decimal(3), two),
        visit(midnight, 2.5, Decimal(3), two),
        {"user": None, "items": None, "tags": None},
    ]
    assert [json.loads(reject.raw) for reject in rejects] == wrong
    assert [reject.reason for reject in rejects] == [
        "column 'user.seen': not a time with a zone: see `types`",
        "column 'user.score': not a number: see `types`",
        "column 'items[].price': not a decimal number of at most 7 digits before the point and 2 after it: see `types`",
    ]


def test_a_line_that_tells_nothing_of_the_types_tells_no_zone(tmp_path):
    good, twice = {"at": "2026-01-01T00:00:00Z", "many": [1]}, {"at": "2026-01-01T00:00:00", "many": [1, "x"]}
    rows, (reject,), _ = everything(source(lines(tmp_path / "at.jsonl", *[good] * 9, twice)))
    assert (rows[8]["at"], json.loads(reject.raw)) == (datetime(2026, 1, 1, tzinfo=UTC), twice)


@pytest.mark.parametrize("kind", [Jsonl, Small])
def test_what_is_of_several_types_is_of_the_one_that_is_said(tmp_path, kind):
    rows = [{"n": "7", "of": {"n": 1, "many": [{"p": "1.5"}]}}, {"n": 7, "of": {"n": "x", "many": [{"p": 2}]}}]
    path = lines(tmp_path / "mixed.jsonl", *rows, {"n": None, "of": {"n": 3, "many": [{"p": "3.25"}, {"p": 4}]}})
    types = {"n": "decimal(9,2)", "of.n": "integer", "of.many[].p": "decimal(9,2)"}
    got, rejects, _ = everything(source(path, kind, types=types))
    assert got == [
        {"n": Decimal(7), "of": {"n": 1, "many": [{"p": Decimal("1.5")}]}},
        {"n": None, "of": {"n": 3, "many": [{"p": Decimal("3.25")}, {"p": Decimal(4)}]}},
    ]
    assert [json.loads(reject.raw) for reject in rejects] == rows[1:]
    for those in ({}, {"n": "decimal(9,2)"}):
        (stream,) = source(path, kind, types=those).streams()
        found = [path for column in stream.columns for path in column.untold]
        assert found == [path for path in types if path not in those]


@pytest.mark.parametrize(
    ("path", "why", "meant"),
    [
        ("user.scor", "that the files lack", "user.score"),
        ("items.price", "that the files lack", r"items\[\].price"),
        ("user", "which holds what has types", "user.seen"),
        ("tags", "which holds what has types", r"tags\[\]"),
    ],
)
def test_a_type_of_what_has_none_names_what_has(tmp_path, path, why, meant):
    file = lines(tmp_path / "visits.jsonl", visit("a", 1, "3", "b"))
    with pytest.raises(ConfigError, match=f"names a column '{path}' {why}.*{meant}"):
        everything(source(file, types={path: "string"}))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=examples(40), deadline=None)
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
        max_size=20,
    ),
    partitions=st.integers(1, 6),
    block=st.integers(1, 60),
    ended=st.booleans(),
)
def test_slices_hold_each_line_once(tmp_path_factory, rows, partitions, block, ended):
    first = {"i": 1, "s": "a", "l": [{"x": "y"}], "o": {"f": 0.5}}
    path = lines(tmp_path_factory.mktemp("cut") / "rows.jsonl", first, *rows)
    if not ended:
        path.write_bytes(path.read_bytes()[:-1])
    got, rejects, plan = everything(
        source(path, type("Smaller", (Small,), {"block": block}), max_partitions=partitions)
    )
    assert not rejects
    assert len(plan.partitions) <= partitions
    whole = [{**dict.fromkeys(first), **row} for row in [first, *rows]]
    assert sorted(map(repr, got)) == sorted(map(repr, whole))


def test_a_line_that_is_no_row_is_refused_and_its_neighbours_are_not(tmp_path):
    path = lines(
        tmp_path / "rows.jsonl",
        {"id": 1, "user": {"name": "ann"}, "tags": [{"id": 1}]},
        b'{"id": 2, "user": {"na',
        b"",
        {"id": "three"},
        b"{}{}",
        b'"id"',
        b"null",
        b"[1]",
        b'{"id": 6} {"id": 7}',
        b'{"id": 8, "user": {"name": "\xff"}}',
        b'{"id": 9, "id": 9}',
        b'{"id": 99999999999999999999}',
        {"id": 10},
    )
    rows, rejects, _ = everything(source(path, sample_rows=1))
    assert [row["id"] for row in rows] == [1, 10]
    assert [(r.location.rpartition(":line ")[2], r.reason) for r in rejects] == [
        ("2", "not a JSON object"),
        ("4", "column 'id': not a whole number: see `types`"),
        ("5", "not a JSON object"),
        ("6", "not a JSON object"),
        ("7", "not a JSON object"),
        ("8", "not a JSON object"),
        ("9", "not a JSON object"),
        ("10", "not UTF-8"),
        ("11", "column 'id': it is there twice"),
        ("12", "column 'id': a whole number of more than 64 bits"),
    ]
    assert rejects[0].raw == b'{"id": 2, "user": {"na'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('{"d": 1e400}', "column 'd': a number beyond all that a double holds"),
        ('{"d": Infinity, "o": {"d": [0.5, -1E+999]}}', "column 'o.d[]': a number beyond all that a double holds"),
        ('{"d": 1e9999999999999999999}', "column 'd': a number beyond all that a double holds"),
        ('{"i": 1e-9999999999999999999}', "column 'i': not a whole number"),
        (r'{"d": 1, "s": "\ud83d"}', "column 's': half a character"),
        (r'{"s": "\ude00\ud83d"}', "column 's': half a character"),
        (r'{"s": "x", "\ud83d": 1}', "a column whose name isn't shown: half a character"),
        (r'{"s": "x", "new": "\ud83d"}', "a key or a value that the parser doesn't take"),
    ],
)
def test_a_value_of_the_right_type_that_none_holds_is_told_as_that(tmp_path, value, why):
    first = {"d": 0.5, "i": 1, "s": "\U0001f600", "o": {"d": [0.5]}}
    path = lines(tmp_path / "rows.jsonl", first, value.encode(), b'{"d": Infinity}')
    rows, (reject,), _ = everything(source(path, sample_rows=1, unknown_keys="ignore"))
    assert [row["d"] for row in rows] == [0.5, float("inf")]
    assert reject.reason.startswith(why)


def test_what_is_nested_deeper_than_a_plan_can_say_is_told(tmp_path):
    def deep(levels):
        return b'{"id": 1, "v": ' + b"[" * levels + b"1" + b"]" * levels + b"}"

    schema = source(lines(tmp_path / "a.jsonl", deep(120))).streams()[0].schema
    assert pa.ipc.read_schema(pa.py_buffer(schema.serialize().to_pybytes())) == schema
    for levels in (121, 198):
        with pytest.raises(ContractError, match=r"'v' is nested in more than 120 levels\. Have it written in fewer"):
            source(lines(tmp_path / "a.jsonl", deep(levels))).streams()


@pytest.mark.parametrize("sampled", [1, 2, 4])
def test_files_that_were_put_together_each_have_a_mark(tmp_path, sampled):
    mark = b"\xef\xbb\xbf"
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(mark + b'{"id": %d}\n{"id": %d}\n' % (n, n + 1) for n in (1, 3, 5)))
    for kind in (Jsonl, Small):
        rows, rejects, _ = everything(source(path, kind, sample_rows=sampled))
        assert ([row["id"] for row in rows], rejects) == ([1, 2, 3, 4, 5, 6], [])


@pytest.mark.parametrize("first", [b"null", b"\xef\xbb\xbfnull", b" \n null"])
def test_a_bare_null_does_not_reach_the_parser_that_dies_of_it(tmp_path, first):
    path = lines(tmp_path / "rows.jsonl", first, {"id": 1}, b"null", b'{"id": 2} null')
    rows, rejects, _ = everything(source(path))
    assert [row["id"] for row in rows] == [1]
    assert len(rejects) == 3


@pytest.mark.parametrize("bare", [b"null", b" null\r", b'{"id": 2}null', b'{"id": 2} null {"id": 3}'])
def test_a_bare_null_is_no_row_of_nulls(tmp_path, bare):
    none = {"id": None, "of": None}
    path = lines(tmp_path / "rows.jsonl", {"id": 1, "of": "} null"}, bare, none, {"id": 4})
    rows, rejects, _ = everything(source(path))
    assert rows == [{"id": 1, "of": "} null"}, none, {"id": 4, "of": None}]
    assert [reject.raw for reject in rejects] == [bare.strip()]


def test_types(tmp_path):
    path = lines(
        tmp_path / "rows.jsonl",
        {
            "at": "2024-01-01T10:00:00Z",
            "on": "2024-01-01 10:00:00",
            "mix": "2024-01-01T10:00:00Z",
            "n": 1,
            "none": None,
        },
        {"at": "2024-01-01T12:00:00+02:00", "on": None, "mix": "2024-01-01T10:00:00", "n": 1.5, "bare": {}},
        {"deep": {"at": "2024-01-01T10:00:00Z", "empty": {}, "x": None}, "empty": {}},
    )
    of = source(path)
    stream = of.streams()[0]
    assert stream.schema == pa.schema(
        [
            ("at", pa.timestamp("us", "UTC")),
            ("on", pa.timestamp("us")),
            ("mix", pa.string()),
            ("n", pa.float64()),
            ("none", pa.string()),
            ("deep", pa.struct([("at", pa.string()), ("x", pa.string())])),
        ]
    )
    assert all(column.personal is None for column in stream.columns)
    rows, rejects, _ = everything(of)
    assert not rejects
    assert rows[0]["at"] == rows[1]["at"]
    assert rows[2]["deep"] == {"at": "2024-01-01T10:00:00Z", "x": None}


SECOND = "2026-01-02T03:04:05"
UTC_TIME, TIME = pa.timestamp("us", "UTC"), pa.timestamp("us")


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        ([".123Z"], UTC_TIME),  # as Date.toISOString writes them (ECMA-262, 21.4.1.32)
        ([".123456+00:00", "+00:00"], UTC_TIME),  # as Python's isoformat, which leaves a fraction of 0 out
        ([".5+02:00", "Z"], UTC_TIME),
        (["+02"], UTC_TIME),
        ([".123456", ""], TIME),
        ([".123Z", ".123"], pa.string()),
        ([".123456Z", ".1234567Z"], pa.string()),  # digits that would be cut
        ([".123Z", ":06Z"], pa.string()),
    ],
)
def test_times_with_fractions_are_times(tmp_path, ends, kind):
    texts = [SECOND + end for end in ends]
    of = source(lines(tmp_path / "rows.jsonl", *({"at": text} for text in texts)))
    assert of.streams()[0].schema == pa.schema({"at": kind})
    (rows, rejects, _) = everything(of)
    told = [datetime.fromisoformat(text) for text in texts] if kind != pa.string() else texts
    assert ([row["at"] for row in rows], rejects) == (told, [])


def test_a_time_of_more_digits_than_the_sample_is_kept_out(tmp_path):
    path = lines(
        tmp_path / "rows.jsonl", {"at": f"{SECOND}.123Z"}, {"at": f"{SECOND}.123456789Z"}, {"at": f"{SECOND}Z"}
    )
    rows, rejects, _ = everything(source(path, sample_rows=1))
    assert len(rows) == 2
    reason = "a time of more than six digits after the second, which no table holds: have it written with six, or "
    assert rejects[0].reason.startswith(f"column 'at': {reason}")
    assert len(rejects) == 1


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
@pytest.mark.parametrize("name", ["jsonl", "json"])
def test_a_column_of_times_that_was_agreed_on_as_text_stays_text(tmp_path, name, mode):
    path, cls = tmp_path / "rows.json", source_class(name)
    lines(path, {"at": f"{SECOND}.123Z"})
    of = cls(cls.config_model(path=str(path)), tenant="acme")
    (offered,) = of.streams()
    known = replace(offered, columns=(Column("at", pa.string(), None),))
    stream = agreed(offered, known, Load(schema_change=mode), sparse=True, dropped=())
    assert stream.schema == pa.schema({"at": pa.string()})
    parts = of.plan(stream, Window(), {}).partitions
    rows = [row for part in parts for batch in of.read(stream, part) for row in batch.rows.to_pylist()]
    assert rows == [{"at": f"{SECOND}.123Z"}]


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
@pytest.mark.parametrize(("name", "nested"), [("jsonl", {}), ("json", {}), ("json", {"nested": "flatten"})])
def test_what_a_later_sample_has_of_several_types_is_read_as_agreed_on(tmp_path, name, nested, mode):
    def record(n, t, q):
        return {"n": n, "u": {"t": t, "l": [{"q": q}]}}

    def offered(*rows):
        of = cls(cls.config_model(path=str(lines(tmp_path / "rows.json", *rows)), **nested), tenant="acme")
        return of, of.streams()[0]

    cls, good = source_class(name), record(1, True, 1)
    mixed = [record("x", True, 1), record(1, 2, 1), record(1, True, "y"), good]
    if name == "json":
        good, mixed = [good], [mixed]
    known = offered(*good if name == "json" else [good])[1]
    of, today = offered(*mixed)
    assert untold.is_untold(today.columns[0].type)
    stream = agreed(today, known, Load(schema_change=mode), sparse=True, dropped=())
    assert stream.schema == known.schema
    planned = of.plan(stream, Window(), {})
    assert [note.partition(" is read as before, though it is")[0] for note in planned.notes] == (
        ["'n'", "'u_t'", "'u_l[].q'"] if nested else ["'n'", "'u.t'", "'u.l[].q'"]
    )
    batches = [batch for part in planned.partitions for batch in of.read(stream, part)]
    assert [batch.rows.num_rows for batch in batches] == [1]
    assert len([reject for batch in batches for reject in batch.rejects]) == 3


@pytest.mark.parametrize("name", ["jsonl", "json"])
def test_a_sample_is_parsed_once_whoever_asks(tmp_path, monkeypatch, name):
    cls, asked = source_class(name), []
    sample = cls.sample
    monkeypatch.setattr(cls, "sample", lambda of, file: asked.append(file.path[-1]) or sample(of, file))
    for end in "abc":
        lines(tmp_path / end, {"id": 1} if name == "jsonl" else [{"id": 1}])
    of = cls(cls.config_model(path=str(tmp_path / "*")), tenant="acme")
    (stream,) = of.streams()
    loaded = of.plan(stream, Window(), {}).position
    of.plan(replace(stream, held_to=(1,)), Window(), {lane: at for lane, at in loaded.items() if lane == "a"})
    assert asked == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": 2, "user": {"name": "bob", "email": "bob@example.org"}}, "user.email"),
        ({"id": 2, "tags": [{"id": 1}, {"id": 2, "secret": 3}]}, "tags[].secret"),
        ({"id": 2, "bare": {"full": 1}}, "bare.full"),
        ({"id": 2, "bob@example.org": 3}, "a key that isn't shown"),
        ({"id": 2, "user": {"+49 170 1234": 3}}, "a key that isn't shown"),
    ],
)
def test_a_key_past_the_sample_stops_the_run_or_is_not_read(tmp_path, line, said):
    first = {"id": 1, "user": {"name": "ann"}, "tags": [{"id": 1}], "bare": {}}
    path = lines(tmp_path / "rows.jsonl", first, {"id": 9}, line, line)
    with pytest.raises(ContractError, match="sample didn't show") as caught:
        everything(source(path, sample_rows=1))
    assert f"{path}:line 3 has a key" in str(caught.value)
    assert f"{said}; in 2 line(s)" in str(caught.value)
    assert "Raise `sample_rows` until the sample shows it, and say in `privacy.columns`" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("bob", "1234"))
    rows, rejects, _ = everything(source(path, sample_rows=1, unknown_keys="ignore"))
    assert [row["id"] for row in rows] == [1, 9, 2, 2]
    assert [set(row) for row in rows] == [{"id", "user", "tags"}] * 4
    assert "full" not in repr(rows)
    assert not rejects


VALUES = {
    "s": ("text", 1, True, {}),
    "b": (True, "true", 1, []),
    "i": (1, "1", 1.5, True),
    "n": (0.5, "0.5", False, [0.5]),
    "l": ([1], 1, ["1"], {}),
    "o": ({"x": {"y": 1}}, [], {"x": 1}, {"x": {"y": "1"}}),
    "at": ("2026-01-01T10:00:00", 1, "soon", "2026-01-01T10:00:00Z"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_reason_names_the_value_that_the_parser_refuses_and_never_shows_it(tmp_path, name):
    """Which values are refused, Arrow's parser says; which of the line is it, whoever wrote the line."""
    good = {key: values[0] for key, values in VALUES.items()}
    bad = [{**good, name: value} for value in VALUES[name][1:]]
    rows, rejects, _ = everything(source(lines(tmp_path / "a.jsonl", good, *bad), sample_rows=1))
    assert len(rows) == 1
    for reject, line in zip(rejects, bad, strict=True):
        assert re.match(rf"column '{name}[.\[\]xy]*': not ", reject.reason), (line, reject.reason)
        assert "soon" not in reject.reason


def test_where_in_an_object_a_value_is_wrong_is_told_by_names_alone(tmp_path):
    first = {"by": {"jo@example.org": {"n": 1}}, "l": [{"a": [1]}]}
    hidden, within = {"by": {"jo@example.org": {"n": "x"}}}, {"l": [{"a": [1]}, None, {"a": [2, None, "x"]}]}
    half, twice = b'{"s": "\\ud800"}', b'{"l": [{"a": [1], "a": [2]}]}'
    path = lines(tmp_path / "a.jsonl", {**first, "s": "x"}, hidden, within, twice, half)
    _, rejects, _ = everything(source(path, sample_rows=1))
    assert [reject.reason for reject in rejects] == [
        "a column whose name isn't shown: not a whole number: see `types`",
        "column 'l[].a[]': not a whole number: see `types`",
        "column 'l[].a': it is there twice",
        "column 's': half a character, as \\ud83d alone is",
    ]


def test_an_ignored_key_does_not_save_a_line_that_is_wrong_otherwise(tmp_path):
    path = lines(tmp_path / "rows.jsonl", {"id": 1}, {"id": "two", "x": 1}, {"id": 3, "x": 1}, b"[]")
    rows, rejects, _ = everything(source(path, sample_rows=1, unknown_keys="ignore"))
    assert rows == [{"id": 1}, {"id": 3}]
    assert [reject.location for reject in rejects] == [f"{path}:line 2", f"{path}:line 4"]


def test_a_sample_that_was_asked_for_is_not_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr("importers.sources.files.jsonl.SAMPLE", 16)
    path = lines(tmp_path / "rows.jsonl", *[{"id": n} for n in range(50)], {"id": 50, "late": 1}, {"later": 1})
    assert source(path, sample_rows=51).streams()[0].schema.names == ["id", "late"]


def test_a_column_that_is_dropped_is_still_known(tmp_path):
    path = lines(tmp_path / "rows.jsonl", {"a": 1, "b": "x"}, {"a": 2, "b": "y"})
    rows, rejects, _ = everything(source(path), only="a")
    assert rows == [{"a": 1}, {"a": 2}]
    assert not rejects


def test_an_object_of_many_keys_is_offered_without_them(tmp_path):
    path = lines(tmp_path / "rows.jsonl", *[{"id": n, "m": {f"k{n % 2000}": n}} for n in range(3000)])
    of = source(path)
    assert of.streams()[0].schema == pa.schema([("id", pa.int64()), ("m", pa.null())])
    assert everything(of, ["id"])[:2] == ([{"id": n} for n in range(3000)], [])


def test_a_block_of_many_columns_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "CELLS", 100)
    path = lines(tmp_path / "rows.jsonl", *[{"id": n, "m": {f"k{n % 19}": n}} for n in range(20)], b"none", {"id": 20})
    of = source(path)
    (stream,) = of.streams()
    (partition,) = of.plan(stream, Window(), {}).partitions
    batches = list(of.read(stream, partition))
    assert max(batch.rows.num_rows for batch in batches) == 5
    assert [n for batch in batches for n in batch.rows["id"].to_pylist()] == list(range(21))
    assert [reject.location for batch in batches for reject in batch.rejects] == [f"{path}:line 21"]
    last = batches[-1]
    assert located(last.places, np.arange(last.rows.num_rows)).to_pylist()[-1] == f"{path}:line 22"


@pytest.mark.parametrize("kind", [Jsonl, Small])
def test_a_plan_of_an_older_version_that_has_each_key_is_read(tmp_path, kind):
    path = lines(tmp_path / "rows.jsonl", {"id": 1, "m": {"ann": 5}}, {"id": 2, "m": {"bob": 5}})
    of = source(path, kind)
    (stream,) = of.streams()
    partitions = of.plan(stream, Window(), {}).partitions  # as of a stream that is told whole
    today = replace(stream, columns=stream.columns[:1], unread=(Column("m", pa.null(), None),))
    assert [row["id"] for part in partitions for batch in of.read(today, part) for row in batch.rows.to_pylist()] == [
        1,
        2,
    ]


def test_the_tenant_may_say_a_type_but_json_has_no_dates(tmp_path):
    path = lines(tmp_path / "rows.jsonl", {"n": 1}, {"n": 2.5})
    assert source(path, sample_rows=1, types={"n": "number"}).streams()[0].schema == pa.schema([("n", pa.float64())])
    assert len(everything(source(path, sample_rows=1, types={"n": "number"}))[0]) == 2
    with pytest.raises(ValueError, match="no dates"):
        source(path, types={"n": "date"})


def test_a_key_that_is_sometimes_text_and_a_file_without_objects(tmp_path):
    for rows, path, note in (
        (
            [{"a": {"b": 1}}, {"a": {"b": "x"}}],
            "a.b",
            "'a.b' isn't read: it is a number in one place and a string in one",
        ),
        ([{"a@b.c": 1}, {"a@b.c": "x"}], "a@b.c", "'a key that isn't shown' isn't read: it is a number"),
    ):
        of = source(lines(tmp_path / "rows.jsonl", *rows))
        (stream,) = of.streams()
        assert list(stream.columns[0].untold) == [path]
        assert of.plan(stream, Window(), {}).notes[0].startswith(note)
    with pytest.raises(ContractError, match="without a JSON object"):
        source(lines(tmp_path / "rows.jsonl", b"[]")).streams()
    with pytest.raises(ContractError, match="without a JSON object"):
        source(lines(tmp_path / "rows.jsonl", b"[" * 100_000)).streams()


def test_files_of_one_glob_make_one_schema(tmp_path):
    lines(tmp_path / "1.jsonl", {"a": 1})
    lines(tmp_path / "2.jsonl", {"a": 2.5, "b": "x"})
    rows, rejects, _ = everything(source(tmp_path / "*.jsonl"))
    assert sorted(rows, key=repr) == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]
    assert not rejects


@pytest.mark.parametrize("bad", [b'{"id": 1, "s": "\xff"}', b'{"id": 1} {"id": 2}'])
def test_what_arrow_would_let_pass_is_refused_though_all_else_is_well(tmp_path, bad):
    path = lines(tmp_path / "rows.jsonl", {"id": 0, "s": "x"}, bad, {"id": 3, "s": "y"})
    rows, (reject,), _ = everything(source(path, sample_rows=1))
    assert [row["id"] for row in rows] == [0, 3]
    assert (reject.raw, reject.location) == (bad, f"{path}:line 2")


@pytest.mark.parametrize(
    ("usual", "other", "zone"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00", "with a zone"),
        ("2026-01-01T10:00:00", "2026-01-01T10:00:00+02:00", "without a zone"),
    ],
)
def test_a_moment_of_the_other_kind_is_no_moment_of_this_one(tmp_path, usual, other, zone):
    """Read anyway, it would be another moment, by as much as the zone is away from UTC."""
    path = lines(tmp_path / "rows.jsonl", {"at": usual}, {"at": usual}, {"at": other}, {"at": None})
    rows, rejects, _ = everything(source(path, sample_rows=2))
    assert [row["at"] and row["at"].hour for row in rows] == [10, 10, None]
    assert [(reject.raw, reject.reason) for reject in rejects] == [
        (json.dumps({"at": other}).encode(), f"column 'at': not a time {zone}: see `types`")
    ]


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (2**53, True),
        (2**53 + 1, False),
        (2**60, True),
        (-(2**53) - 1, False),
        (10**400, False),
        (1e300, True),
        (9007199254740993.5, True),  # a number with a point claims no more than a double
        ({"deep": [2**53 + 1]}, False),
        ({"deep": [2**53 + 2]}, True),
    ],
)
def test_an_integer_that_a_number_would_round_is_told(tmp_path, value, fits):
    key = "o" if isinstance(value, dict) else "n"
    first = {"n": 0.5, "o": {"deep": [0.5]}, "i": 2**53 + 1}  # an integer among integers is one
    of = source(lines(tmp_path / "a.jsonl", first, {key: value}), sample_rows=1)
    rows, rejects, _ = everything(of)
    assert rows[0] == first
    assert [row[key] for row in rows[1:]] == ([value] if fits else [])
    assert [each.reason for each in rejects] == (
        [] if fits else [f"column '{'o.deep[]' if key == 'o' else 'n'}': {ROUNDED}"]
    )


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_key_that_came_after_the_stream_was_offered_stops_the_plan_or_is_not_read(tmp_path, kind):
    """Nobody was asked about it: read with the others and left out, it would be missed by nobody."""
    cls = source_class(kind)

    def made(**settings):
        return cls(cls.config_model(path=str(tmp_path / "*.x"), **settings), tenant="acme")

    (tmp_path / "a.x").write_text('{"id": 1, "who": "ann"}\n')
    (stream,) = made().streams()
    narrow = stream.narrowed(["id"])  # what a policy drops is known, though it isn't read
    assert made().plan(narrow, Window(), {}).partitions
    (tmp_path / "b.x").write_text('{"id": 2, "who": "bob", "email": "bob@example.org"}\n')
    with pytest.raises(ContractError, match=r"nobody has classified it; got email\. Run again") as caught:
        made().plan(narrow, Window(), {})
    assert "bob" not in str(caught.value)
    ignoring = made(unknown_keys="ignore")
    parts = ignoring.plan(narrow, Window(), {}).partitions
    rows = [row for part in parts for batch in ignoring.read(narrow, part) for row in batch.rows.to_pylist()]
    assert rows == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-16-le", "UTF-16 without a byte order mark"), ("utf-32-be", "UTF-32 without"), ("utf-16", "UTF-16; got")],
)
def test_lines_in_another_encoding_are_told(tmp_path, encoding, said):
    (tmp_path / "x.jsonl").write_bytes('{"id": 1}\n{"id": 2}\n'.encode(encoding))
    with pytest.raises(ContractError, match=f"looks like {said}") as failed:
        source(tmp_path / "x.jsonl").streams()
    assert failed.value.do == "have it written in UTF-8"


def test_a_page_in_place_of_lines_is_told(tmp_path):
    (tmp_path / "x.jsonl").write_text("<!doctype html><title>gone</title>\n")
    with pytest.raises(ContractError, match="is an HTML page"):
        source(tmp_path / "x.jsonl").streams()


@pytest.mark.parametrize("written", ['{"v": "Müller"}\n'.encode("cp1252"), b'{"v": "\xed\xa0\xbd"}\n'])
def test_lines_that_are_not_utf8_are_told(tmp_path, written):
    """Those of a code page, and halves of characters as CESU-8 writes them, which no database takes (RFC 3629, 3)."""
    (tmp_path / "x.jsonl").write_bytes(written)
    with pytest.raises(ContractError, match=r"x\.jsonl' isn't UTF-8") as failed:
        source(tmp_path / "x.jsonl").streams()
    assert failed.value.do == "have it written in UTF-8"
    (tmp_path / "x.jsonl").write_bytes(b'{"v": "a"}\n' + written)
    rows, rejects, _ = everything(source(tmp_path / "x.jsonl"))
    assert (rows, [r.reason for r in rejects]) == ([{"v": "a"}], ["not UTF-8"])
