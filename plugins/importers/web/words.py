"""Numbers and moments as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from importers.core.durations import spelled


def number(value: int | None) -> str:
    """With separators; a dash for what isn't known."""
    return "–" if value is None else f"{value:,}"


def seconds(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def moment(at: datetime, now: datetime) -> Markup:
    """`3 hours ago`, with the moment itself in UTC to be read by machine and by mouse."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}", ago(now - at)
    )


def ago(age: timedelta) -> str:
    """`3 hours ago`; less than a minute is now."""
    return "just now" if age < timedelta(minutes=1) else f"{spelled(age)} ago"
