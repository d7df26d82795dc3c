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
