"""What a delivery's columns hold: nulls, distinct values, extremes, quantiles. One polars pass; parts add up.

Counts, means and extremes are exact. Distinct values are exact up to 4,096, then estimated from the 4,096 least hashes
(give or take 1.6 %; Bar-Yossef et al. 2002). Quantiles, histograms and frequent values come from a uniform sample of
20,000 rows, or of all if there are no more: a quantile is then within a percent of its rank.

A run's profile is made in passing, and must cost next to nothing: it has a quarter of both (3 %; two percent of the
rank), and beyond the first 100,000 rows, shared out among the partitions, it looks for distinct values in one batch of
sixteen, and in each partition's first. `among` says in how many rows it did. A profile holds values, but only of the
columns that are `shown`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from importers.quality.columns import spelt
from importers.quality.sample import Sample, together
from importers.quality.stored import pack, unpack

SAMPLE = 20_000
LEAST_HASHES = 4_096
BARS = 20
FREQUENT = 5
"""How many frequent values are named. One is frequent if this many sampled values, and one in a hundred, equal it."""
Hashes = npt.NDArray[np.uint64]


class Bar(NamedTuple):
    """A bar of a histogram: sampled values from `low` to below `high`, of the last bar that too."""

    low: Any
    high: Any
    rows: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column, or field inside structs. None where the type has no such thing; deciles begin with the least value."""

    path: str
    type: str
    rows: int
    nulls: int
    distinct: int | None = None
    distinct_exact: bool = True
    among: int = 0
    """In how many rows distinct values were looked for."""
    mean: float | None = None
    least: Any = None
    greatest: Any = None
    deciles: tuple[Any, ...] = ()
    histogram: tuple[Bar, ...] = ()
    frequent: Mapping[Any, float] = field(default_factory=dict)
    """Value → share of the sampled values."""


@dataclass(frozen=True, slots=True)
class Merging:
    """What merges of a column. `hashes` are the least distinct ones, None for a type whose values have none."""

    type: str
    values: int = 0
    good: int = 0
    """Values of rows that aren't bad, which are those of the `sum`. Counted only where there is one."""
    sum: float | None = None
    hashes: Hashes | None = field(default=None, repr=False)

    def plus(self, other: Merging, size: int) -> Merging:
        """Both together, with no more hashes than `size`."""
        sums = [one.sum for one in (self, other) if one.sum is not None]
        hashes = [one.hashes for one in (self, other) if one.hashes is not None and len(one.hashes)]
        kept = self.hashes if other.hashes is None else other.hashes
        if hashes:
            kept = hashes[0] if len(hashes) == 1 else np.unique(np.concatenate(hashes))[:size]
        good, total = self.good + other.good, sum(sums) if sums else None
        return Merging(other.type, self.values + other.values, good, total, kept)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a partition, or of several: profiles add up."""

    rows: int
    looked: int
    """In how many rows distinct values were looked for."""
    least_hashes: int
    columns: Mapping[str, Merging]
    ends: pl.DataFrame = field(repr=False)
    """Two rows: the least and the greatest values of columns that have a scale."""
    sample: Sample = field(repr=False)

    def __add__(self, other: Profile) -> Profile:
        columns = dict(self.columns)
        for path, column in other.columns.items():
            columns[path] = columns[path].plus(column, self.least_hashes) if path in columns else column
        return Profile(
            self.rows + other.rows,
            self.looked + other.looked,
            self.least_hashes,
            columns,
            widest([self.ends, other.ends]),
            Sample.of([self.sample, other.sample]),
        )

    def told(self) -> list[ColumnProfile]:
        """The columns' profiles, in the order of the schema."""
        return [self._told(path, column) for path, column in self.columns.items()]

    def values(self, path: str) -> pl.Series:
        """The sampled values of a column that can be told, without missing ones; none of one that isn't shown."""
        return sayable(self.sample.values(path))

    def _told(self, path: str, column: Merging) -> ColumnProfile:
        found = ColumnProfile(path, column.type, self.rows, self.rows - column.values)
        if column.hashes is None:
            return found
        exact = len(column.hashes) < self.least_hashes
        distinct = len(column.hashes) if exact else round((self.least_hashes - 1) * 2.0**64 / float(column.hashes[-1]))
        found = replace(found, distinct=min(distinct, column.values), distinct_exact=exact, among=self.looked)
        values = self.values(path)
        if not values.len():
            return found
        ends = sayable(self.ends.get_column(spelt(path), default=values.clear()))
        if ends.len() < 2 or values.dtype == pl.String:
            return replace(found, frequent=_frequent(values))
        least, greatest = ends
        return replace(
            found,
            mean=column.sum / column.good if column.sum is not None and column.good else None,
            least=least,
            greatest=greatest,
            deciles=(least, *deciles(values), greatest),
            histogram=tuple(histogram(values)),
            frequent=_frequent(values),
        )

    def to_bytes(self) -> bytes:
        """To be sealed wherever it is stored: it holds values."""
        columns = {path: [column.type, column.values, column.good, column.sum] for path, column in self.columns.items()}
        head = {"counts": [self.rows, self.looked, self.least_hashes], "size": self.sample.size, "columns": columns}
        kept = [None if column.hashes is None else column.hashes.tobytes() for column in self.columns.values()]
        parts = [_packed(self.ends), _packed(self.sample.rows), *kept]
        return pack("profile", head, pa.record_batch([pa.array(parts, pa.large_binary())], ["part"]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises StagingError for bytes that aren't a profile."""
        return unpack("profile", data, cls._from_parts)

    @classmethod
    def _from_parts(cls, head: Mapping[str, Any], batch: pa.RecordBatch) -> Self:
        ends, rows, *kept = batch.column("part").to_pylist()
        columns = {
            path: Merging(kind, values, good, total, None if mine is None else np.frombuffer(mine, np.uint64))
            for (path, (kind, values, good, total)), mine in zip(head["columns"].items(), kept, strict=True)
        }
        count, looked, size = head["counts"]
        return cls(count, looked, size, columns, _unpacked(ends), Sample(head["size"], _unpacked(rows)))


def sayable(values: pl.Series) -> pl.Series:
    """Without moments of years that Python can't say, and PostgreSQL can: of those a profile tells nothing."""
    return values.filter(values.dt.year().is_between(2, 9998)) if values.dtype in (pl.Date, pl.Datetime) else values


def widest(ends: list[pl.DataFrame]) -> pl.DataFrame:
    """Two rows of any number: the least and the greatest."""
    both = together([one for one in ends if one.width])
    return pl.concat([both.select(pl.all().min()), both.select(pl.all().max())]) if both.width else both


def deciles(values: pl.Series) -> list[Any]:
    """The nine values between the tenths."""
    ordered = values.sort()
    return [ordered[math.floor((ordered.len() - 1) * tenth / 10)] for tenth in range(1, 10)]


def histogram(values: pl.Series) -> Iterator[Bar]:
    moments = values.dtype.is_temporal()
    numbers = values.cast(pl.Datetime("us")).to_physical() if moments else values.cast(pl.Float64)
    finite = numbers.cast(pl.Float64).to_numpy()
    finite = finite[np.isfinite(finite)]
    if not len(finite) or not np.isfinite(finite.max() - finite.min()):
        return
    edges = np.linspace(finite.min(), finite.max(), BARS + 1)
    if not (np.diff(edges) > 0).all():  # no number stands between: as of one moment in 2113, counted in microseconds
        edges = edges[[0, -1]]
    counts, _ = np.histogram(finite, bins=edges)
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


def _packed(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return sink.getvalue()


def _unpacked(data: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(data))
