"""Makes a profile, batch by batch, in one polars pass over each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from importers.core.coded import decoded_schema
from importers.core.destination import Mask
from importers.core.names import shown_type
from importers.quality.columns import PLAIN, Columns, Family, Operand, framed, readable, root, spelt
from importers.quality.profile import LEAST_HASHES, SAMPLE, ColumnProfile, Hashes, Merging, Profile, widest
from importers.quality.sample import Draw

WHOLE, ONE_OF = 100_000, 16
"""In passing: so many rows of all parts are looked at for distinct values, of those after them one in so many."""
_SCALED = frozenset({Family.NUMBER, Family.DATE, Family.DATETIME, Family.INSTANT})
_SEED = 0
_NONE: Hashes = np.empty(0, np.uint64)
_SOME = 3  # times as many hashes as are kept are looked at first: they do where values hardly repeat
_TOGETHER = 64  # batches whose ends are compared at once


class Profiler:
    """Fed with batches, whose types may widen from one to the next; holds a sample and a few numbers a column."""

    def __init__(
        self, shown: Collection[str] | None = None, *, in_passing: bool = False, seed: int = 0, parts: int = 1
    ) -> None:
        """`shown` are the columns of whose values it tells, None for all. `seed` differs where profiles add up, and
        `parts` is of how many this is one.
        """
        self._shown, self._in_passing, self._whole = shown, in_passing, WHOLE // max(parts, 1)
        less = 4 if in_passing else 1
        self._size = LEAST_HASHES // less
        self._asked: _Asked | None = None
        self._rows = self._looked = 0
        self._types: dict[str, str] = {}
        self._values, self._good = Counter[str](), Counter[str]()
        self._sums: dict[str, float] = {}
        self._hashes: dict[str, Hashes] = {}
        self._ends, self._measured = list[pl.DataFrame](), list[pl.DataFrame]()
        self._draw = Draw(SAMPLE // less, seed)

    def add(self, rows: pa.RecordBatch, bad: Mask | None = None) -> None:
        """Take a batch into account; of its bad rows only that they are there, not their values."""
        if not rows.num_rows:
            return
        asked = self._asked_of(decoded_schema(rows.schema))
        good = ~bad if bad is not None and bad.any() else None
        looks = not self._in_passing or self._looked <= self._whole + self._rows // ONE_OF
        frame = framed(rows, asked.roots if looks else asked.roots_in_passing)
        self._count(asked, rows, frame)
        self._measure(asked, frame, good)
        if looks:
            self._look(asked, frame)
        self._draw.add(rows, good)
        self._rows += rows.num_rows
        self._looked += rows.num_rows if looks else 0

    @property
    def profile(self) -> Profile:
        """Of what it has seen; adds up with others of as many parts."""
        self._settle()
        columns = {
            path: Merging(kind, self._values[path], self._good[path], self._sums.get(path), self._hashes.get(path))
            for path, kind in self._types.items()
        }
        return Profile(self._rows, self._looked, self._size, columns, widest(self._ends), self._draw.sample)

    def finish(self) -> list[ColumnProfile]:
        """The columns' profiles, in the order of the schema."""
        return self.profile.told()

    def _asked_of(self, schema: pa.Schema) -> _Asked:
        if self._asked is None or schema != self._asked.schema:
            self._settle()
            self._asked = _Asked(schema, self._shown)
            self._types |= self._asked.types
            self._draw.bind(self._asked.shown)
        return self._asked

    def _count(self, asked: _Asked, rows: pa.RecordBatch, frame: pl.DataFrame) -> None:
        for path, column in asked.counted.items():
            self._values[path] += rows.num_rows - _nulls(rows.column(column))
        if asked.nulls:
            for path, nulls in frame.select(asked.nulls).row(0, named=True).items():
                self._values[path] += rows.num_rows - nulls

    def _measure(self, asked: _Asked, frame: pl.DataFrame, good: Mask | None) -> None:
        if not asked.measures:
            return
        seen = (frame if good is None else frame.filter(pl.Series(good))).select(asked.measures)
        for path in asked.summed:
            self._good[path] += seen[f"count {path}"][0]
            self._sums[path] = self._sums.get(path, 0) + seen[f"sum {path}"][0]
        self._measured.append(seen)
        if len(self._measured) == _TOGETHER:
            self._settle()

    def _settle(self) -> None:
        """The ends of batches of one schema."""
        if self._asked is not None and self._measured:
            seen = pl.concat(self._measured)
            least = seen.select(pl.col(f"least {path}").min().alias(spelt(path)) for path in self._asked.scaled)
            greatest = seen.select(pl.col(f"greatest {path}").max().alias(spelt(path)) for path in self._asked.scaled)
            self._ends, self._measured = [widest([*self._ends, pl.concat([least, greatest])])], []

    def _look(self, asked: _Asked, frame: pl.DataFrame) -> None:
        hashed = frame.select(asked.hashes)
        for path, nothing in asked.nothing.items():
            known = self._hashes.get(path, _NONE)
            self._hashes[path] = _least(known, hashed[path], nothing, self._size)


