"""Avro's logical types: what an annotated int, long, bytes or fixed means in Arrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from importers.exceptions import ContractError

Finish: TypeAlias = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True, slots=True)
class Logical:
    """The Arrow type, and how the annotated values become it."""

    type: pa.DataType
    finish: Finish


Make: TypeAlias = Callable[[Mapping[str, Any], int], Logical | None]
"""From the schema's words and a fixed type's size; None where the specification says to ignore the annotation."""


def _cast(kind: pa.DataType) -> Make:
    return lambda _said, _size: Logical(kind, lambda values: values.cast(kind))


def _decimal(said: Mapping[str, Any], size: int) -> Logical | None:
    precision, scale = said.get("precision"), said.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision or precision < 1:
        return None
    if precision > 76 or (size and precision > _digits(size)):
        return None  # Arrow has no wider one; or the specification calls it invalid
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return Logical(kind, partial(_unscaled, kind))


def _digits(size: int) -> int:
    """Decimal digits that always fit so many bytes."""
    return int((8 * size - 1) * 0.30102999566398120)


def _unscaled(kind: pa.DataType, values: pa.Array) -> pa.Array:
    """Big-endian two's complement of any length as Arrow's little-endian one of a fixed length."""
    values = values.cast(pa.binary())
    width = kind.bit_width // 8
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8)
    lengths, ends = np.diff(offsets), offsets[1:]
    if lengths.size and lengths.max(initial=0) > width:
        raise ContractError("a decimal has more digits than its schema says", got=f"{lengths.max()} bytes")
    negative = np.zeros(len(values), np.bool_)
    negative[lengths > 0] = data[offsets[:-1][lengths > 0]] >= 0x80
    made = np.where(negative, 0xFF, 0).astype(np.uint8)[:, None].repeat(width, axis=1)
    for place in range(int(lengths.max(initial=0))):
        has = np.flatnonzero(lengths > place)
        made[has, place] = data[ends[has] - 1 - place]
    buffers = [values.is_valid().buffers()[1] if values.null_count else None, pa.py_buffer(made.tobytes())]
    found = pa.Array.from_buffers(kind, len(values), buffers)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        raise ContractError("a decimal has more digits than its schema says", got=f"not {kind}") from None
    return found


def _uuid(_said: Mapping[str, Any], size: int) -> Logical | None:
    return Logical(pa.string(), _dashed) if size == 16 else None


def _dashed(values: pa.Array) -> pa.Array:
    """Sixteen bytes as RFC 9562 writes them: the text that an annotated string has."""
    places = [8, 13, 18, 23]
    raw = _fixed(values, 16)
    nibbles = np.stack([raw >> 4, raw & 15], axis=2).reshape(len(values), 32)
    made = np.full((len(values), 36), ord("-"), np.uint8)
    made[:, np.setdiff1d(np.arange(36), places)] = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles]
    offsets = pa.py_buffer(np.arange(0, 36 * len(values) + 1, 36, dtype=np.int32).tobytes())
    valid = values.is_valid().buffers()[1] if values.null_count else None
    return pa.Array.from_buffers(pa.string(), len(values), [valid, offsets, pa.py_buffer(made.tobytes())])


def _duration(_said: Mapping[str, Any], size: int) -> Logical | None:
    """Three counts that aren't one: no month has a length."""
    kind = pa.struct([("months", pa.uint32()), ("days", pa.uint32()), ("milliseconds", pa.uint32())])

    def finish(values: pa.Array) -> pa.Array:
        counts = _fixed(values, 12).reshape(-1).view("<u4").reshape(-1, 3)
        parts = [pa.array(np.ascontiguousarray(counts[:, n])) for n in range(3)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=values.is_null())

    return Logical(kind, finish) if size == 12 else None


def _fixed(values: pa.Array, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The values' bytes, a row each; of a null there are any."""
    data = np.frombuffer(values.buffers()[1], np.uint8)
    return data[values.offset * size : (values.offset + len(values)) * size].reshape(-1, size).copy()


def _as_text(_said: Mapping[str, Any], _size: int) -> Logical | None:
    return None


LOGICAL: dict[tuple[str, str], Make] = {
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("fixed", "uuid"): _uuid,
    ("string", "uuid"): _as_text,
    ("fixed", "duration"): _duration,
    ("int", "date"): _cast(pa.date32()),
    ("int", "time-millis"): _cast(pa.time32("ms")),
    ("long", "time-micros"): _cast(pa.time64("us")),
    ("long", "timestamp-millis"): _cast(pa.timestamp("ms", "UTC")),
    ("long", "timestamp-micros"): _cast(pa.timestamp("us", "UTC")),
    ("long", "timestamp-nanos"): _cast(pa.timestamp("ns", "UTC")),
    ("long", "local-timestamp-millis"): _cast(pa.timestamp("ms")),
    ("long", "local-timestamp-micros"): _cast(pa.timestamp("us")),
    ("long", "local-timestamp-nanos"): _cast(pa.timestamp("ns")),
}
"""By the annotated type (Avro 1.12 specification, "Logical types"). Those on types that it doesn't list are ignored."""
