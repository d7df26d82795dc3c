"""Rows of Parquet files by comparisons: exactly those that SQL or polars would take, and no row group for nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from importers.core.model import Stream, Window
from importers.core.places import located
from importers.exceptions import ConfigError
from importers.sources.files.parquet import Parquet, ParquetConfig

NAN = float("nan")
TABLE = pa.table(
    {
        "n": pa.array([3, 1, None, 7, 5, 9], pa.int32()),
        "f": pa.array([5.0, NAN, 5.0, None, 0.5, 0.1], pa.float32()),
        "name": pa.array(["b", "a", "é", "", None, "c"]).dictionary_encode(),
        "view": pa.array(["b", "a", "é", "", None, "c"], pa.string_view()),
        "yes": pa.array([True, False, None, True, True, False]),
        "day": pa.array([date(2026, 1, d) for d in (1, 2, 3, 4, 5)] + [None]),
        "at": pa.array([datetime(2026, 1, 1, h, tzinfo=UTC) for h in range(6)], pa.timestamp("us", "UTC")),
        "clock": pa.array([datetime(2026, 1, 1, h, tzinfo=UTC) for h in range(6)], pa.timestamp("ms", "UTC")).cast(
            pa.timestamp("ms")
        ),
        "price": pa.array([Decimal(p) for p in ("1.00", "1.10", "2.50", "9.99", "0.00", "1.10")], pa.decimal128(6, 2)),
        "big": pa.array([0, 1, 2**63, 2**64 - 1, None, 5], pa.uint64()),
    }
)


class Small(Parquet):
    whole_below = 1


def write(path: Path, group: int = 2, table: pa.Table = TABLE) -> Path:
    numbered = table.append_column("row", pa.array(range(1, table.num_rows + 1)))
    pq.write_table(numbered, path / "rows.parquet", row_group_size=group)
    return path


def read(path: Path, where: dict[str, Any], only: tuple[str, ...] = ("row",), kind: type[Parquet] = Small) -> list[int]:
    """The rows' numbers, which their places must say as well."""
    source = kind(ParquetConfig(path=str(path / "*.parquet"), where=where), tenant="acme")
    (offered,) = source.streams()
    stream = Stream(offered.name, tuple(c for c in offered.columns if c.name in only), offered.reads)
    found: list[int] = []
    for part in source.plan(stream, Window(), {}).partitions:
        for batch in source.read(stream, part):
            rows = batch.rows.column("row").to_pylist()
            places = located(batch.places, pa.array(range(len(rows))).to_numpy()).to_pylist()
            assert [place.rpartition(":row ")[2] for place in places] == list(map(str, rows))
            found += rows
    return found


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"n": {"eq": 7}}, [4]),
        ({"n": {"ne": 7}}, [1, 2, 5, 6]),
        ({"n": {"lt": 5}}, [1, 2]),
        ({"n": {"le": 5}}, [1, 2, 5]),
        ({"n": {"gt": 5}}, [4, 6]),
        ({"n": {"ge": 5}}, [4, 5, 6]),
        ({"n": {"in": [1, 9, 100]}}, [2, 6]),
        ({"n": {"not_in": [1, 9, 100]}}, [1, 4, 5]),
        ({"n": {"ge": 3, "lt": 7}}, [1, 5]),
        ({"n": {"ge": 3}, "name": {"ne": "b"}}, [4, 6]),
        ({"n": {"lt": 2**40}}, [1, 2, 4, 5, 6]),
        ({"n": {"gt": 2**40}}, []),
        ({"f": {"ne": 5}}, [2, 5, 6]),  # a NaN is unequal to everything, and in no statistics
        ({"f": {"not_in": [5]}}, [2, 5, 6]),
        ({"f": {"eq": 0.1}}, [6]),  # no float32 is 0.1, but this is what was written
        ({"f": {"gt": 0.2}}, [1, 3, 5]),
        ({"name": {"ge": "c"}}, [3, 6]),
        ({"name": {"in": ["", "é"]}}, [3, 4]),
        ({"view": {"lt": "b"}}, [2, 4]),
        ({"yes": {"eq": True}}, [1, 4, 5]),
        ({"day": {"gt": "2026-01-03"}}, [4, 5]),
        ({"at": {"ge": "2026-01-01T05:00:00+02:00"}}, [4, 5, 6]),
        ({"clock": {"lt": "2026-01-01 02:00"}}, [1, 2]),
        ({"clock": {"lt": "2026-01-01"}}, []),
        ({"price": {"eq": 1.1}}, [2, 6]),
        ({"price": {"ge": 2}}, [3, 4]),
        ({"big": {"ge": 2**63}}, [3, 4]),
    ],
)
@pytest.mark.parametrize("group", [1, 2, 6])
def test_the_rows_that_are_asked_for(tmp_path: Path, where: dict[str, Any], rows: list[int], group: int) -> None:
    assert read(write(tmp_path, group), where) == rows


