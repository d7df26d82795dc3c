"""How each type of PostgreSQL is read, so that no value changes: into Arrow as it is, or as the server's text.

What Arrow's type can't hold (an infinite date, NaN in a numeric, an array of several dimensions) is found by the server
and becomes a reject.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import psycopg
import pyarrow as pa

MAX_DIGITS = 38  # of Arrow's decimal128


class Kind(NamedTuple):
    """A type by the catalogue, domains resolved; `item` is what an array has."""

    name: str
    category: str
    typmod: int
    item: str


class Reading(NamedTuple):
    """How a column is read. `{}` in the expressions is the column."""

    type: pa.DataType
    select: str = "{}"
    fits: str = ""
    """True or null where the value can be had; empty: always."""
    otherwise: str = ""
    """What is wrong with a value that doesn't fit."""


# ADBC counts microseconds from 1970 in 64 bits, which end in January 294247, before PostgreSQL's calendar does.
_MOMENT = "{0} > '-infinity' and {0} < '294247-01-01'"
_INFINITE = "an infinite date"
_PLAIN = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
}
_READINGS = {name: Reading(kind) for name, kind in _PLAIN.items()} | {
    "bytea": Reading(pa.binary()),
    "uuid": Reading(pa.uuid()),
    "json": Reading(pa.json_()),
    "jsonb": Reading(pa.json_()),
    "oid": Reading(pa.int64(), "{}::bigint"),
    "time": Reading(pa.time64("us")),
    "date": Reading(pa.date32(), fits="isfinite({})", otherwise=_INFINITE),
    "timestamp": Reading(pa.timestamp("us"), fits=_MOMENT, otherwise=_INFINITE),
    "timestamptz": Reading(pa.timestamp("us", "UTC"), fits=_MOMENT, otherwise=_INFINITE),
}
_AS_TEXT = Reading(pa.string(), "{}::text")  # of char(n) without the blanks that fill it up: they mean nothing
_AS_JSON = Reading(pa.json_(), "to_jsonb({})::text")
_OPAQUE = "O"
"""Our category of what has fields that no policy can name: composites, hstore, XML, and arrays of these or of JSON."""
_ONE_DIMENSION = ("array_ndims({}) = 1", "an array of several dimensions")


def reading(kind: Kind) -> Reading:
    """How a column of that type is read."""
    if kind.name in _READINGS:
        return _READINGS[kind.name]
    if kind.category == _OPAQUE:
        return _AS_JSON
    if kind.name == "numeric":
        return _numeric(kind.typmod)
    if kind.category == "A" and kind.item:
        if kind.item in _PLAIN:
            return Reading(pa.list_(_PLAIN[kind.item]), "{}", *_ONE_DIMENSION)
        return Reading(pa.list_(pa.string()), "{}::text[]", *_ONE_DIMENSION)
    return _AS_TEXT


def _numeric(typmod: int) -> Reading:
    """Exact where the column says how many digits it has; as text where a value may have any number of them."""
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4 & 0x7FF) ^ 0x400) - 0x400
    if typmod < 0 or precision > MAX_DIGITS or not 0 <= scale <= precision:
        return _AS_TEXT
    return Reading(pa.decimal128(precision, scale), fits="{} <> 'NaN'", otherwise="not a number")


def arrived(array: pa.Array, reading: Reading) -> pa.Array:
    """What ADBC gave as the announced type: it has numeric as text, JSON and the like under names of its own."""
    if array.type == reading.type:
        return array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if reading.type == pa.json_():
        return pa.ExtensionArray.from_storage(reading.type, array.cast(reading.type.storage_type))
    return array.cast(reading.type)


_KINDS = """
with recursive base (declared, type, typmod) as (
    select t, t, -1 from unnest(%s::oid[]) t
    union all
    select b.declared, t.typbasetype, t.typtypmod from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
), inside (declared, type) as (
    select t, t from unnest(%s::oid[]) t
    union all
    select i.declared, case t.typtype when 'd' then t.typbasetype else t.typelem end
    from inside i join pg_type t on t.oid = i.type
    where t.typtype = 'd' or t.typcategory = 'A' and t.typlen = -1
), opaque (declared) as (
    select i.declared from inside i join pg_type t on t.oid = i.type
    where t.typtype in ('c', 'p') or t.typname in ('json', 'jsonb', 'xml', 'hstore')
)
select b.declared::bigint, t.typname::text,
       case when b.declared in (select declared from opaque) then 'O' else t.typcategory::text end, b.typmod,
       case when t.typcategory = 'A' and t.typlen = -1 then coalesce(e.typname::text, '') else '' end
from base b join pg_type t on t.oid = b.type left join pg_type e on e.oid = t.typelem
where t.typtype <> 'd'
"""


def kinds(connection: psycopg.Connection, columns: Iterable[tuple[str, int, int]]) -> dict[str, Kind]:
    """Column → kind, of (name, type's oid, typmod). A domain's own typmod counts where the column has none."""
    asked = list(columns)
    oids = sorted({oid for _, oid, _ in asked})
    rows = connection.execute(_KINDS, (oids, oids)).fetchall()
    known = {oid: Kind(name, category, typmod, item) for oid, name, category, typmod, item in rows}
    return {name: known[oid] if typmod == -1 else known[oid]._replace(typmod=typmod) for name, oid, typmod in asked}