class _Asked:
    """What is asked of each batch that has a schema."""

    def __init__(self, schema: pa.Schema, shown: Collection[str] | None) -> None:
        """`shown` are the columns of whose values it tells, None for all."""
        paths = dict(_paths(schema))
        operands = _operands(schema, paths)
        hashed = {path: x for path, x in operands.items() if x.family in PLAIN}
        counted = [column.name for column in schema if _knows_nulls(column.type)]
        polars = {path: x for path, x in operands.items() if path not in counted}
        self.schema = schema
        self.types = {path: shown_type(kind) for path, kind in paths.items()}
        self.shown = {path: x for path, x in hashed.items() if shown is None or path in shown}
        self.scaled = {path: x for path, x in self.shown.items() if x.family in _SCALED}
        self.summed = [path for path, x in self.scaled.items() if x.family is Family.NUMBER]
        self.counted = {path: root(schema, path) for path in paths if path not in polars}
        """By path the column whose nulls Arrow counts itself; of a type that polars can't read the whole column's."""
        self.nulls = [x.expr.null_count().alias(path) for path, x in polars.items()]
        self.measures = [expr for path, x in self.scaled.items() for expr in _measures(path, x)]
        self.hashes = [x.expr.hash(_SEED).alias(path) for path, x in hashed.items()]
        self.roots_in_passing = sorted({root(schema, path) for path in polars | self.scaled})
        self.roots = sorted({root(schema, path) for path in polars | hashed})
        self.nothing: dict[str, int] = {}
        if hashed:
            nobody = pa.RecordBatch.from_pylist([], schema)
            self.nothing = framed(nobody, self.roots).clear(1).select(self.hashes).row(0, named=True)


def _knows_nulls(kind: pa.DataType) -> bool:
    """Whether Arrow counts all that is missing: a NaN is."""
    return not pa.types.is_floating(kind)


def _nulls(column: pa.Array) -> int:
    if pa.types.is_dictionary(column.type) and column.dictionary.null_count:  # numbers that stand for nothing
        column = column.dictionary_decode()
    return int(column.null_count)


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


def _operands(schema: pa.Schema, paths: Iterable[str]) -> dict[str, Operand]:
    """But of columns whose type polars can't read."""
    read = [path for path in paths if readable(schema, path)]
    at = Columns(schema, read)
    return {path: at(path) for path in read}


def _measures(path: str, x: Operand) -> Iterator[pl.Expr]:
    if x.family is Family.NUMBER:
        yield x.expr.cast(pl.Float64).sum().alias(f"sum {path}")
        yield x.expr.count().alias(f"count {path}")
    yield x.expr.min().alias(f"least {path}")
    yield x.expr.max().alias(f"greatest {path}")


def _least(known: Hashes, hashes: pl.Series, nothing: int, size: int) -> Hashes:
    """The least distinct ones of both, ascending, but for what a missing value hashes to."""
    found: Hashes = hashes.to_numpy()
    if len(known) == size:
        return _with(known, found[found < known[-1]], nothing)[:size]
    if not len(known) and _SOME * size < len(found):
        some = _with(known, found[found < _SOME * size * 2**64 // len(found)], nothing)
        if len(some) >= size:
            return some[:size]
    return _with(known, found, nothing)[:size]


def _with(known: Hashes, more: Hashes, nothing: int) -> Hashes:
    """Sorted, which of so many is quicker than to look up each, as np.unique does."""
    every = np.sort(np.concatenate([known, more[more != nothing]]))
    return every[np.concatenate([[True], every[1:] != every[:-1]])] if len(every) else known
