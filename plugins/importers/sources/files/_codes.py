"""Codes among the numbers: cells such as 007 in a column that the sample took for one of numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importers.sources._text.cells import code_pattern

DIGITS_OF_A_DOUBLE = 15
"""Every integer of no more digits has a double of its own."""


class Codes:
    """Looks for texts that the `inferred` columns of numbers wouldn't give back. So these are read as text first."""

    def __init__(self, inferred: pa.Schema) -> None:
        self._patterns = {field.name: pattern for field in inferred if (pattern := code_pattern(field.type))}
        self._floats = frozenset(field.name for field in inferred if pa.types.is_floating(field.type))

    def as_read(self, schema: pa.Schema) -> pa.Schema:
        """The schema with text where codes are looked for."""
        return pa.schema([field.with_type(pa.string()) if field.name in self._patterns else field for field in schema])

    def has(self, name: str, text: pa.StringArray) -> bool:
        """Whether a text of the column is a code."""
        if name not in self._patterns or not self._likely(name, text):
            return False
        return bool(pc.any(pc.match_substring_regex(text, self._patterns[name])).as_py())

    def _likely(self, name: str, text: pa.StringArray) -> bool:
        """Whether there may be one, by its first characters: a fraction of what the pattern costs."""
        _, ends, data = text.buffers()
        if data is None or not len(text):
            return False
        shown = np.frombuffer(data, np.uint8)
        bounds = np.frombuffer(ends, np.int32)[text.offset : text.offset + len(text) + 1]
        lengths = np.diff(bounds)
        at = bounds[:-1][lengths > 1]
        first, second = shown[at], shown[at + 1]
        negative = at[(first == ord("-")) & (second == ord("0")) & (lengths[lengths > 1] > 2)]
        zero = (first == ord("0")) & _DIGITS[second]
        if (zero | _SIGNS[first]).any() or _DIGITS[shown[negative + 2]].any():
            return True
        if name not in self._floats:
            return False
        exponents = (shown[bounds[0] : bounds[-1]] | 32) == ord("e")
        return bool(lengths.max() > DIGITS_OF_A_DOUBLE or exponents.any())


def _among(chars: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(chars)] = True
    return table


_DIGITS = _among(b"0123456789xX")
_SIGNS = _among(b"+ \t\r\n\f\v")
