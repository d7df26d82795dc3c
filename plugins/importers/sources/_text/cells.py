"""From the text of a cell to a typed value: which type a column has, and which cells don't have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pydantic import AfterValidator, WithJsonSchema

from importers.core.exact import cast_or_null
from importers.core.names import did_you_mean
from importers.sources._text.numbers import Numbers
from importers.sources._text.times import Times, read
from importers.sources._text.widening import Typed

PLAIN, ISO = Numbers(), Times()


class TypeName(StrEnum):
    """What a tenant may call a column's type."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMP_TZ = "timestamp_tz"


ARROW: dict[TypeName, pa.DataType] = {
    TypeName.STRING: pa.string(),
    TypeName.INTEGER: pa.int64(),
    TypeName.NUMBER: pa.float64(),
    TypeName.DECIMAL: pa.decimal128(38, 9),
    TypeName.BOOLEAN: pa.bool_(),
    TypeName.DATE: pa.date32(),
    TypeName.TIMESTAMP: pa.timestamp("us"),
    TypeName.TIMESTAMP_TZ: pa.timestamp("us", "UTC"),
}


DECIMAL = re.compile(r"decimal\((\d{1,2}), ?(\d{1,2})\)")


def column_type(said: str) -> str:
    """The name of a type. Raises ValueError, which lists what is allowed."""
    arrow_type(said)
    return said


def arrow_type(said: str) -> pa.DataType:
    """Raises ValueError for what is no type."""
    if said in ARROW:
        return ARROW[TypeName(said)]
    found = DECIMAL.fullmatch(said)
    if not found:
        raise ValueError(f"is no type; {did_you_mean(said, [*TypeName, 'decimal(12,2)'])}")
    precision, scale = map(int, found.groups())
    if not (1 <= precision <= 38 and scale <= precision):
        raise ValueError("a decimal has 1 to 38 digits, of which as many or fewer are after the point")
    return pa.decimal128(precision, scale)


ColumnType: TypeAlias = Annotated[
    str,
    AfterValidator(column_type),
    WithJsonSchema({"anyOf": [{"enum": list(TypeName)}, {"type": "string", "pattern": f"^{DECIMAL.pattern}$"}]}),
]


def called(kind: pa.DataType) -> str:
    """What people call a value of the type, and how it is written where that isn't plain."""
    if pa.types.is_timestamp(kind):
        zoned, plain = "with a zone, such as 2026-12-31T23:59:59Z", "without a zone, such as 2026-12-31 23:59:59"
        return f"a time {zoned if kind.tz else plain}"
    if pa.types.is_decimal(kind):
        before = kind.precision - kind.scale
        return f"a decimal number of at most {before} digits before the point and {kind.scale} after it"
    return next((words for fits, words in _CALLED if fits(kind)), "text")


_CALLED = (
    (pa.types.is_integer, "a whole number"),
    (pa.types.is_floating, "a number"),
    (pa.types.is_boolean, "true or false"),
    (pa.types.is_date, "a date such as 2026-12-31"),
)

NOT_AN_INTEGER = r"^\s*[+-]?0[0-9xX]|^\s*\+"
"""Codes whose zeros, plus or hexadecimal digits a number would lose: 007, +49, 0x1F."""
NOT_A_FLOAT = r"^\s*[+-]?0[0-9xX]|^\s*\+|^\s*-?\d{16,}\s*$|^\s*\d+[eE]\d+\s*$"
"""Those, integers that a double can't hold, and codes such as 1E5."""


def code_pattern(kind: pa.DataType) -> str | None:
    """What texts look like that the type reads and wouldn't give back; None if there are none."""
    if pa.types.is_integer(kind):
        return NOT_AN_INTEGER
    return NOT_A_FLOAT if pa.types.is_floating(kind) else None


def lost(kind: pa.DataType) -> str:
    """Why a text is refused that reads as a number."""
    if pa.types.is_integer(kind):
        return "a leading zero or plus, which an integer would lose"
    return "a leading zero or plus, a code such as 1E5, or too many digits, which a number would lose"


NANOSECONDS = r"\.\d{7,}"


def convert_options(types: pa.Schema, nulls: Sequence[str], numbers: Numbers = PLAIN) -> csv.ConvertOptions:
    """Exactly these columns and types. A quoted null marker is text: "" is the empty string, nothing is null."""
    return csv.ConvertOptions(
        column_types=types,
        include_columns=types.names,
        null_values=list(nulls),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        decimal_point=numbers.decimal,
    )


