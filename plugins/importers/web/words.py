"""Numbers and moments as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


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
    """In the largest unit of which one is full."""
    for size, unit in _UNITS:
        count = int(age.total_seconds() // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
