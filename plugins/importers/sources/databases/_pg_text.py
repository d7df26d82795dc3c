"""Values that arrive as PostgreSQL's text, as the Arrow arrays that the same columns have when they are read by COPY.

Arrow parses what is written plainly. What isn't (years before Christ, infinity, arrays) and what the full read casts
(`Reading.select`) the server casts, by the same expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL

from importers.sources.databases._pg_catalogue import raw
from importers.sources.databases._pg_types import Kind, Reading, reading

Mask: TypeAlias = npt.NDArray[np.bool_]


class Typed(NamedTuple):
    """A column's type by the catalogue, as SQL writes it, and how it is read."""

    kind: Kind
    declared: str

    @property
    def reading(self) -> Reading:
        return reading(self.kind)


class Parsed(NamedTuple):
    """Values of the reading's type, null where a value can't be had; `unfit` tells where that is, if anywhere."""

    values: pa.Array
    unfit: Mask | None = None


def parsed(texts: pa.StringArray, column: Typed, connection: psycopg.Connection) -> Parsed:
    kind, how = column.kind, column.reading
    parse = _PLAINLY.get(kind.name) or (_as_written if kind.name in _WRITTEN or kind.category in _WRITTEN else None)
    if parse is not None:
        try:
            return Parsed(parse(texts, how.type))
        except pa.ArrowInvalid:  # a value that Arrow has no such way to write, or none at all
            pass
    told, unfit = _cast(connection, texts, column)
    return Parsed(_from_server(told, how.type), unfit if unfit.any() else None)


def _as_written(texts: pa.StringArray, _: pa.DataType) -> pa.Array:
    return texts


def _trimmed(texts: pa.StringArray, _: pa.DataType) -> pa.Array:
    return pc.utf8_rtrim(texts, " ")


def _cast_here(texts: pa.StringArray, kind: pa.DataType) -> pa.Array:
    return texts.cast(kind)


def _clock(texts: pa.StringArray, kind: pa.DataType) -> pa.Array:
    """Arrow parses a time only beside a day."""
    moments = pc.binary_join_element_wise("1970-01-01", texts, " ")
    return moments.cast(pa.timestamp("us")).cast(kind)


def _truth(texts: pa.StringArray, _: pa.DataType) -> pa.Array:
    return pc.equal(texts, "t")


def _bytes(texts: pa.StringArray, _: pa.DataType) -> pa.Array:
    """Written with two characters before the hexadecimal digits, as `bytea_output` is set."""
    return pl.Series(texts).str.slice(2).str.decode("hex").to_arrow().cast(pa.binary())


def _uuid(texts: pa.StringArray, kind: pa.DataType) -> pa.Array:
    digits = pl.Series(texts).str.replace_all("-", "", literal=True)
    return _stored(digits.str.decode("hex").to_arrow().cast(pa.binary(16)), kind)


def _stored(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """As the extension type that `kind` is."""
    return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))


_NUMBERS = ("int2", "int4", "int8", "oid", "float4", "float8")
_PLAINLY: Mapping[str, Callable[[pa.StringArray, pa.DataType], pa.Array]] = {
    "bool": _truth,
    "text": _as_written,
    "varchar": _as_written,
    "bpchar": _trimmed,
    "bytea": _bytes,
    "uuid": _uuid,
    "time": _clock,
    "json": _stored,
    "jsonb": _stored,
    **dict.fromkeys((*_NUMBERS, "numeric", "date", "timestamp", "timestamptz"), _cast_here),
}
_WRITTEN = frozenset({"interval", "timetz", "E", "R"})
"""Types, and categories of types (enums, ranges), whose cast to text writes what their output does."""
_TOLD = {
    "date": "({} - date '1970-01-01')",
    "time": "(extract(epoch from {}) * 1000000)::bigint",
    "timestamp": "(extract(epoch from {}) * 1000000)::bigint",
    "timestamptz": "(extract(epoch from {}) * 1000000)::bigint",
}
"""What the server is asked for in place of a value that Arrow can't parse."""


def _cast(connection: psycopg.Connection, texts: pa.StringArray, column: Typed) -> tuple[pa.Array, Mask]:
    """The values as the server tells them, and which can't be had."""
    kind, how = column.kind, column.reading
    value, original = "t.value", "t.written"
    expression = _TOLD.get(kind.name, how.select)
    if pa.types.is_list(how.type):
        expression = f"array_to_json({original}::text[])" if how.select == "{}" else f"array_to_json({how.select})"
    fits = how.fits.replace("{0}", "{}").replace("{}", value) or "true"
    query = SQL(
        "select case when ({fits}) is not false then ({told})::text end, ({fits}) is false"
        " from (select written::{declared} as value, written, n"
        " from unnest(%s::text[]) with ordinality as given (written, n)) t order by n"
    ).format(fits=raw(fits), told=raw(expression.replace("{}", value)), declared=raw(column.declared))
    rows = connection.execute(query, (texts.to_pylist(),)).fetchall()
    return pa.array([told for told, _ in rows], pa.string()), np.array([bad for _, bad in rows], np.bool_)


def _from_server(told: pa.StringArray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        return _lists(told, kind)
    if isinstance(kind, pa.BaseExtensionType):
        return _uuid(told, kind) if kind == pa.uuid() else _stored(told, kind)
    if pa.types.is_date(kind):
        return told.cast(pa.int32()).cast(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return told.cast(pa.int64()).cast(kind)
    return told.cast(kind)


def _lists(told: pa.StringArray, kind: pa.ListType) -> pa.Array:
    """JSON arrays of texts as lists of what they say."""
    lists = pl.Series(told).str.json_decode(pl.List(pl.String)).to_arrow()
    items = lists.values.cast(pa.string())
    values = _truth(items, kind.value_type) if pa.types.is_boolean(kind.value_type) else items.cast(kind.value_type)
    return pa.ListArray.from_arrays(lists.offsets.cast(pa.int32()), values, mask=lists.is_null())
