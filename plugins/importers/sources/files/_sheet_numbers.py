"""Numbers of a workbook's cells in full: the library's texts of them end after nine decimals.

Of 1/3 it writes 0.333333333, and of 1e-10 a 0. It gives the doubles themselves of a column that is asked for as such,
but then also makes numbers of dates, of true and of texts such as 007: what is a number is seen by its text alone.

A double has digits that nobody typed or sees: 0.1 + 0.2 is 0.30000000000000004. Excel shows and compares numbers by
15 significant digits ("Numeric precision" of its specifications), and so does a column of anything but doubles.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.exact import cast_or_null, is_number

SIGNIFICANT = 15
POWERS = np.array([float(f"1e{power}") for power in range(23)])
"""Of ten, all that a double holds exactly."""
DECIMALS = 9
NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]{0,8}[1-9])?$"
"""As the library writes a number: a text that looks so may be one, no other is."""
FRACTION = r"^-?(?:0|(?:0|[1-9][0-9]*)\.[0-9]*[1-9])$"
"""Of those, in a column of text, what may have other digits. Of 5.0000000001 people see a 5 in the sheet, too."""
LONG = r"^-?[1-9][0-9]{6,}\.[0-9]{0,8}[1-9]$"
"""Of those, what may have more than 15 digits."""
WHOLE = 2.0**53
"""Below it a double's digits are those of a whole number; 2**63 is beyond an integer's 64 bits."""


def as_text(numbers: pa.Array, *, digits: bool = True) -> pa.Array:
    """Doubles or integers as texts that read back as the same number; whole ones, and fractions below 1e15, in digits.

    Without `digits` from 2**53 on as 1e+22, as no integer is meant.
    """
    if not pa.types.is_floating(numbers.type):
        return numbers.cast(pa.string())
    below = pc.less(pc.abs(numbers), 2.0**63 if digits else WHOLE)
    whole = pc.and_(pc.and_(pc.equal(pc.trunc(numbers), numbers), below), pc.not_equal(numbers, 0))
    written = pc.if_else(whole, numbers, pa.scalar(None, numbers.type)).cast(pa.int64(), safe=False).cast(pa.string())
    return pc.coalesce(written, _spelled(numbers.cast(pa.string()), numbers))


def _spelled(text: pa.Array, numbers: pa.Array) -> pa.Array:
    """Fractions from 1e10 on, which Arrow writes with an exponent."""
    there = pc.and_(pc.match_substring(text, "e+"), pc.less(pc.abs(numbers), 10.0**SIGNIFICANT))
    if not pc.any(there).as_py():
        return text
    plain = text.filter(there).cast(pa.decimal128(38, DECIMALS)).cast(pa.string())
    return pc.replace_with_mask(text, there, pc.utf8_rtrim(plain, "0"))


def significant(numbers: pa.Array) -> pa.Array:
    """Doubles rounded to 15 significant digits, as `%.15g` has them; whole ones as they are, whatever their digits."""
    if not pa.types.is_floating(numbers.type):
        return numbers
    values = numbers.to_numpy(zero_copy_only=False).copy()  # null is nan
    fractions = np.flatnonzero(np.isfinite(values) & (values != np.trunc(values)))
    if not len(fractions):
        return numbers
    found = values[fractions]
    power = np.maximum(SIGNIFICANT - 1 - np.floor(np.log10(np.abs(found))).astype(np.int64), 0)
    scale = POWERS[np.minimum(power, len(POWERS) - 1)]
    scaled = found * scale
    near = np.rint(scaled) / scale
    # a product is rounded itself, which counts where it is a half; of 16 digits before the point none is rounded
    unsure = (power > 0) & (np.abs(scaled - np.trunc(scaled)) == 0.5) | (power >= len(POWERS))
    near[unsure] = [float(f"{number:.{SIGNIFICANT}g}") for number in found[unsure].tolist()]
    values[fractions] = near
    return pa.array(values, numbers.type, mask=numbers.is_null().to_numpy(zero_copy_only=False))


def in_digits(numbers: pa.Array, kind: pa.DataType) -> pa.Array:
    """Doubles or integers as the texts that a column of that kind goes by: of 15 digits, but for one of doubles.

    Of integers only what is whole by those: what isn't may make the column one of doubles yet.
    """
    if pa.types.is_floating(kind):
        return as_text(numbers, digits=False)
    short = significant(numbers)
    if pa.types.is_integer(kind) and pa.types.is_floating(numbers.type):
        short = pc.if_else(pc.equal(pc.trunc(short), short), short, numbers)
    return as_text(short)


def rounded(text: pa.Array, kind: pa.Decimal128Type, nulls: pa.Array) -> pa.Array:
    """Texts of numbers with as many digits behind the point as decimals of that kind have; null markers as they are."""
    longer = rf"^[-+]?[0-9]+\.[0-9]{{{kind.scale + 1},}}$|^-?[0-9](?:\.[0-9]+)?e-[0-9]+$"
    rows = pc.indices_nonzero(pc.and_not(pc.match_substring_regex(text, longer), pc.is_in(text, nulls)))
    if not len(rows):
        return text
    digits = cast_or_null(text.take(rows), pa.decimal256(76, 56))
    tiny = pc.match_substring_regex(text.take(rows), r"e-(?:[4-9][0-9]|[0-9]{3})$")  # less than the last of 38 digits
    digits = pc.if_else(tiny, pa.scalar(0, digits.type), digits)
    fewer = pc.round(digits, kind.scale, "half_towards_infinity").cast(pa.decimal256(76, kind.scale)).cast(pa.string())
    mask = np.zeros(len(text), np.bool_)
    mask[rows.to_numpy()] = True
    return pc.replace_with_mask(text, pa.array(mask), pc.coalesce(fewer, text.take(rows)))


def is_doubtful(text: pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Whether a column of that kind has cells that may be numbers with fewer digits than there are, or more."""
    if not (is_number(kind) or pa.types.is_string(kind)):
        return False
    is_nine_enough = pa.types.is_string(kind) or (pa.types.is_decimal(kind) and kind.scale <= DECIMALS)
    return bool(pc.any(pc.match_substring_regex(text, FRACTION if is_nine_enough else NUMBER)).as_py())


