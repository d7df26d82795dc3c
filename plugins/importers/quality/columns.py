"""How a rule addresses a column of one schema, and reads a bound in the column's own type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_05UP, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property, partial, reduce
from operator import or_
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.names import did_you_mean
from importers.exceptions import ConfigError

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


class Family(StrEnum):
    """Types whose values can be compared with each other."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "date and time without a zone"
    INSTANT = "date and time with a zone"
    TIME = "time of day"
    BINARY = "bytes"
    NOTHING = "only nulls"
    OTHER = "nested or unordered"


ORDERED = frozenset({Family.NUMBER, Family.TEXT, Family.DATE, Family.DATETIME, Family.INSTANT, Family.TIME})
MOMENTS = frozenset({Family.DATE, Family.DATETIME, Family.INSTANT})
PLAIN = ORDERED | {Family.BOOLEAN, Family.BINARY}
_SPELT = "\1"
_DIGITS = 38  # of the longest decimal that polars has
_FEW, _INLINE = 6, 12
"""Texts, and bytes of each that polars holds in place: to compare with so many costs a nanosecond each, to look a text
up among them 5 to 15.
"""
_FAR = 2**127  # the least number that is greater than all whole ones that polars has


@dataclass(frozen=True, slots=True)
class Operand:
    """A column or nested leaf. In `expr` missing values (null, NaN) are null, categories text, instants UTC; moments
    are whole microseconds, as they are stored.
    """

    name: str
    dtype: pl.DataType
    family: Family
    expr: pl.Expr
    looked_up: Callable[[pl.Series], pl.Expr] | None = None
    """Of a text that isn't read: whether it is one of them. All else that `expr` tells is which are missing."""

    @property
    def _told(self) -> str:
        """The type for a message, without the fields of a nested one: what they are called may be data."""
        return f"{self.family} ({self.dtype.base_type() if self.dtype.is_nested() else self.dtype})"

    def within(self, families: Iterable[Family]) -> Operand:
        """The operand, if a rule can use it; a column of nothing but nulls always can."""
        allowed = set(families)
        if self.family is not Family.NOTHING and self.family not in allowed:
            raise ConfigError(
                f"the rule can't judge column '{self.name}'",
                got=self._told,
                do=f"it needs one of: {', '.join(sorted(allowed))}"
                + (
                    f"; if it should hold that, say so in the importer's `types`, such as `{{{self.name}: number}}`"
                    if self.family is Family.TEXT
                    else ""
                ),
            )
        return self

    def text(self) -> pl.Expr:
        """The column as text: text itself, and whole numbers, whose text is the same everywhere."""
        if self.dtype.is_integer():
            return self.expr.cast(pl.String)
        return self.within([Family.TEXT]).expr.cast(pl.String)

    @property
    def microseconds(self) -> pl.Expr:
        """Of moments: since 1970, by UTC or as the column has them."""
        return self.expr.cast(pl.Datetime("us", "UTC" if self.family is Family.INSTANT else None)).to_physical()

    def value(self, raw: Any) -> Any:
        """A bound or set member from the tenant file, in the column's own terms: exactly. Raises ConfigError."""
        if self.family is Family.NOTHING:
            return raw
        try:
            found = _READ[self.family](raw) if self.family in _READ else None
        except ValueError:
            found = None
        if found is None:
            do = f"write it as {_WRITTEN.get(self.family, 'a value of a plain column')}"
            if self.family is Family.TEXT:  # one cell in a file's sample that is no number makes its column text
                kind = "number" if isinstance(raw, int | float) else "…"
                do = (
                    f"if a cell that doesn't fit made it text, say `types: {{{self.name}: {kind}}}` in the importer's "
                    f"config, and the row goes to quarantine; if it is text, {do}"
                )
            raise ConfigError(
                f"column '{self.name}' can't be compared with this value",
                got=f"a value of type {type(raw).__name__}, the column holds {self._told}",
                do=do,
            )
        if isinstance(self.dtype, pl.Decimal) and isinstance(found, int | float | Decimal):
            return exact(found)
        return float(raw) if self.dtype.is_float() and not isinstance(raw, int) else found

    def bound(self, raw: Any) -> Any:
        """As `value`, for an expression to be held against: it lies between the same two of the column's values."""
        found = self.value(raw)
        if not isinstance(found, Decimal):
            return found
        digits, scale = (self.dtype.precision, self.dtype.scale) if isinstance(self.dtype, pl.Decimal) else (20, 0)
        return _comparable(found, digits, scale)

    def members(self, values: Iterable[Any]) -> pl.Series:
        """The set as a series of the column's type; members that the type can't hold can't occur and are left out."""
        read = [self.value(value) for value in values if value is not None]
        if self.dtype.is_integer():
            whole = [int(v) for v in read if math.isfinite(v) and v == int(v) and abs(v) < 2**127]
            return pl.Series(whole, dtype=pl.Int128).cast(self.dtype, strict=False).drop_nulls()
        if isinstance(self.dtype, pl.Decimal):
            fits = Decimal(10) ** (self.dtype.precision - self.dtype.scale)
            read = [v for v in read if v.copy_abs() < fits and (Fraction(v) * 10**self.dtype.scale).denominator == 1]
        elif self.family is Family.NUMBER:
            read = [float(v) for v in read]
        return pl.Series(read, dtype=self.dtype, strict=False)

    def among(self, values: Iterable[Any]) -> pl.Expr:
        """Whether it is one of the set; null where it is missing. Raises ConfigError as `members` does."""
        members = self.members(values)
        if self.looked_up:
            return self.looked_up(members)
        texts = members.to_list() if self.family is Family.TEXT else []
        if 0 < len(texts) <= _FEW and all(len(text.encode()) <= _INLINE for text in texts):
            return reduce(or_, [self.expr == pl.lit(text) for text in texts])
        return self.expr.is_in(members.implode())


