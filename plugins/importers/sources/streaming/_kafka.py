"""A topic of a Kafka cluster, or of whatever speaks Kafka's protocol.

A lane is a topic's partition, its value the next offset to read. The plan seals each partition's end; messages of
transactions that are open then come with the next run.
"""

from __future__ import annotations

import base64
import logging
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from time import monotonic
from typing import Any, ClassVar, TypeVar, cast

import pyarrow as pa

from importers.core.model import JSON, Batch, Column, LoadMode, Pace, Plan, Position, Stream, Window
from importers.core.places import ascending, together
from importers.core.source import Partition
from importers.exceptions import ConfigError, ContractError, TransientSourceError
from importers.sources.streaming._log import Log
from importers.sources.streaming._messages import (
    PARTS,
    Decoded,
    Decoder,
    Metadata,
    described,
    metadata,
)
from importers.sources.streaming._ranges import Reach, packed
from importers.sources.streaming._registered import CONFLUENT, CONFLUENT_PROTOBUF, Framing
from importers.sources.streaming._registries import Schemas
from importers.sources.streaming._topic import Format, Reset, TopicConfig
from importers.sources.streaming._values import Values
from importers.transport.broker import Cluster
from importers.transport.messages import Messages, Part
from importers.transport.partitioned import Broker
from importers.transport.schema_registry import Registry

_log = logging.getLogger(__name__)
LOOK = 5.0
"""Seconds between two looks whether a topic that is followed is still the one that it was."""
TopicT = TypeVar("TopicT", bound=TopicConfig)


class TopicPart(Partition):
    """Partitions, each with its first offset and the one after its last; the `known` columns of the values, as Arrow
    writes a schema, in Base64.
    """

    ranges: list[tuple[int, int, int]]
    known: str


