"""Parquet files, by row group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from importers.core.model import Batch, Stream
from importers.core.places import stretch
from importers.exceptions import ContractError
from importers.sources._types import loadable
from importers.sources.files._declared import DeclaringFileSource, shared_out, unfit
from importers.sources.files._files import FileConfig, Slice, wanted
from importers.transport.files import File, Files

ROWS = 64 * 1024


class ParquetConfig(FileConfig):
    """Types come from the footers; no row is sampled."""


class Parquet(DeclaringFileSource[ParquetConfig]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64)."""

    title: ClassVar[str] = "Parquet files"
    config_model = ParquetConfig

    def cut(self, file: File, pieces: int) -> list[Slice]:
        with _read(self.files, file) as parquet:
            weights = [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups)]
        groups: list[Slice] = [{"start": n, "end": n + 1, "weight": weight} for n, weight in enumerate(weights)]
        return shared_out(groups, sum(weights) / pieces)

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target = wanted(stream, schema)
        groups = list(range(part["start"], part["end"]))
        with _read(self.files, file) as parquet:
            number = 1 + sum(parquet.metadata.row_group(group).num_rows for group in range(part["start"]))
            for rows in parquet.iter_batches(ROWS, row_groups=groups, columns=target.names, use_threads=False):
                try:
                    columns = [rows.column(field.name).cast(field.type) for field in target]
                except pa.ArrowInvalid:
                    raise unfit(file.path, rows.schema, target) from None
                yield Batch(
                    pa.RecordBatch.from_arrays(columns, schema=target), places=stretch(f"{file.path}:row ", number)
                )
                number += rows.num_rows

    def declared(self, file: File) -> pa.Schema:
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
