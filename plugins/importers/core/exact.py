"""Values in another type, exactly or not at all: what the schema contract, a replay and quarantine go by.

Arrow's casts alone don't tell: they read 7 out of the code 007, true out of 5, and round a double to a float, and say
nothing.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.destination import Mask


def exactly(values: pa.Array, kind: pa.DataType, *, grown: bool = False) -> pa.Array:
    """The values in another type, each by itself; null where it isn't exactly one of that type. Raises nothing.

    It is one if it comes back as it was: 1.5 is no integer, 2.0 is 2, and midnight is a date. A text is a number if
    that number, written with as many digits, is the text: 1.50 is 1.5, but the code 007 isn't 7. An object's fields and
    a list's items decide on the whole; an object has something in each field that the type lacks, or it is one without.
    `grown`: fields that only the type has are null; else no object without them is one of the type.
    """
    values = _plain(values)
    came = values.type
    if came == kind:
        return values
    if t.is_null(came):
        return pa.nulls(len(values), kind)
    if t.is_struct(came) and t.is_struct(kind):
        return _objects(values, kind, grown=grown)
    if _is_list(came) and _is_list(kind):
        return _lists(values, kind, grown=grown)
    if not akin(came, kind):
        return pa.nulls(len(values), kind)
    values = values.cast(pa.large_string()) if t.is_string_view(came) else values  # which Arrow can't search
    long = (t.is_float32(came) or t.is_float64(came)) and is_text(kind)
    found = _in_all_digits(values, kind) if long else cast_or_null(values, kind)
    same = _as_written(values, found) if is_text(came) and not is_text(kind) else _comes_back(values, found)
    return found if same is None else _where(same, found)


def lost(before: pa.Array, after: pa.Array) -> Mask:
    """Which of the values aren't there any more once they are `exactly` of another type."""
    gone: Mask = pc.and_(_plain(before).is_valid(), after.is_null()).to_numpy(zero_copy_only=False)
    return gone


def akin(came: pa.DataType, kind: pa.DataType) -> bool:
    """Whether values of one plain type may be values of the other: that, the same in another width, or its text."""
    if came == kind:
        return True
    if t.is_nested(came) or t.is_nested(kind):
        return False
    if is_text(kind):
        return True
    if is_text(came):
        return is_number(kind) or t.is_temporal(kind)
    if t.is_timestamp(came) or t.is_timestamp(kind):
        moments = all(t.is_timestamp(each) or t.is_date(each) for each in (came, kind))
        # nobody said which zone is meant
        return moments and (getattr(came, "tz", None) is None) == (getattr(kind, "tz", None) is None)
    families = (is_number, t.is_date, t.is_time, t.is_duration, _is_bytes)
    return any(family(came) and family(kind) for family in families)


