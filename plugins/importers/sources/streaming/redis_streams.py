"""A stream of Redis: https://redis.io/docs/latest/develop/data-types/streams/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, cast

import pyarrow as pa
from pydantic import Field

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.model import JSON, Batch, Column, PersonalData, Plan, Position, Stream, Window
from importers.core.source import Partition
from importers.sources._text.cells import ARROW, TypeName
from importers.sources.streaming._entries import entries_batch
from importers.sources.streaming._log import Log, LogConfig, OnLost, milliseconds
from importers.transport.redis import RedisServer
from importers.transport.redis_streams import Entry, RedisStream, order

ENTRY = (
    Column("entry_id", pa.string(), PersonalData.NONE),
    Column("entry_at", pa.timestamp("ms", "UTC"), PersonalData.NONE),
)
"""What Redis itself gives: an entry's id, `MILLISECONDS-NUMBER`, and the time in it."""
ID, AT = (column.name for column in ENTRY)


class RedisStreamsConfig(LogConfig):
    """The connection names the server."""

    key: str = Field(min_length=1, description="The stream's key.", examples=["plays"])
    entry: bool = Field(True, description="Whether an entry's id and time become the columns `entry_id`, `entry_at`.")
    batch_rows: int = Field(10_000, ge=1, le=1_000_000, description="How many entries are read at once.")

    @property
    def place(self) -> str:
        return self.key


class Range(Partition):
    """The first and the last id, as XRANGE takes them, how many were `added` before, and the `known` fields."""

    first: str = Field(alias="from")
    to: str
    added: int
    known: list[str] = Field(alias="fields")


class RedisStreams(Log[RedisStreamsConfig]):
    """Each run reads the entries after the last one's, up to the last that was there when it began.

    Nothing is taken away from the stream, and nobody's group is needed: the warehouse knows what was read. Of a
    `consumer_group` the entries up to there are acknowledged. A field that an entry lacks is null; fields whose types
    `columns` doesn't say are text. Needs Redis 7.0.
    """

    title: ClassVar[str] = "A stream of Redis"
    config_model = RedisStreamsConfig
    partition_model: ClassVar[Any] = Range
    extra: ClassVar[str | None] = "redis"
    connection_type: ClassVar[str | None] = "redis"
    environment: ClassVar[Mapping[str, str]] = {"url": "REDIS_URL"}
    identity: ClassVar[tuple[str, ...]] = (ID,)
    leave_out: ClassVar[str] = "set `entry: false`"

    @cached_property
    def _entries(self) -> RedisStream:
        server = RedisServer(self.connection or Connection({}), timeout=self.config.timeout, extra=str(self.extra))
        return RedisStream(server, self.config.key)

    def close(self) -> None:
        close_kept(self, "_entries")

    def reach(self) -> str:
        return f"{self._entries.standing().length:,} entries"

    def about(self) -> Sequence[Column]:
        return ENTRY if self.config.entry else ()

    def values(self) -> pa.Schema:
        kinds = self.config.columns or dict.fromkeys(self._sampled(), TypeName.STRING)
        return pa.schema([(name, ARROW[kind]) for name, kind in kinds.items()])

    def _sampled(self) -> list[str]:
        found = self._entries.newest(self.config.sample_rows)
        if not found:
            raise self.config.empty()
        return sorted({name.decode() for _, fields in found for name in fields})

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        """An entry's id begins with its time, so that a window is a range of ids. The first of them is named, which
        must still be there when it is read.
        """
        before = None if window.bounded else self._at(position)
        start, end = self._ids(stream, window, before)
        now = self._entries.standing(start)
        lost = now.lost(before["id"], before["added"]) if before else 0
        self.config.lost(self.config.key, lost, f"{lost} entries less than were added")
        sealed: Position = {} if window.bounded else {self.config.key: {"id": now.last, "added": now.added}}
        if now.first is None or (end is not None and order(now.first) >= order(end)):
            return Plan([], sealed)
        to = now.last if end is None or order(end) > order(now.last) else f"({end}"
        added = before["added"] + lost if before else now.added - now.length
        return Plan([{"from": now.first, "to": to, "added": added, "fields": self.known(stream).names}], sealed)

    def _ids(self, stream: Stream, window: Window, before: Mapping[str, Any] | None) -> tuple[str, str | None]:
        """From which on is read, as XRANGE takes it, and before which, if that isn't the end."""
        if not window.bounded:
            return f"({before['id']}" if before else "-", None
        start, end = milliseconds(stream, window, self.identity, AT)
        return f"{start or 0}-0", None if end is None else f"{end}-0"

    def _at(self, position: Position) -> Mapping[str, Any] | None:
        """The last id that was read, and how many entries had been added by then."""
        return cast("Mapping[str, Any] | None", position.get(self.config.key))

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        part = cast("Mapping[str, Any]", partition)
        skip, size = self.config.lost_messages is OnLost.SKIP, self.config.batch_rows
        for page, added in self._entries.pages(part["from"], part["to"], size, part["added"], skip=skip):
            reached: Position = {self.config.key: {"id": page[-1][0], "added": added}}
            yield replace(self._batch(stream, page, part["fields"]), reached=reached)

    def _batch(self, stream: Stream, page: Sequence[Entry], known: Sequence[str]) -> Batch:
        ids, fields = zip(*page, strict=True)
        own = {ID: pa.array(ids), AT: pa.array([order(number)[0] for number in ids])} if self.config.entry else {}
        places = [f"{self.config.key}@{number}" for number in ids]
        return entries_batch(stream, fields, known, own, places, sampled=not self.config.columns)

    def comes(self, position: Position, seconds: float) -> bool:
        at = self._at(position)
        return at is None or self._entries.comes(at["id"], at["added"], seconds)

    def lag(self, position: Position) -> Mapping[str, int]:
        at, now = self._at(position), self._entries.standing()
        return {self.config.key: max(0, now.added - at["added"]) if at else now.length}

    def acknowledge(self, position: Position) -> None:
        """Entries up to the position are acknowledged, whoever they were given to; the group goes on after it."""
        group, at = self.config.consumer_group, self._at(position)
        if group is not None and at is not None:
            self._entries.acknowledge(group, at["id"])
