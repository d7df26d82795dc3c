"""Rows that PostgreSQL has no way to hold, found before they are staged for it: one would fail its whole partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.destination import Mask
from importers.core.exact import is_text

FIRST, END = np.datetime64("-4712-01-01", "D"), np.datetime64("262142-01-01", "D")
"""PostgreSQL's calendar begins in 4713 BC; polars', which masks dates and writes JSON, ends sooner than its."""
LONGEST_KEY = 2_600
"""Bytes of a whole primary key. An entry of a B-tree has 2,704, and its header takes some."""
_ENVELOPE = 17
"""Bytes that deterministic encryption adds to a value."""


def unfit(rows: pa.RecordBatch, key: Sequence[str]) -> dict[str, Mask]:
    """Why rows can't be stored → which. Costs a look at each column's bytes where all is well."""
    found: dict[str, Mask] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        for reason, mask in _wrong(column):
            said = f"{name}: {reason}"
            found[said] = found[said] | mask if said in found else mask
    for name in key:
        cut = _cut(rows.column(name))
        if cut is not None:
            found[f"{name}: digits below a microsecond in a key, which PostgreSQL would cut"] = cut
    longest = _key_bytes(rows, key)
    if longest.max(initial=0) > LONGEST_KEY:
        found[f"{', '.join(key)}: a key of more than {LONGEST_KEY:,} bytes"] = longest > LONGEST_KEY
    return found


def _wrong(column: pa.Array, *, nested: bool = False) -> Iterator[tuple[str, Mask]]:
    """The reasons that leaves of the column give, however deep, and its rows that have such a leaf."""
    kind = column.type
    if t.is_dictionary(kind):
        if any(_wrong(column.dictionary, nested=nested)):
            yield from _wrong(column.dictionary_decode(), nested=nested)
    elif t.is_struct(kind):
        for child in column.flatten():
            yield from _wrong(child, nested=True)
    elif t.is_map(kind):
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        yield from _wrong(column.cast(pa.list_(entry)), nested=True)
    elif t.is_nested(kind):
        yield from _wrong_items(column)
    else:
        found = _leaf(column, nested)
        if found is not None and found[1].any():  # what lies hidden beneath a null harms nobody
            yield found


def _wrong_items(lists: pa.Array) -> Iterator[tuple[str, Mask]]:
    # not `list_parent_indices`, which counts the items that lie hidden beneath a null
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    parents = np.repeat(np.arange(len(lists)), lengths)
    for reason, items in _wrong(lists.flatten(), nested=True):
        mask = np.zeros(len(lists), dtype=np.bool_)
        mask[parents[items]] = True
        yield reason, mask


def _leaf(values: pa.Array, nested: bool) -> tuple[str, Mask] | None:
    kind = values.type
    if is_text(kind):
        texts = values.cast(pa.large_string()) if t.is_string_view(kind) else values
        if _has_nul(texts):
            return "text with a NUL, which PostgreSQL can't hold", _mask(pc.match_substring(texts, "\0"))
    elif t.is_temporal(kind) and not (t.is_timestamp(kind) and kind.unit == "ns"):  # those end in 2262
        first, end, reason = _bounds(kind)
        outside = _outside(values, first, end)
        if outside is not None:
            return reason, outside
    elif nested and t.is_floating(kind):
        finite = pc.is_finite(values)
        if pc.all(finite).as_py() is False:
            return "NaN or an infinity in an object or a list, which JSON can't hold", _mask(pc.invert(finite))
    return None


def _bounds(kind: pa.DataType) -> tuple[np.generic, np.generic, str]:
    """The first moment that can be held, the first that can't, in the type's unit, and what to say of others."""
    unit: Any = "D" if t.is_date32(kind) else "ms" if t.is_date64(kind) else kind.unit
    if t.is_time(kind):
        return np.timedelta64(0, unit), np.timedelta64(1, "D").astype(f"m8[{unit}]"), "a time of day that no day has"
    if t.is_duration(kind):
        longest = np.timedelta64(2**63 - 1, "us" if unit in ("s", "ms") else unit).astype(f"m8[{unit}]")
        return -longest, longest, "a duration of more than 292,000 years"
    return (
        FIRST.astype(f"M8[{unit}]"),
        END.astype(f"M8[{unit}]"),
        "a date before 4713 BC or after the year 262141, or an infinity",
    )


def _outside(values: pa.Array, first: np.generic, end: np.generic) -> Mask | None:
    """Which values aren't in [first, end), all counted in the array's own unit; None if all are."""
    counts = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    low, high = int(first.astype(np.int64)), int(end.astype(np.int64))
    seen = pc.min_max(counts).as_py()
    if seen["min"] is None or (seen["min"] >= low and seen["max"] < high):
        return None
    return _mask(pc.or_(pc.less(counts, low), pc.greater_equal(counts, high)))


def _mask(wrong: pa.Array) -> Mask:
    mask: Mask = pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)
    return mask


def _has_nul(texts: pa.Array) -> bool:
    _, ends, data = texts.buffers()
    if data is None or not len(texts):
        return False
    width = np.int64 if t.is_large_string(texts.type) else np.int32
    offsets = np.frombuffer(ends, width)
    shown = np.frombuffer(data, np.uint8)[offsets[texts.offset] : offsets[texts.offset + len(texts)]]
    return shown.size > 0 and bool(shown.min() == 0)


def _cut(values: pa.Array) -> Mask | None:
    """Which moments aren't whole microseconds; None if all are. Cut, two keys would be one, and one row would go."""
    kind = values.type
    if not (t.is_timestamp(kind) or t.is_time(kind)) or kind.unit != "ns":
        return None
    cut: Mask = pc.fill_null(values.view(pa.int64()), 0).to_numpy(zero_copy_only=False) % 1000 != 0
    return cut if cut.any() else None


def _key_bytes(rows: pa.RecordBatch, key: Sequence[str]) -> np.ndarray:
    """How long each row's key may be at most in the table, of what has a length."""
    total = np.zeros(rows.num_rows, dtype=np.int64)
    for name in key:
        values = rows.column(name)
        values = values.dictionary_decode() if t.is_dictionary(values.type) else values
        if t.is_string(values.type) or t.is_large_string(values.type) or t.is_binary(values.type):
            total += pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False) + _ENVELOPE
    return total
