"""Parquet files, by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from importers.core.model import Batch, Stream
from importers.exceptions import ContractError
from importers.sources.files._files import FileConfig, FileSource, Slice, loadable, same_columns, wanted
from importers.transport.files import File, Files

ROWS = 64 * 1024


class ParquetConfig(FileConfig):
    """Types come from the footers; no row is sampled."""


class Parquet(FileSource[ParquetConfig]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64)."""

    title: ClassVar[str] = "Parquet files"
    config_model = ParquetConfig

    def schema(self, files: Sequence[File]) -> pa.Schema:
        first, last = self._declared(files[0]), self._declared(files[-1])
        same_columns(files[-1].path, last.names, first.names)
        return _widest(files[-1], first, last)

    def fits(self, file: File, schema: pa.Schema) -> None:
        own = self._declared(file)
        same_columns(file.path, own.names, schema.names)
        expected = pa.schema([field for field in schema if field.name not in self.config.types])
        own = pa.schema([own.field(field.name) for field in expected])
        if _widest(file, expected, own) != expected:
            raise ContractError(
                f"the file '{file.path}' has wider types than the first and the last file",
                got=f"{_types(own)}, expected {_types(expected)}",
                do="set `types`, or give it a pipeline of its own",
            )

    def cut(self, file: File, pieces: int) -> list[Slice]:
        with _read(self.files, file) as parquet:
            weights = [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups)]
        share = sum(weights) / pieces
        slices: list[Slice] = []
        for group, weight in enumerate(weights):
            if slices and slices[-1]["weight"] + weight / 2 <= share:
                slices[-1]["end"], slices[-1]["weight"] = group + 1, slices[-1]["weight"] + weight
            else:
                slices.append({"start": group, "end": group + 1, "weight": weight})
        return slices

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target = wanted(stream, schema)
        groups = list(range(part["start"], part["end"]))
        with _read(self.files, file) as parquet:
            for rows in parquet.iter_batches(ROWS, row_groups=groups, columns=target.names, use_threads=False):
                try:
                    columns = [rows.column(field.name).cast(field.type) for field in target]
                except pa.ArrowInvalid:
                    raise ContractError(
                        f"a value of the file '{file.path}' doesn't fit its column's type",
                        got=f"{_types(rows.schema)}, expected {_types(target)}",
                        do="correct `types`",
                    ) from None
                yield Batch(pa.RecordBatch.from_arrays(columns, schema=target))

    def _declared(self, file: File) -> pa.Schema:
        with _read(self.files, file) as parquet:
            found = parquet.schema_arrow.remove_metadata()
        twice = {name for name in found.names if found.names.count(name) > 1}
        if twice:
            raise ContractError(f"the file '{file.path}' has several columns called {', '.join(sorted(twice))}")
        return pa.schema([(field.name, loadable(field.type)) for field in found])


@contextmanager
def _read(files: Files, file: File) -> Iterator[pq.ParquetFile]:
    with files.opened(file) as raw:
        try:
            with pq.ParquetFile(raw) as parquet:
                yield parquet
        except (pa.ArrowException, OSError):
            raise ContractError(
                f"the file '{file.path}' isn't a whole Parquet file",
                got=f"{file.size:,} bytes",
                do="have it written again; let writers rename a finished file into place",
            ) from None


def _widest(file: File, one: pa.Schema, other: pa.Schema) -> pa.Schema:
    try:
        return pa.unify_schemas([one, other], promote_options="permissive")
    except pa.ArrowException:
        raise ContractError(
            f"the file '{file.path}' has types that don't go with those of the files before it",
            got=f"{_types(other)}, expected {_types(one)}",
            do="give it a pipeline of its own",
        ) from None


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
