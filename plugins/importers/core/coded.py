"""Columns whose values are numbers of a dictionary: so a source may give them, and so they are at rest before a load.

To copy, encrypt and read back a number costs less than a text. Whoever looks at values gets them as themselves.
"""

from __future__ import annotations

import pyarrow as pa


def decoded(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with each column's values in place of their numbers; what is within objects and lists stays."""
    schema = decoded_schema(rows.schema)
    if schema is rows.schema:
        return rows
    columns = (each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in rows.columns)
    return pa.RecordBatch.from_arrays(list(columns), schema=schema)


def decoded_schema(schema: pa.Schema) -> pa.Schema:
    """What `decoded` rows have; itself where that is the same."""
    if not any(map(pa.types.is_dictionary, schema.types)):
        return schema
    fields = (f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema)
    return pa.schema(fields, schema.metadata)
