"""Columns that say where their values are: by numbers of a dictionary, or by views, which are polars' own texts.

So a source may give them. To copy, encrypt and read back a number costs less than a text, and numbers are at rest
before a load. Views are what rules cost least on; but Arrow can't filter them, and at rest they take more than texts.
Whoever else looks at values gets them as themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyarrow import types as t


def decoded(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with each column's values in place of numbers and views; what is within objects and lists stays."""
    return _each(rows, lambda column: _whole(column.dictionary_decode() if t.is_dictionary(column.type) else column))


def decoded_schema(schema: pa.Schema) -> pa.Schema:
    """What `decoded` rows have; itself where that is the same."""
    if not any(t.is_dictionary(kind) or t.is_string_view(kind) for kind in schema.types):
        return schema
    return pa.schema([field.with_type(_decoded(field.type)) for field in schema], schema.metadata)


def without_views(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with texts in place of views; numbers of a dictionary stay."""
    return _each(rows, _whole)


def _whole(column: pa.Array) -> pa.Array:
    """Texts in place of views; another column as it is. Of more than 2 GiB of views Arrow makes texts, in silence, that
    begin before their buffer.
    """
    return column.cast(pa.string()) if t.is_string_view(column.type) else column


def _each(rows: pa.RecordBatch, change: Callable[[pa.Array], pa.Array]) -> pa.RecordBatch:
    came = rows.columns
    columns = [change(column) for column in came]
    if all(new is old for new, old in zip(columns, came, strict=True)):
        return rows
    fields = [field.with_type(column.type) for field, column in zip(rows.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, rows.schema.metadata))


def _decoded(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if t.is_dictionary(kind) else kind
    return pa.string() if t.is_string_view(kind) else kind
