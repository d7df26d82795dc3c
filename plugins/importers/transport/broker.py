"""A Kafka cluster, or whatever speaks its protocol: what a topic's partitions hold, and their messages in order.

Partitions are assigned, never subscribed to: which of them is read, from where to where, is the plan's decision. So no
other member of a consumer group, and no rebalance, has a say in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from importers.core.ahead import ahead
from importers.core.model import JSON, Pace
from importers.core.registry import optional
from importers.exceptions import ConfigError, TransientSourceError
from importers.transport.kafka_errors import SLICE, messages_only, passes, refuses, remedy
from importers.transport.kafka_following import Following
from importers.transport.messages import Gathering, Messages, Part
from importers.transport.partitioned import Extent

if TYPE_CHECKING:
    from concurrent.futures import Future

    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka.admin import AdminClient

PATIENCE = 0.1  # seconds that a read waits for messages before it looks whether the broker is still there
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
        message, held, ends = self._kafka.Message, Gathering(asked), dict[int, int]()
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
                got = messages_only(got, ends)
                over = ends.get(partition, -1) >= end
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
        following = Following(self._kafka, self.consumer, topic, ranges, self._at_once)
        yield from following.batches(pace, Gathering(asked), self._still_there)

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
