"""Records that were no rows, read again by today's settings: for a replay, which has kept their bytes.

A file tells how its records are to be read, by its header and its dialect. So it has to be there as it was.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pyarrow as pa

from importers.core.model import JSON, Batch, Reject, Stream
from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources._text.blocks import BLOCK, Block, LineNumbers
from importers.transport.files import File

if TYPE_CHECKING:
    from importers.sources.files._files import FileSource
    from importers.sources.files._slices import Slice

Record: TypeAlias = Callable[[Sequence[bytes]], Sequence[pa.RecordBatch | None]]
"""Of each record its one row; None if it still is none."""


def reread(
    source: FileSource[Any], stream: Stream, partition: JSON, rejects: Sequence[Reject]
) -> list[pa.RecordBatch | None]:
    """Of each reject its row, or None."""
    planned = cast(Mapping[str, Any], partition)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["schema"])))
    slices = _by_name(planned["slices"])
    found: list[pa.RecordBatch | None] = [None] * len(rejects)
    of: dict[File, list[tuple[int, Slice]]] = {}
    for number, reject in enumerate(rejects):
        part = _slice_of(reject.location, slices)
        if part is not None:
            of.setdefault(File.of(part), []).append((number, part))
    for file, those in of.items():
        record = _reader(source, stream, file, schema)
        rows = record([rejects[number].raw for number, _ in those]) if record else [None] * len(those)
        for (number, part), row in zip(those, rows, strict=True):
            found[number] = None if row is None else source.dated(Batch(row), stream, part).rows
    return found


def one_row(read: Callable[[Block, LineNumbers], Batch], name: str) -> Record:
    """By what reads blocks of a file, whose `name` messages have: a record at a time."""

    def row(raw: bytes) -> pa.RecordBatch | None:
        try:
            batch = read(Block(0, bytearray(raw), len(raw)), LineNumbers(name))
        except ContractError:
            return None
        return batch.rows if batch.rows.num_rows == 1 and not batch.rejects else None

    return lambda raws: [row(raw) for raw in raws]


def many_rows(read: Callable[[Block, LineNumbers], Batch], whole: Callable[[bytes], bytes | None], name: str) -> Record:
    """As `one_row`, in the time of a few. `whole` gives of a record what ends with a newline before any other one; None
    if it isn't a whole record.
    """
    each = one_row(read, name)

    def together(raws: Sequence[bytes]) -> Sequence[pa.RecordBatch | None]:
        kept = [(number, said) for number, raw in enumerate(raws) if (said := whole(raw)) is not None]
        found: list[pa.RecordBatch | None] = [None] * len(raws)
        for some in _pieces(kept):
            records = [said for _, said in some]
            rows = _at_once(read, records)
            for (number, _), row in zip(some, each(records) if rows is None else rows, strict=True):
                found[number] = row
        return found

    return together


def _pieces(records: Sequence[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """As many as a block may have bytes of."""
    some: list[tuple[int, bytes]] = []
    size = 0
    for number, raw in records:
        if some and size + len(raw) > BLOCK:
            yield some
            some, size = [], 0
        some.append((number, raw))
        size += len(raw)
    if some:
        yield some


def _at_once(
    read: Callable[[Block, LineNumbers], Batch], records: Sequence[bytes]
) -> Sequence[pa.RecordBatch | None] | None:
    """Of each record its row, or None; no sequence if they can't be told apart."""
    data = bytearray(b"".join(raw + b"\n" for raw in records))
    begin = dict(zip(accumulate((len(raw) + 1 for raw in records), initial=0), range(len(records)), strict=False))
    try:
        batch = read(Block(0, data, len(data)), LineNumbers(""))
    except ContractError:
        return None
    refused = {begin.get(int(each.location.removeprefix("@byte "))) for each in batch.rejects}
    if None in refused or len(refused) != len(batch.rejects) or len(refused) + batch.rows.num_rows != len(records):
        return None
    rows = (batch.rows.slice(number, 1) for number in range(batch.rows.num_rows))
    return [None if number in refused else next(rows) for number in range(len(records))]


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
