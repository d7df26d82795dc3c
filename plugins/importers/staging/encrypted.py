"""The format of rows that outlive their run, in quarantine: Parquet, encrypted whole under a key of the file's own.

The only module that knows it. The file's key travels in the file, sealed by the run's key for the file's path: a file
that is moved, renamed or swapped doesn't open.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet import encryption as pe

from importers.core.names import shown_type
from importers.exceptions import ContractError
from importers.keys.keyring import RunKey

ROWS_A_GROUP, BYTES_A_GROUP = 131_072, 32 << 20
"""A row group is written at whichever comes first; the encoder needs about as much memory again."""
ROWS_A_BATCH = 65_536


class _SealedInFile(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Arrow's name for whoever wraps a file's key: ours seals it for the file's path."""

    def __init__(self, key: RunKey, path: str) -> None:
        super().__init__()
        self._key, self._path = key, path

    def wrap_key(self, key_bytes: bytes, _master: str) -> str:
        return base64.b64encode(self._key.seal(key_bytes, self._path.encode())).decode()

    def unwrap_key(self, wrapped_key: str, _master: str) -> bytes:
        return self._key.open(base64.b64decode(wrapped_key), self._path.encode())


class EncryptedWriter:
    """Writes batches of one schema to `sink`, and closes it. Holds at most one row group."""

    def __init__(self, sink: pa.NativeFile, schema: pa.Schema, key: RunKey, path: str, *, compress: bool) -> None:
        """`compress` costs more than it saves on a local disk, and less on a network. Raises ContractError."""
        factory = pe.CryptoFactory(lambda _: _SealedInFile(key, path))
        properties = factory.file_encryption_properties(
            pe.KmsConnectionConfig(),
            pe.EncryptionConfiguration(
                footer_key="run", uniform_encryption=True, double_wrapping=False, data_key_length_bits=256
            ),
        )
        self.schema, self.rows = schema, 0
        self._sink = sink
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        try:
            self._writer = pq.ParquetWriter(
                sink,
                schema,
                compression="lz4" if compress else "none",
                use_dictionary=False,  # a dictionary costs three times the CPU of what it saves
                write_statistics=False,
                encryption_properties=properties,
            )
        except pa.ArrowNotImplementedError:
            raise ContractError(
                "a column's type can't be staged",
                got=", ".join(f"{f.name}: {shown_type(f.type)}" for f in schema if pa.types.is_nested(f.type))
                or str(schema.types),
                do="read it as another type, or drop the column",
            ) from None

    def write(self, batch: pa.RecordBatch) -> None:
        """Raises OSError."""
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        if self._held_rows >= ROWS_A_GROUP or self._held_bytes >= BYTES_A_GROUP:
            self._flush()

    def close(self) -> None:
        """Raises OSError."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def abandon(self) -> None:
        """Let go of a file that nobody will read."""
        self._held.clear()
        for closeable in (self._writer, self._sink):
            with suppress(OSError):
                closeable.close()

    def _flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches([b.replace_schema_metadata(None) for b in self._held], schema=self.schema)
            self._writer.write_table(table, row_group_size=ROWS_A_GROUP)
            self.rows += self._held_rows
            self._held, self._held_rows, self._held_bytes = [], 0, 0


def read(source: pa.NativeFile, key: RunKey, path: str, *, prefetch: bool) -> Iterator[pa.RecordBatch]:
    """A file's batches, in memory one row group at a time.

    `prefetch` reads a row group in few large requests. Raises PrivacyError for another key or path; what a damaged
    file raises is OSError or ArrowInvalid, whose texts may hold values.
    """
    file = _open(source, key, path, prefetch=prefetch)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(ROWS_A_BATCH, row_groups=[group])


def read_table(source: pa.NativeFile, key: RunKey, path: str) -> pa.Table:
    """All of a file at once; raises as `read` does."""
    return _open(source, key, path, prefetch=False).read()


def read_schema(source: pa.NativeFile, key: RunKey, path: str) -> pa.Schema:
    """A file's columns, of which no row is read; raises as `read` does."""
    return _open(source, key, path, prefetch=False).schema_arrow


def _open(source: pa.NativeFile, key: RunKey, path: str, *, prefetch: bool) -> pq.ParquetFile:
    factory = pe.CryptoFactory(lambda _: _SealedInFile(key, path))
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig())
    return pq.ParquetFile(source, decryption_properties=properties, pre_buffer=prefetch)
