"""What a plan cuts the read of a PostgreSQL stream into. `oid` is the relation's, 0 for a query."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from importers.core.source import Partition


class Whole(Partition):
    oid: int


class Range(Whole):
    """What has a value of the column `by` from the one on and before the other. `reached` is the oldest transaction
    that ran when it was planned.
    """

    by: str
    reached: str
    begin: str | None = Field(alias="from")
    to: str | None


class Written(Whole):
    """What transactions wrote from `since` on and before `until`, in `blocks`, with a cursor `after` that one."""

    since: str | None
    until: str
    after: str | None = None
    blocks: tuple[int, int | None] | None


class Grown(Whole):
    """What has a cursor `after` the one and up to the `last`."""

    after: str | None
    last: str


class Between(Whole):
    """What has a cursor from `start` on and before `end`."""

    start: str | None
    end: str | None


class Snapshot(Whole):
    """The whole table; the number is the last moment (µs) from which rows were said to hold."""

    whole: int


class Changes(Whole):
    """What transactions changed that committed from byte `since` of the log on and before `end`; what reading `told`
    before.
    """

    since: int
    end: int
    told: dict[str, Any]


PARTITION = Whole | Range | Written | Grown | Between | Snapshot | Changes
