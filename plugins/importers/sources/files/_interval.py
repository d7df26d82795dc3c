"""Which time a file's rows are of, as its path says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from importers.core.model import Window
from importers.core.schedule import Zone
from importers.core.source import SourceConfig
from importers.exceptions import ContractError
from importers.transport.files import File

CODES = {"Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "H": r"\d{2}"}
"""Year, month, day and hour, as strftime names them."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVER = (-(2**62), 2**62)


def _dated(pattern: str) -> str:
    found = re.findall(r"%(.?)", pattern)
    if not found or sorted(found) != sorted(list(CODES)[: len(found)]):
        raise ValueError("write the date in it as %Y-%m-%d; %H may follow, %d and %m may be left out, each once")
    return pattern


class IntervalConfig(SourceConfig):
    """The part of a file's path that has the date, and whose wall clock that means."""

    pattern: Annotated[str, AfterValidator(_dated)] = Field(
        description="A part of the path below the pattern's directory, such as `plays-%Y-%m-%d` or `%Y/%m/%d/%H`."
    )
    timezone: Zone = Field("UTC", description="Whose wall clock the date means: the schedule's time zone, as a rule.")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        literal = re.split(r"%(.)", self.pattern)
        parts = [re.escape(text) if n % 2 == 0 else f"(?P<{text}>{CODES[text]})" for n, text in enumerate(literal)]
        return re.compile("".join(parts))

    def start(self, file: File) -> datetime:
        """When the time begins that the file is of. Of several dates the last one counts. Raises ContractError."""
        found = list(self._regex.finditer(file.lane))
        if not found:
            raise ContractError(
                f"the path of the file '{file.path}' doesn't say which time it is of",
                do=f"let it hold {self.pattern!r}, correct `interval`, or leave the file out of `path`",
            )
        said = {name: int(text) for name, text in found[-1].groupdict().items()}
        try:
            begun = datetime(
                said["Y"],
                said.get("m", 1),
                said.get("d", 1),
                said.get("H", 0),
                tzinfo=ZoneInfo(self.timezone),
            )
        except ValueError:
            raise ContractError(f"the file '{file.path}' is of a day that there isn't", do="correct its name") from None
        return begun.astimezone(UTC)


def _short(value: Any) -> Any:
    return {"pattern": value} if isinstance(value, str) else value


Interval = Annotated[IntervalConfig, BeforeValidator(_short, json_schema_input_type=str | IntervalConfig)]


def changed(file: File) -> datetime:
    return _EPOCH + timedelta(microseconds=file.mtime_ns // 1000)


def within(moment: datetime, window: Window) -> bool:
    start = datetime.fromisoformat(window.start) if window.start else moment
    return start <= moment and (window.end is None or moment < datetime.fromisoformat(window.end))


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def covered(window: Window) -> tuple[int, int]:
    """The window in microseconds since 1970."""
    start, end = (datetime.fromisoformat(said) if said else None for said in (window.start, window.end))
    return (microseconds(start) if start else _EVER[0], microseconds(end) if end else _EVER[1])
