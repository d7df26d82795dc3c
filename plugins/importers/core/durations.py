"""How long something takes or is ago, as a person says it."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def spelled(length: timedelta) -> str:
    """In the largest unit of which one is full, down to seconds: `3 days`, `1 hour`, `0 seconds`."""
    seconds = int(length.total_seconds())
    for size, unit in _UNITS:
        if seconds >= size:
            return _counted(seconds // size, unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
