"""A stream of Redis: https://redis.io/docs/latest/develop/data-types/streams/"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, cast

import pyarrow as pa
from pydantic import Field

from importers.core.connection import Connection
from importers.core.model import JSON, Batch, Column, Pace, PersonalData, Plan, Position, Reads, Stream, Window
from importers.core.names import Name, as_name
from importers.core.source import Partition, Source, SourceConfig
from importers.exceptions import ContractError, EmptySourceError
from importers.sources._text.cells import ARROW, TypeName
from importers.sources.streaming._entries import entries_batch
from importers.sources.streaming._messages import backfills
from importers.sources.streaming._topic import OnLost
from importers.transport.redis_streams import BEGINNING, Entry, RedisStream, Standing, order, redis_stream

_log = logging.getLogger(__name__)
MOMENT = pa.timestamp("ms", "UTC")
ENTRY = (Column("entry_id", pa.string(), PersonalData.NONE), Column("entry_at", MOMENT, PersonalData.NONE))
"""What Redis itself gives: an entry's id, `MILLISECONDS-NUMBER`, and the time in it."""
ID, AT = (column.name for column in ENTRY)


class RedisStreamsConfig(SourceConfig):
    """The connection names the server."""

    key: str = Field(min_length=1, description="The stream's key.", examples=["plays"])
    stream: Name | None = Field(None, description="What to call the stream. By default like the key.")
    columns: dict[str, TypeName] = Field(
        {}, description="The entries' fields, with their types. By default those of the latest entries, as text."
    )
    sample_rows: int = Field(1_000, ge=1, le=100_000, description="How many of the latest entries tell the fields.")
    entry: bool = Field(True, description="Whether an entry's id and time become the columns `entry_id`, `entry_at`.")
    lost_entries: OnLost = Field(
        OnLost.STOP,
        description="What to do when entries were trimmed before they were read: `stop`, or `skip` them.",
    )
    consumer_group: str | None = Field(
        None,
        min_length=1,
        description="A group that is told, once a run has committed: its entries up to there are acknowledged.",
    )
    batch_rows: int = Field(10_000, ge=1, le=1_000_000, description="How many entries are read at once.")
    timeout: float = Field(30, gt=0, le=600, description="For how many seconds Redis may keep silent.")


class Range(Partition):
    """Ids as XRANGE takes them, the known `fields`, and the `first` entry of the range, if there was one."""

    start: str = Field(alias="from")
    to: str
    known: list[str] = Field(alias="fields")
    first: str | None