def is_long(text: pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Whether a column of that kind has fractions of so many digits that it counts which are numbers, which texts."""
    return not pa.types.is_floating(kind) and bool(pc.any(_long(text)).as_py())


def _long(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    digits = pc.greater(pc.utf8_length(text), SIGNIFICANT + 1)
    return pc.and_(digits, pc.match_substring_regex(text, LONG))


def in_brief(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts of a sample, long fractions with 15 digits: enough to infer whether numbers are whole."""
    long = _long(text)
    if not pc.any(long).as_py():
        return text
    numbers = pc.if_else(long, text, pa.scalar(None, text.type)).combine_chunks().cast(pa.float64())
    return pa.chunked_array([pc.coalesce(as_text(significant(numbers)), text.combine_chunks())])


def in_full(text: pa.Array, numbers: pa.Array, whole: pa.Array | None, kind: pa.DataType) -> pa.Array:
    """The texts of cells with the digits that the column goes by of those that are numbers.

    `numbers` are the same cells read as doubles. `whole` are they read as integers, which tells numbers from texts of a
    fraction: 1234567.123456789 is one of both. Without, none is long.
    """
    read = pc.if_else(pc.match_substring_regex(text, NUMBER), text, pa.scalar(None, text.type)).cast(pa.float64())
    found = pc.fill_null(pc.not_equal(read, numbers), False)  # of a text the double is what the text says
    if whole is not None:
        found = pc.or_(found, pc.and_(pc.fill_null(_long(text), False), whole.is_valid()))
    return pc.if_else(found, in_digits(numbers, kind), text)
