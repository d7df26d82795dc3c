"""Objects of which a type doesn't tell every field: their keys may be persons', and a plan is stored, and stays, where
no erasure looks. An object of which nothing is told is of the type null; of one that has more fields than are told,
these are one field, `…`, of that type.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
from pyarrow import types as t

NAME = "…"
"""As lineage calls what it doesn't show."""
FIELD = pa.field(NAME, pa.null())


def is_rest(field: pa.Field) -> bool:
    """Whether it stands for the fields that aren't told."""
    return bool(field.name == NAME and t.is_null(field.type))


def is_untold(kind: pa.DataType) -> bool:
    """Whether there may be more in it than it tells. Where nothing has a value it is of text instead, to be loaded."""
    return bool(t.is_null(kind)) or (t.is_nested(kind) and any(is_untold(inner.type) for inner in fields(kind)))


def fields(kind: pa.DataType) -> list[pa.Field]:
    """Of an object its fields, of a list its items."""
    return [kind.field(number) for number in range(kind.num_fields)]


def told(found: Iterable[pa.Field]) -> list[pa.Field]:
    """The fields of which something is told, and of each what is."""
    return [field.with_type(shown(field.type)) for field in found if _tells(field.type)]


def _tells(kind: pa.DataType) -> bool:
    if not is_untold(kind):
        return True
    return t.is_nested(kind) and any(_tells(inner.type) for inner in fields(kind))


def shown(kind: pa.DataType) -> pa.DataType:
    """The type with what it tells, if that is anything."""
    if not is_untold(kind):
        return kind
    left = told(fields(kind))
    if t.is_struct(kind):
        return pa.struct(left)
    return pa.list_(left[0]) if t.is_list(kind) else pa.large_list(left[0])


def retold(known: pa.DataType, came: pa.DataType) -> pa.DataType:
    """What was known, in which what wasn't told is as it came."""
    if t.is_null(known):
        return came
    if t.is_struct(known) and t.is_struct(came):
        theirs = {field.name: field for field in came}
        there = [(field, theirs.pop(field.name, field)) for field in known if not is_rest(field)]
        rest = theirs.values() if any(map(is_rest, known)) else ()
        return pa.struct([*(field.with_type(retold(field.type, other.type)) for field, other in there), *rest])
    for is_list, of in ((t.is_list, pa.list_), (t.is_large_list, pa.large_list)):
        if is_list(known) and is_list(came):
            return of(known.value_field.with_type(retold(known.value_type, came.value_type)))
    return known
