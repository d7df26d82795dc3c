"""Which of Arrow's types can be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pyarrow as pa

from importers.core.widening import decided

T = TypeVar("T")


def is_bare(kind: pa.DataType) -> bool:
    """Whether it is an object without leaves: there is nothing in it to load."""
    return bool(pa.types.is_struct(kind)) and all(is_bare(field.type) for field in kind)


def loadable(kind: pa.DataType) -> pa.DataType:
    """As `storable`, with text where nothing has a value."""
    return decided(storable(kind))


def storable(kind: pa.DataType) -> pa.DataType:
    """The type without objects that have no leaves, dictionaries, and views, which Arrow can't filter."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(storable(field.type)) for field in kind if not is_bare(field.type)])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(storable(kind.value_type)))
    if pa.types.is_dictionary(kind):
        return storable(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def leaves(schema: pa.Schema) -> list[str]:
    """The paths of all that holds no other: `user.email`, `items[].id`, `tags[]`."""
    return [path for field in schema for path in _below(field.name, field.type)]


def _below(path: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_list(kind):
        return _below(f"{path}[]", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _below(f"{path}.{field.name}", field.type)]
    return [path]


def within(paths: Mapping[str, T], column: str) -> dict[str, T]:
    """Those of the paths that are the column's, or of what is in it."""
    return {
        path: one for path, one in paths.items() if path == column or path.startswith((f"{column}.", f"{column}[]"))
    }


def retyped(schema: pa.Schema, path: str, kind: pa.DataType) -> pa.Schema:
    """The schema with another type of the column, or of the leaf, of that path."""
    if path in schema.names:
        index = schema.get_field_index(path)
        return schema.set(index, pa.field(path, kind))
    fields = [field.with_type(_retyped(field.name, field.type, path, kind)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _retyped(here: str, kind: pa.DataType, path: str, wanted: pa.DataType) -> pa.DataType:
    if here == path:
        return wanted
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_retyped(f"{here}[]", kind.value_type, path, wanted)))
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_retyped(f"{here}.{f.name}", f.type, path, wanted)) for f in kind])
    return kind
