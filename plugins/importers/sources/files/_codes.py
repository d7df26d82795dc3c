"""Codes among the numbers: cells such as 007 in a column that the sample took for one of numbers."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importers.sources.files._cells import NOT_A_FLOAT, NOT_AN_INTEGER
from importers.sources.files._records import Bytes, Dialect

PIECE = 1 << 16
"""Bytes compared at a time: what stays in the cache."""
FIRST = re.compile(rb"[ \t+]|-?0[0-9xX]")
EXACT = 1e15
"""Below it a double holds every integer, and an integer has fewer than 16 digits."""


class Codes:
    """Looks for texts that the `inferred` columns of numbers wouldn't give back."""

    def __init__(self, dialect: Dialect, inferred: pa.Schema) -> None:
        self._patterns = {field.name: pattern for field in inferred if (pattern := _pattern(field.type))}
        self._floats = [field.name for field in inferred if pa.types.is_floating(field.type)]
        self._before = dialect.delimiter + dialect.quote + b"\r\n"
        self.as_text = pa.schema([(name, pa.string()) for name in self._patterns])

    def likely(self, rows: pa.RecordBatch, data: memoryview | bytes) -> bool:
        """Whether there may be one: a pass over the bytes that takes a fraction of what parsing them did."""
        if not self._patterns:
            return False
        if FIRST.match(data) or any(_beyond(rows.column(name)) for name in self._floats):
            return True
        block = np.frombuffer(data, np.uint8)
        pieces = (block[at : at + PIECE + 3] for at in range(0, block.size, PIECE))
        return any(self._hinted(piece) for piece in pieces)

    def among(self, name: str, text: pa.Array) -> pa.Array | None:
        """Which of the column's texts are codes; None if it isn't looked at."""
        pattern = self._patterns.get(name)
        return None if pattern is None else pc.fill_null(pc.match_substring_regex(text, pattern), False)

    def _hinted(self, piece: Bytes) -> bool:
        if piece.size < 4:
            piece = np.concatenate([piece, np.zeros(4 - piece.size, np.uint8)])
        before, one, two, three = piece[:-3], piece[1:-2], piece[2:-1], piece[3:]
        starts = before == self._before[0]
        for char in self._before[1:]:
            starts |= before == char
        starts &= one <= ord("0")  # signs, blanks and the zero, but few cells
        at = np.flatnonzero(starts)
        first, second = one[at], two[at]
        zero = (first == ord("0")) & DIGITS[second]
        minus = (first == ord("-")) & (second == ord("0")) & DIGITS[three[at]]
        return bool((zero | minus | BLANKS[first]).any()) or bool(self._floats and _exponent(before, one, two))


def _exponent(before: Bytes, one: Bytes, two: Bytes) -> bool:
    found = ((one | 32) == ord("e")) & (before - np.uint8(ord("0")) < 10)
    return bool(found.any()) and bool(DIGITS[two[found]].any())


def lost(kind: pa.DataType) -> str:
    """Why a text is refused that reads as a number."""
    if pa.types.is_integer(kind):
        return "a leading zero or plus, which an integer would lose"
    return "a leading zero or plus, a code such as 1E5, or too many digits, which a number would lose"


def _pattern(kind: pa.DataType) -> str | None:
    if pa.types.is_integer(kind):
        return NOT_AN_INTEGER
    return NOT_A_FLOAT if pa.types.is_floating(kind) else None


def _beyond(values: pa.Array) -> bool:
    return bool(pc.any(pc.greater_equal(pc.abs(values), EXACT)).as_py())


def _among(chars: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(chars)] = True
    return table


DIGITS = _among(b"0123456789xX")
BLANKS = _among(b" \t+")
