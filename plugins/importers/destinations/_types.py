"""Arrow types as PostgreSQL's, and which of them widens to which."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import types as t

from importers.core.exact import is_text
from importers.core.model import TableColumn
from importers.core.names import UNSHOWN, is_given
from importers.core.widening import levels
from importers.exceptions import ContractError

NUMERIC_DIGITS = 38  # of Arrow's decimal128: pgpq encodes none that are longer
DEEPEST = 63
"""Levels of nesting. Arrow's IPC, in which rows are staged, writes fewer than 64 (`kMaxNestingDepth`)."""
UUID = pa.uuid()
JSONB = "jsonb"

_SIMPLE = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.uint8(): "smallint",
    pa.int32(): "integer",
    pa.uint16(): "integer",
    pa.int64(): "bigint",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20,0)",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.null(): "text",
    UUID: "uuid",
}

# What arrives with a type (left) may widen a column of the right's types, in this order of width.
_WIDER: dict[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "double precision", "numeric"}),
    "integer": frozenset({"bigint", "double precision", "numeric"}),
    "bigint": frozenset({"double precision", "numeric"}),
    "real": frozenset({"double precision"}),
    "date": frozenset({"timestamp without time zone"}),
    "numeric": frozenset({"numeric"}),
}


def sql_types(columns: Sequence[TableColumn]) -> dict[str, str]:
    """By name the types that hold the columns without loss. Raises ContractError for a column that none holds."""
    return {column.name: _sql_type_of(column) for column in columns}


def _sql_type_of(column: TableColumn) -> str:
    name, kind = column.name if is_given(column.name) else UNSHOWN, column.type
    if (found := levels(kind)) > DEEPEST:
        raise ContractError(
            f"column '{name}' is nested too deeply",
            got=f"{found} levels of objects and lists in each other; {DEEPEST} are taken",
            do="leave the column out: `drop` it; or have it delivered in fewer levels",
        )
    try:
        return sql_type(kind)
    except ContractError as error:
        raise ContractError(f"column '{name}': {error.what}", do=error.do) from None


def sql_type(kind: pa.DataType) -> str:
    """The column type that holds an Arrow type without loss. Raises ContractError for one that none holds."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if is_text(kind):
        return "text"
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind) or t.is_binary_view(kind):
        return "bytea"
    if t.is_timestamp(kind):
        return "timestamp with time zone" if kind.tz else "timestamp without time zone"
    if t.is_time(kind):
        return "time without time zone"
    if t.is_duration(kind):
        return "interval"
    if t.is_decimal(kind) and _digits(kind) <= NUMERIC_DIGITS:
        return f"numeric({_digits(kind)},{max(kind.scale, 0)})"
    if t.is_nested(kind):
        return JSONB
    if t.is_dictionary(kind):
        return sql_type(kind.value_type)
    raise _held_by_none(kind)


def _held_by_none(kind: pa.DataType) -> ContractError:
    if not t.is_decimal(kind):
        return ContractError(f"PostgreSQL has no column type for Arrow's {kind}", do="leave the column out: `drop` it")
    shorter = f"decimal({NUMERIC_DIGITS},{min(max(kind.scale, 0), NUMERIC_DIGITS)})"
    return ContractError(
        f"of decimal numbers {NUMERIC_DIGITS} digits are loaded, fewer than Arrow's {kind} has",
        do=f"say by the source's `types`, if it has them, that it is a `string`, or a `{shorter}` where that is "
        "enough; or leave the column out: `drop` it",
    )


def _digits(kind: pa.DataType) -> int:
    """As PostgreSQL counts them: a negative scale adds zeros, one beyond the precision digits behind the point."""
    return int(max(kind.precision - min(kind.scale, 0), kind.scale))


def from_sql(declared: str) -> pa.DataType:
    """The Arrow type to send to an existing column; `declared` as `format_type` prints it."""
    base = declared.split("(")[0]
    exact = {
        "boolean": pa.bool_(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "date": pa.date32(),
        "text": pa.string(),
        "character varying": pa.string(),
        "bytea": pa.binary(),
        "uuid": UUID,
        "jsonb": pa.string(),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
        "timestamp without time zone": pa.timestamp("us"),
        "time without time zone": pa.time64("us"),
        "interval": pa.duration("us"),
    }
    if "(" in declared and base == "timestamp":  # timestamp(3) without time zone
        base = "timestamp " + declared.split(") ")[1]
    if base in exact:
        return exact[base]
    if base == "numeric":
        digits, _, scale = declared[8:-1].partition(",") if "(" in declared else ("38", "", "9")
        return pa.decimal128(min(int(digits), NUMERIC_DIGITS), int(scale or 0))
    raise ContractError(f"a column of type {declared} was not made by an import", do="load into a table of its own")


def wider(have: str, come: str) -> str | None:
    """The type that holds both, `have` if nothing need change, None if no type does."""
    if have == come or (have == "text" and come not in ("uuid", "bytea", JSONB)):
        return have
    base_have, base_come = have.split("(")[0], come.split("(")[0]
    if base_have == base_come == "numeric":
        return _wider_numeric(have, come)
    if base_come in _WIDER.get(base_have, ()):
        return _integer_as_numeric(base_have, come) if base_come == "numeric" else come
    if base_have in _WIDER.get(base_come, ()):
        return _integer_as_numeric(base_come, have) if base_have == "numeric" else have
    return None


_INTEGER_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}


def _integer_as_numeric(integer: str, numeric: str) -> str | None:
    return _wider_numeric(numeric, f"numeric({_INTEGER_DIGITS[integer]},0)")


def _wider_numeric(one: str, two: str) -> str | None:
    def digits(text: str) -> tuple[int, int]:
        precision, _, scale = text[8:-1].partition(",")
        return int(precision) - int(scale or 0), int(scale or 0)

    if "(" not in one or "(" not in two:
        return "numeric"
    whole, fraction = (max(pair) for pair in zip(digits(one), digits(two), strict=True))
    return f"numeric({whole + fraction},{fraction})" if whole + fraction <= NUMERIC_DIGITS else None
