"""A stream of Redis: https://redis.io/docs/latest/develop/data-types/streams/"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from importers.core.model import (
    JSON,
    Batch,
    Column,
    Health,
    Pace,
    PersonalData,
    Plan,
    Position,
    Reads,
    Reject,
    Stream,
    Window,
)
from importers.core.names import Name, as_name
from importers.core.source import Partition, Source, SourceConfig
from importers.exceptions import ContractError, EmptySourceError, FatalSourceError, ImporterError
from importers.sources._text.cells import ARROW, TypeName, called, convert
from importers.sources.streaming._messages import backfills
from importers.sources.streaming._topic import OnLost
from importers.transport.redis import redis_client

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_log = logging.getLogger(__name__)
ID, AT = "entry_id", "entry_at"
"""The columns that Redis itself gives: an entry's id, `MILLISECONDS-NUMBER`, and the time in it."""


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
    fields_known: list[str] = Field(alias="fields")
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

    def check(self) -> Health:
        begun = perf_counter()
        try:
            with self._client() as client:
                said = f"{self._about(client)['length']:,} entries"
        except ImporterError as error:
            return Health(False, str(error), perf_counter() - begun)
        return Health(True, said, perf_counter() - begun)

    def sparse(self) -> bool:
        return True

    def streams(self) -> Sequence[Stream]:
        fields = self.config.columns or dict.fromkeys(self._sampled(), TypeName.STRING)
        columns = [Column(name, ARROW[kind], None) for name, kind in fields.items()]
        if self.config.entry:
            moment = pa.timestamp("ms", "UTC")
            columns += [Column(ID, pa.string(), PersonalData.NONE), Column(AT, moment, PersonalData.NONE)]
        return [Stream(self._name, tuple(columns), Reads.POSITION, (ID,) if self.config.entry else ())]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        """An entry's id begins with its time, so that a window is a range of ids.

        A partition names the first entry of its range, which must still be there when it is read.
        """
        before = cast("Mapping[str, Any] | None", position.get(self.config.key))
        with self._client() as client:
            about = self._about(client)
            last, added = about["last-generated-id"].decode(), int(about["entries-added"])
            start, to = self._range(stream, window, before, last)
            first = [number.decode() for number, _ in client.xrange(self.config.key, start, to, 1)]
            if before is not None and not window.bounded:
                self._there(before, self._about(client))  # asked for last: what is trimmed from now on, the read tells
        now = {} if window.bounded else {self.config.key: {"id": last, "added": added}}
        if last == "0-0" or (not window.bounded and before is not None and last == before["id"]):
            return Plan([], now)
        fields = [column.name for column in (*stream.columns, *stream.unread) if column.name not in self._own]
        return Plan([{"from": start, "to": to, "fields": fields, "first": first[0] if first else None}], now)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        """Each call asks for one entry more than it takes: the next has to begin with that one."""
        part, size = cast("Mapping[str, Any]", partition), self.config.batch_rows
        start, due, known = part["from"], part["first"], frozenset(part["fields"])
        with self._client() as client:
            while True:
                entries = client.xrange(self.config.key, start, part["to"], size + 1)
                if due is not None and (not entries or entries[0][0].decode() != due):
                    self._only_deleted(due, self._about(client))
                if entries:
                    yield self._batch(stream, entries[:size], known)
                if len(entries) <= size:
                    return
                start = due = entries[size][0].decode()

    def follow(self, stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
        """Asks in one transaction what came and how the stream stands, so that entries trimmed unread are noticed."""
        key, size = self.config.key, min(pace.rows, self.config.batch_rows)
        known = frozenset(column.name for column in (*stream.columns, *stream.unread)) - {*self._own}
        nothing = pa.RecordBatch.from_pylist([], stream.schema)
        with self._client() as client:
            about = self._about(client)
            gone = {"id": "0-0", "added": about["entries-added"] - about["length"]}
            at = cast("Mapping[str, Any]", position.get(key, gone))
            self._there(at, about)
            yield Batch(nothing, position={key: at}, behind=about["entries-added"] - at["added"])
            while True:
                if not client.xread({key: at["id"]}, count=1, block=max(1, round(pace.idle * 1000))):
                    yield Batch(nothing)
                    continue
                sleep(pace.linger)
                asked = client.pipeline(transaction=True).xrange(key, f"({at['id']}", "+", size).xinfo_stream(key)
                entries, about = asked.execute()
                self._there(at, about)
                read, added, last = at["added"], about["entries-added"], about["last-generated-id"].decode()
                # Of a part, what was deleted among it isn't counted: then fewer are known to be read, not more.
                at = {"id": last, "added": added}
                if len(entries) == size:
                    at = {"id": entries[-1][0].decode(), "added": read + size}
                made = self._batch(stream, entries, known) if entries else Batch(nothing)
                yield replace(made, position={key: at}, behind=added - at["added"])

    def acknowledge(self, position: Position) -> None:
        """Entries up to the position are acknowledged, whoever they were given to; the group goes on after it."""
        group, at = self.config.consumer_group, position.get(self.config.key)
        if group is None or at is None:
            return
        key, last = self.config.key, str(cast("Mapping[str, Any]", at)["id"])
        with self._client() as client:
            if not any(each["name"] == group.encode() for each in client.xinfo_groups(key)):
                client.xgroup_create(key, group, last)
            while pending := client.xpending_range(key, group, "-", last, 10_000):
                client.xack(key, group, *(each["message_id"] for each in pending))
            client.xgroup_setid(key, group, last)

    @property
    def _own(self) -> tuple[str, ...]:
        """The columns that aren't the entries' fields."""
        return (ID, AT) if self.config.entry else ()

    def _batch(self, stream: Stream, entries: list[Any], known: frozenset[str]) -> Batch:
        ids = [number.decode() for number, _ in entries]
        new = {field for _, fields in entries for field in fields} - {name.encode() for name in known}
        if new:
            raise ContractError(
                "entries have fields that nobody has classified",
                got=f"{len(new)} fields among {len(ids)} entries",
                do="say all of them in `columns`, or raise `sample_rows`",
            )
        bad: dict[int, str] = {}
        columns = [self._column(column, ids, entries, bad) for column in stream.columns]
        rows = pa.RecordBatch.from_arrays(columns, schema=stream.schema)
        if bad:
            rows = rows.filter(pa.array([number not in bad for number in range(len(ids))]))
        rejects = [
            Reject(_shown(entries[at][1]), f"{self.config.key}@{ids[at]}", why) for at, why in sorted(bad.items())
        ]
        return Batch(rows, tuple(rejects))

    def _column(self, column: Column, ids: list[str], entries: list[Any], bad: dict[int, str]) -> pa.Array:
        if column.name in self._own:
            if column.name == ID:
                return pa.array(ids)
            return pa.array([int(number.partition("-")[0]) for number in ids], column.type)
        name = column.name.encode()
        said = pa.array([fields.get(name) for _, fields in entries], pa.binary())
        try:
            text = said.cast(pa.string())
        except pa.ArrowInvalid:
            text = pa.array([_text(value) for value in said.to_pylist()], pa.string())
        values, _ = convert(text, column.type, ())
        for at in pc.indices_nonzero(pc.and_(pc.is_valid(said), pc.is_null(values))).to_pylist():
            bad.setdefault(at, f"field '{column.name}': not {called(column.type)}")
        return values

    def _range(self, stream: Stream, window: Window, before: Mapping[str, Any] | None, last: str) -> tuple[str, str]:
        """The first and the last id to read; a parenthesis excludes the id itself."""
        if not window.bounded:
            return f"({before['id']}" if before else "-", last
        backfills(stream, (ID,), AT)
        start = f"{_milliseconds(window.start)}-0" if window.start else "-"
        end = f"({_milliseconds(window.end)}-0" if window.end else last
        return start, min(end, last, key=lambda number: _order(number.lstrip("(")))

    def _there(self, before: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Raises ContractError if entries were lost: as many are gone as were added and aren't there."""
        last, since = about["last-generated-id"].decode(), about["entries-added"] - before["added"]
        unread = _oldest(about) > _order(before["id"])  # nothing is there that was read, so that all there is counts
        if _order(last) < _order(before["id"]) or since < 0 or (unread and since < about["length"]):
            raise ContractError(
                "the stream isn't the one that was read: it was made anew", got=last, do="read it into a new table"
            )
        lost = since - about["length"] if unread else 0
        if lost > 0 and self.config.lost_entries is OnLost.STOP:
            raise ContractError(
                "entries were trimmed before they were read",
                got=f"{lost} entries less than were added",
                do="keep the stream longer, or run more often; to go on without them set `lost_entries: skip`",
            )
        if lost > 0:
            _log.warning("%s: %d entries were trimmed before they were read", self.config.key, lost)

    def _only_deleted(self, due: str, about: Mapping[str, Any]) -> None:
        """Raises ContractError, unless older entries are there: trimming begins with the oldest, so it was deleted."""
        if _oldest(about) > _order(due) or _order(about["last-generated-id"].decode()) < _order(due):
            raise ContractError(
                "entries were trimmed while they were read",
                got=f"entry {due} comes next, and isn't there",
                do="start a new run; keep the stream longer",
            )

    def _sampled(self) -> list[str]:
        with self._client() as client:
            entries = client.xrevrange(self.config.key, count=self.config.sample_rows)
        if not entries:
            raise EmptySourceError(
                "the stream is empty: nothing tells its fields", do="say them in `columns`", stream=self._name
            )
        return sorted({field.decode() for _, fields in entries for field in fields})

    def _about(self, client: Any) -> dict[str, Any]:
        if not client.exists(self.config.key):
            raise FatalSourceError(f"there is no stream '{self.config.key}'", do="correct `key`")
        about: dict[str, Any] = client.xinfo_stream(self.config.key)
        return about

    def _client(self) -> AbstractContextManager[Any]:
        return redis_client(self.connection or {}, timeout=self.config.timeout, extra=str(self.extra))

    @property
    def _name(self) -> str:
        return self.config.stream or as_name(self.config.key)


def _oldest(about: Mapping[str, Any]) -> tuple[int, int]:
    """The id of the oldest entry; beyond all ids if there is none."""
    first = about["first-entry"]
    return _order(first[0].decode()) if first else (2**64, 0)


def _order(number: str) -> tuple[int, int]:
    moment, _, sequence = number.partition("-")
    return int(moment), int(sequence or 0)


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _shown(fields: Mapping[bytes, bytes]) -> bytes:
    """As JSON; what isn't UTF-8 is escaped."""
    texts = {name.decode(errors=_ESCAPE): said.decode(errors=_ESCAPE) for name, said in fields.items()}
    return json.dumps(texts, ensure_ascii=False).encode()


_ESCAPE = "backslashreplace"


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
