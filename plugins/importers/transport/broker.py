"""A Kafka cluster, or whatever speaks its protocol: what a topic's partitions hold, and their messages in order.

Partitions are assigned, never subscribed to: which of them is read, from where to where, is the plan's decision. So no
other member of a consumer group, and no rebalance, has a say in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from importers.core.ahead import ahead
from importers.core.model import JSON, Pace
from importers.core.registry import optional
from importers.exceptions import ConfigError, TransientSourceError
from importers.transport.kafka_errors import passes, refuses, remedy
from importers.transport.messages import Gathering, Messages, Part
from importers.transport.partitioned import Extent

if TYPE_CHECKING:
    from concurrent.futures import Future

    from confluent_kafka import Consumer, KafkaError, Message
    from confluent_kafka.admin import AdminClient

SLICE = 2.0  # seconds after which a call that isn't answered is interrupted, to hear whether it was refused
LOOK = 30.0  # seconds between two questions whether a topic that is followed has more partitions
PATIENCE = 0.1  # seconds that a read waits for messages before it looks whether the broker is still there
AT_HAND = 0.001  # seconds that it takes at most to be given a message that was there
AT_ONCE = 500  # messages that a call to the client takes: fewer cost more for the call, and more leave the cache
OURS: Mapping[str, JSON] = {
    "client.id": "importers",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "allow.auto.create.topics": False,
}
"""What exactness hangs on: nobody may set these otherwise."""
DEFAULTS: Mapping[str, JSON] = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 10,  # what is read is there; nobody waits for more
    "fetch.queue.backoff.ms": 1,  # by default a reader that is faster than the network stalls for a second
    "queued.max.messages.kbytes": 65_536,
    "log_level": 2,  # what matters is raised; the rest would be said every tenth of a second while a broker is away
}
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""Kafka's Uuid.ZERO_UUID, by which a broker says that it knows of no topic ids."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Reading:
    """How far a topic is followed: by partition which offset is next, the end that is known, the one that was met."""

    at: dict[int, int]
    high: dict[int, int]
    ends: dict[int, int] = field(default_factory=dict)


class Cluster:
    """The clients of one reader. Settings are librdkafka's, credentials among them; `timeout` is in seconds.

    `at_once` is how many messages a call to the client takes.
    """

    def __init__(
        self, settings: Mapping[str, JSON], *, group: str, timeout: float, extra: str, at_once: int = AT_ONCE
    ) -> None:
        self._kafka: Any = optional("confluent_kafka", extra)
        self._settings = {**DEFAULTS, **settings, **OURS, "group.id": group}
        self._timeout, self._extra, self._at_once = timeout, extra, at_once
        self._refusal: KafkaError | None = None
        self._consumer: Consumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self.__dict__.pop("_admin", None)  # it ends when nobody has it any more

    @property
    def consumer(self) -> Consumer:
        """Raises ConfigError for a setting that librdkafka doesn't know."""
        if self._consumer is None:
            ours: dict[str, Any] = {**self._settings, "error_cb": self._told, "logger": _log}
            try:
                self._consumer = self._kafka.Consumer(ours)
            except self._kafka.KafkaException as error:  # its text names the setting, and may quote its value
                named = next((name for name in self._settings if name in str(error)), "a setting")
                raise ConfigError(
                    f"librdkafka refuses {named}", do="see its list of settings (CONFIGURATION.md)"
                ) from None
        return self._consumer

    @cached_property
    def _admin(self) -> AdminClient:
        """One for all questions: each has a connection and threads of its own."""
        said: dict[str, Any] = {**self._settings, "error_cb": self._told, "logger": _log}
        made: AdminClient = optional("confluent_kafka.admin", self._extra).AdminClient(said)
        return made

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions. Raises FatalSourceError if there is no such topic."""
        found = self._ask("asking for its topics", self.consumer.list_topics, topic)
        about = found.topics[topic]
        if about.error is not None:
            raise remedy(about.error, f"asking for the topic '{topic}'")
        return sorted(about.partitions)

    def identity(self, topic: str) -> str:
        """The id that the cluster gave the topic when it was made; empty where brokers give none."""
        return self._identity(topic, self._described(topic))

    def ask_identity(self, topic: str) -> Callable[[], str | None]:
        asked = self._described(topic)
        return lambda: self._identity(topic, asked) if asked.done() else None

    def _described(self, topic: str) -> Future[Any]:
        asked = self._admin.describe_topics(self._kafka.TopicCollection([topic]), request_timeout=self._timeout)
        described: Future[Any] = asked[topic]
        return described

    def _identity(self, topic: str, asked: Future[Any]) -> str:
        try:
            found = str(asked.result().topic_id)
        except self._kafka.KafkaException as caught:
            error = self._refusal or caught.args[0]
            if error.code() in (error._UNSUPPORTED_FEATURE, error.UNSUPPORTED_VERSION):
                return ""
            raise remedy(error, f"asking for the topic '{topic}'") from None
        return "" if found == NO_ID else found

    def extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        """What each partition holds now. What an open transaction wrote, and all after it, counts as not yet there."""
        found = {}
        for number in partitions:
            where = self._kafka.TopicPartition(topic, number)
            found[number] = Extent(
                *self._ask("asking for a partition's end", self.consumer.get_watermark_offsets, where)
            )
        return found

    def since(self, topic: str, partitions: Sequence[int], moment: int) -> dict[int, int]:
        """The offset of each partition's first message that is not older than `moment` (ms since 1970), if any."""
        wanted = [self._kafka.TopicPartition(topic, number, moment) for number in partitions]
        found = self._ask("looking for a time", self.consumer.offsets_for_times, wanted)
        for each in found:
            if each.error is not None:
                raise remedy(each.error, "looking for a time")
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def messages(
        self, topic: str, partition: int, start: int, end: int, size: int, asked: Collection[Part]
    ) -> Iterator[Messages]:
        """The messages with offsets in [start, end), about `size` at a time, in their order.

        Offsets have gaps, where transactions were marked or the log was compacted: the end is reached when a message
        beyond it comes, or the broker says that there are no more. Raises ContractError if some are deleted meanwhile.
        """
        # To make an object of each message, and columns of these, takes about as long as all that is done with columns.
        with closing(ahead(self._messages(topic, partition, start, end, size, asked))) as found:
            yield from filter(len, found)

    def _messages(
        self, topic: str, partition: int, start: int, end: int, size: int, asked: Collection[Part]
    ) -> Iterator[Messages]:
        """The same; where the broker is silent, what there is so far, maybe nothing: who ends this waits no longer."""
        message, held = self._kafka.Message, Gathering(asked)
        self.consumer.assign([self._kafka.TopicPartition(topic, partition, start)])
        heard = time.monotonic()
        while start < end:
            got = self.consumer.consume(min(self._at_once, size, end - start), PATIENCE)
            if not got:
                self._still_there(heard)
                yield held.gathered()
                continue
            heard = time.monotonic()
            over = False
            if any(map(message.error, got)):
                got, over = self._without_events(got, end)
            if got and (last := got[-1].offset() or 0) >= end:
                got, over = [each for each in got if (each.offset() or 0) < end], True
            elif got:
                start = last + 1
            held.add(got, partition)
            if len(held) >= size or held.is_full:
                yield held.gathered()
            if over:
                break
        if held:
            yield held.gathered()

    def follow(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], pace: Pace, asked: Collection[Part]
    ) -> Iterator[tuple[Messages, dict[int, int], int]]:
        """The messages of all partitions as they come, as `partitioned.Broker` has it."""
        reading, held = _Reading(*({n: pair[i] for n, pair in ranges.items()} for i in (0, 1))), Gathering(asked)
        self.consumer.assign([self._kafka.TopicPartition(topic, number, at) for number, at in reading.at.items()])
        heard = looked = given = time.monotonic()
        while True:
            is_heard = self._gather(topic, reading, held, pace, given)
            now, got = time.monotonic(), held.gathered()
            heard = now if is_heard else heard
            moved = got.after()
            reading.at.update(moved)
            if now - looked > LOOK:
                if self._look_for_partitions(topic, reading):
                    heard = time.monotonic()
                looked = now
                self._still_there(heard)
            given = time.monotonic()
            yield got, moved, self._unread(topic, reading)

    def _gather(self, topic: str, reading: _Reading, held: Gathering, pace: Pace, given: float) -> bool:
        """A batch; whether the broker said anything. The one before was `given` on then."""
        message, (only, *others) = self._kafka.Message, reading.at
        asked = time.monotonic()
        got = self.consumer.consume(1, pace.idle)
        now = time.monotonic()
        # Who needn't wait for the first message doesn't know when it came: while the last batch was worked on.
        until = pace.linger + (now if now - asked > AT_HAND else given)
        said, late = bool(got), False
        while got or (said and not late):
            if any(map(message.error, got)):
                got = self._followed(got, reading)
            held.add(got, None if others else only)
            room, seconds = pace.rows - len(held), until - time.monotonic()
            if late:
                # Where a message comes each moment one is always unread: only who is behind goes on.
                room = room if self._unread(topic, reading) - len(held) >= self._at_once else 0
                seconds = max(pace.linger, 0.001)
            if room <= 0 or held.is_full:
                break
            late = late or seconds <= 0
            got = self.consumer.consume(min(self._at_once, room), max(seconds, 0.0))
        return said

    def _unread(self, topic: str, reading: _Reading) -> int:
        """As far as the last answers of the broker tell; asks nobody."""
        partition, found = self._kafka.TopicPartition, 0
        for number, at in reading.at.items():
            _, high = self.consumer.get_watermark_offsets(partition(topic, number), cached=True)  # negative before any
            high = reading.high[number] = max(high, reading.high[number])
            found += max(0, high - at) if reading.ends.get(number, -1) < at else 0
        return found

    def _followed(self, got: list[Message], reading: _Reading) -> list[Message]:
        """Only the messages; notes where a partition ends. Raises what is an error, unless it passes."""
        messages = []
        for each in got:
            error = each.error()
            if error is None:
                messages.append(each)
            elif error.code() == error._PARTITION_EOF:
                reading.ends[each.partition() or 0] = each.offset() or 0
            elif not passes(error):
                raise remedy(error, "reading")
        return messages

    def _look_for_partitions(self, topic: str, reading: _Reading) -> bool:
        """Whether the broker has answered; partitions that the topic has got since are read too."""
        try:
            found = self.consumer.list_topics(topic, timeout=SLICE).topics[topic]
        except self._kafka.KafkaException:  # not `_ask`: it polls, and would lose a message
            return False
        if found.error is not None:
            raise remedy(found.error, f"asking for the topic '{topic}'")
        for number in set(found.partitions) - set(reading.at):
            where = self._kafka.TopicPartition(topic, number)
            reading.at[number], reading.high[number] = self.consumer.get_watermark_offsets(where, timeout=SLICE)
            self.consumer.incremental_assign([self._kafka.TopicPartition(topic, number, reading.at[number])])
        return True

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the consumer group where it stands. Raises FatalSourceError or TransientSourceError."""
        where = [self._kafka.TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        try:
            answered = self.consumer.commit(offsets=where, asynchronous=False) or []
        except self._kafka.KafkaException as error:
            raise remedy(error.args[0], "committing the group's offsets") from None
        for each in answered:
            if each.error is not None:
                raise remedy(each.error, "committing the group's offsets")

    def _without_events(self, got: list[Message], end: int) -> tuple[list[Message], bool]:
        """Only the messages, and whether the end of the partition was among what isn't one. Raises what is an error."""
        messages, over = [], False
        for each in got:
            error = each.error()
            if error is None:
                messages.append(each)
            elif error.code() == error._PARTITION_EOF:
                over = (each.offset() or 0) >= end
            elif not passes(error):
                raise remedy(error, "reading")
        return messages, over

    def _still_there(self, heard: float) -> None:
        """Raises if the cluster has refused us, or hasn't been heard of for too long."""
        if self._refusal is not None:
            raise remedy(self._refusal, "reading")
        if time.monotonic() - heard > self._timeout:
            raise TransientSourceError(
                f"the broker has sent nothing for {self._timeout:g} s, and there are messages left",
                do="see that it runs and can be reached, then run again",
            )

    def _ask(self, doing: str, call: Callable[..., Any], about: Any) -> Any:
        """A question and its answer. Refusals are told to a callback only, which is served in between."""
        deadline = time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return call(about, timeout=max(PATIENCE, min(SLICE, left)))
            except self._kafka.KafkaException as caught:
                self.consumer.poll(PATIENCE)
                error = self._refusal or caught.args[0]
                if error is self._refusal or not passes(error) or left <= SLICE:
                    servers = self._settings.get("bootstrap.servers", "")
                    raise remedy(error, f"{doing} at {servers}" if servers else doing) from None

    def _told(self, error: KafkaError) -> None:
        if refuses(error):
            self._refusal = error
