"""Which type takes another's place: one that holds its values and means the same. And how types of objects that
each lack something become one that has all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pyarrow as pa
from pyarrow import types as t

_WIDER = {pa.int64(): pa.float64(), pa.date32(): pa.timestamp("us")}
"""Not text: one typing error would turn a column of amounts into text, and no table's column becomes it."""
_LISTS = ((t.is_list, pa.list_), (t.is_large_list, pa.large_list))


def wider(kind: pa.DataType) -> pa.DataType | None:
    """Where a sample misled, fractions among integers, times among dates; None for what doesn't widen."""
    return _WIDER.get(kind)


def widest(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that two files' declared ones have in common, to which Arrow casts the values of both, or refuses to: an
    integer that a double can't hold, a day that nanoseconds can't. Of two zones it is the first: the moments are the
    same. Raises ValueError if there is none.
    """
    return joined(one, other, _widest)


def _widest(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if t.is_null(one) or t.is_null(other):
        return other if t.is_null(one) else one
    for day, moment in ((one, other), (other, one)):
        if t.is_date(day) and t.is_timestamp(moment) and moment.tz is None:
            return moment
    if t.is_timestamp(one) and t.is_timestamp(other) and one.tz and other.tz:
        other = pa.timestamp(other.unit, one.tz)
    if t.is_decimal(one) or t.is_decimal(other):  # of an integer Arrow counts fewer digits than its cast asks for
        one, other = (pa.decimal128(_digits(kind), 0) if t.is_integer(kind) else kind for kind in (one, other))
    inexact = any(t.is_decimal(a) and t.is_floating(b) for a, b in ((one, other), (other, one)))
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        both = None
    if both is None or inexact or (t.is_decimal256(both) and both not in (one, other)):  # which no table holds
        raise ValueError("no type holds both")
    return both


def _digits(kind: pa.DataType) -> int:
    return {8: 3, 16: 5, 32: 10, 64: 20 if t.is_unsigned_integer(kind) else 19}[kind.bit_width]


def joined(
    kind: pa.DataType, came: pa.DataType, leaf: Callable[..., pa.DataType] = lambda kind, _: kind
) -> pa.DataType:
    """The type with the fields that what came has beside its own; `leaf` says which of two types a leaf has."""
    if t.is_struct(kind) and t.is_struct(came):
        theirs = {field.name: field for field in came}
        both = [_both(field, theirs.pop(field.name, None), leaf) for field in kind]
        return pa.struct([*both, *(field.with_nullable(True) for field in theirs.values())])
    for is_list, of in _LISTS:
        if is_list(kind) and is_list(came):
            return of(_both(kind.value_field, came.value_field, leaf))
    return leaf(kind, came)


def _both(field: pa.Field, came: pa.Field | None, leaf: Callable[..., pa.DataType]) -> pa.Field:
    if came is None:
        return field.with_nullable(True)
    kind = joined(field.type, came.type, leaf)
    return field.with_type(kind).with_nullable(field.nullable or came.nullable)


def decided(kind: pa.DataType, as_said: pa.DataType | None = None) -> pa.DataType:
    """The type in which null, as which a file declares what has no value, is what another type says, or else text."""
    if t.is_null(kind):
        return pa.string() if as_said is None else as_said
    if t.is_struct(kind):
        theirs = {field.name: field.type for field in as_said} if as_said and t.is_struct(as_said) else {}
        return pa.struct([field.with_type(decided(field.type, theirs.get(field.name))) for field in kind])
    for is_list, of in _LISTS:
        if is_list(kind):
            items = as_said.value_type if as_said and is_list(as_said) else None
            return of(kind.value_field.with_type(decided(kind.value_type, items)))
    return kind


def levels(kind: pa.DataType) -> int:
    """How many objects and lists are in each other, at most; 0 for a plain type."""
    if not t.is_nested(kind):
        return 0
    return 1 + max((levels(kind.field(number).type) for number in range(kind.num_fields)), default=0)


def undecided(kinds: Collection[pa.DataType]) -> pa.DataType | None:
    """Of what a column can be read as (`Column.readable_as`), the type that isn't decided."""
    return next((kind for kind in kinds if decided(kind) != kind), None)


def is_readable(kinds: Collection[pa.DataType], kind: pa.DataType) -> bool:
    """Whether what can be read as these types can be read as that one."""
    return any(decided(each, kind) == kind for each in kinds)
