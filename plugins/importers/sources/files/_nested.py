"""Objects inside of records as columns of their own: `user.email` becomes `user_email`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from importers.exceptions import ContractError

NESTED = b"nested"
"""Under it a flat schema remembers what it was made from."""


def flat_schema(nested: pa.Schema, path: str) -> pa.Schema:
    """The leaves that are in no list. Raises ContractError if two would have one name."""
    fields = [field for each in nested for field in _leaves(each, "")]
    twice = [name for name, count in Counter(field.name for field in fields).items() if count > 1]
    if twice:
        raise ContractError(
            f"flattening '{path}' would make several columns of one name",
            got=f"{len(twice)} names, each twice or more",
            do="set `nested: struct`",
        )
    return pa.schema(fields, {NESTED: nested.serialize().to_pybytes()})


def nested_schema(schema: pa.Schema) -> pa.Schema:
    """What a flat schema was made from, with the types that its columns have by now; any other as it is."""
    if NESTED not in (schema.metadata or {}):
        return schema
    types = iter(schema.types)
    nested = pa.ipc.read_schema(pa.py_buffer(schema.metadata[NESTED]))
    return pa.schema([field.with_type(_typed(field.type, types)) for field in nested])


def flat(table: pa.Table) -> pa.Table:
    """The table's leaves, in the flat schema's order."""
    found = [leaf for name in table.column_names for leaf in _flattened(name, table.column(name))]
    return pa.table([values for _, values in found], [name for name, _ in found])


def _leaves(field: pa.Field, before: str) -> Iterator[pa.Field]:
    name = before + field.name
    if not pa.types.is_struct(field.type):
        yield pa.field(name, field.type)
        return
    for inner in field.type:
        yield from _leaves(inner, f"{name}_")


def _typed(kind: pa.DataType, types: Iterator[pa.DataType]) -> pa.DataType:
    if not pa.types.is_struct(kind):
        return next(types)
    return pa.struct([field.with_type(_typed(field.type, types)) for field in kind])


def _flattened(name: str, values: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    if not pa.types.is_struct(values.type):
        yield name, values
        return
    for field, inner in zip(values.type, values.flatten(), strict=True):
        yield from _flattened(f"{name}_{field.name}", inner)
