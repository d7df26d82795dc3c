"""When a pipeline runs, as its tenant's file says it. Whether a cron is one is `pipeline.lint`'s to judge."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

PRESETS = frozenset(
    ("@once", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually", "@midnight")
) | {"@continuous"}
"""Airflow's names for schedules."""
WITHOUT_INTERVALS = frozenset({"@once", "@continuous"})
"""Those whose runs are about no interval of time."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a directory, a path, or nothing that there is
        close = get_close_matches(name, available_timezones(), n=1, cutoff=0.6)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"{hint}allowed: a zone of the IANA database, such as Europe/Berlin") from None
    return name


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("write a day or a moment as ISO 8601: 2026-01-01, 2026-01-01T06:00") from None
    return text


Zone = Annotated[str, AfterValidator(_zone), Field(examples=["Europe/Berlin", "UTC"])]
Moment = Annotated[str, AfterValidator(_moment), Field(examples=["2026-01-01", "2026-01-01T06:00"])]


def moment(text: str, zone: str) -> datetime:
    """In UTC. What has no offset of its own is `zone`'s wall clock; a day begins at its midnight."""
    said = datetime.fromisoformat(text)
    return (said if said.tzinfo else said.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