class RedisStreams(Source[RedisStreamsConfig]):
    """Each run reads the entries after the last one's, up to the last that was there when it began.

    Nothing is taken away from the stream, and nobody's group is needed: the warehouse knows what was read. A field that
    an entry lacks is null. Needs Redis 7.0.
    """

    title: ClassVar[str] = "A stream of Redis"
    config_model = RedisStreamsConfig
    partition_model: ClassVar[Any] = Range
    extra: ClassVar[str | None] = "redis"
    connection_type: ClassVar[str | None] = "redis"
    environment: ClassVar[Mapping[str, str]] = {"url": "REDIS_URL"}
    follows: ClassVar[bool] = True

    def reach(self) -> str:
        with self._stream() as entries:
            return f"{entries.standing().length:,} entries"

    def sparse(self) -> bool:
        return True

    def streams(self) -> Sequence[Stream]:
        fields = self.config.columns or dict.fromkeys(self._sampled(), TypeName.STRING)
        columns = (*(Column(name, ARROW[kind], None) for name, kind in fields.items()), *self._own)
        return [Stream(self._name, columns, Reads.POSITION, (ID,) if self.config.entry else ())]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        """An entry's id begins with its time, so that a window is a range of ids.

        A partition names the first entry of its range, which must still be there when it is read.
        """
        before = cast("Mapping[str, Any] | None", position.get(self.config.key))
        with self._stream() as entries:
            now = entries.standing()
            start, to = self._range(stream, window, before, now.last)
            first = entries.first(start, to)
            if before is not None and not window.bounded:
                self._there(before, entries.standing())  # asked for last: what is trimmed from now on, the read tells
        sealed: Position = {} if window.bounded else {self.config.key: _at(now)}
        if now.last == BEGINNING or (not window.bounded and before is not None and now.last == before["id"]):
            return Plan([], sealed)
        part: dict[str, Any] = {"from": start, "to": to, "fields": self._known(stream), "first": first}
        return Plan([part], sealed)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        part = cast("Mapping[str, Any]", partition)
        with self._stream() as entries:
            for page in entries.pages(part["from"], part["to"], part["first"], self.config.batch_rows):
                yield self._batch(stream, page, part["fields"])

    def follow(self, stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
        key, size = self.config.key, min(pace.rows, self.config.batch_rows)
        known, nothing = self._known(stream), pa.RecordBatch.from_pylist([], stream.schema)
        with self._stream() as entries:
            now = entries.standing()
            begins: JSON = {"id": BEGINNING, "added": now.added - now.length}
            at = cast("Mapping[str, Any]", position.get(key, begins))
            self._there(at, now)
            yield Batch(nothing, position={key: at}, behind=now.added - at["added"])
            while True:
                came = entries.come(at["id"], size, pace)
                if came is None:
                    yield Batch(nothing)
                    continue
                page, now = came
                self._there(at, now)
                # Of a part, what was deleted among it isn't counted: then fewer are known to be read, not more.
                at = {"id": page[-1][0], "added": at["added"] + size} if len(page) == size else _at(now)
                made = self._batch(stream, page, known) if page else Batch(nothing)
                yield replace(made, position={key: at}, behind=now.added - at["added"])

    def acknowledge(self, position: Position) -> None:
        """Entries up to the position are acknowledged, whoever they were given to; the group goes on after it."""
        group, at = self.config.consumer_group, cast("Mapping[str, Any] | None", position.get(self.config.key))
        if group is not None and at is not None:
            with self._stream() as entries:
                entries.acknowledge(group, at["id"])

    @property
    def _own(self) -> tuple[Column, ...]:
        """The columns that aren't the entries' fields."""
        return ENTRY if self.config.entry else ()

    def _known(self, stream: Stream) -> list[str]:
        """The fields that the policy has seen."""
        own = {column.name for column in self._own}
        return [column.name for column in (*stream.columns, *stream.unread) if column.name not in own]

    def _batch(self, stream: Stream, page: Sequence[Entry], known: Sequence[str]) -> Batch:
        ids, fields = zip(*page, strict=True)
        own = {ID: pa.array(ids), AT: pa.array([order(number)[0] for number in ids])} if self.config.entry else {}
        places = [f"{self.config.key}@{number}" for number in ids]
        return entries_batch(stream, fields, known, own, places, sampled=not self.config.columns)

    def _range(self, stream: Stream, window: Window, before: Mapping[str, Any] | None, last: str) -> tuple[str, str]:
        """The first and the last id to read; a parenthesis excludes the id itself."""
        if not window.bounded:
            return f"({before['id']}" if before else "-", last
        backfills(stream, (ID,), AT)
        start = f"{_milliseconds(window.start)}-0" if window.start else "-"
        end = f"({_milliseconds(window.end)}-0" if window.end else last
        return start, min(end, last, key=lambda number: order(number.lstrip("(")))

    def _there(self, before: Mapping[str, Any], now: Standing) -> None:
        """Raises ContractError if entries were trimmed that come next, unless they may be."""
        lost = now.lost(before["id"], before["added"])
        if lost > 0 and self.config.lost_entries is OnLost.STOP:
            raise ContractError(
                "entries were trimmed before they were read",
                got=f"{lost} entries less than were added",
                do="keep the stream longer, or run more often; to go on without them set `lost_entries: skip`",
            )
        if lost > 0:
            _log.warning("%s: %d entries were trimmed before they were read", self.config.key, lost)

    def _sampled(self) -> list[str]:
        with self._stream() as entries:
            found = entries.newest(self.config.sample_rows)
        if not found:
            raise EmptySourceError(
                "the stream is empty: nothing tells its fields", do="say them in `columns`", stream=self._name
            )
        return sorted({field.decode() for _, fields in found for field in fields})

    def _stream(self) -> AbstractContextManager[RedisStream]:
        said = self.connection or Connection({})
        return redis_stream(said, self.config.key, timeout=self.config.timeout, extra=str(self.extra))

    @property
    def _name(self) -> str:
        return self.config.stream or as_name(self.config.key)


def _at(now: Standing) -> Mapping[str, Any]:
    """The position of whoever has read all that there is."""
    return {"id": now.last, "added": now.added}


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
