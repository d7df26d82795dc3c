"""Dates and times as people write them, such as 31.12.2026: by a format, since nothing else tells day from month."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

DIRECTIVES = {
    "%Y": "year, four digits",
    "%y": "year, two digits: 70 to 99 are of the last century",
    "%m": "month, a number",
    "%b": "month, Jan",
    "%B": "month, January",
    "%d": "day",
    "%H": "hour, 0 to 23",
    "%I": "hour, 1 to 12",
    "%p": "AM or PM",
    "%M": "minute",
    "%S": "second",
    "%.f": "fraction of a second with its point, if there is one",
    "%z": "offset, +01:00 or +0100",
}
_DIRECTIVE = re.compile(r"%\.?.?", re.DOTALL)
_TIME = frozenset({"%H", "%I", "%M", "%S", "%.f", "%p", "%z"})
_BLANK = " \t"


def legal(text: str) -> str:
    """The format, if it says a whole date. Raises ValueError."""
    found = set(_DIRECTIVE.findall(text))
    unknown = sorted(found - DIRECTIVES.keys())
    if unknown:
        raise ValueError(f"has {unknown[0]}; allowed: {', '.join(DIRECTIVES)}")
    if not ({"%Y", "%y"} & found and {"%m", "%b", "%B"} & found and "%d" in found):
        raise ValueError("needs a year, a month and a day, such as %d.%m.%Y")
    if {"%I", "%p"} & found not in (set(), {"%I", "%p"}):
        raise ValueError("needs %I and %p together")
    return text


def kind_of(format_: str) -> pa.DataType:
    """What a text of that format is."""
    found = set(_DIRECTIVE.findall(format_))
    if "%z" in found:
        return pa.timestamp("us", "UTC")
    return pa.timestamp("us") if found & _TIME else pa.date32()


@dataclass(frozen=True)
class Times:
    """How dates and times of a file are written, and those of single columns; None: as ISO 8601 has them."""

    date: str | None = None
    timestamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def format_of(self, name: str, kind: pa.DataType) -> str | None:
        """How the column's values of that type are written, if not as ISO 8601 has them."""
        if pa.types.is_date(kind):
            return self.columns.get(name, self.date)
        return self.columns.get(name, self.timestamp) if pa.types.is_timestamp(kind) else None

    def inferred(self, name: str, text: pa.ChunkedArray, guess: pa.DataType) -> pa.DataType:
        """The type of a column whose texts, null where they say nothing, look like `guess` by ISO 8601."""
        said = (self.columns.get(name),) if name in self.columns else (self.timestamp, self.date)
        for format_ in filter(None, said):
            kind = kind_of(format_)
            if text.null_count < len(text) and read(text.combine_chunks(), kind, format_).null_count == text.null_count:
                return kind
        return pa.string() if self.format_of(name, guess) else guess


def read(text: pa.Array, kind: pa.DataType, format_: str) -> pa.Array:
    """The texts as values; null where one isn't written so, or is no day: 31.02.2026."""
    series = pl.Series(pc.utf8_trim(text, characters=_BLANK), dtype=pl.String)
    if pa.types.is_date(kind):
        return series.str.to_date(format_, strict=False).to_arrow()
    zone = "UTC" if kind.tz and "%z" not in format_ else None
    moments = series.str.to_datetime(format_, strict=False, time_unit="us", time_zone=zone)
    return moments.to_arrow().cast(kind)


def as_times(text: pa.Array, kind: pa.DataType, format_: str) -> pa.Array:
    """The same, of texts that all are. Raises ArrowInvalid if one isn't."""
    values = read(text, kind, format_)
    if values.null_count > text.null_count:
        raise pa.ArrowInvalid("a time that is written otherwise")
    return values