def is_text(kind: pa.DataType) -> bool:
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    return bool(t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(t.is_list(kind) or t.is_large_list(kind))


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if t.is_dictionary(values.type) else values


def cast_or_null(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """As Arrow casts, null where it refuses to: halved until only such values are left, which costs nothing where they
    are few. Not `exactly`: what Arrow makes of a value needn't be all of it.
    """
    try:
        if t.is_integer(values.type) and t.is_decimal(kind):  # else it asks for digits enough for any integer
            values = values.cast(pa.decimal128(20, 0))
        return values.cast(kind)
    except pa.ArrowNotImplementedError:
        return pa.nulls(len(values), kind)
    except pa.ArrowInvalid:
        if len(values) < 2:
            return pa.nulls(len(values), kind)
    middle = len(values) // 2
    return pa.concat_arrays([cast_or_null(values[:middle], kind), cast_or_null(values[middle:], kind)])


def _comes_back(values: pa.Array, found: pa.Array) -> pa.Array | None:
    """Which values are the same once they are cast back. None: all that were cast; text of what it was says it."""
    if is_text(found.type):
        return None
    back = cast_or_null(found, values.type)
    if t.is_float16(values.type):  # which Arrow can't compare
        back, values = back.cast(pa.float32()), values.cast(pa.float32())
    same = pc.equal(back, values)
    if t.is_floating(values.type) and t.is_floating(found.type):
        same = pc.or_(same, pc.and_(pc.is_nan(values), pc.is_nan(found)))
    return same


def _as_written(texts: pa.Array, found: pa.Array) -> pa.Array | None:
    """Which texts say the number that was found, and no code: None where Arrow reads nothing else, as in times."""
    if t.is_integer(found.type):
        return pc.equal(found.cast(texts.type), texts)
    if not is_number(found.type):
        return None
    code = pc.match_substring_regex(texts, r"^[+-]?0\d")
    return pc.and_(pc.invert(code), _in_digits(texts, found))


def _in_all_digits(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Floats as text: of a whole number all digits, which may name somebody. Arrow writes 1.2345678901e+10, and of the
    float 85701888 the digits that tell it from other floats, and a zero.
    """
    whole = pc.and_(pc.equal(pc.trunc(values), values), pc.less(pc.abs(values), 2.0**53))
    digits = pc.if_else(whole, values, pa.scalar(None, values.type)).cast(pa.int64()).cast(kind)
    return pc.coalesce(digits, values.cast(kind))


_SAFE = {16: 3, 32: 6, 64: 15}
"""How many digits of a text a float of so many bits keeps, whichever they are: FLT_DIG, DBL_DIG."""


def _in_digits(texts: pa.Array, found: pa.Array) -> pa.Array:
    """Which numbers, written with as many digits as their text has, are the text."""
    sure = pc.match_substring_regex(texts, r"^[-+]?[\d.]+$")  # Arrow makes a decimal 0 of 1e-43
    if t.is_floating(found.type):
        sure = pc.and_(sure, pc.less_equal(pc.utf8_length(texts), _SAFE[found.type.bit_width]))
    sure = pc.or_(sure, found.is_null())
    rest = pa.array(np.flatnonzero(~pc.fill_null(sure, True).to_numpy(zero_copy_only=False)))
    if len(rest):
        pairs = zip(texts.take(rest).to_pylist(), found.take(rest).to_pylist(), strict=True)
        sure = pc.replace_with_mask(sure, pc.invert(sure), pa.array([_is_written(*pair) for pair in pairs]))
    return sure


def _is_written(text: str, number: float | Decimal) -> bool:
    if not math.isfinite(number):
        return not any(map(str.isdigit, text))
    said = Decimal(text)
    if isinstance(number, Decimal) or not number:  # or one so small that there is none
        return said == number
    unit = Fraction(10) ** int(said.as_tuple().exponent)
    return 2 * abs(Fraction(said) - Fraction(number)) <= unit


def _objects(values: pa.StructArray, kind: pa.StructType, *, grown: bool) -> pa.Array:
    theirs = dict(zip([field.name for field in values.type], values.flatten(), strict=True))
    names = {field.name for field in kind}
    if not grown and not names <= theirs.keys():
        return pa.nulls(len(values), kind)
    gone = values.is_null().to_numpy(zero_copy_only=False)
    for name in theirs.keys() - names:
        gone = gone | theirs[name].is_valid().to_numpy(zero_copy_only=False)
    parts = []
    for field in kind:
        came = theirs.get(field.name)
        part = pa.nulls(len(values), field.type) if came is None else exactly(came, field.type, grown=grown)
        gone = gone if came is None else gone | lost(came, part)
        parts.append(part)
    return pa.Array.from_buffers(kind, len(values), [_bits(~gone)], children=parts)


def _lists(values: pa.ListArray | pa.LargeListArray, kind: pa.DataType, *, grown: bool) -> pa.Array:
    # not `list_parent_indices`, which counts the items that lie hidden beneath a null
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    came = values.flatten()
    items = exactly(came, kind.value_type, grown=grown)
    gone = values.is_null().to_numpy(zero_copy_only=False)
    gone[np.repeat(np.arange(len(values)), lengths)[lost(came, items)]] = True
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64 if t.is_large_list(kind) else np.int32)
    return pa.Array.from_buffers(kind, len(values), [_bits(~gone), pa.py_buffer(ends)], children=[items])


def _where(same: pa.Array, found: pa.Array) -> pa.Array:
    """What was found, null where it isn't the same."""
    there = pc.fill_null(same, False).to_numpy(zero_copy_only=False)
    if there.all():
        return found
    return found.take(pa.array(np.arange(len(found)), mask=~there))


def _bits(there: Mask) -> pa.Buffer:
    return pa.array(there).buffers()[1]
