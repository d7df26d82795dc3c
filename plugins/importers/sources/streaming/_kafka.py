"""A topic of a Kafka cluster, or of whatever speaks Kafka's protocol.

A lane is a topic's partition, its value the next offset to read. The plan seals each partition's end; messages of
transactions that are open then come with the next run.
"""

from __future__ import annotations

import base64
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil
from time import perf_counter
from typing import Any, ClassVar, TypeVar, cast

import pyarrow as pa

from importers.core.model import JSON, Batch, Column, Health, Plan, Position, Reads, Stream, Window
from importers.core.names import as_name, did_you_mean
from importers.core.source import Source
from importers.exceptions import ConfigError, ContractError, EmptySourceError, ImporterError, TransientSourceError
from importers.sources.files._cells import ARROW
from importers.sources.files._lines import UnknownKeys
from importers.sources.streaming._messages import (
    VALUE,
    Decoded,
    Decoder,
    Json,
    Metadata,
    Raw,
    backfills,
    described,
    infer_json,
    metadata,
)
from importers.sources.streaming._topic import Format, OnLost, Reset, TopicConfig
from importers.transport.broker import Cluster, Extent

_log = logging.getLogger(__name__)
TopicT = TypeVar("TopicT", bound=TopicConfig)


class TopicSource(Source[TopicT]):
    """A leaf says what librdkafka needs to reach the cluster."""

    extra: ClassVar[str | None] = "kafka"

    @abstractmethod
    def reached_by(self) -> Mapping[str, JSON]:
        """Settings of librdkafka that name the cluster and say who we are. Raises ConfigError."""

    def check(self) -> Health:
        begun = perf_counter()
        try:
            with self._cluster() as cluster:
                extents = self._extents(cluster)
        except ImporterError as error:
            return Health(False, str(error), perf_counter() - begun)
        messages = sum(extent.high - extent.low for extent in extents.values())
        return Health(True, f"{len(extents)} partitions, about {messages:,} messages", perf_counter() - begun)

    def streams(self) -> Sequence[Stream]:
        values = tuple(Column(field.name, field.type, None) for field in self._values())
        about = tuple(described(which, self.config.key_type) for which in dict.fromkeys(self.config.metadata))
        key = (Metadata.PARTITION.column, Metadata.OFFSET.column)
        named = {column.name for column in about}
        twice = named & {column.name for column in values}
        if twice:
            raise ConfigError(f"the values have a key '{min(twice)}' of their own", do="leave it out of `metadata`")
        return [Stream(self._name, (*values, *about), Reads.POSITION, key if named.issuperset(key) else ())]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        with self._cluster() as cluster:
            extents = self._extents(cluster)
            ranges = (
                self._within(cluster, stream, window, extents)
                if window.bounded
                else self._since(cluster, extents, position)
            )
        known = (
            base64.b64encode(self._known(stream).serialize()).decode() if any(a < b for a, b in ranges.values()) else ""
        )
        partitions: list[JSON] = [{"ranges": part, "known": known} for part in self._packed(ranges)]
        return Plan(partitions, {self._lane(number): end for number, (_, end) in ranges.items()})

    def refreshed(self, position: Position) -> Position:
        """From `start_time` or `start_offsets` on, but never after the position; else from the topic's beginning."""
        with self._cluster() as cluster:
            extents = self._extents(cluster)
            timed = self.config.start_time is not None
            lows = {number: extent.low for number, extent in extents.items()}
            first = self._first(cluster, extents) if timed else lows | self.config.start_offsets
        begun = any(self._lane(number) in position for number in extents)
        starts = {}
        for number, extent in extents.items():
            unread = cast(int, position.get(self._lane(number), extent.low if begun else first[number]))
            starts[self._lane(number)] = max(extent.low, min(first[number], unread))
        return starts

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        planned = cast(Mapping[str, Any], partition)
        known = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["known"])))
        decoder, size = self._decoder(stream, known), self.config.batch_rows
        with self._cluster() as cluster:
            for number, start, end in planned["ranges"]:
                held: list[Any] = []
                for got in cluster.messages(
                    self.config.topic, number, start, end, min(self.config.max_poll_records, size)
                ):
                    held += got
                    if len(held) >= size:
                        yield self._batch(stream, decoder, held)
                        held = []
                if held:
                    yield self._batch(stream, decoder, held)

    def describe(self, partition: JSON) -> tuple[str, int | None]:
        ranges = cast(Mapping[str, Any], partition)["ranges"]
        named = ", ".join(self._lane(number) for number, _, _ in ranges[:3])
        more = f" and {len(ranges) - 3} more" if len(ranges) > 3 else ""
        return f"{named}{more}: {sum(end - start for _, start, end in ranges):,} messages", None

    def acknowledge(self, position: Position) -> None:
        """Raises FatalSourceError if we may not; a group that can't be reached now learns of it after the next run."""
        group = self.config.consumer_group
        if group is None:
            return
        prefix = f"{self.config.topic}/"
        offsets = {
            int(lane.removeprefix(prefix)): cast(int, at) for lane, at in position.items() if lane.startswith(prefix)
        }
        try:
            with self._cluster() as cluster:
                cluster.commit(self.config.topic, offsets)
        except TransientSourceError as error:
            _log.warning("the rows are in, but the group's offsets could not be set: %s", error.got)

    # -- where to read

    def _since(self, cluster: Cluster, extents: Mapping[int, Extent], position: Position) -> dict[int, tuple[int, int]]:
        """From the position on; a partition that is newer than the position from its beginning."""
        begun = any(self._lane(number) in position for number in extents)
        first = {number: extent.low for number, extent in extents.items()} if begun else self._first(cluster, extents)
        ranges = {}
        for number, extent in extents.items():
            start = self._there(number, cast(int, position.get(self._lane(number), first[number])), extent)
            limit = self.config.max_messages
            ranges[number] = (start, extent.high if limit is None else min(extent.high, start + limit))
        return ranges

    def _first(self, cluster: Cluster, extents: Mapping[int, Extent]) -> dict[int, int]:
        config = self.config
        latest = config.auto_offset_reset is Reset.LATEST
        first = {number: extent.high if latest else extent.low for number, extent in extents.items()}
        if config.start_time is not None:
            first = self._at(cluster, config.start_time, extents)
        unknown = [number for number in config.start_offsets if number not in extents]
        if unknown:
            raise ConfigError(
                f"`start_offsets` names partition {unknown[0]}", do=did_you_mean(str(unknown[0]), map(str, extents))
            )
        return first | config.start_offsets

    def _at(self, cluster: Cluster, moment: datetime, extents: Mapping[int, Extent]) -> dict[int, int]:
        found = cluster.since(self.config.topic, list(extents), round(moment.timestamp() * 1000))
        return {number: min(found.get(number, extent.high), extent.high) for number, extent in extents.items()}

    def _there(self, number: int, start: int, extent: Extent) -> int:
        """Raises ContractError if the partition no longer holds what comes next."""
        if extent.low <= start <= extent.high:
            return start
        got = f"offset {start} comes next, and there are {extent.low} to {extent.high}"
        if start > extent.high:
            raise ContractError(
                f"{self._lane(number)} ends before what was read: the topic was made anew, or lost its end",
                got=got,
                do="find out which; then read it anew by a full refresh with load.mode merge",
            )
        if self.config.lost_messages is OnLost.STOP:
            raise ContractError(
                f"messages of {self._lane(number)} were deleted before they were read",
                got=got,
                do="keep them longer, or run more often; to go on without them set `lost_messages: skip`",
            )
        _log.warning("%s: %d messages were deleted before they were read", self._lane(number), extent.low - start)
        return extent.low

    def _within(
        self, cluster: Cluster, stream: Stream, window: Window, extents: Mapping[int, Extent]
    ) -> dict[int, tuple[int, int]]:
        """From the first message that isn't older than the window's start to before the first as late as its end.

        By the broker's index: where producers' clocks differ, messages in between may be of another time.
        """
        backfills(stream, (Metadata.PARTITION.column, Metadata.OFFSET.column), Metadata.TIMESTAMP.column)
        start, end = (moment and datetime.fromisoformat(moment) for moment in (window.start, window.end))
        low = self._at(cluster, start, extents) if start else {number: each.low for number, each in extents.items()}
        high = self._at(cluster, end, extents) if end else {number: each.high for number, each in extents.items()}
        return {number: (low[number], max(low[number], high[number])) for number in extents}

    def _packed(self, ranges: Mapping[int, tuple[int, int]]) -> list[list[list[int]]]:
        """The ranges that hold anything, the largest first, each to the part that has least."""
        full = [[number, start, end] for number, (start, end) in ranges.items() if start < end]
        parts: list[list[list[int]]] = [[] for _ in range(min(self.config.max_partitions, len(full)))]
        for each in sorted(full, key=lambda each: each[1] - each[2]):
            min(parts, key=lambda part: sum(end - start for _, start, end in part)).append(each)
        return [sorted(part) for part in parts]

    # -- what is read

    def _batch(self, stream: Stream, decoder: Decoder, messages: list[Any]) -> Batch:
        cls = type(messages[0])

        def place(number: int) -> str:
            message = messages[number]
            return f"{self._lane(message.partition())}@offset {message.offset()}"

        wanted = stream.schema
        about = {which.column: which for which in Metadata}
        if all(name in about for name in wanted.names):
            decoded = Decoded(pa.RecordBatch.from_pylist([{}] * len(messages)), None, ())
        else:
            decoded = decoder.read(list(map(cls.value, messages)), place)
        kept = messages if decoded.kept is None else [messages[number] for number in decoded.kept]
        columns = [
            metadata(kept, about[name], self.config.key_type) if name in about else decoded.rows.column(name)
            for name in (wanted.names if kept else ())
        ]
        rows = (
            pa.RecordBatch.from_arrays(columns, wanted.names) if kept else pa.RecordBatch.from_pylist([], schema=wanted)
        )
        return Batch(rows.cast(wanted), tuple(decoded.rejects))

    def _decoder(self, stream: Stream, known: pa.Schema) -> Decoder:
        if self.config.format is not Format.JSON:
            return Raw(known.field(VALUE).type)
        asked = [field for field in known if field.name in stream.schema.names]
        return Json(
            known if self.config.unknown_keys is UnknownKeys.STOP else pa.schema(asked), self.config.unknown_keys
        )

    def _known(self, stream: Stream) -> pa.Schema:
        """The columns of the values, with the types that the stream was taken to have."""
        fields = {field.name: field.type for field in self._values()}
        fields |= {column.name: column.type for column in stream.columns if column.name in fields}
        return pa.schema(list(fields.items()))

    def _values(self) -> pa.Schema:
        if self.config.format is not Format.JSON:
            return pa.schema([(VALUE, pa.string() if self.config.format is Format.TEXT else pa.binary())])
        if self.config.columns:
            return pa.schema([(name, ARROW[kind]) for name, kind in self.config.columns.items()])
        schema = self._sampled()
        for name, kind in self.config.types.items():
            if name not in schema.names:
                raise ConfigError(
                    f"`types` names a key '{name}' that the sample lacks", do=did_you_mean(name, schema.names)
                )
            schema = schema.set(schema.get_field_index(name), pa.field(name, ARROW[kind]))
        return schema

    def _sampled(self) -> pa.Schema:
        with self._cluster() as cluster:
            extents = self._extents(cluster)
            each = ceil(self.config.sample_rows / len(extents))
            messages = [
                message
                for number, extent in extents.items()
                for got in cluster.messages(
                    self.config.topic, number, max(extent.low, extent.high - each), extent.high, each
                )
                for message in got
            ]
        schema = infer_json([value for message in messages if (value := message.value())])
        if schema is not None:
            return schema
        if messages:
            raise ContractError(f"no message of '{self.config.topic}' is a JSON object", do="correct `format`")
        raise EmptySourceError(
            f"the topic '{self.config.topic}' is empty: nothing tells its columns",
            do="say them in `columns`, or start the pipeline when there are messages",
            stream=self._name,
        )

    def _extents(self, cluster: Cluster) -> dict[int, Extent]:
        return cluster.extents(self.config.topic, cluster.partitions(self.config.topic))

    def _cluster(self) -> Cluster:
        group = self.config.consumer_group or f"importers.{self.tenant}"
        settings = {**self.config.settings, **self.reached_by()}
        return Cluster(settings, group=group, timeout=self.config.timeout, extra=str(self.extra))

    @property
    def _name(self) -> str:
        return self.config.stream or as_name(self.config.topic)

    def _lane(self, number: int) -> str:
        return f"{self.config.topic}/{number}"
