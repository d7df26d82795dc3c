"""Makes a profile, batch by batch, in one polars pass over each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from importers.core.destination import Mask
from importers.exceptions import ConfigError
from importers.quality.columns import PLAIN, Columns, Family, Operand, root
from importers.quality.profile import LEAST_HASHES, SAMPLE, ColumnProfile, Hashes, Merging, Profile, widest
from importers.quality.sample import Sample

WHOLE, ONE_OF = 100_000, 16
"""In passing: so many rows are all looked at for distinct values, of those after them one in so many."""
_SCALED = frozenset({Family.NUMBER, Family.DATE, Family.DATETIME, Family.INSTANT})
_SEED = 0
_SOME = 16  # times as many hashes as are kept are looked at first: they do where values hardly repeat


class Profiler:
    """Fed with batches, whose types may widen from one to the next; holds a sample and a few numbers a column."""

    def __init__(self, shown: Collection[str] | None = None, *, in_passing: bool = False, seed: int = 0) -> None:
        """`shown` are the columns of whose values it tells, None for all. `seed` differs where profiles add up."""
        self._shown, self._in_passing = shown, in_passing
        parts = 4 if in_passing else 1
        self._random = np.random.default_rng(seed)
        self._size = LEAST_HASHES // parts
        self._schema: pa.Schema | None = None
        self._operands: dict[str, Operand] = {}
        self._nothing: dict[str, int] = {}
        self._rows = self._looked = 0
        self._columns: dict[str, Merging] = {}
        self._ends: list[pl.DataFrame] = []
        self._sample, self._drawn = Sample.empty(SAMPLE // parts), list[Sample]()

    def add(self, rows: pa.RecordBatch, bad: Mask | None = None) -> None:
        """Take a batch into account; of its bad rows only that they are there, not their values."""
        if not rows.num_rows:
            return
        if rows.schema != self._schema:
            self._bind(rows.schema)
        shown = {path: x for path, x in self._operands.items() if self._shows(path, x)}
        good = ~bad if bad is not None and bad.any() else None
        looks = not self._in_passing or self._looked <= WHOLE + self._rows // ONE_OF
        read = self._operands if looks else self._not_free(shown)
        frame = _frame(rows, read)
        asked = [expr for path, x in read.items() for expr in _questions(path, x, path in shown, good)]
        seen = frame.select([*asked, *(self._hashing(rows.num_rows) if looks else ())])
        hashes = self._least_hashes(frame, seen) if looks else {}
        for path, kind in _paths(rows.schema):
            column = _column(path, kind, seen, rows, hashes.get(path))
            self._columns[path] = self._columns[path].plus(column, self._size) if path in self._columns else column
        self._ends.append(_ends([path for path, x in shown.items() if x.family in _SCALED], seen))
        self._rows += rows.num_rows
        self._looked += rows.num_rows if looks else 0
        if shown:
            self._draw(rows, shown, good)

    @property
    def profile(self) -> Profile:
        """Of what it has seen; adds up with others of as many parts."""
        sample = Sample.of([self._sample, *self._drawn])
        return Profile(self._rows, self._looked, self._size, dict(self._columns), widest(self._ends), sample)

    def finish(self) -> list[ColumnProfile]:
        """The columns' profiles, in the order of the schema."""
        return self.profile.told()

    def sample(self, path: str) -> pa.Array | None:
        """The sampled values of a column, nulls left out."""
        values = self.profile.values(path)
        return values.to_arrow() if values.len() else None

    def _bind(self, schema: pa.Schema) -> None:
        self._schema, self._operands = schema, dict(_operands(schema))
        hashed = {path: x for path, x in self._operands.items() if x.family in PLAIN}
        self._nothing = {path: pl.Series([None], dtype=x.dtype).hash(_SEED)[0] for path, x in hashed.items()}

    def _shows(self, path: str, x: Operand) -> bool:
        return x.family in PLAIN and (self._shown is None or path in self._shown)

    def _not_free(self, shown: Mapping[str, Operand]) -> dict[str, Operand]:
        """What has to be read although nobody looks for distinct values: Arrow counts most columns' nulls itself."""
        scaled = {path for path, x in shown.items() if x.family in _SCALED}
        columns = self._schema.names if self._schema else ()
        return {p: x for p, x in self._operands.items() if p in scaled or p not in columns or x.dtype.is_float()}

    def _draw(self, rows: pa.RecordBatch, shown: Mapping[str, Operand], good: Mask | None) -> None:
        self._drawn.append(self._sample.drawn(rows, shown, self._random, good))
        if sum(map(len, self._drawn)) >= self._sample.size:
            self._sample, self._drawn = Sample.of([self._sample, *self._drawn]), []

    def _hashing(self, rows: int) -> Iterator[pl.Expr]:
        """The batch's distinct hashes, as far as they may be among the least."""
        for path in self._nothing:
            hashed, known = self._operands[path].expr.hash(_SEED), self._hashed(path)
            if len(known) >= self._size:
                hashed = hashed.filter(hashed < int(known[-1]))
            elif not len(known) and _SOME * self._size < rows:
                hashed = hashed.filter(hashed < _SOME * self._size * 2**64 // rows)
            yield hashed.unique().implode().alias(f"hashes {path}")

    def _hashed(self, path: str) -> Sequence[np.uint64] | Hashes:
        column = self._columns.get(path)
        return () if column is None or column.hashes is None else column.hashes

    def _least_hashes(self, frame: pl.DataFrame, seen: pl.DataFrame) -> dict[str, Hashes]:
        found = {path: seen[f"hashes {path}"][0] for path in self._nothing}
        few = [path for path, one in found.items() if not len(self._hashed(path)) and one.len() <= self._size]
        again = frame.select(self._operands[path].expr.hash(_SEED).unique().implode().alias(path) for path in few)
        found |= {path: again[path][0] for path in few}
        return {path: _ascending(one, self._nothing[path])[: self._size] for path, one in found.items()}


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
        except ConfigError:  # a type that polars can't read
            continue


def _questions(path: str, x: Operand, shown: bool, good: Mask | None) -> Iterator[pl.Expr]:
    yield x.expr.null_count().alias(f"nulls {path}")
    values = x.expr if good is None else x.expr.filter(pl.Series(good))
    if shown and x.family is Family.NUMBER:
        yield values.cast(pl.Float64).sum().alias(f"sum {path}")
        yield values.count().alias(f"count {path}")
    if shown and x.family in _SCALED:
        yield values.min().alias(f"least {path}")
        yield values.max().alias(f"greatest {path}")


def _frame(rows: pa.RecordBatch, paths: Collection[str]) -> pl.DataFrame:
    read = sorted({root(rows.schema, path) for path in paths})
    return pl.DataFrame(pl.from_arrow(rows.select(read))) if read else pl.DataFrame()


def _column(path: str, kind: pa.DataType, seen: pl.DataFrame, rows: pa.RecordBatch, hashes: Hashes | None) -> Merging:
    def said(name: str) -> Any:
        return seen[f"{name} {path}"][0] if f"{name} {path}" in seen.columns else None

    nulls = said("nulls")
    if nulls is None:  # polars needn't look at it, or can't
        nulls = rows.column(path.split(".")[0]).null_count
    return Merging(str(kind), rows.num_rows - nulls, said("count") or 0, said("sum"), hashes)


def _ends(paths: list[str], seen: pl.DataFrame) -> pl.DataFrame:
    ends = [seen.select(pl.col(f"{end} {path}").alias(path) for path in paths) for end in ("least", "greatest")]
    return pl.concat(ends)


def _ascending(hashes: pl.Series, nothing: int) -> Hashes:
    """But for what a missing value hashes to."""
    ordered: Hashes = hashes.filter(hashes != nothing).sort().to_numpy()
    return ordered
