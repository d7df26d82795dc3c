"""A uniform sample of rows that merges: each row draws a number, and those with the lowest are kept.

So the sample of two partitions is the lowest of both, as if one had read them together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from importers.core.coded import decoded
from importers.core.destination import Mask
from importers.quality.columns import Operand, root, spelt, spelt_columns

LONGEST = 64
"""Characters that are kept of a text: what is longer is no category."""
_WAITING = 4  # times as many rows as a sample has are copied before they are sorted out
_HELD = 8_000_000  # bytes: of a long text all waits, and few of its characters are kept
_DRAWN = "\0drawn"  # a name that no column has
_COPIES = pl.CompatLevel.oldest()  # of newer text types a few values would hold on to the whole batch


@dataclass(frozen=True, slots=True)
class Sample:
    """At most `size` rows, a column for each path that any batch had, called as it is `spelt`."""

    size: int
    rows: pl.DataFrame

    @classmethod
    def empty(cls, size: int) -> Self:
        return cls(size, pl.DataFrame(schema={_DRAWN: pl.Float64}))

    @classmethod
    def of(cls, parts: Sequence[Sample]) -> Sample:
        """The sample of all of them together."""
        size, rows = parts[0].size, together([part.rows for part in parts])
        return cls(size, rows.filter(_lowest(rows[_DRAWN].to_numpy(), size)))

    def __len__(self) -> int:
        return self.rows.height

    def values(self, path: str) -> pl.Series:
        """The sampled values of a column that aren't missing."""
        return self.rows.get_column(spelt(path), default=pl.Series(dtype=pl.Null)).drop_nulls().alias("value")


class Draw:
    """Draws a sample from batches. What a batch adds is copied, and sorted out when there is enough of it."""

    def __init__(self, size: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._sample, self._highest = Sample.empty(size), 1.0
        self._operands: Mapping[str, Operand] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._drawn = np.empty(0)
        self._bytes = 0

    def bind(self, operands: Mapping[str, Operand]) -> None:
        """What the next batches have."""
        self._settle()
        self._operands = operands

    def add(self, rows: pa.RecordBatch, good: Mask | None) -> None:
        """Of a batch's good rows those that may be in it: once it is full, most draw a number that is too high."""
        if not self._operands:
            return
        numbers = self._random.random(rows.num_rows)
        low = numbers < self._highest
        low = low if good is None else low & good
        low[low] = _lowest(numbers[low], self._sample.size)
        places = np.flatnonzero(low)
        if not len(places):
            return
        read = rows.select(sorted({root(rows.schema, path) for path in self._operands}))
        self._waiting.append(decoded(read.take(pa.array(places))))
        self._drawn = np.concatenate([self._drawn, numbers[places]])
        self._bytes += self._waiting[-1].nbytes
        last = self._sample.size - 1
        if len(self._drawn) > last:
            self._highest = min(self._highest, float(np.partition(self._drawn, last)[last]))
        if len(self._drawn) > _WAITING * self._sample.size or self._bytes > _HELD:
            self._settle()

    @property
    def sample(self) -> Sample:
        self._settle()
        return self._sample

    def _settle(self) -> None:
        if not self._waiting:
            return
        low = np.flatnonzero(_lowest(self._drawn, self._sample.size))
        rows = pa.Table.from_batches(self._waiting).combine_chunks().take(pa.array(low))
        frame = pl.DataFrame(pl.from_arrow(spelt_columns(rows, rows.column_names)))
        short = frame.select(_short(x).alias(spelt(path)) for path, x in self._operands.items())
        copied = pl.DataFrame(pl.from_arrow(short.to_arrow(compat_level=_COPIES)))
        more = Sample(self._sample.size, copied.with_columns(pl.Series(_DRAWN, self._drawn[low])))
        self._sample = Sample.of([self._sample, more]) if len(self._sample) else more
        self._waiting, self._drawn, self._bytes = [], self._drawn[:0], 0


def _short(x: Operand) -> pl.Expr:
    return x.expr.str.slice(0, LONGEST) if x.dtype == pl.String else x.expr


def _lowest(numbers: np.ndarray, size: int) -> Mask:
    """Which of them are among the `size` lowest."""
    low: Mask = np.ones(len(numbers), dtype=np.bool_)
    if len(numbers) > size:
        low[:] = False
        low[np.argpartition(numbers, size)[:size]] = True
    return low


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all. What no type but text can hold of all becomes text: that is no reason to fail."""
    types: dict[str, set[pl.DataType]] = defaultdict(set)
    for frame in frames:
        for name, dtype in frame.schema.items():
            types[name].add(dtype)
    apart = {name for name, found in types.items() if not _mix(found - {pl.Null()})}
    if apart:
        frames = [frame.cast(dict.fromkeys(apart & set(frame.columns), pl.String)) for frame in frames]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def _mix(types: set[pl.DataType]) -> bool:
    if len(types) < 2 or all(dtype.is_numeric() for dtype in types):
        return True
    return all(dtype == pl.Date or (isinstance(dtype, pl.Datetime) and not dtype.time_zone) for dtype in types)
