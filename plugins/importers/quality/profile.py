"""What a delivery's columns hold: nulls, distinct values, extremes, quantiles. One polars pass over each batch.

Counts, means and extremes are exact. Distinct values are exact up to 4,096, then estimated from the 4,096 least hashes
(give or take 1.6 %; Bar-Yossef et al. 2002). Quantiles, histograms and frequent values come from a uniform sample of
20,000 rows, or of all if there are no more: a quantile is then within a percent of its rank.
A profile holds values: who shows it decides of which columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from importers.exceptions import ConfigError
from importers.quality.columns import PLAIN, Columns, Family, Operand, root
from importers.quality.hashing import keyed

SAMPLE = 20_000
LEAST_HASHES = 4_096
BARS = 20
FREQUENT = 5
"""How many frequent values are named. One is frequent if this many sampled values, and one in a hundred, equal it."""
_SCALED = frozenset({Family.NUMBER, Family.DATE, Family.DATETIME, Family.INSTANT})
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram: sampled values from `low` to below `high`, of the last bar that too."""

    low: Any
    high: Any
    count: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column, or field inside structs. None where the type has no such thing; deciles begin with the least value."""

    path: str
    type: str
    rows: int
    nulls: int
    distinct: int | None = None
    distinct_exact: bool = True
    mean: float | None = None
    least: Any = None
    greatest: Any = None
    deciles: tuple[Any, ...] = ()
    histogram: tuple[Bar, ...] = ()
    frequent: Mapping[Any, float] = field(default_factory=dict)
    """Value → share of the sampled values."""


class Profiler:
    """Fed with batches, whose types may widen from one to the next; holds a sample and a few numbers a column."""

    def __init__(self) -> None:
        self._rows = 0
        self._types: dict[str, pa.DataType] = {}
        self._nulls: dict[str, int] = {}
        self._sums: dict[str, float] = {}
        self._ends: dict[str, tuple[Any, Any]] = {}
        self._hashes: dict[str, _Hashes] = {}
        self._sample = pl.DataFrame()
        self._drawn: npt.NDArray[np.float64] = np.empty(0)
        self._random = np.random.default_rng(0)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take a batch into account."""
        if not rows.num_rows:
            return
        operands = dict(_operands(rows.schema))
        readable = sorted({root(rows.schema, path) for path in operands})
        frame = pl.DataFrame(pl.from_arrow(rows.select(readable)))
        seen = frame.select([expr for path, x in operands.items() for expr in _questions(path, x)])
        for path, x in operands.items():
            self._note(path, x, seen)
        for path, kind in _paths(rows.schema):
            self._types[path] = kind
            if path not in operands:
                self._nulls[path] = self._nulls.get(path, 0) + rows.column(path.split(".")[0]).null_count
        self._draw(frame.select([x.expr.alias(path) for path, x in operands.items() if x.family in PLAIN]))
        self._rows += rows.num_rows

    def finish(self) -> list[ColumnProfile]:
        """The columns' profiles, in the order of the schema."""
        return [self._profile(path) for path in self._types]

    def sample(self, path: str) -> pa.Array | None:
        """The sampled values of a column, nulls left out."""
        return self._sample[path].drop_nulls().to_arrow() if path in self._sample.columns else None

    def _note(self, path: str, x: Operand, seen: pl.DataFrame) -> None:
        def value(name: str) -> Any:
            return seen[f"{name} {path}"][0]

        self._nulls[path] = self._nulls.get(path, 0) + value("nulls")
        if x.family is Family.NUMBER:
            self._sums[path] = self._sums.get(path, 0.0) + float(value("sum") or 0)
        if x.family in _SCALED:
            self._ends[path] = _wider(self._ends.get(path), (value("min"), value("max")))
        if x.family in PLAIN:
            self._hashes[path] = _least(self._hashes.get(path, np.empty(0, np.uint64)), seen[f"hash {path}"])

    def _draw(self, frame: pl.DataFrame) -> None:
        """A uniform sample: the rows that drew the lowest numbers."""
        drawn = self._random.random(frame.height)
        limit = self._drawn.max() if len(self._drawn) == SAMPLE else 1.0
        low = np.flatnonzero(drawn <= limit)
        both = pl.concat([self._sample, frame[low]], how="diagonal_relaxed")
        drawn = np.concatenate([self._drawn, drawn[low]])
        if len(drawn) > SAMPLE:
            kept = np.sort(np.argpartition(drawn, SAMPLE)[:SAMPLE])
            both, drawn = both[kept], drawn[kept]
        self._sample, self._drawn = both, drawn

    def _profile(self, path: str) -> ColumnProfile:
        nulls, kind = self._nulls.get(path, 0), str(self._types[path])
        if path not in self._hashes:
            return ColumnProfile(path, kind, self._rows, nulls)
        hashes, values = self._hashes[path], self._sample[path].drop_nulls()
        exact, count = len(hashes) < LEAST_HASHES, self._rows - nulls
        distinct = len(hashes) if exact else round((LEAST_HASHES - 1) * 2.0**64 / float(hashes[-1]))
        scaled = path in self._ends and values.len() > 0 and not isinstance(values.dtype, pl.String)
        least, greatest = self._ends[path] if scaled else (None, None)
        return ColumnProfile(
            path,
            kind,
            self._rows,
            nulls,
            min(distinct, count),
            exact,
            self._sums[path] / count if scaled and path in self._sums and count else None,
            least,
            greatest,
            (least, *_deciles(values), greatest) if scaled else (),
            tuple(_histogram(values)) if scaled else (),
            _frequent(values),
        )