POLARS: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "in": lambda column, value: column.is_in(pl.Series(value, dtype=pl.Float64)),
    "not_in": lambda column, value: ~column.is_in(pl.Series(value, dtype=pl.Float64)),
}
numbers = st.integers(-3, 3)
one, several = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), st.sampled_from(["in", "not_in"])
comparisons = st.dictionaries(one, numbers, min_size=1, max_size=2) | st.dictionaries(
    several, st.lists(numbers, min_size=1, max_size=3), min_size=1
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | numbers, st.none() | st.sampled_from([-3.0, -1.0, -0.0, 0.0, 2.0])),
        min_size=1,
        max_size=12,
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), comparisons, min_size=1),
    st.integers(1, 5),
)
def test_as_polars_has_it(tmp_path: Path, rows: list[Any], where: dict[str, Any], group: int) -> None:
    a, b = (pa.array(column) for column in zip(*rows, strict=True))
    table = pa.table({"a": a.cast(pa.int64()), "b": b.cast(pa.float64())})
    said = [(name, *each) for name, comparisons in where.items() for each in comparisons.items()]
    tests = [POLARS[operator](pl.col(name).cast(pl.Float64), value) for name, operator, value in said]
    expected = pl.from_arrow(table).with_row_index("row", 1).filter(tests)["row"].to_list()  # type: ignore[union-attr]
    assert read(write(tmp_path, group, table), where) == expected


def test_row_groups_that_are_ruled_out_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.table({"n": range(1000), "yes": [True] * 1000})
    asked: list[int] = []
    plain = pq.ParquetFile.iter_batches

    def noted(self: pq.ParquetFile, *args: Any, row_groups: list[int], **options: Any) -> Any:
        asked.extend(row_groups)
        return plain(self, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    assert read(write(tmp_path, 100, whole), {"n": {"ge": 250, "lt": 310}}) == list(range(251, 311))
    assert asked == [2, 3]
    asked.clear()
    assert read(tmp_path, {"n": {"in": [5, 999]}}) == [6, 1000]
    assert asked == [0, 9]


def test_partitions_are_made_of_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, 100, pa.table({"n": range(1000)}))
    config = ParquetConfig(path=str(tmp_path / "*.parquet"), where={"n": {"lt": 200}}, max_partitions=2)
    source = Small(config, tenant="acme")
    (stream,) = source.streams()
    parts = source.plan(stream, Window(), {}).partitions
    assert [sum(batch.rows.num_rows for batch in source.read(stream, part)) for part in parts] == [100, 100]


def test_files_of_several_widths(tmp_path: Path) -> None:
    for name, kind in (("1", pa.int8()), ("2", pa.int64())):
        pq.write_table(pa.table({"row": pa.array([1, 100]).cast(kind)}), tmp_path / f"{name}.parquet")
    source = Parquet(ParquetConfig(path=str(tmp_path / "*.parquet"), where={"row": {"lt": 1000}}), tenant="acme")
    (stream,) = source.streams()
    parts = source.plan(stream, Window(), {}).partitions
    batches = [batch.rows["row"].to_pylist() for part in parts for batch in source.read(stream, part)]
    assert batches == [[1, 100], [1, 100]]


def test_a_value_of_another_row_may_not_fit_its_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row": ["1", "none", "3"], "kind": ["n", "t", "n"]}), tmp_path / "rows.parquet")
    config = ParquetConfig(path=str(tmp_path / "*"), where={"kind": {"eq": "n"}}, types={"row": "integer"})
    source = Parquet(config, tenant="acme")
    (stream,) = source.streams()
    (part,) = source.plan(stream, Window(), {}).partitions
    assert [batch.rows["row"].to_pylist() for batch in source.read(stream, part)] == [[1, 3]]


def test_a_column_that_is_compared_need_not_be_loaded(tmp_path: Path) -> None:
    assert read(write(tmp_path), {"n": {"gt": 5}}, only=("row",)) == read(tmp_path, {"n": {"gt": 5}}, only=("n", "row"))


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ({"nn": {"eq": 1}}, r"'nn' that the files lack.*Did you mean 'n'"),
        ({"n": {"eq": "1"}}, r"'n' with what `eq` says.*int32.*number without quotes"),
        ({"n": {"eq": True}}, "int32"),
        ({"n": {"eq": 1.5}}, "int32"),
        ({"n": {"in": [1, 2**70]}}, "`in` says"),
        ({"name": {"eq": 1}}, "Write a text"),
        ({"yes": {"eq": 1}}, "true or false"),
        ({"day": {"eq": "2026-01-01 10:00"}}, "Write 2026-12-31"),
        ({"at": {"eq": "2026-01-01"}}, "23:59:59Z"),
        ({"clock": {"eq": "2026-01-01T00:00:00Z"}}, "without a zone"),
        ({"price": {"eq": 1.234}}, "decimal"),
        ({"big": {"ge": -1}}, "uint64"),
    ],
)
def test_what_cannot_be_compared_is_told_at_once(tmp_path: Path, where: dict[str, Any], match: str) -> None:
    source = Parquet(ParquetConfig(path=str(write(tmp_path) / "*.parquet"), where=where), tenant="acme")
    with pytest.raises(ConfigError, match=match) as caught:
        source.streams()
    assert "1.234" not in str(caught.value)


NONE = [{}, {"eq": [1]}, {"in": 1}, {"in": []}, {"like": "a"}, {"eq": None}, {"eq": {"a": 1}}, {"in": [*range(1001)]}]


@pytest.mark.parametrize("said", NONE)
def test_what_is_no_comparison(said: Any) -> None:
    with pytest.raises(ValidationError):
        ParquetConfig(path="x", where={"n": said})
