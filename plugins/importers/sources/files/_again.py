"""Records that were no rows, read again by today's settings: for a replay, which has kept their bytes.

A file tells how its records are to be read, by its header and its dialect. So it has to be there as it was.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pyarrow as pa

from importers.core.model import JSON, Batch, Reject, Stream
from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources._text.blocks import Block, LineNumbers
from importers.transport.files import File

if TYPE_CHECKING:
    from importers.sources.files._files import FileSource
    from importers.sources.files._slices import Slice

Record: TypeAlias = Callable[[bytes], pa.RecordBatch | None]
"""A record's one row; None if it still is none."""


def reread(
    source: FileSource[Any], stream: Stream, partition: JSON, rejects: Sequence[Reject]
) -> list[pa.RecordBatch | None]:
    """Of each reject its row, or None."""
    planned = cast(Mapping[str, Any], partition)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["schema"])))
    slices = _by_name(planned["slices"])
    readers: dict[File, Record | None] = {}
    found: list[pa.RecordBatch | None] = []
    for reject in rejects:
        part = _slice_of(reject.location, slices)
        row = None
        if part is not None:
            file = File.of(part)
            if file not in readers:
                readers[file] = _reader(source, stream, file, schema)
            row = _row(readers[file], reject.raw)
        found.append(None if part is None or row is None else source.dated(Batch(row), stream, part).rows)
    return found


def one_row(read: Callable[[Block, LineNumbers], Batch], name: str) -> Record:
    """By what reads blocks of a file, whose `name` messages have."""

    def record(raw: bytes) -> pa.RecordBatch | None:
        batch = read(Block(0, bytearray(raw), len(raw)), LineNumbers(name))
        return batch.rows if batch.rows.num_rows == 1 and not batch.rejects else None

    return record


def _by_name(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    """The slices under their files' names, in their order. Those of an archive's members also under the archive's: so
    places were written once.
    """
    found: dict[str, list[Slice]] = {}
    for part in slices:
        for name in {File.of(part).shown, part["path"]}:
            found.setdefault(name, []).append(part)
    return found


def _slice_of(location: str, slices: Mapping[str, Sequence[Slice]]) -> Slice | None:
    """Which one a line's, a byte's or a record's place lies in; None where it may be in several files."""
    place = _PLACE.fullmatch(location)
    parts = slices.get(place["file"], ()) if place else ()
    if place is None or len({File.of(part) for part in parts}) != 1:
        return None
    begin = _byte if place["by"] == "@byte " else _line
    return next((part for part in reversed(parts) if begin(part) <= int(place["number"])), None)


_PLACE = re.compile(r"(?P<file>.*)(?P<by>:line |:record |@byte )(?P<number>\d+)", re.DOTALL)


def _byte(part: Slice) -> int:
    return int(part["start"])


def _line(part: Slice) -> float:
    """Or record, that it begins with; a slice for which nobody has counted has places by bytes alone."""
    return float(part.get("line", inf if part["start"] else 1))


def _reader(source: FileSource[Any], stream: Stream, file: File, schema: pa.Schema) -> Record | None:
    try:
        source.files.unchanged(file)
        return source.record(stream, file, schema)
    except (ConfigError, ContractError, FatalSourceError):  # it has changed, or is gone
        return None


def _row(record: Record | None, raw: bytes) -> pa.RecordBatch | None:
    try:
        return record(raw) if record else None
    except ContractError:
        return None
