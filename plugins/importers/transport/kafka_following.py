"""A topic of Kafka that is followed: the messages of all its partitions as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from importers.core.model import Pace
from importers.transport.kafka_errors import SLICE, messages_only, remedy
from importers.transport.messages import Gathering, Messages

if TYPE_CHECKING:
    from confluent_kafka import Consumer

LOOK = 30.0  # seconds between two questions whether a topic has more partitions
AT_HAND = 0.001  # seconds that it takes at most to be given a message that was there


class Following:
    """How far a topic is followed, by partition. `ranges`: where each begins, and up to where it is known to have any.

    `at_once` is how many messages a call to the client takes.
    """

    def __init__(
        self, kafka: Any, consumer: Consumer, topic: str, ranges: Mapping[int, tuple[int, int]], at_once: int
    ) -> None:
        self._kafka, self._consumer, self._topic, self._at_once = kafka, consumer, topic, at_once
        self._at = {number: start for number, (start, _) in ranges.items()}
        self._high = {number: end for number, (_, end) in ranges.items()}
        self._ends: dict[int, int] = {}
        """The ends that were met."""

    def batches(
        self, pace: Pace, held: Gathering, still_there: Callable[[float], None]
    ) -> Iterator[tuple[Messages, dict[int, int], int]]:
        """As `partitioned.Broker.follow`. `still_there` raises if the broker wasn't heard of since a moment."""
        self._consumer.assign([self._where(number, at) for number, at in self._at.items()])
        heard = looked = given = time.monotonic()
        while True:
            is_heard = self._gather(held, pace, given)
            now, got = time.monotonic(), held.gathered()
            heard = now if is_heard else heard
            moved = got.after()
            self._at.update(moved)
            if now - looked > LOOK:
                if self._look_for_partitions():
                    heard = time.monotonic()
                looked = now
                still_there(heard)
            given = time.monotonic()
            yield got, moved, self._unread()

    def _gather(self, held: Gathering, pace: Pace, given: float) -> bool:
        """A batch; whether the broker said anything. The one before was `given` on then."""
        message, (only, *others) = self._kafka.Message, self._at
        asked = time.monotonic()
        got = self._consumer.consume(1, pace.idle)
        now = time.monotonic()
        # Who needn't wait for the first message doesn't know when it came: while the last batch was worked on.
        until = pace.linger + (now if now - asked > AT_HAND else given)
        said, late = bool(got), False
        while got or (said and not late):
            if any(map(message.error, got)):
                got = messages_only(got, self._ends)
            held.add(got, None if others else only)
            room, seconds = pace.rows - len(held), until - time.monotonic()
            if late:
                # Where a message comes each moment one is always unread: only who is behind goes on.
                room = room if self._unread() - len(held) >= self._at_once else 0
                seconds = max(pace.linger, 0.001)
            if room <= 0 or held.is_full:
                break
            late = late or seconds <= 0
            got = self._consumer.consume(min(self._at_once, room), max(seconds, 0.0))
        return said

    def _unread(self) -> int:
        """As far as the last answers of the broker tell; asks nobody."""
        found = 0
        for number, at in self._at.items():
            _, high = self._consumer.get_watermark_offsets(self._where(number), cached=True)  # negative before any
            high = self._high[number] = max(high, self._high[number])
            found += max(0, high - at) if self._ends.get(number, -1) < at else 0
        return found

    def _look_for_partitions(self) -> bool:
        """Whether the broker has answered; partitions that the topic has got since are read too."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=SLICE).topics[self._topic]
        except self._kafka.KafkaException:  # nor may a refusal be polled for: that would lose a message
            return False
        if found.error is not None:
            raise remedy(found.error, f"asking for the topic '{self._topic}'")
        for number in set(found.partitions) - set(self._at):
            low, high = self._consumer.get_watermark_offsets(self._where(number), timeout=SLICE)
            self._at[number], self._high[number] = low, high
            self._consumer.incremental_assign([self._where(number, low)])
        return True

    def _where(self, *partition_and_offset: int) -> Any:
        return self._kafka.TopicPartition(self._topic, *partition_and_offset)
