"""PostgreSQL's text holds every character but one: a row with a NUL in it is put aside before it is staged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from importers.core.model import Reject
from importers.destinations._rows import as_json


def sift(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, tuple[Reject, ...]]:
    """The rows that can be stored, and the others as JSON. Costs a look at the text's bytes where there is no NUL."""
    suspects = [name for name in rows.schema.names if any(_has_nul(leaf) for leaf in _texts(rows.column(name)))]
    if not suspects:
        return rows, ()
    guilty = {name: _rows_with_nul(rows.column(name)) for name in suspects}
    bad = np.logical_or.reduce(list(guilty.values()))
    records = as_json(rows.filter(pa.array(bad)).to_struct_array()).to_pylist()
    rejects = []
    for record, row in zip(records, np.flatnonzero(bad), strict=True):
        columns = ", ".join(name for name in suspects if guilty[name][row])
        rejects.append(Reject(record.encode(), "", f"{columns}: text with a NUL, which PostgreSQL can't hold"))
    return rows.filter(pa.array(~bad)), tuple(rejects)


def _texts(array: pa.Array) -> Iterator[pa.Array]:
    """The text leaves of a column, however deep."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield array
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            yield from _texts(child)
    elif pa.types.is_map(kind):
        yield from _texts(array.keys)
        yield from _texts(array.items)
    elif pa.types.is_nested(kind):
        yield from _texts(array.flatten())
    elif pa.types.is_dictionary(kind):
        yield from _texts(array.dictionary)


def _has_nul(texts: pa.Array) -> bool:
    _, ends, data = texts.buffers()
    if data is None or not len(texts):
        return False
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    offsets = np.frombuffer(ends, width)
    shown = np.frombuffer(data, np.uint8)[offsets[texts.offset] : offsets[texts.offset + len(texts)]]
    return shown.size > 0 and bool(shown.min() == 0)


def _rows_with_nul(column: pa.Array) -> npt.NDArray[np.bool_]:
    nested = pa.types.is_nested(column.type)
    texts = pl.Series(as_json(column) if nested else column).cast(pl.String)
    found: npt.NDArray[np.bool_] = (
        texts.str.contains(r"\u0000" if nested else "\0", literal=True).fill_null(False).to_numpy()
    )
    return found
