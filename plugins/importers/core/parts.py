"""The parts of a source that differ in their columns, such as files: their order, and which columns they may lack."""

from __future__ import annotations

import re
from collections.abc import Collection

from importers.core.model import Column

_DIRECTORY = re.compile(r"([0-9]+)//")
_NUMBER = re.compile(r"[0-9]+")


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


def may_lack(column: Column, parts: Collection[str]) -> bool:
    """Whether the parts, if there are any, may all lack the column: it is optional, or it came after each of them.

    Nulls in place of any other would look like data.
    """
    if column.optional or not parts:
        return column.optional
    return column.since is None or in_order(column.since) > max(map(in_order, parts))


def first(*since: str | None) -> str | None:
    """Of several `Column.since` the one that says most: of no column may a part be lacking that one of them forbids."""
    return min((each for each in since if each is not None), key=in_order, default=None)