class TopicSource(Log[TopicT]):
    """A leaf says what librdkafka needs to reach the cluster."""

    extra: ClassVar[str | None] = "kafka"
    partition_model: ClassVar[Any] = TopicPart
    identity: ClassVar[tuple[str, ...]] = (Metadata.PARTITION.column, Metadata.OFFSET.column)
    worth: ClassVar[int | None] = 2_000_000
    """How many messages of a partition are worth a part of their own, which another process or task reads beside the
    rest: to start one takes as long as half a million. None where a partition isn't cut."""

    @abstractmethod
    def reached_by(self) -> Mapping[str, JSON]:
        """Settings of librdkafka that name the cluster and say who we are. Raises ConfigError."""

    @abstractmethod
    def registry(self) -> Registry:
        """Where the schemas of the values are. Raises ConfigError if the connection doesn't say."""

    @property
    def framing(self) -> Framing:
        """How values name their schemas. Raises ConfigError for a format that a registry hasn't."""
        return CONFLUENT_PROTOBUF if self.config.format is Format.PROTOBUF else CONFLUENT

    @cached_property
    def schemas(self) -> Schemas:
        return Schemas(self.registry())

    @cached_property
    def _values(self) -> Values:
        return Values(self.config, lambda: self.framing, lambda: self.schemas)

    def reach(self) -> str:
        with self._cluster() as cluster:
            extents = Reach(self.config, cluster).extents
        messages = sum(extent.high - extent.low for extent in extents.values())
        return f"{len(extents)} partitions, about {messages:,} messages"

    def values(self) -> pa.Schema:
        return self._values.schema(self._cluster)

    def reads_parts(self) -> bool:
        return self.config.format is Format.JSON

    def about(self) -> Sequence[Column]:
        return [described(which, self.config.key_type) for which in dict.fromkeys(self.config.metadata)]

    def suits(self, mode: LoadMode) -> None:
        latest = self.config.auto_offset_reset is Reset.LATEST and self.config.start_time is None
        if mode is LoadMode.REPLACE and latest:
            raise ConfigError(
                "load.mode replace begins each run like a first one, and `auto_offset_reset: latest` begins that "
                "behind the last message: the table would be emptied",
                do="leave `auto_offset_reset` out, set a `start_time`, or append or merge",
            )

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        with self._cluster() as cluster:
            now = self._identity(cluster)
            reach = Reach(self.config, cluster)
            if not window.bounded:
                self._same(now, position)
            ranges = reach.within(stream, window) if window.bounded else reach.since(position)
        known = base64.b64encode(self.known(stream).serialize()).decode()
        partitions: list[JSON] = [
            {"ranges": part, "known": known} for part in packed(ranges, self.config.max_partitions, self.worth)
        ]
        return Plan(partitions, {**now, **{reach.lane(number): end for number, (_, end) in ranges.items()}})

    def refreshed(self, position: Position) -> Position:
        with self._cluster() as cluster:
            now = self._identity(cluster)
            return Reach(self.config, cluster).refreshed({} if self._is_another(now, position) else position)

    def lag(self, position: Position) -> Mapping[str, int]:
        with self._cluster() as cluster:
            return Reach(self.config, cluster).lag(position)

    def _identity(self, cluster: Broker) -> Mapping[str, str]:
        """The topic's id as a lane; none where brokers give no ids. To be asked for before anything of its partitions.

        A topic's offsets begin anew with the topic: a position is one of the topic that it was read from.
        """
        found = cluster.identity(self.config.topic)
        return {self.config.topic: found} if found else {}

    def _is_another(self, now: Mapping[str, str], position: Position) -> bool:
        return bool(now) and position.get(self.config.topic) not in (None, now[self.config.topic])

    def _same(self, now: Mapping[str, str], position: Position) -> None:
        """Raises ContractError if the position is of another topic, which had the name before."""
        if self._is_another(now, position):
            raise ContractError(
                f"the topic '{self.config.topic}' isn't the one that was read: it was deleted and made anew",
                got=f"the id {now[self.config.topic]} after {position[self.config.topic]}",
                do="read it anew by a full refresh with load.mode merge, or into a new table",
            )

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        planned = cast(Mapping[str, Any], partition)
        known = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["known"])))
        decoder, size = self._values.decoder(known, stream.schema), self.config.batch_rows
        with self._cluster() as cluster:
            for number, start, end in planned["ranges"]:
                for got in cluster.messages(self.config.topic, number, start, end, size, self._asked(stream)):
                    yield self._batch(stream, decoder, got)

    def follow(self, stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
        decoder = self._values.decoder(self.known(stream), stream.schema)
        with self._cluster() as cluster:
            now = self._identity(cluster)
            self._same(now, position)
            reach = Reach(self.config, cluster)
            ranges = {
                number: (start, reach.extents[number].high) for number, (start, _) in reach.since(position).items()
            }
            behind = sum(end - start for start, end in ranges.values())
            at: dict[str, JSON] = {**now, **{reach.lane(number): start for number, (start, _) in ranges.items()}}
            nothing = pa.RecordBatch.from_pylist([], stream.schema)
            yield Batch(nothing, position=at, behind=behind)
            watched = _Watched(cluster, self.config.topic)
            for got, moved, behind in cluster.follow(self.config.topic, ranges, pace, self._asked(stream)):
                if found := watched.found():
                    self._same({self.config.topic: found}, at)
                if not got:
                    yield Batch(nothing, behind=behind)
                    continue
                to = {self._lane(number): at for number, at in moved.items()}
                yield replace(self._batch(stream, decoder, got), position=to, behind=behind)

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

    # -- what is read

    def _asked(self, stream: Stream) -> Set[Part]:
        """The parts of messages that the stream's columns are made of."""
        names, about = stream.schema.names, self._about
        asked = {part for name in names if name in about and (part := PARTS.get(about[name]))}
        return asked if about.keys() >= set(names) else asked | self._values.parts

    def _batch(self, stream: Stream, decoder: Decoder, messages: Messages) -> Batch:
        def place(number: int) -> str:
            return f"{self._lane(messages.partitions[number])}@offset {messages.offsets[number]}"

        wanted = stream.schema
        about = self._about
        if all(name in about for name in wanted.names):
            decoded = Decoded(pa.RecordBatch.from_pylist([{}] * len(messages)), None, ())
        else:
            decoded = decoder.read(self._values.encoded(messages), place)
        kept = messages if decoded.kept is None else messages.take(decoded.kept)
        columns = [
            metadata(kept, about[name], self.config.key_type) if name in about else decoded.rows.column(name)
            for name in (wanted.names if len(kept) else ())
        ]
        rows = (
            pa.RecordBatch.from_arrays(columns, wanted.names)
            if len(kept)
            else pa.RecordBatch.from_pylist([], schema=wanted)
        )
        if not rows.schema.equals(wanted):
            rows = rows.cast(wanted)
        return Batch(rows, tuple(decoded.rejects), places=self._places(kept))

    def _places(self, messages: Messages) -> pa.RecordBatch | None:
        """Where they stand, partition by partition as they were fetched."""
        stood = [
            (ascending(f"{self._lane(number)}@offset ", messages.offsets[begin:end]), end - begin)
            for number, begin, end in messages.stretches()
        ]
        return together(stood) if len(stood) > 1 else stood[0][0] if stood else None

    @property
    def _about(self) -> Mapping[str, Metadata]:
        """The columns that aren't the values'."""
        return {which.column: which for which in self.config.metadata}

    def _cluster(self) -> Broker:
        group = self.config.consumer_group or f"importers.{self.tenant}"
        settings = {**self.config.settings, **self.reached_by()}
        at_once = self.config.max_poll_records
        return Cluster(settings, group=group, timeout=self.config.timeout, extra=str(self.extra), at_once=at_once)

    def _lane(self, number: int) -> str:
        return f"{self.config.topic}/{number}"


class _Watched:
    """Which topic has the name of the one that is followed: asked now and then, and never waited for."""

    def __init__(self, cluster: Broker, topic: str) -> None:
        self._cluster, self._topic, self._looked = cluster, topic, monotonic()
        self._asked: Callable[[], str | None] | None = None

    def found(self) -> str | None:
        """Its id, each time that the broker has told it; a broker that is away is whoever's who reads."""
        if self._asked is None:
            if monotonic() - self._looked > LOOK:
                self._asked = self._cluster.ask_identity(self._topic)
            return None
        try:
            told = self._asked()
        except TransientSourceError:
            told = ""
        if told is not None:
            self._asked, self._looked = None, monotonic()
        return told
