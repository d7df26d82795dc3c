"""Parquet files, by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from importers.core.model import Batch, Stream
from importers.core.places import numbered, stretch
from importers.exceptions import ContractError
from importers.sources._types import loadable
from importers.sources.files._declared import DeclaringFileSource, shared_out, unfit
from importers.sources.files._files import FileConfig, Slice, wanted
from importers.sources.files._where import Comparisons, Where
from importers.transport.files import File, Files

ROWS = 64 * 1024


class ParquetConfig(FileConfig):
    """Types come from the footers; no row is sampled."""

    where: dict[str, Comparisons] = Field(
        {},
        description="Which rows to read, by columns as the file has them, whatever `types` makes of them: all "
        "comparisons must hold. `eq`, `ne`, `lt`, `le`, `gt`, `ge` take a value, `in` and `not_in` a list; none holds "
        "for a null. Row groups that can't have such a row, by their statistics, aren't read. Other rows aren't "
        "counted, and files that are loaded aren't read again when this changes.",
        examples=[{"ms_played": {"ge": 30000}, "country": {"in": ["DE", "FR"]}}],
    )


class Parquet(DeclaringFileSource[ParquetConfig]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64)."""

    title: ClassVar[str] = "Parquet files"
    config_model = ParquetConfig
    dense = 4

    def schema(self, files: Sequence[File]) -> pa.Schema:
        schema = super().schema(files)
        Where(self.config.where, schema)  # a mistake in it is told before anything is read
        return schema

    def cut(self, file: File, pieces: int) -> list[Slice]:
        where = self._where(file)
        with _read(self.files, file) as parquet:
            weights = [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups)]
        possible = frozenset(self._possible(where, file, range(len(weights))))
        groups: list[Slice] = [
            {"start": n, "end": n + 1, "weight": weight if n in possible else 0} for n, weight in enumerate(weights)
        ]
        return shared_out(groups, sum(group["weight"] for group in groups) / pieces)

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target, where = wanted(stream, schema), self._where(file)
        names = list(dict.fromkeys([*target.names, *(where.columns if where else ())]))
        possible = self._possible(where, file, range(part["start"], part["end"]))
        with _read(self.files, file) as parquet:
            sizes = [parquet.metadata.row_group(group).num_rows for group in range(part["end"])]
            for groups in _neighbours(possible):
                number = 1 + sum(sizes[: groups[0]])
                for rows in parquet.iter_batches(ROWS, row_groups=groups, columns=names, use_threads=False):
                    if where is None:
                        yield Batch(_as(target, rows, file.path), places=stretch(f"{file.path}:row ", number))
                    elif len(kept := where.rows(rows)):
                        found = _as(_loadable(rows.schema), rows, file.path).take(pa.array(kept))
                        places = numbered(f"{file.path}:row ", kept + number)
                        yield Batch(_as(target, found, file.path), places=places)
                    number += rows.num_rows

    def _where(self, file: File) -> Where | None:
        return Where(self.config.where, self.declared(file)) if self.config.where else None

    def _possible(self, where: Where | None, file: File, groups: range) -> list[int]:
        """Of the row groups those that may have rows which are wanted."""
        if where is None:
            return list(groups)
        with _whole(self.files, file) as raw:
            possible = where.groups(raw)
        return [group for group in groups if group in possible]

    def declared(self, file: File) -> pa.Schema:
        with _read(self.files, file) as parquet:
            found = parquet.schema_arrow.remove_metadata()
        twice = {name for name in found.names if found.names.count(name) > 1}
        if twice:
            raise ContractError(f"the file '{file.path}' has several columns called {', '.join(sorted(twice))}")
        return _loadable(found)


def _loadable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, loadable(field.type)) for field in schema])


def _neighbours(groups: Sequence[int]) -> list[list[int]]:
    """Row groups that follow each other, together."""
    begin = np.flatnonzero(np.diff(groups, prepend=-1) != 1)
    return [part.tolist() for part in np.split(np.array(groups, np.int64), begin) if part.size]


def _as(target: pa.Schema, rows: pa.RecordBatch, path: str) -> pa.RecordBatch:
    try:
        columns = [rows.column(field.name).cast(field.type) for field in target]
    except pa.ArrowInvalid:
        raise unfit(path, rows.schema, target) from None
    return pa.RecordBatch.from_arrays(columns, schema=target)


@contextmanager
def _read(files: Files, file: File) -> Iterator[pq.ParquetFile]:
    with _whole(files, file) as raw, pq.ParquetFile(raw) as parquet:
        yield parquet


@contextmanager
def _whole(files: Files, file: File) -> Iterator[pa.NativeFile]:
    with files.opened(file) as raw:
        try:
            yield raw
        except (pa.ArrowException, OSError):
            raise ContractError(
                f"the file '{file.path}' isn't a whole Parquet file",
                got=f"{file.size:,} bytes",
                do="have it written again; let writers rename a finished file into place",
            ) from None
