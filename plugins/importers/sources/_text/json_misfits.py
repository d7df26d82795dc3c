"""Why an object of JSON is no row of a schema: which of its values isn't of the type of its column, and how."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any

import pyarrow as pa

from importers.core.names import is_given
from importers.sources._text.cells import called

UNFIT = "a key or a value that the parser doesn't take"
"""Where what Arrow refuses isn't found again."""
ROUNDED = "an integer of more digits than a number holds exactly"
HUGE = "a whole number of more than 64 bits"
BEYOND = "a number beyond all that a double holds"
HALF = "half a character, as \\ud83d alone is"
TWICE = "it is there twice"
FINE = (
    "a time of more than six digits after the second, which no table holds: have it written with six, or say `string` "
    "by `types`, with a new `load.table` if this one has times"
)
_FINE = re.compile(r":\d\d[.,]\d{7}")
_HALF = re.compile("[\ud800-\udfff]")


def why(text: bytes, kind: pa.StructType) -> str:
    """What is wrong with the first value, by its path such as `items[].price`, that the type's leaves don't take.

    `text` is an object. Never tells a value, or a key that may be one.
    """
    path, found = _first(text, kind)
    if not found:
        return UNFIT
    return f"column '{path}': {found}" if is_told(path) else f"a column whose name isn't shown: {found}"


def is_unfit(text: bytes, kind: pa.StructType) -> bool:
    """Whether the object has a value that Arrow's parser is sure to refuse, too. It may refuse more."""
    return bool(_first(text, kind)[1])


def _first(text: bytes, kind: pa.StructType) -> tuple[str, str]:
    """The path of the first value that doesn't fit, and why; nothing of both if all seem to fit."""
    try:
        value = _DECODER.decode(text.decode(json.detect_encoding(text), "surrogatepass"))  # as `json.loads` does
    except RecursionError:  # a little sooner than without the hook
        return "", ""
    return next(_misfits(value, kind, ""), ("", ""))


def is_told(path: str) -> bool:
    """Whether the path of a key looks like names. A key may be data, such as an address."""
    return is_given(path.replace("[]", "").replace("/", "."))


class _Object(dict[str, Any]):
    """An object that knows which of its keys come again: the last value of a key hides the others."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = set[str]()
        if len(self) < len(pairs):
            self.twice = {key for key, times in Counter(key for key, _ in pairs).items() if times > 1}


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that none has
        return Decimal(float(text))


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_float=_fraction)
"""Fractions are as they are written: a float may have more digits before its point than what it stands for."""


def _misfits(value: Any, kind: pa.DataType, path: str) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if pa.types.is_struct(kind):
        if isinstance(value, _Object):
            yield from _within(value, kind, path)
        else:
            yield path, "not an object: see `types`"
    elif pa.types.is_list(kind):
        if not isinstance(value, list):
            yield path, "not a list: see `types`"
            return
        for inner in value:
            yield from _misfits(inner, kind.value_type, f"{path}[]")
    elif told := _misfit(value, kind):
        yield path, told


def _within(value: _Object, kind: pa.StructType, path: str) -> Iterator[tuple[str, str]]:
    for key in value:
        if _HALF.search(key):  # nor can Arrow be asked for it
            yield key, HALF
        elif kind.get_field_index(key) >= 0:
            here = f"{path}.{key}" if path else key
            if key in value.twice:
                yield here, TWICE
            yield from _misfits(value[key], kind.field(key).type, here)


def _misfit(value: Any, kind: pa.DataType) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and pa.types.is_integer(kind):
        return None if -(2**63) <= value < 2**63 else HUGE
    if isinstance(value, str) and pa.types.is_string(kind):
        return HALF if _HALF.search(value) else None
    if isinstance(value, Decimal) and pa.types.is_floating(kind):
        return BEYOND if isinf(float(value)) else None
    if whole and pa.types.is_float64(kind):
        return None if is_double(value) else ROUNDED
    if isinstance(value, str) and pa.types.is_timestamp(kind) and _FINE.search(value):
        return FINE
    return None if _is(value, kind) else f"not {called(kind).partition(', such as')[0]}: see `types`"


def _is(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return isinstance(value, float) and pa.types.is_floating(kind)
    if isinstance(value, bool | list | dict) or (pa.types.is_timestamp(kind) and not isinstance(value, str)):
        return False
    try:
        pa.scalar(str(value)).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError):
        return False
    return True


def is_double(value: int) -> bool:
    """Whether a double is equal to the integer."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False
