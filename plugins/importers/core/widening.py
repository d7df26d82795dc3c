"""Which type takes another's place where a sample of the data misled: one that holds its values and means the same.
And how types of objects that each lack something become one that has all.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyarrow import types as t

_WIDER = {pa.int64(): pa.float64(), pa.date32(): pa.timestamp("us")}
"""Not text: one typing error would turn a column of amounts into text, and no table's column becomes it."""


def wider(kind: pa.DataType) -> pa.DataType | None:
    """Fractions among integers, times among dates; None for what doesn't widen."""
    return _WIDER.get(kind)


def joined(
    kind: pa.DataType, came: pa.DataType, leaf: Callable[..., pa.DataType] = lambda kind, _: kind
) -> pa.DataType:
    """The type with the fields that what came has beside its own; `leaf` says which of two types a leaf has."""
    if t.is_struct(kind) and t.is_struct(came):
        theirs = {field.name: field for field in came}
        both = [field.with_type(joined(field.type, theirs.pop(field.name, field).type, leaf)) for field in kind]
        return pa.struct([*both, *theirs.values()])
    for is_list, of in ((t.is_list, pa.list_), (t.is_large_list, pa.large_list)):
        if is_list(kind) and is_list(came):
            return of(kind.value_field.with_type(joined(kind.value_type, came.value_type, leaf)))
    return leaf(kind, came)
