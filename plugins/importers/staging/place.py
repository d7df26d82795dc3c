"""Where things stand: `{tenant}/{pipeline}/{stream}/{run}/{partition}/{attempt}`, below staging and quarantine.

What isn't as it was read says so behind the partition's number: `3-treated`, `3-gate`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from importers.core.names import NAME
from importers.exceptions import ConfigError

ATTEMPT = r"[0-9a-f]{32}"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_RUN_PATH = re.compile(rf"([a-z0-9_]+)/([a-z0-9_]+)/([a-z0-9_]+)/({_NUMBER})")


class Made(StrEnum):
    """Which step made what stands in a place."""

    READ = "read"
    TREATED = "treated"
    """By anonymise: rows as they will stand in the table."""
    GATE = "gate"
    """By the gate: rows that only the whole run shows to be bad."""


PARTITION = rf"{_NUMBER}(?:-(?:{Made.TREATED}|{Made.GATE}))?"
"""A place's own part of its path."""


@dataclass(frozen=True, slots=True, order=True)
class RunPlace:
    """One run's directory. Raises ConfigError for a name that isn't safe as a path."""

    tenant: str
    pipeline: str
    stream: str
    run: int

    def __post_init__(self) -> None:
        for what in ("tenant", "pipeline", "stream"):
            name = getattr(self, what)
            if not re.fullmatch(NAME, name):
                raise ConfigError(f"a {what} can't be called that", got=repr(name), do=f"match {NAME}")
        _natural("run", self.run)

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """The inverse of `path`; None for a path that isn't a run's, which then isn't ours to touch."""
        match = _RUN_PATH.fullmatch(path)
        if match is None or not all(re.fullmatch(NAME, name) for name in match.groups()[:3]):
            return None
        return cls(match[1], match[2], match[3], int(match[4]))

    @property
    def path(self) -> str:
        return f"{self.above}/{self.run}"

    @property
    def above(self) -> str:
        """Where all runs of the stream are."""
        return f"{self.tenant}/{self.pipeline}/{self.stream}"

    @property
    def where(self) -> dict[str, Any]:
        """What an error says of its place."""
        return {"tenant": self.tenant, "pipeline": self.pipeline, "stream": self.stream, "run": self.run}

    def partition(self, number: int, made: Made = Made.READ) -> Place:
        return Place(self, number, made)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One partition of a run; its attempts lie side by side in it."""

    run: RunPlace
    number: int
    made: Made = Made.READ

    def __post_init__(self) -> None:
        _natural("partition", self.number)

    @property
    def path(self) -> str:
        return f"{self.run.path}/{self.number}" + ("" if self.made is Made.READ else f"-{self.made}")

    @property
    def where(self) -> dict[str, Any]:
        return self.run.where | {"partition": self.number}

    def attempt(self, attempt: str) -> str:
        """An attempt's path. Raises ConfigError for what isn't 128 bits in hexadecimal."""
        return f"{self.path}/{self._checked(attempt)}"

    def quarantined(self, attempt: str) -> str:
        """The path of what was bad in an attempt. Raises ConfigError."""
        return f"{self.path}-{self._checked(attempt)}.parquet"

    def _checked(self, attempt: str) -> str:
        if not re.fullmatch(ATTEMPT, attempt):
            raise ConfigError("an attempt is 32 hexadecimal digits", got=repr(attempt), **self.where)
        return attempt


def split_attempt(path: str) -> tuple[Place, str]:
    """The inverse of `Place.attempt`. Raises ConfigError."""
    return _split(path, rf"(?P<run>.+)/(?P<partition>{PARTITION})/(?P<attempt>{ATTEMPT})")


_QUARANTINED = rf"(?P<run>.+)/(?P<partition>{PARTITION})-(?P<attempt>{ATTEMPT})\.parquet"


def is_quarantined(path: str) -> bool:
    """Whether it is the path of a whole quarantine file."""
    match = re.fullmatch(_QUARANTINED, path)
    return match is not None and RunPlace.parse(match["run"]) is not None


def split_quarantined(path: str) -> tuple[Place, str]:
    """The inverse of `Place.quarantined`. Raises ConfigError."""
    return _split(path, _QUARANTINED)


def _split(path: str, pattern: str) -> tuple[Place, str]:
    match = re.fullmatch(pattern, path)
    run = RunPlace.parse(match["run"]) if match else None
    if match is None or run is None:
        raise ConfigError("this isn't the path of anything staged", got=repr(path))
    number, _, made = match["partition"].partition("-")
    return run.partition(int(number), Made(made or Made.READ)), match["attempt"]


def _natural(what: str, number: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ConfigError(f"a {what} is a number from 0", got=repr(number))
