"""Numbers of a workbook's cells in full: the library's texts of them end after nine decimals.

Of 1/3 it writes 0.333333333, and of 1e-10 a 0. It gives the doubles themselves of a column that is asked for as such,
but then also makes numbers of dates, of true and of texts such as 007: what is a number is seen by its text alone.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DECIMALS = 9
NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]{0,8}[1-9])?$"
"""As the library writes a number: a text that looks so may be one, no other is."""
FRACTION = r"^-?(?:0|(?:0|[1-9][0-9]*)\.[0-9]*[1-9])$"
"""Of those, in a column of text, what may have other digits. Of 5.0000000001 people see a 5 in the sheet, too."""
NOISE = r"^-?[0-9]{7,}\.[0-9]{7,9}$"
"""Nine decimals of a large number are more digits than a double has: of 123456789.12 it is 123456789.120000005."""
WHOLE = 2.0**53
"""Below it a double's digits are those of a whole number; 2**63 is beyond an integer's 64 bits."""


def as_text(numbers: pa.Array, *, digits: bool = True) -> pa.Array:
    """Doubles or integers as texts that read back as the same number; whole ones in digits.

    Without `digits` from 2**53 on as 1e+22, as no integer is meant.
    """
    if not pa.types.is_floating(numbers.type):
        return numbers.cast(pa.string())
    below = pc.less(pc.abs(numbers), 2.0**63 if digits else WHOLE)
    whole = pc.and_(pc.and_(pc.equal(pc.trunc(numbers), numbers), below), pc.not_equal(numbers, 0))
    said = pc.if_else(whole, numbers, pa.scalar(None, numbers.type)).cast(pa.int64(), safe=False).cast(pa.string())
    return pc.coalesce(said, numbers.cast(pa.string()))


def is_number(kind: pa.DataType) -> bool:
    """Whether cells of a column are wanted as numbers with all their digits: not if nine decimals are enough."""
    t = pa.types
    return bool(t.is_integer(kind) or t.is_floating(kind) or (t.is_decimal(kind) and kind.scale > DECIMALS))


def may_be_cut(kind: pa.DataType) -> bool:
    """Whether nine decimals of a number may be too few for a column of that kind."""
    return is_number(kind) or pa.types.is_string(kind)


def is_doubtful(text: pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Whether a column of that kind has cells that may be numbers with fewer digits than there are, or more."""
    if not (may_be_cut(kind) or pa.types.is_decimal(kind)):
        return False
    return bool(pc.any(pc.match_substring_regex(text, NUMBER if is_number(kind) else FRACTION)).as_py())


def in_full(text: pa.Array, numbers: pa.Array) -> pa.Array:
    """The texts of cells with all digits of those that are numbers, by the same cells read as doubles."""
    read = pc.if_else(pc.match_substring_regex(text, NUMBER), text, pa.scalar(None, text.type)).cast(pa.float64())
    cut = pc.fill_null(pc.not_equal(read, numbers), False)  # of a text the double is what the text says
    return pc.if_else(cut, as_text(numbers), text)


def without_noise(text: pa.Array) -> pa.Array:
    """The texts without digits that the double has only because it isn't decimal: 123456789.120000005 is 123456789.12.

    A text of that many digits is left alone, unless it is to the last of them how the library writes a double.
    """
    likely = pc.match_substring_regex(text, NOISE)
    numbers = pc.if_else(likely, text, pa.scalar(None, text.type)).cast(pa.float64())
    shortest = as_text(numbers)
    rows = pc.indices_nonzero(pc.fill_null(pc.not_equal(shortest, text), False))
    written = [f"{number:.9f}".rstrip("0") for number in numbers.take(rows).to_pylist()]
    rows = rows.filter(pc.equal(pa.array(written, pa.string()), text.take(rows)))
    noisy = np.zeros(len(text), np.bool_)
    noisy[rows.to_numpy()] = True
    return pc.if_else(pa.array(noisy), shortest, text)
