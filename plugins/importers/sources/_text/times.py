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
_WRITTEN = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%p": "(?i:am|pm)",
    "%S": "[0-5]?[0-9]",
    "%.f": r"(?:\.[0-9]{1,6})?",
    "%z": "[+-][0-9]{2}:?[0-9]{2}",
}
"""What stands for a directive. polars also takes 26 for a year of four digits, a second 60, and cuts nanoseconds."""
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
    if ({"%H", "%I"} & found and "%M" not in found) or ({"%M", "%S", "%.f", "%z"} & found and not {"%H", "%I"} & found):
        raise ValueError("needs the hour and the minute, such as %H:%M, to say a time")
    return text


def kind_of(format_: str) -> pa.DataType:
    """What a text of that format is."""
    found = set(_DIRECTIVE.findall(format_))
    if "%z" in found:
        return pa.timestamp("us", "UTC")
    return pa.timestamp("us") if found & _TIME else pa.date32()


def suits(format_: str, kind: pa.DataType) -> bool:
    """Whether its texts are values of the type and of no other: a day may be a moment, but no time is cut or moved."""
    own = kind_of(format_)
    return bool(own == kind or (pa.types.is_date(own) and kind == pa.timestamp("us")))


def _shape(format_: str) -> str:
    """A regular expression for all that is written so. Of two numbers that touch each has all its digits."""
    parts, end = [], -1
    for found in (all_found := list(_DIRECTIVE.finditer(format_))):
        touches = found.start() == end or any(other.start() == found.end() for other in all_found)
        parts.append(re.escape(format_[max(end, 0) : found.start()]))
        parts.append(_WRITTEN.get(found[0], "[0-9]{2}" if touches else "[0-9]{1,2}"))
        end = found.end()
    return f"^{''.join(parts)}{re.escape(format_[end:])}$"


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
    if not suits(format_, kind):
        return pa.nulls(len(text), kind)
    trimmed = pc.utf8_trim(text, characters=_BLANK)
    said = pc.if_else(pc.match_substring_regex(trimmed, _shape(format_)), trimmed, pa.scalar(None, pa.string()))
    series = pl.Series(said, dtype=pl.String)
    if pa.types.is_date(kind):
        return series.str.to_date(format_, strict=False).to_arrow()
    if pa.types.is_date(kind_of(format_)):
        return series.str.to_date(format_, strict=False).to_arrow().cast(kind)
    return series.str.to_datetime(format_, strict=False, time_unit="us").to_arrow().cast(kind)


def as_times(text: pa.Array, kind: pa.DataType, format_: str) -> pa.Array:
    """The same, of texts that all are. Raises ArrowInvalid if one isn't."""
    values = read(text, kind, format_)
    if values.null_count > text.null_count:
        raise pa.ArrowInvalid("a time that is written otherwise")
    return values
