"""Arrow batches as PostgreSQL's binary COPY, by pgpq: typed columns, no text in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb
from psycopg.abc import Query

from importers.core.model import DELETED, PARTITION, RUN
from importers.core.names import shown_type
from importers.destinations._types import JSONB, UUID, from_sql
from importers.exceptions import ContractError
from importers.privacy.leaves import Part, Treated, keep, treat
from importers.privacy.pseudonyms import uuid_text

ROWS_A_BLOCK = 16_384
"""Encoded at once: their bytes lie beside those that are sent, and a block more is no cost that shows."""


def binary_copy(
    batches: Iterable[pa.RecordBatch], table: Mapping[str, str], run: int, partition: int
) -> Iterator[bytes]:
    """The bytes of `COPY … FROM STDIN (FORMAT binary)` into `table` (column → type), with whence rows come."""
    encoder = None
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_A_BLOCK):
            rows = conform(batch.slice(start, ROWS_A_BLOCK), table, run, partition)
            if encoder is None:
                encoder = _encoder(rows.schema, table)
                yield encoder.write_header()
            yield encoder.write_batch(rows)
    if encoder is not None:
        yield encoder.finish()


def send(cursor: psycopg.Cursor, statement: Query, blocks: Iterator[bytes]) -> bool:
    """`COPY … FROM STDIN` of the blocks; no block: no statement, and False."""
    first = next(blocks, None)
    if first is None:
        return False
    with cursor.copy(statement) as sink:
        sink.write(first)
        for block in blocks:
            sink.write(block)
    return True


def conform(batch: pa.RecordBatch, table: Mapping[str, str], run: int, partition: int) -> pa.RecordBatch:
    """The batch with the table's columns, in its order and types; absent ones are null.

    Raises ContractError if a value doesn't fit.
    """
    arrays = []
    for name, declared in table.items():
        if name == RUN:
            arrays.append(pa.array(np.full(batch.num_rows, run, dtype=np.int64)))
        elif name == PARTITION:
            arrays.append(pa.array(np.full(batch.num_rows, partition, dtype=np.int32)))
        elif name == DELETED:
            arrays.append(_flags(batch))
        elif name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, _storage(from_sql(declared))))
        else:
            arrays.append(_fit(batch.column(name), name, declared))
    return pa.RecordBatch.from_arrays(arrays, names=list(table))


def _flags(batch: pa.RecordBatch) -> pa.Array:
    """`_deleted`, which a batch needn't have: absent and null mean that the row is there."""
    if DELETED not in batch.schema.names:
        return pa.array(np.zeros(batch.num_rows, dtype=np.bool_))
    return pc.fill_null(batch.column(DELETED), False)


def _fit(array: pa.Array, name: str, declared: str) -> pa.Array:
    if declared == JSONB:
        return as_json(array)
    target = from_sql(declared)
    if array.type == target:
        return array.storage if target == UUID else array
    try:
        if pa.types.is_temporal(array.type) and getattr(array.type, "unit", "") == "ns":
            array = _microseconds(array) if pa.types.is_timestamp(array.type) else array
            return pc.cast(array, target, safe=False)
        if pa.types.is_dictionary(array.type):
            return _fit(array.dictionary_decode(), name, declared)
        return pc.cast(array, _storage(target))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unfit(array.type, name, declared, target) from None


def _microseconds(moments: pa.Array) -> pa.Array:
    """The microseconds that have begun, which is what rules judge; a cast cuts towards 1970, from either side."""
    counts = pc.fill_null(moments.view(pa.int64()), 0).to_numpy(zero_copy_only=False) // 1000
    begun = pa.array(counts, mask=moments.is_null().to_numpy(zero_copy_only=False))
    return begun.view(pa.timestamp("us", moments.type.tz))


def _unfit(kind: pa.DataType, name: str, declared: str, target: pa.DataType) -> ContractError:
    if pa.types.is_integer(kind) and pa.types.is_floating(target):
        return ContractError(
            f"column '{name}' has integers of more digits than the table's {declared} holds, and fractions elsewhere",
            do=f"say in the importer's `types` what the column is: `{{{name}: integer}}`, or `decimal` for a new table",
        )
    return ContractError(
        f"column '{name}' doesn't fit the table's {declared}",
        got=shown_type(kind),
        do="run again from the gate, which evolves the table; or fix the source",
    )


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def as_json(array: pa.Array) -> pa.Array:
    """Each value as JSON text; nulls stay null. Text columns are taken to hold JSON already."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string())
    texts = treat(Part("", array.type), _without_bytes)
    if texts is not None:
        array = texts.apply(array)
    # polars encodes structs: wrap the value in one, and take the wrapping {"v":…} off again
    series = pl.DataFrame({"v": pl.from_arrow(array)})
    text = series.select(
        pl.when(pl.col("v").is_not_null()).then(pl.struct("v").struct.json_encode().str.slice(5).str.head(-1))
    )
    return text.to_series().to_arrow().cast(pa.string())


def _without_bytes(leaf: Part) -> Treated:
    """JSON has no bytes: a pseudonym is written as a UUID, other bytes in hexadecimal. polars has no long decimals."""
    kind = leaf.type
    if kind == UUID:
        return Treated(pa.string(), lambda values: uuid_text(values).cast(pa.string()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return Treated(pa.string(), _hexadecimal)
    if pa.types.is_decimal256(kind):
        return Treated(pa.string(), lambda values: values.cast(pa.string()))
    return keep(kind)


def _hexadecimal(values: pa.Array) -> pa.Array:
    return pl.Series(values.cast(pa.binary())).bin.encode("hex").to_arrow().cast(pa.string())


def _encoder(schema: pa.Schema, table: Mapping[str, str]) -> ArrowToPostgresBinaryEncoder:
    if not any(table[name] == JSONB for name in schema.names):
        return ArrowToPostgresBinaryEncoder(schema)  # the same encoders, in a tenth of the time

    def build(field: pa.Field) -> Any:
        if table[field.name] == JSONB:
            return StringEncoderBuilder.new_with_output(field, Jsonb())
        return ArrowToPostgresBinaryEncoder.infer_encoder(field)

    return ArrowToPostgresBinaryEncoder.new_with_encoders(schema, {f.name: build(f) for f in schema})