def _number(raw: Any) -> int | float | Decimal | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        return None
    if isinstance(raw, int):
        return raw if -_FAR < raw < _FAR else float(Decimal(raw))  # infinity, where `float` alone raises
    if math.isnan(raw):
        return None
    said = exact(raw) if -_FAR < raw < _FAR else None
    return int(said) if said is not None and said == int(said) else raw  # whole columns are compared as such


def exact(number: float | Decimal) -> Decimal:
    """A number as it was written: 0.1 is a tenth, not the float next to it."""
    return number if isinstance(number, Decimal) else Decimal(str(number))


def _comparable(number: Decimal, digits: int, scale: int) -> Decimal | float:
    """What compares with all decimals of a type as the number does, and fits in one: polars takes no other.

    Beyond all of them it is a float. What is cut off leaves a digit that isn't 0 (nor 5) where there is room for one.
    """
    whole = digits - scale
    if number.copy_abs() >= Decimal(10) ** whole:  # `abs` rounds to the context's 28 digits
        return math.copysign(2 * 10.0**whole, number)
    places = min(scale + 1, _DIGITS - max(number.adjusted() + 1, 0))
    if -int(number.as_tuple().exponent) <= places:
        return number
    return number.quantize(Decimal(1).scaleb(-places), ROUND_05UP, Context(prec=2 * _DIGITS))


def _datetime(raw: Any) -> datetime | None:
    if isinstance(raw, str):
        raw = datetime.fromisoformat(raw)
    if isinstance(raw, datetime):
        return raw
    return datetime.combine(raw, time()) if isinstance(raw, date) else None


def _date(raw: Any) -> date | None:
    read = _datetime(raw)
    return read.date() if read and read.tzinfo is None and read.time() == time() else None


def _naive(raw: Any) -> datetime | None:
    read = _datetime(raw)
    return read if read and read.tzinfo is None else None


def _instant(raw: Any) -> datetime | None:
    read = _datetime(raw)
    if read is None:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _time(raw: Any) -> time | None:
    read = time.fromisoformat(raw) if isinstance(raw, str) else raw
    return read if isinstance(read, time) and read.tzinfo is None else None


_READ = {
    Family.NUMBER: _number,
    Family.TEXT: lambda raw: str(raw) if isinstance(raw, str) else None,
    Family.BOOLEAN: lambda raw: raw if isinstance(raw, bool) else None,
    Family.DATE: _date,
    Family.DATETIME: _naive,
    Family.INSTANT: _instant,
    Family.TIME: _time,
}
_WRITTEN = {
    Family.NUMBER: "a number",
    Family.TEXT: "text, in quotes",
    Family.BOOLEAN: "true or false",
    Family.DATE: "a date: 2026-01-31",
    Family.DATETIME: "a date, or a date and time without a zone: 2026-01-31T12:00:00",
    Family.INSTANT: "a date and time: 2026-01-31T12:00:00+01:00 (UTC if it has no zone)",
    Family.TIME: 'a time of day, in quotes: "12:00:00"',
}


