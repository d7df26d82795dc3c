"""A topic of a real Kafka is followed: where it begins, what is unread, partitions that come, transactions."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from tests.services.kafka import READY, Kafka

from importers.core.connection import Connection
from importers.core.model import Batch, Pace
from importers.exceptions import ContractError
from importers.sources.streaming import _kafka
from importers.sources.streaming.kafka import Kafka as Source
from importers.sources.streaming.kafka import KafkaConfig
from importers.transport import kafka_following

pytestmark = pytest.mark.services
PACE = Pace(0.001, 1_000, 0.02)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.topic(f"plays-{uuid4().hex}", 2)


def source(kafka: Kafka, topic: str, **config: Any) -> Source:
    said = KafkaConfig(topic=topic, format="text", **config)
    return Source(said, tenant="acme", connection=Connection({"bootstrap.servers": kafka.address}))


def texts(batch: Batch) -> list[str]:
    return list(batch.rows["message_value"].to_pylist())


def put(kafka: Kafka, topic: str, partition: int, *values: str) -> None:
    kafka.produce(topic, *({"value": value, "partition": partition} for value in values))


def until(batches: Any, wanted: list[str]) -> Batch:
    """The batch with which all that is wanted has come, in whatever parts."""
    got: list[str] = []
    for batch in batches:
        got += texts(batch)
        if sorted(got) == sorted(wanted):
            return Batch(batch.rows, batch.rejects, batch.position, behind=batch.behind)
    raise AssertionError


def test_until_something_comes_all_that_is_known_to_be_there_is_unread(kafka: Kafka, topic: str) -> None:
    """Who drains a topic must not take a broker that is slow for one that is empty."""
    put(kafka, topic, 0, "a", "b", "c")
    at = source(kafka, topic)
    behind = []
    with closing(at.follow(at.streams()[0], {}, Pace(0.001, 1_000, 0.00001))) as batches:
        for batch in batches:
            behind.append(batch.behind)
            if batch.rows.num_rows:
                break
    assert {*behind[:-1]} == {3}


def test_what_is_new_is_where_it_begins_and_begins_again(kafka: Kafka, topic: str) -> None:
    put(kafka, topic, 0, "old")
    at = source(kafka, topic, auto_offset_reset="latest")
    (stream,) = at.streams()
    with closing(at.follow(stream, {}, PACE)) as batches:
        first = next(batches)
    assert first.position == {f"{topic}/0": 1, f"{topic}/1": 0} | at_identity(at)
    put(kafka, topic, 0, "new")  # nobody follows it now
    with closing(at.follow(stream, first.position or {}, PACE)) as batches:
        assert until(batches, ["new"]).position == {f"{topic}/0": 2}


def at_identity(at: Source) -> dict[str, Any]:
    with at._cluster() as cluster:
        return dict(at._identity(cluster))


def test_a_topic_that_is_made_anew_while_it_is_followed_stops_the_stream(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offsets begin anew: going on at the old ones would leave out what comes first."""
    monkeypatch.setattr(_kafka, "LOOK", 0.0)
    put(kafka, topic, 0, "a", "b")
    at = source(kafka, topic)
    with closing(at.follow(at.streams()[0], {}, PACE)) as batches:
        until(batches, ["a", "b"])
        kafka.drop(topic)
        kafka.topic(topic, 2)
        put(kafka, topic, 0, "c", "d", "e")
        with pytest.raises(ContractError, match="made anew"):
            until(batches, ["as long as it takes"])


def test_a_partition_that_the_topic_gets_is_read_from_its_beginning(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_following, "LOOK", 0.1)
    at = source(kafka, topic)
    with closing(at.follow(at.streams()[0], {}, PACE)) as batches:
        next(batches)
        kafka.widen(topic, 3)
        put(kafka, topic, 2, "a", "b")
        put(kafka, topic, 1, "c")
        got = until(batches, ["a", "b", "c"])
    assert (got.position or {}).keys() <= {f"{topic}/1", f"{topic}/2"}


def test_what_a_transaction_wrote_comes_once_it_has_ended_well(kafka: Kafka, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": uuid4().hex})
    producer.init_transactions(READY)
    at = source(kafka, topic)
    with closing(at.follow(at.streams()[0], {}, PACE)) as batches:
        for text, ends in (("gone", producer.abort_transaction), ("kept", producer.commit_transaction)):
            producer.begin_transaction()
            producer.produce(topic, text, partition=0)
            producer.flush(READY)
            assert [texts(next(batches)) for _ in range(3)] == [[], [], []]
            ends(READY)
        got = until(batches, ["kept"])
        assert got.position == {f"{topic}/0": 3}  # after the aborted one and its marker
        while got.behind:  # its own marker: an offset without a message isn't unread
            got = next(batches)
