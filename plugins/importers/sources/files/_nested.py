"""Objects inside of records as columns of their own: `user.email` becomes `user_email`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

import pyarrow as pa

from importers.core import untold
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


def flat_path(path: str) -> str:
    """What a flat schema calls a path within records: `user.tags[].name` is `user_tags[].name`."""
    column, items, within = path.partition("[]")
    return column.replace(".", "_") + items + within


def is_flat(schema: pa.Schema) -> bool:
    """Whether its columns were made from objects."""
    return NESTED in (schema.metadata or {})


def nested_schema(schema: pa.Schema, only: Collection[str] | None = None) -> pa.Schema:
    """What a flat schema was made from, with the types that its columns have by now; any other as it is. `only`: with
    what these columns are made from, and nothing else.
    """
    if not is_flat(schema):
        return pa.schema([field for field in schema if only is None or field.name in only], schema.metadata)
    fields = iter(schema)
    nested = pa.ipc.read_schema(pa.py_buffer(schema.metadata[NESTED]))
    kinds = [(field, _typed(field.type, fields, only)) for field in nested]
    return pa.schema([field.with_type(kind) for field, kind in kinds if kind is not None])


def rest_of(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    """The schema, which may be a flat one, in which columns of these names aren't told (`core.untold`)."""
    if not is_flat(schema):
        return pa.schema([*(field for field in schema if field.name not in names), untold.FIELD])
    return flat_schema(pa.schema(_rest_of(nested_schema(schema), "", names)), "")


def _rest_of(found: Iterable[pa.Field], before: str, names: Collection[str]) -> list[pa.Field]:
    fields = list(found)
    left = []
    for field in fields:
        name = before + field.name
        if pa.types.is_struct(field.type):
            left.append(field.with_type(pa.struct(_rest_of(field.type, f"{name}_", names))))
        elif name not in names:
            left.append(field)
    return left if len(left) == len(fields) else [*left, untold.FIELD]


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


def _typed(kind: pa.DataType, columns: Iterator[pa.Field], only: Collection[str] | None) -> pa.DataType | None:
    if not pa.types.is_struct(kind):
        column = next(columns)
        return column.type if only is None or column.name in only else None
    kinds = [(field, _typed(field.type, columns, only)) for field in kind]
    inner = [field.with_type(of) for field, of in kinds if of is not None]
    return pa.struct(inner) if inner or only is None else None


def _flattened(name: str, values: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    if not pa.types.is_struct(values.type):
        yield name, values
        return
    for field, inner in zip(values.type, values.flatten(), strict=True):
        yield from _flattened(f"{name}_{field.name}", inner)