def spelt(name: str) -> str:
    """What a column is called within polars, which takes `*` and `^…$` for patterns, wherever it asks for a name and
    within what it does by itself (a Series' own methods, a concatenation), and numbers columns without a name.
    """
    is_other = name in ("", "*") or (name.startswith("^") and name.endswith("$"))
    return f"{_SPELT}{name}" if is_other or name.startswith(_SPELT) else name


def spelt_columns(rows: Rows, names: list[str]) -> Rows:
    """Those columns, called as polars is told of them."""
    read, called = rows.select(names), [spelt(name) for name in names]
    return read if called == names else read.rename_columns(called)


def framed(
    rows: pa.RecordBatch, names: list[str], besides: Mapping[str, pa.Array] | None = None, *, flat: bool = False
) -> pl.DataFrame:
    """Those columns, as polars has them and is told of them; numbers of a dictionary are looked up, in a third of the
    time that it takes to make categories of them. `besides` are further columns, called as polars is told of them.

    `flat`: none is nested, so that nothing is handed over to other threads and back; of nested ones some would panic.
    """
    read = spelt_columns(rows, names)
    for name, column in (besides or {}).items():
        read = read.append_column(name, column)
    coded = [field.name for field in read.schema if pa.types.is_dictionary(field.type)]
    looked_up = [_looked_up(name, read.column(name)) for name in coded]
    if len(coded) == read.num_columns:
        return pl.DataFrame(looked_up)
    rest = read.drop_columns(coded) if coded else read
    frame = pl.DataFrame(rest) if flat else pl.DataFrame(pl.from_arrow(rest))
    return frame.with_columns(looked_up) if coded else frame


def _looked_up(name: str, coded: pa.DictionaryArray) -> pl.Series:
    return pl.Series(coded.dictionary).gather(pl.Series(coded.indices)).alias(name)


def root(schema: pa.Schema, path: str) -> str:
    """The column to read for `path`: itself, or the struct that holds the leaf. Raises ConfigError."""
    if _has(schema, path):
        return path
    first = path.split(".")[0]
    if _has(schema, first) and pa.types.is_struct(schema.field(first).type):
        return first
    raise ConfigError(f"there is no column '{path}'", do=did_you_mean(path, schema.names))


def _has(schema: pa.Schema, name: str) -> bool:
    """As `name in schema.names`, which makes a list of all of them, for each of thousands of columns."""
    return bool(schema.get_all_field_indices(name))


def leaf_type(schema: pa.Schema, path: str) -> pa.DataType:
    """The Arrow type of a column or of a leaf inside structs. Raises ConfigError, which names what there is."""
    top = root(schema, path)
    found = schema.field(top).type
    for step in path.removeprefix(top).split(".")[1:]:
        if not pa.types.is_struct(found):
            raise ConfigError(
                f"'{path}' is inside a {found}", do="rules reach fields of structs only, not lists or maps"
            )
        fields = [field.name for field in found.fields]
        if step not in fields:
            raise ConfigError(f"there is no '{step}' on the way to '{path}'", do=did_you_mean(step, fields))
        found = found.field(step).type
    return found


def _refuse_unreadable(name: str, found: pa.DataType) -> None:
    """Types on which polars doesn't raise but panics."""
    tests = (pa.types.is_decimal256, pa.types.is_union, pa.types.is_interval, pa.types.is_run_end_encoded)
    if any(test(found) for test in tests):
        raise ConfigError(f"no rule can judge column '{name}'", got=str(found), do="leave it out of the rules")
    for place in range(found.num_fields):
        _refuse_unreadable(name, found.field(place).type)


def readable(schema: pa.Schema, path: str) -> bool:
    """Whether polars can read what is there."""
    try:
        leaf_type(schema, path)
        _refuse_unreadable(path, schema.field(root(schema, path)).type)
    except ConfigError:
        return False
    return True


