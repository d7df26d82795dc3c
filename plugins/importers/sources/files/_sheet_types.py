"""From a workbook's cells, most of them text, to typed columns: as CSV has them, and what only workbooks have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from importers.sources._text.cells import convert, infer
from importers.sources._text.cells import typed as typed_text
from importers.sources._text.widening import Typed
from importers.sources.files._sheet_numbers import in_digits, rounded, significant

TIME = pa.time64("us")
DURATION = pa.duration("ms")
MIDNIGHT = r"[ T]00:00:00(?:\.0+)?$"
DAY_ZERO = r"^(?:1899-12-31|1904-01-01)[ T]"
"""What a time of day is written with: the day before either epoch's first."""
EARLY = r"^(?:18|190)"
"""Durations are written as moments of the epoch's first years."""
_ISO = re.compile(r'got \'DurationIso\("(-?)PT(\d{1,7})H(\d{1,2})M(\d{1,2}(?:\.\d+)?)S"\)\'')
"""OpenDocument's time (office:time-value), of the day or how long it lasts, that the library can't give."""


def types_of(text: pa.Table, nulls: Sequence[str]) -> pa.Schema:
    """The types of columns of text; of moments, whether all are days, or all times of day."""
    return pa.schema([_narrowed(field, text.column(field.name)) for field in infer(text, nulls)])


def _narrowed(field: pa.Field, text: pa.ChunkedArray) -> pa.Field:
    if not pa.types.is_timestamp(field.type) or field.type.tz:
        return field
    return field.with_type(_moment(text, field.type))


def _moment(text: pa.ChunkedArray, kind: pa.DataType) -> pa.DataType:
    if _all(text, DAY_ZERO):
        return TIME
    return pa.date32() if _all(text, MIDNIGHT) else kind


def maybe_durations(text: pa.Table, schema: pa.Schema) -> list[str]:
    """The columns whose moments are all of the epoch's first years."""
    moments = [field.name for field in schema if pa.types.is_temporal(field.type)]
    return [name for name in moments if _all(text.column(name), EARLY)]


def iso_time(detail: str) -> timedelta | None:
    """The time of OpenDocument, in the detail of an error about it."""
    found = _ISO.search(detail)
    if not found:
        return None
    sign, hours, minutes, seconds = found.groups()
    lasts = timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))
    return -lasts if sign else lasts


def as_moment(lasts: timedelta) -> str:
    """As other workbooks have durations where text is expected."""
    return str(datetime(1899, 12, 31) + lasts)  # noqa: DTZ001 - a workbook knows no zones


def _all(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def typed(cells: pa.Array, kind: pa.DataType, nulls: Sequence[str], *, sampled: bool) -> Typed:
    """As a cell's text has them, and what only workbooks have; `cells` are text, durations, or numbers alone."""
    if kind == DURATION:
        return cells, []
    text = cells
    if pa.types.is_floating(cells.type) or pa.types.is_integer(cells.type):
        values = _numbers(cells, kind, nulls)
        if values is not None:
            return values, []
        text = in_digits(cells, kind)
    if kind == TIME:
        return _times(text, nulls)
    if pa.types.is_date(kind):
        text = pc.replace_substring_regex(text, MIDNIGHT, "")
    if pa.types.is_decimal(kind):
        text = rounded(text, kind, pa.array(nulls, pa.string()))
    return typed_text(text, kind, nulls, sampled=sampled)


def _numbers(cells: pa.Array, kind: pa.DataType, nulls: Sequence[str]) -> pa.Array | None:
    """Numbers as such, without a way over text. None if one isn't of that type, or some may be null markers."""
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or any(re.search(r"\d", null) for null in nulls):
        return None
    try:
        return (significant(cells) if pa.types.is_integer(kind) else cells).cast(kind)
    except pa.ArrowInvalid:
        return None


def _times(text: pa.Array, nulls: Sequence[str]) -> Typed:
    moments, _ = convert(text, pa.timestamp("us"), nulls)
    same_day = pc.fill_null(pc.match_substring_regex(text, DAY_ZERO), False)
    values = pc.if_else(same_day, moments.cast(TIME), pa.scalar(None, TIME))
    given = pc.and_(pc.is_valid(text), pc.invert(pc.is_in(text, pa.array(nulls, pa.string()))))
    return values, [(pc.and_(given, pc.is_null(values)), "not a time of day")]
