"""What a partition stores: which parts of which files it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import Field

from importers.core.source import Partition

Slice: TypeAlias = dict[str, Any]
"""What a `FileSlice` says, and what a format adds."""


_ALIKE = 1.05  # times another weight


class FileSlice(Partition):
    """A file as `File.planned` has it; `start` and `end` of what is read of it (bytes, or row groups), and its `weight`
    in bytes; the moment that it is of, `from`, if any; the columns that it `lacks`, which are null in its rows.
    """

    path: str
    size: int
    mtime_ns: int
    etag: str = ""
    codec: str | None = None
    member: str = ""
    archive: int = 0
    start: int
    end: int | None
    weight: float
    lacks: list[str] = Field([])
    since: int | None = Field(None, alias="from")


SliceT = TypeVar("SliceT", bound=FileSlice)


class FilePart(Partition, Generic[SliceT]):
    """Slices with the sealed `schema` in Base64, and the way in which they are `read`."""

    slices: list[SliceT]
    sealed: str = Field(alias="schema")
    read: str


def in_parts(slices: Sequence[Slice], count: int) -> list[list[Slice]]:
    """At most `count` parts of about equal weight, in the files' order: of two rows with one key the later is newer.

    No more than it takes: 12 row groups in 8 parts are 4 of two and 4 of one, which take as long as 6 of two, and
    longer where two processes share them.
    """
    if len(slices) <= count:
        return [[part] for part in slices]
    finest = _binned(slices, count)
    most = _ALIKE * _heaviest(finest)
    fewer = (_binned(slices, number) for number in range(1, len(finest)))
    return next((parts for parts in fewer if _heaviest(parts) <= most), finest)


def _binned(slices: Sequence[Slice], count: int) -> list[list[Slice]]:
    whole = sum(part["weight"] for part in slices) or 1
    bins: list[list[Slice]] = [[] for _ in range(count)]
    before = 0
    for part in slices:
        middle = 2 * before + part["weight"]
        bins[min(count - 1, middle * count // (2 * whole))].append(part)
        before += part["weight"]
    return [part for part in bins if part]


def _heaviest(parts: Sequence[Sequence[Slice]]) -> float:
    return max(float(sum(one["weight"] for one in part)) for part in parts)


def one_after_the_other(slices: Sequence[Slice]) -> None:
    """Of one time, what is later in the files' order is newer, by a microsecond."""
    seen: Counter[int] = Counter()
    for part in slices:
        if "from" in part:
            begun = part["from"]
            part["from"] += seen[begun]
            seen[begun] += 1
