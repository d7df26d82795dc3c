"""Which type texts of fractions have: a double gives back 15 digits of each, and more of some."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

DECIMAL = pa.decimal128(38, 9)
"""As `types` has it."""
SAFE = 15
"""Every number of no more digits is given back: DBL_DIG."""
PLAIN = r"^-?\d*\.?\d*$"


def fractions(text: pa.ChunkedArray) -> pa.DataType:
    """A decimal for amounts that doubles don't all give back, such as 99999999999999.99; else a double, which rounds
    what was computed to more digits than it has. Texts are what a parser takes for doubles.
    """
    texts = pc.utf8_trim(pc.unique(text).drop_null(), characters=" \t")
    values = texts.cast(pa.float64())
    likely = pc.or_(pc.greater(pc.binary_length(texts), SAFE + 1), pc.match_substring_regex(texts, "[eE]"))
    # most writers have as many digits as it takes
    likely = pc.and_(likely, pc.not_equal(values.cast(pa.string()), texts))
    if all(map(_given_back, texts.filter(likely).to_pylist(), values.filter(likely).to_pylist())):
        return pa.float64()
    return DECIMAL if _amounts(texts) else pa.float64()


def _given_back(text: str, value: float) -> bool:
    """Whether the double, written with as many digits as the text has, is the number that the text says."""
    said = Decimal(text)
    if not (said.is_finite() and math.isfinite(value)):
        return not said.is_finite()
    if not said or not value:
        return said == Decimal(value)
    digits = len("".join(map(str, said.as_tuple().digits)).rstrip("0"))
    return Decimal(f"{value:.{digits - 1}e}") == said


def _amounts(texts: pa.Array) -> bool:
    """Whether all are plain, with few enough digits for a decimal: what was computed has more behind the point."""
    if not pc.all(pc.match_substring_regex(texts, PLAIN)).as_py():
        return False
    whole = pc.utf8_ltrim(texts, characters="-")
    point = pc.find_substring(whole, ".")
    before = pc.if_else(pc.less(point, 0), pc.binary_length(whole), point)
    after = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(pc.binary_length(whole), point), 1))
    return bool(pc.max(before).as_py() <= DECIMAL.precision - DECIMAL.scale and pc.max(after).as_py() <= DECIMAL.scale)
