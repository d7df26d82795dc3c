"""Where rows stood in their source, for the person who has to mend one: said once for each stretch of rows.

A source knows it while it reads, and only then; which rows are bad shows later, maybe in another process. So it is kept
for all of them, and must cost next to nothing: `plays.csv:line 2` stands for a row and all that follow it line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]

PLACES = pa.schema([("row", pa.int64()), ("place", pa.dictionary(pa.int32(), pa.string())), ("number", pa.int64())])
"""From `row` on, counted from 0, rows stand at `place` followed by `number`, by the next number, and so on; without a
number all of them at `place`; without a place nobody knows where.
"""


def stretch(place: str, first: int) -> pa.RecordBatch:
    """Rows that stand one after the other: `place` ends where a number is to follow."""
    # One entry, made in half the time that it takes to look for what the dictionary has to hold.
    places = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([place]))
    return pa.RecordBatch.from_arrays([pa.array([0], pa.int64()), places, pa.array([first], pa.int64())], schema=PLACES)


def ascending(place: str, numbers: Numbers) -> pa.RecordBatch:
    """Rows that stand at these numbers, each of which is greater than the one before."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1:
        return stretch(place, int(numbers[0]))
    return numbered(place, numbers)


def numbered(place: str, numbers: Numbers) -> pa.RecordBatch:
    """Rows that stand at these numbers, ascending or not."""
    begin = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1)
    return _made(begin, pa.repeat(place, len(begin)), pa.array(numbers[begin], pa.int64()))


def named(places: pa.Array) -> pa.RecordBatch:
    """Rows each of which has a place of its own, or null."""
    return _made(np.arange(len(places)), places, pa.nulls(len(places), pa.int64()))


def together(parts: Sequence[tuple[pa.RecordBatch | None, int]]) -> pa.RecordBatch:
    """The places of rows that come one part after the other, each with how many rows it has."""
    moved, rows = [], 0
    for places, many in parts:
        part = named(pa.nulls(min(many, 1), pa.string())) if places is None else places
        moved.append(part.set_column(0, PLACES.field("row"), pc.add(part["row"], rows)))
        rows += many
    whole = pa.Table.from_batches(moved, PLACES).unify_dictionaries().combine_chunks()
    return (whole.to_batches() or [pa.RecordBatch.from_pylist([], PLACES)])[0]


def located(places: pa.RecordBatch | None, rows: Numbers) -> pa.Array:
    """The places of some rows, as text; null where nobody knows."""
    if places is None or not places.num_rows:
        return pa.nulls(len(rows), pa.string())
    begin = places["row"].to_numpy()
    at = np.searchsorted(begin, rows, side="right") - 1
    place, first = places["place"].cast(pa.string()).take(pa.array(at)), places["number"].take(pa.array(at))
    number = pc.add(first, pa.array(rows - begin[at], pa.int64())).cast(pa.string())
    return pc.coalesce(pc.binary_join_element_wise(place, number, ""), place)


def to_bytes(places: pa.RecordBatch) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, PLACES) as stream:
        stream.write_batch(places)
    return sink.getvalue()


def from_bytes(data: bytes) -> pa.RecordBatch:
    """What `to_bytes` made."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        return stream.read_next_batch()


def _made(rows: Numbers, places: pa.Array, numbers: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(rows, pa.int64()), places.dictionary_encode(), numbers], schema=PLACES)
