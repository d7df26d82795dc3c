"""Which texts of fractions a double rounds: it gives back 15 digits of each, and more of some."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

SAFE = 15
"""Every number of no more digits is given back: DBL_DIG."""


def rounded(text: pa.ChunkedArray) -> bool:
    """Whether a double is another number than any of the texts says, which are what a parser takes for doubles."""
    texts = pc.utf8_trim(pc.unique(text).drop_null(), characters=" \t")
    values = texts.cast(pa.float64())
    likely = pc.or_(pc.greater(pc.binary_length(texts), SAFE + 1), pc.match_substring_regex(texts, "[eE]"))
    # most writers have as many digits as it takes
    likely = pc.and_(likely, pc.not_equal(values.cast(pa.string()), texts))
    return not all(map(_given_back, texts.filter(likely).to_pylist(), values.filter(likely).to_pylist()))


def _given_back(text: str, value: float) -> bool:
    """Whether the double, written with as many digits as the text has, is the number that the text says."""
    try:
        said = Decimal(text)
    except InvalidOperation:  # an exponent that none has
        return False
    if not (said.is_finite() and math.isfinite(value)):
        return not said.is_finite()
    if not said or not value:
        return said == Decimal(value)
    digits = len("".join(map(str, said.as_tuple().digits)).rstrip("0"))
    return Decimal(f"{value:.{digits - 1}e}") == said
