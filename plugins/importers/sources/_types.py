"""Which of Arrow's types can be loaded."""

from __future__ import annotations

import pyarrow as pa


def is_bare(kind: pa.DataType) -> bool:
    """Whether it is an object without leaves: there is nothing in it to load."""
    return bool(pa.types.is_struct(kind)) and all(is_bare(field.type) for field in kind)


def loadable(kind: pa.DataType) -> pa.DataType:
    """The type without objects that have no leaves, dictionaries, and views, which Arrow can't filter."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(loadable(field.type)) for field in kind if not is_bare(field.type)])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(loadable(kind.value_type)))
    if pa.types.is_dictionary(kind):
        return loadable(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind
