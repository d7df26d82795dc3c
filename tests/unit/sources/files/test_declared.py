"""Files that declare their columns' types, and don't declare the same. What Arrow reads in each file is expected."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importers.core.coded import decoded
from importers.core.model import Window
from importers.exceptions import ContractError
from importers.sources.files.parquet import Parquet, ParquetConfig

CLOCK, ZONED = datetime(2026, 1, 1, 3), datetime(2026, 1, 1, 3, tzinfo=UTC)  # noqa: DTZ001 - of no zone
BERLIN = pa.timestamp("us", "Europe/Berlin")


def read(tmp_path, *columns, known=None, **config):
    """What the column x of these files is once all are read; `known`: what it is asked for as."""
    for number, column in enumerate(columns):
        pq.write_table(pa.table({"x": column}), tmp_path / f"{number}.parquet")
    of = Parquet(ParquetConfig(path=str(tmp_path / "*.parquet"), **config), tenant="acme")
    (stream,) = of.streams()
    if known is not None:
        stream = replace(stream, columns=tuple(replace(column, type=known) for column in stream.columns))
    parts = of.plan(stream, Window(), {}).partitions
    batches = [decoded(batch.rows) for part in parts for batch in of.read(stream, part)]
    return pa.Table.from_batches(batches, stream.schema)["x"].combine_chunks()


FILLED = [
    pa.array([7, None]),
    pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
    pa.array([ZONED], BERLIN),
    pa.array([b"\0"]),
    pa.array([{"a": 1, "b": ["t"]}]),
    pa.array([[{"a": 1}], []]),
    pa.array(["a"]).dictionary_encode(),
]


@pytest.mark.parametrize("filled", FILLED, ids=lambda column: str(column.type))
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1), (0, 1, 0), (0, 1, 0, 0)])
def test_a_file_s_column_without_a_value_is_of_any_type(tmp_path, filled, order):
    got = read(tmp_path, *(filled if each else pa.nulls(2) for each in order))
    assert got.to_pylist() == [value for each in order for value in (filled.to_pylist() if each else [None] * 2)]
    assert got.type == (pa.string() if pa.types.is_dictionary(filled.type) else filled.type)


def test_what_one_file_says_is_never_null_another_may_lack(tmp_path):
    sure = pa.array([{"a": 1, "b": 2}], pa.struct([pa.field(name, pa.int64(), nullable=False) for name in "ab"]))
    perhaps = pa.array([{"a": None, "c": 3}])
    rows = [{"a": 1, "b": 2, "c": None}, {"a": None, "b": None, "c": 3}]
    for files, expected in (((sure, perhaps), rows), ((perhaps, sure), rows[::-1])):
        assert read(tmp_path, *files).to_pylist() == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
def test_and_so_is_what_is_within(tmp_path, order):
    some = [{"a": 1, "b": [1.5], "c": [{"d": date(2026, 1, 1)}]}]
    none = [{"a": None, "b": [None], "c": [{"d": None}]}]
    got = read(tmp_path, *(pa.array(some if each else none) for each in order))
    assert got.to_pylist() == [row for each in order for row in (some if each else none)]
    assert got.type == pa.array(some).type


def test_what_no_file_has_a_value_of_is_text_unless_somebody_says_otherwise(tmp_path):
    assert read(tmp_path, pa.nulls(2)).equals(pa.nulls(2, pa.string()))
    assert read(tmp_path, pa.nulls(2), known=pa.int32()).equals(pa.nulls(2, pa.int32()))
    assert read(tmp_path, pa.nulls(2), types={"x": "date"}).equals(pa.nulls(2, pa.date32()))


@pytest.mark.parametrize("said", [{"ge": 3}, {"in": [3, 9]}, {"not_in": [3]}])
def test_no_comparison_holds_where_there_is_no_value(tmp_path, said):
    got = read(tmp_path, pa.array([9]), pa.nulls(2), where={"x": said})
    assert got.to_pylist() == [9]
    assert read(tmp_path, pa.nulls(2), pa.nulls(2), where={"x": said}).to_pylist() == []


def test_objects_in_pieces_may_have_no_value(tmp_path):
    """Of a slice, as where the dictionary of a text ends, Arrow makes an object whose null field has no items."""
    text = pa.array(["a", "b"] * 500).dictionary_encode()
    rows = pa.table({"text": text, "x": [{"a": n, "b": None} for n in range(1000)]})
    pq.write_table(rows, tmp_path / "0.parquet", row_group_size=100)
    for where, step in (({}, 1), ({"text": {"eq": "a"}}, 2)):
        of = Parquet(ParquetConfig(path=str(tmp_path / "*.parquet"), where=where), tenant="acme")
        (stream,) = of.streams()
        (part,) = of.plan(stream, Window(), {}).partitions
        got = pa.Table.from_batches([decoded(batch.rows) for batch in of.read(stream, part)], stream.schema)
        assert got["x"].to_pylist() == rows["x"].to_pylist()[::step]


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.array([ZONED]), pa.array([ZONED], BERLIN), pa.timestamp("us", "UTC")),
        (pa.array([CLOCK], pa.timestamp("ms")), pa.array([CLOCK], pa.timestamp("ns")), pa.timestamp("ns")),
        (pa.array([date(2026, 1, 1)]), pa.array([CLOCK]), pa.timestamp("us")),
        (pa.array([1], pa.int32()), pa.array([2**40]), pa.int64()),
        (pa.array([1], pa.int32()), pa.array([0.5]), pa.float64()),
        (pa.array([2**53]), pa.array([0.5]), pa.float64()),
        (pa.array([0.5], pa.float32()), pa.array([0.1]), pa.float64()),
        (pa.array([2**62]), pa.array([Decimal("1.25")], pa.decimal128(10, 2)), pa.decimal128(21, 2)),
        (pa.array([[date(2026, 1, 1)]]), pa.array([[CLOCK]]), pa.list_(pa.timestamp("us"))),
        (pa.array([{"a": ZONED}]), pa.array([{"a": ZONED.astimezone(ZoneInfo("Asia/Tokyo")), "b": 1}]), None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_the_type_that_holds_the_values_of_both_files(tmp_path, one, other, kind):
    def plain(value):
        if isinstance(value, dict):
            return [value["a"], value.get("b")]
        midnight = isinstance(value, date) and not isinstance(value, datetime)
        return datetime(value.year, value.month, value.day) if midnight else value  # noqa: DTZ001 - of no zone

    for files in ((one, other), (other, one)):
        got = read(tmp_path, *files)
        assert kind is None or pa.types.is_timestamp(kind) or got.type == kind
        wanted = [value for column in files for value in column.to_pylist()]
        flat = [each if isinstance(each, list) else [each] for each in got.to_pylist()]
        assert [[plain(v) for v in row] for row in flat] == [
            [plain(v) for v in (each if isinstance(each, list) else [each])] for each in wanted
        ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1]), pa.array(["007"])),
        (pa.array([CLOCK]), pa.array([ZONED])),
        (pa.array([date(2026, 1, 1)]), pa.array([ZONED])),
        (pa.array([Decimal("0.10")], pa.decimal128(38, 2)), pa.array([0.1])),
        (pa.array([Decimal("0.1")], pa.decimal128(38, 30)), pa.array([1])),
        (pa.array([True]), pa.array([1])),
    ],
    ids=lambda value: str(value.type),
)
def test_types_without_one_that_holds_both_are_refused_with_a_way_out_that_works(tmp_path, one, other):
    for files in ((one, other), (other, one), (one, other, one)):
        with pytest.raises(ContractError, match=r"\.parquet' has a (wider )?type .*`\{x: string\}`.*load\.table"):
            read(tmp_path, *files)
        got = read(tmp_path, *files, types={"x": "string"})
        assert got.to_pylist() == [str(v) for column in files for v in column.cast(pa.string()).to_pylist()]
        for file in tmp_path.iterdir():
            file.unlink()


@pytest.mark.parametrize(
    ("values", "said", "expected"),
    [
        (pa.array(["7", "-8"]), "integer", [7, -8]),
        (pa.array(["7", "007"]), "integer", None),
        (pa.array([7.0, 85701888.0], pa.float32()), "string", ["7", "85701888"]),
        (pa.array([0.1]), "decimal", [Decimal("0.100000000")]),
        (pa.array([1 / 3]), "decimal", None),
        (pa.array([Decimal("0.10")], pa.decimal128(38, 2)), "number", [0.1]),
        (pa.array([2**53 + 1]), "number", None),
        (pa.array([0, 1, None], pa.int8()), "boolean", [False, True, None]),
        (pa.array([5], pa.int8()), "boolean", None),
        (pa.array([True]), "integer", [1]),
        (pa.array(["true", "false"]), "boolean", [True, False]),
        (pa.array([CLOCK]), "timestamp_tz", [ZONED]),
        (pa.array([ZONED], BERLIN), "timestamp", [CLOCK]),
        (pa.array([ZONED]), "date", None),
        (pa.array([1767225600000]), "timestamp", None),
        (pa.array([b"\xff"]), "string", None),
        (pa.array([[1]]), "string", None),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_types_are_what_values_exactly_are_or_the_run_stops(tmp_path, values, said, expected):
    if expected is None:
        with pytest.raises(ContractError, match=r"0\.parquet' doesn't fit its column's type; got x .*expected"):
            read(tmp_path, values, types={"x": said})
    else:
        assert read(tmp_path, values, types={"x": said}).to_pylist() == expected


def test_what_is_text_since_no_file_has_a_value_is_said(tmp_path):
    rows = {"id": [1], "a": pa.nulls(1), "b": pa.nulls(1), "within": [{"c": None}], "text": pa.nulls(1, pa.string())}
    pq.write_table(pa.table(rows), tmp_path / "0.parquet")

    def notes(known=None, **types):
        of = Parquet(ParquetConfig(path=str(tmp_path / "*.parquet"), types=types), tenant="acme")
        (stream,) = of.streams()
        columns = (replace(c, type=known) if known and c.name == "b" else c for c in stream.columns)
        return of.plan(replace(stream, columns=tuple(columns)), Window(), {}).notes

    (both,) = notes()
    assert "columns a, b:" in both
    (one,) = notes(pa.int64())
    assert "column a:" in one
    assert notes(a="date", b="string") == ()