def infer(text: pa.Table, nulls: Sequence[str], numbers: Numbers = PLAIN, times: Times = ISO) -> pa.Schema:
    """The narrowest type of each column that gives every one of its texts back. Only nulls: string."""
    if not text.num_rows:
        return text.schema
    empty = pa.array(["", *nulls])
    said = pa.table({name: pc.if_else(pc.is_in(text[name], empty), None, text[name]) for name in text.column_names})
    parsed = {name: numbers.as_parsed(said[name]) for name in said.column_names}
    foreign = frozenset(name for name, text in parsed.items() if not numbers.plain and _any(text, r"\?$"))
    # dates and words hold the same characters
    parsed |= {name: said[name] for name in foreign}
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table(parsed), sink, csv.WriteOptions(include_header=False))
    written = sink.getvalue()
    # by Arrow's own converter, so that a sample means what the blocks will mean
    guess = csv.read_csv(
        pa.BufferReader(written),
        csv.ReadOptions(use_threads=False, column_names=text.column_names, block_size=written.size + 1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(null_values=[""]),
    ).schema
    kinds = {name: _kept(guess.field(name).type, said[name]) for name in text.column_names}
    kinds |= {name: pa.string() for name in foreign if _is_number(kinds[name])}  # of another notation
    return pa.schema([(name, times.inferred(name, said[name], kind)) for name, kind in kinds.items()])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _kept(guess: pa.DataType, text: pa.ChunkedArray) -> pa.DataType:
    if pa.types.is_timestamp(guess):
        return pa.timestamp("ns" if _any(text, NANOSECONDS) else "us", guess.tz)
    if pa.types.is_integer(guess):
        return pa.string() if _any(text, NOT_AN_INTEGER) else guess
    if pa.types.is_floating(guess):
        return pa.string() if _any(text, NOT_A_FLOAT) else guess
    return guess if pa.types.is_boolean(guess) or pa.types.is_date(guess) else pa.string()


def _any(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def as_numbers(text: pa.Array, kind: pa.DataType, numbers: Numbers = PLAIN) -> pa.Array:
    """What Arrow's CSV converter makes of texts. Raises ArrowInvalid if one isn't such a number, or has groups."""
    if pa.types.is_floating(kind) and numbers.decimal != ".":
        if pc.any(pc.match_substring(text, ".")).as_py():
            raise pa.ArrowInvalid("a point in a number that has another decimal")
        text = pc.replace_substring(text, numbers.decimal, ".")
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return pc.utf8_trim(text, characters=" \t").cast(kind)


def typed(
    text: pa.Array,
    kind: pa.DataType,
    nulls: Sequence[str],
    numbers: Numbers = PLAIN,
    *,
    sampled: bool,
    written: str | None = None,
) -> Typed:
    """The texts as values, and which cells aren't of the type, with why. `written` is the format of dates and times.

    A `sampled` type isn't the tenant's word: texts that it wouldn't give back are refused too.
    """
    if written:
        said = pc.if_else(pc.is_in(text, pa.array(["", *nulls])), pa.scalar(None, pa.string()), text)
        values = read(said, kind, written)
        wrong = pc.and_(pc.is_valid(said), pc.is_null(values)) if values.null_count > said.null_count else None
    else:
        values, wrong = convert(text, kind, nulls, numbers)
    what = called(kind) + numbers.example(kind)
    if written:
        what = f"{called(kind).partition(' such as')[0]} written as {written}"
    hint = ", which the column is by the sample or the run before: see `types`" if sampled else ""
    refused = [] if wrong is None else [(wrong, f"not {what}{hint}")]
    if sampled and (pattern := code_pattern(kind)):
        refused.append((pc.fill_null(pc.match_substring_regex(text, pattern), False), lost(kind)))
    return values, refused


def convert(
    text: pa.Array, kind: pa.DataType, nulls: Sequence[str], numbers: Numbers = PLAIN
) -> tuple[pa.Array, pa.Array | None]:
    """The texts as values, as Arrow's CSV converter has them, and which of them aren't one (those are null).

    None in place of the second: all are. Quoted null markers are null where they can't be text.
    """
    if kind == pa.string():
        return text, None
    trimmed = pc.utf8_trim(text, characters=" \t")
    trimmed = pc.if_else(pc.is_in(text, pa.array(nulls, pa.string())), pa.scalar(None, pa.string()), trimmed)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        trimmed = numbers.as_parsed(trimmed)
    try:
        return trimmed.cast(kind), None
    except pa.ArrowInvalid:
        distinct = trimmed.dictionary_encode()
    texts = distinct.dictionary
    likely = pc.if_else(pc.match_substring_regex(texts, _shape(kind)), texts, pa.scalar(None, pa.string()))
    values = cast_or_null(likely, kind).take(distinct.indices)
    return values, pc.and_(pc.is_valid(trimmed), pc.is_null(values))


def _shape(kind: pa.DataType) -> str:
    """What a text must look like to be worth a cast: it sorts out in one pass what clearly isn't one."""
    if pa.types.is_integer(kind):
        return r"^[-+]?[0-9][0-9a-fA-FxX]*$"
    if pa.types.is_boolean(kind):
        return r"^(?i:true|false|[01])$"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return r"^[-+]?(?:[0-9.][-+0-9.eE]*|(?i:inf|nan).*)$"
    return r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
