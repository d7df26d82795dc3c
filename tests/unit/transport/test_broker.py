"""When a batch of a followed topic ends, by a clock that only the broker and the reader's work move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import patch

import pytest
from confluent_kafka import Message

from importers.core.model import Pace
from importers.transport import broker, kafka_following
from importers.transport.broker import Cluster
from importers.transport.messages import Messages, Part

MS = 1_000
"""Microseconds: the clock counts them, so that no sum is rounded."""


@dataclass
class Topic:
    """A client, and a partition of messages that come at these moments, in microseconds; others are there already."""

    comes: list[int]
    clock: int = 0
    given: int = 0
    calls: list[tuple[int, float]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.clock / 1e6

    def assign(self, where: Any) -> None:
        pass

    def get_watermark_offsets(self, where: Any, cached: bool) -> tuple[int, int]:
        """The broker has what will be here in a moment."""
        return 0, sum(at <= self.clock + MS for at in self.comes)

    def consume(self, most: int, seconds: float) -> list[Message]:
        """As librdkafka does: at the latest after so many seconds, and as soon as there are so many."""
        self.calls.append((most, seconds))
        wanted, until = self.comes[self.given : self.given + most], self.clock + round(seconds * 1e6)
        got = [at for at in wanted if at <= until]
        self.clock = max([self.clock, *got]) if len(got) == most else until
        begin, self.given = self.given, self.given + len(got)
        return [Message("t", 0, offset, value=b"%d" % offset) for offset in range(begin, self.given)]


@pytest.fixture
def topic() -> Iterator[Topic]:
    found = Topic([])
    with patch.object(kafka_following, "time", found):
        yield found


def following(topic: Topic, pace: Pace) -> Iterator[Messages]:
    cluster = Cluster({}, group="g", timeout=30, extra="kafka")
    cluster._consumer = cast(Any, topic)
    for got, moved, _ in cluster.follow("t", {0: (0, 0)}, pace, {Part.VALUE}):
        assert moved == ({0: topic.given} if len(got) else {})
        yield got


def test_a_batch_ends_a_while_after_its_first_message_though_others_keep_coming(topic: Topic) -> None:
    topic.comes = [20 * MS + at * MS for at in range(1_000)]
    first = next(following(topic, Pace(0.005, 65_536)))
    assert (len(first), topic.clock) == (6, 25 * MS)  # those of 20, 21, … 25 ms


def test_what_came_while_the_last_batch_was_worked_on_has_waited_long_enough(topic: Topic) -> None:
    topic.comes = [at * MS for at in range(1_000)]
    batches = following(topic, Pace(0.005, 65_536))
    next(batches)
    topic.clock += 8 * MS
    before = topic.clock
    assert (len(next(batches)), topic.clock) == (8, before)
    topic.clock += 2 * MS  # of less work a while is left
    assert (len(next(batches)), topic.clock) == (5, before + 5 * MS)


def test_who_is_behind_takes_as_much_as_a_batch_may_have(topic: Topic) -> None:
    topic.comes = [0] * 10_000
    with patch.object(Topic, "consume", _slowly(Topic.consume)):
        sizes = [len(got) for got, _ in zip(following(topic, Pace(0.005, 4_096)), range(4), strict=False)]
    assert sizes == [4_096, 4_096, 1_501, 307]  # which are too few to wait for
    assert max(most for most, _ in topic.calls) == broker.AT_ONCE


def _slowly(consume: Any) -> Any:
    """A call for 500 takes longer than a batch would wait."""

    def called(self: Topic, most: int, seconds: float) -> list[Message]:
        got: list[Message] = consume(self, most, seconds)
        self.clock += 6 * MS
        return got

    return called


def test_nothing_for_a_while_is_a_batch_without_messages(topic: Topic) -> None:
    batches = following(topic, Pace(0.005, 65_536, idle=0.25))
    assert (len(next(batches)), topic.clock) == (0, 250 * MS)
    topic.comes = [300 * MS]
    assert (len(next(batches)), topic.clock) == (1, 305 * MS)


def test_who_ends_a_read_need_not_wait_until_a_silent_broker_is_given_up() -> None:
    topic = Topic([0, 0])
    with patch.object(broker, "time", topic):
        cluster = Cluster({}, group="g", timeout=10_000, extra="kafka")
        cluster._consumer = cast(Any, topic)
        read = cast(Any, cluster.messages("t", 0, 0, 3, 2, {Part.VALUE}))
        assert next(read).offsets.tolist() == [0, 1]
        read.close()
    assert topic.calls == [(2, broker.PATIENCE), (1, broker.PATIENCE)]


def test_what_came_before_a_silence_is_given_and_the_silence_isn_t() -> None:
    topic = Topic([0, 0, 0, 350 * MS, 350 * MS])
    with patch.object(broker, "time", topic):
        cluster = Cluster({}, group="g", timeout=30, extra="kafka", at_once=2)
        cluster._consumer = cast(Any, topic)
        assert [got.offsets.tolist() for got in cluster.messages("t", 0, 0, 5, 9, set())] == [[0, 1, 2], [3, 4]]