def _paths(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """Columns, and fields inside structs by dotted path."""

    def inside(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
        if pa.types.is_struct(kind) and kind.num_fields:
            for inner in kind.fields:
                yield from inside(f"{path}.{inner.name}", inner.type)
        else:
            yield path, kind

    for column in schema:
        yield from inside(column.name, column.type)


def _operands(schema: pa.Schema) -> Iterator[tuple[str, Operand]]:
    for path, _ in _paths(schema):
        try:
            yield path, Columns(schema, [path])(path)
        except ConfigError:  # a type that polars can't read: its nulls are counted all the same
            continue


def _questions(path: str, x: Operand) -> Iterator[pl.Expr]:
    yield x.expr.null_count().alias(f"nulls {path}")
    if x.family is Family.NUMBER:
        yield x.expr.cast(pl.Float64).sum().alias(f"sum {path}")
    if x.family in _SCALED:
        yield x.expr.min().alias(f"min {path}")
        yield x.expr.max().alias(f"max {path}")
    if x.family in PLAIN:
        yield keyed([x], x.expr.is_not_null(), 0).alias(f"hash {path}")


def _wider(a: tuple[Any, Any] | None, b: tuple[Any, Any]) -> tuple[Any, Any]:
    if a is None or a[0] is None or b[0] is None:
        return b if a is None or a[0] is None else a
    try:
        return min(a[0], b[0]), max(a[1], b[1])
    except TypeError:  # a date that became a moment
        return b


def _least(known: _Hashes, hashes: pl.Series) -> _Hashes:
    """The least distinct hashes of both, ascending."""
    if len(known) == LEAST_HASHES:
        hashes = hashes.filter(hashes < known[-1])
    both = pl.concat([pl.Series(known), hashes.unique()]).unique().drop_nulls()
    merged: _Hashes = both.sort().head(LEAST_HASHES).to_numpy()
    return merged


def _deciles(values: pl.Series) -> list[Any]:
    """The nine values between the tenths."""
    ordered = values.sort()
    return [ordered[math.floor((ordered.len() - 1) * tenth / 10)] for tenth in range(1, 10)]


def _histogram(values: pl.Series) -> Iterator[Bar]:
    moments = values.dtype.is_temporal()
    numbers = values.cast(pl.Datetime("us")).to_physical() if moments else values.cast(pl.Float64)
    finite = numbers.cast(pl.Float64).to_numpy()
    finite = finite[np.isfinite(finite)]
    if not len(finite) or not np.isfinite(finite.max() - finite.min()):
        return
    counts, edges = np.histogram(finite, bins=BARS if finite.max() > finite.min() else 1)
    ends = [_moment(edge) if moments else float(edge) for edge in edges]
    for low, high, count in zip(ends, ends[1:], counts, strict=False):
        yield Bar(low, high, int(count))


def _moment(microseconds: float) -> datetime:
    return datetime.combine(date(1970, 1, 1), time(), UTC) + timedelta(microseconds=microseconds)


def _frequent(values: pl.Series) -> dict[Any, float]:
    """Values that enough rows share not to single one out."""
    if not values.len() or isinstance(values.dtype, pl.Binary):
        return {}
    least = max(FREQUENT, values.len() / 100)
    counts = values.value_counts(sort=True).head(FREQUENT)
    return {value: count / values.len() for value, count in counts.iter_rows() if count >= least}
