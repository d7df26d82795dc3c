"""The parts of a source that differ in their columns, such as files: their order, and which columns they may lack."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from importers.core.model import Column

_DIRECTORY = re.compile(r"([0-9]+)//")
_NUMBER = re.compile(r"[0-9]+")
_DATED = "@"


def in_order(part: str) -> tuple[int, str, str]:
    """Where a part stands by its name: a file by its directory's place in the list of them, then by its path, in which
    numbers count as such: `plays_9` comes before `plays_10`.

    The names of those in a second directory begin with `2//`.
    """
    found = _DIRECTORY.match(part)
    directory, path = (int(found[1]), part[found.end() :]) if found else (1, part)
    return directory, _NUMBER.sub(_by_length, path), path


def _by_length(number: re.Match[str]) -> str:
    """A number as text that stands where it did among others than numbers: of two the one with more digits is later."""
    digits = number[0].lstrip("0")
    return f"0{chr(len(digits))}{digits}"


class Place(NamedTuple):
    """Where a part of what a run reads stands."""

    name: str
    """What `Plan.since` calls it: its own name, or that with the time that it is of (`dated`)."""
    sure: bool
    """Whether it tells when the part came: it has a time, or was loaded before. A name alone doesn't: of two months'
    files that of this one may come first, as `apr` before `mar`."""


def dated(moment: datetime, name: str) -> str:
    """The name of a part that is of a time, as which it stands in the order."""
    return f"{_DATED}{moment.astimezone(UTC).isoformat()} {name}"


def undated(name: str) -> str:
    """A part's own name, for people."""
    return name.removeprefix(_DATED).partition(" ")[2] if name.startswith(_DATED) else name


def may_lack(column: Column, part: Place, *, more: bool) -> bool:
    """Whether the part may lack the column: it is optional, nobody has seen it before, or it came after the part.

    Nulls in place of any other would look like data; `more`, columns that nobody agreed on or has settled: one of them
    may be that column, under another name. What no part before it had, the other parts tell (`beside`).
    """
    if column.optional or column.since is None:
        return True
    if more or not part.sure or not _are_alike(column.since, part.name):
        return False
    return in_order(part.name) < in_order(column.since)


def settled(columns: Iterable[Column]) -> frozenset[str]:
    """The columns of which somebody has said what they are, so that none is another one under a new name: they may be
    missing, or the policy drops them by name.
    """
    return frozenset(column.name for column in columns if column.optional)


def beside(column: str, parts: Iterable[frozenset[str]]) -> frozenset[str]:
    """What every part has that has the column, which some part must have, by the columns of each.

    Anything else that nobody has `settled` may be that column, under another name, in a part that lacks it.
    """
    return frozenset.intersection(*(names for names in parts if column in names))


def first(*since: str | None) -> str | None:
    """Of several `Column.since` the one that says most: of no column may a part be lacking that one of them forbids."""
    said = [each for each in since if each is not None]
    return min(said, key=in_order, default=None) if all(_are_alike(each, said[0]) for each in said) else ""


def _are_alike(one: str, other: str) -> bool:
    """Whether one order holds both: a moment says nothing of what has none."""
    return one.startswith(_DATED) == other.startswith(_DATED)
