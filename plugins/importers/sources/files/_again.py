"""Records that were no rows, read again by today's settings: for a replay, which has kept their bytes.

A file tells how its records are to be read, by its header and its dialect. So it has to be there as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pyarrow as pa

from importers.core.model import JSON, Batch, Reject, Stream
from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources._text.blocks import Block, Places
from importers.transport.files import File

if TYPE_CHECKING:
    from importers.sources.files._files import FileSource, Slice

Record: TypeAlias = Callable[[bytes], pa.RecordBatch | None]
"""A record's one row; None if it still is none."""


def reread(
    source: FileSource[Any], stream: Stream, partition: JSON, rejects: Sequence[Reject]
) -> list[pa.RecordBatch | None]:
    """Of each reject its row, or None."""
    planned = cast(Mapping[str, Any], partition)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["schema"])))
    readers: dict[str, Record] = {}
    found: list[pa.RecordBatch | None] = []
    for reject in rejects:
        part = next((part for part in planned["slices"] if _is_in(part["path"], reject.location)), None)
        if part is None:
            found.append(None)
            continue
        if part["path"] not in readers:
            readers[part["path"]] = _reader(source, stream, part, schema)
        found.append(readers[part["path"]](reject.raw))
    return found


def one_row(read: Callable[[Block, Places], Batch], path: str) -> Record:
    """By what reads blocks of a file."""

    def record(raw: bytes) -> pa.RecordBatch | None:
        batch = read(Block(0, bytearray(raw), len(raw)), Places(path, lambda _, __: 0, line=None))
        return batch.rows if batch.rows.num_rows == 1 and not batch.rejects else None

    return record


def _is_in(path: str, location: str) -> bool:
    """Whether a place, as `Places` writes it, is in the file."""
    return location.startswith((f"{path}:line ", f"{path}@byte "))


def _reader(source: FileSource[Any], stream: Stream, part: Slice, schema: pa.Schema) -> Record:
    file = File.of(part)
    try:
        source.files.unchanged(file)
        record = source.record(stream, file, schema)
    except (ConfigError, ContractError, FatalSourceError):  # it has changed, or is gone
        record = None

    def dated(raw: bytes) -> pa.RecordBatch | None:
        try:
            row = record(raw) if record else None
        except ContractError:
            return None
        return None if row is None else source.dated(Batch(row), stream, part).rows

    return dated