class Columns:
    """The columns of one schema, as rules address them: by name, or by dotted path into structs."""

    def __init__(self, schema: pa.Schema, paths: Iterable[str], unread: Iterable[str] = ()) -> None:
        """`unread`: of which it is asked only which values are missing, or in a set. Polars isn't given texts of those:
        its own form of one takes as long to make as Arrow takes to find it in the set.
        """
        self.schema = schema
        self._unread = {path for path in unread if _has(schema, path) and _is_copied(schema.field(path).type)}
        self._sets: dict[str, _Set] = {}
        self.roots = sorted({root(schema, path) for path in paths} - self._unread)
        self.flat = not any(pa.types.is_nested(schema.field(name).type) for name in self.roots)
        for name in self.roots:
            _refuse_unreadable(name, schema.field(name).type)

    @cached_property
    def _empty(self) -> dict[str, pl.Series]:
        rows = pl.DataFrame(pl.from_arrow(spelt_columns(self.schema.empty_table(), self.roots)))
        return {column.name: column for column in rows.iter_columns()}

    def frame(self, rows: pa.RecordBatch) -> pl.DataFrame:
        """What the operands are about, of a batch."""
        besides = {spelt(path): _where_there(rows.column(path)) for path in self._unread}
        besides |= {name: among.found(rows.column(among.path)) for name, among in self._sets.items()}
        return framed(rows, self.roots, besides, flat=self.flat)

    def _look_up(self, path: str, members: pl.Series) -> pl.Expr:
        place = len(self._sets)
        self._sets[f"{_SPELT}{place} {path}"] = _Set(
            path, members, members.to_arrow().cast(self.schema.field(path).type)
        )
        return pl.col(f"{_SPELT}{place} {path}")

    def __call__(self, path: str) -> Operand:
        """Raises ConfigError for a path that isn't there."""
        if path in self._unread:
            return _text(path, pl.col(spelt(path)), partial(self._look_up, path))
        leaf_type(self.schema, path)
        top = root(self.schema, path)
        expr, kind = pl.col(spelt(top)), self.schema.field(top).type
        for step in path.removeprefix(top).split(".")[1:]:
            if step != spelt(step):
                expr = expr.struct.rename_fields([spelt(field.name) for field in kind.fields])
            expr, kind = expr.struct.field(spelt(step)), kind.field(step).type
        of = self._empty[spelt(top)]
        dtype = of.dtype if path == top else of.to_frame().select(expr.alias(spelt(path))).dtypes[0]
        return _operand(path, expr, dtype)


def _is_copied(kind: pa.DataType) -> bool:
    """Whether polars has another form of such a text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _where_there(texts: pa.Array, found: pa.Array | None = None) -> pa.Array:
    """What was found of each, or that it is there; null where it is missing."""
    found = texts.is_valid() if found is None else found
    return pc.if_else(texts.is_valid(), found, None) if texts.null_count else found


@dataclass(frozen=True, slots=True)
class _Set:
    """Texts to look up in a batch's column, in whichever form that has them."""

    path: str
    members: pl.Series
    in_arrow: pa.Array

    def found(self, texts: pa.Array) -> pa.Array:
        """Whether each is one of them; null where it is missing."""
        if isinstance(texts, pa.DictionaryArray):
            return self.found(texts.dictionary).take(texts.indices)
        if pa.types.is_string_view(texts.type):  # which are polars' own, and Arrow can't look up
            among = _text(self.path, pl.col("text")).among(self.members)
            return pl.DataFrame({"text": texts}).select(among).to_series().to_arrow()
        return _where_there(texts, pc.is_in(texts, self.in_arrow))


def _text(name: str, expr: pl.Expr, looked_up: Callable[[pl.Series], pl.Expr] | None = None) -> Operand:
    return Operand(name, pl.String(), Family.TEXT, expr, looked_up)


def _operand(name: str, expr: pl.Expr, dtype: pl.DataType) -> Operand:
    if isinstance(dtype, pl.Categorical | pl.Enum):
        expr, dtype = expr.cast(pl.String), pl.String()
    elif isinstance(dtype, pl.BaseExtension) and dtype.ext_name() == "arrow.json":
        expr, dtype = expr.ext.storage(), pl.String()
    elif dtype.is_float():
        expr = expr.fill_nan(None)  # NaN is missing, as it is to pandas and so to Great Expectations
    elif isinstance(dtype, pl.Datetime):
        if dtype.time_zone:
            expr, dtype = expr.dt.convert_time_zone("UTC"), pl.Datetime(dtype.time_unit, "UTC")
        if dtype.time_unit == "ns":
            expr, dtype = expr.dt.cast_time_unit("us"), pl.Datetime("us", dtype.time_zone)
    return Operand(name, dtype, _family(dtype), expr)


def _family(dtype: pl.DataType) -> Family:
    if dtype.is_numeric():
        return Family.NUMBER
    if isinstance(dtype, pl.Datetime):
        return Family.INSTANT if dtype.time_zone else Family.DATETIME
    plain = {
        pl.String: Family.TEXT,
        pl.Boolean: Family.BOOLEAN,
        pl.Date: Family.DATE,
        pl.Time: Family.TIME,
        pl.Binary: Family.BINARY,
        pl.Null: Family.NOTHING,
    }
    return plain.get(type(dtype), Family.OTHER)
