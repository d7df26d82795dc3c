"""What a real broker does to a read: gaps, open transactions, retention, new partitions, refusals, other members."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.services.kafka import PASSWORD, READY, Kafka

from importers.core.connection import Connection
from importers.core.model import LoadMode, Plan, Stream, Window
from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources.streaming.azure_event_hubs import EventHubs, EventHubsConfig
from importers.sources.streaming.kafka import Kafka as Source
from importers.sources.streaming.kafka import KafkaConfig

pytestmark = pytest.mark.services


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.topic(f"events-{uuid4().hex}")


def source(kafka: Kafka, topic: str, **config: Any) -> Source:
    said = {"format": "text", "stream": "events", "timeout": 120} | config
    return Source(
        KafkaConfig(topic=topic, **said), tenant="acme", connection=Connection({"bootstrap.servers": kafka.address})
    )


def planned(at: Source, position: dict[str, Any] | None = None, window: Window | None = None) -> tuple[Stream, Plan]:
    (stream,) = at.streams()
    return stream, at.plan(stream, window or Window(), position or {})


def values(at: Source, position: dict[str, Any] | None = None, window: Window | None = None) -> list[str]:
    stream, plan = planned(at, position, window)
    return [
        value
        for part in plan.partitions
        for batch in at.read(stream, part)
        for value in batch.rows.column("message_value").to_pylist()
    ]


def offsets(plan: Plan) -> dict[str, Any]:
    """The position, but for the topic's id."""
    return {lane: at for lane, at in plan.position.items() if "/" in lane}


def texts(*said: str, **about: Any) -> list[dict[str, Any]]:
    return [{"value": text.encode(), "partition": 0, **about} for text in said]


def transactional(kafka: Kafka) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": uuid4().hex})
    producer.init_transactions(READY)
    return producer


def test_what_a_transaction_wrote_comes_once_it_has_ended_well(kafka: Kafka, topic: str) -> None:
    producer = transactional(kafka)
    for text, ends in (("a", producer.commit_transaction), ("gone", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, text)
        producer.flush(READY)
        ends(READY)
    producer.begin_transaction()
    producer.produce(topic, "b")
    producer.flush(READY)
    at = source(kafka, topic)
    _, first = planned(at)
    # a, its marker, the aborted one, its marker; then what isn't ended
    assert offsets(first) == {f"{topic}/0": 4}
    assert values(at) == ["a"]  # the last offset of the range is a marker: nothing with that offset ever comes
    at.worth = 1  # type: ignore[misc]  # each offset in a part of its own, of which three hold no message
    assert values(at) == ["a"]
    producer.commit_transaction(READY)
    assert values(at, dict(first.position)) == ["b"]


def test_a_range_of_which_nothing_is_left_ends(kafka: Kafka) -> None:
    """Compaction leaves gaps: in the middle of a range, and over all of it."""
    settings = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    topic = kafka.topic(f"compacted-{uuid4().hex}", **settings, **{"max.compaction.lag.ms": "100"})
    kafka.produce(topic, *texts("old 1", "old 2", "old 3", key=b"k"))
    at = source(kafka, topic)
    stream, plan = planned(at)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        kafka.produce(topic, *texts("newest", key=b"k"))
        left = [value for part in plan.partitions for b in at.read(stream, part) for value in b.rows[0].to_pylist()]
        if not left:
            break
        time.sleep(0.5)
    assert left == []
    assert values(at)[-1] == "newest"


def test_a_position_that_retention_ate_is_told_or_skipped(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, *texts("a", "b", "c"))
    _, plan = planned(source(kafka, topic, max_messages=1))
    kafka.trim(topic, 2)
    with pytest.raises(ContractError, match=r"deleted before.*offset 1 comes next, and there are 2 to 3"):
        planned(source(kafka, topic), dict(plan.position))
    assert values(source(kafka, topic, lost_messages="skip"), dict(plan.position)) == ["c"]


def test_messages_that_vanish_between_plan_and_read_are_told(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, *texts("a", "b", "c"))
    at = source(kafka, topic)
    stream, plan = planned(at)
    kafka.trim(topic, 2)
    with pytest.raises(ContractError, match="deleted before they were read"):
        list(at.read(stream, plan.partitions[0]))


def test_a_topic_that_was_made_anew_is_told(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, *texts("a"))
    with pytest.raises(ContractError, match="ends before what was read"):
        planned(source(kafka, topic), {f"{topic}/0": 7})


def test_a_topic_of_the_same_name_that_has_outgrown_the_position_is_told(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, *texts("a", "b"))
    _, first = planned(source(kafka, topic))
    assert values(source(kafka, topic), dict(first.position)) == []
    kafka.drop(topic)
    kafka.topic(topic)
    kafka.produce(topic, *texts("c", "d", "e"))
    with pytest.raises(ContractError, match="it was deleted and made anew"):
        planned(source(kafka, topic), dict(first.position))
    again = source(kafka, topic)
    assert values(again, dict(again.refreshed(first.position))) == ["c", "d", "e"]


def test_a_new_partition_is_read_from_its_beginning(kafka: Kafka, topic: str) -> None:
    at = source(kafka, topic, auto_offset_reset="latest")
    kafka.produce(topic, *texts("before"))
    _, first = planned(at)
    assert (first.partitions, offsets(first)) == ([], {f"{topic}/0": 1})
    kafka.widen(topic, 2)
    kafka.produce(topic, {"value": b"new", "partition": 1})
    assert values(at, dict(first.position)) == ["new"]


def test_a_run_begins_where_it_is_told_and_a_window_is_a_range_of_times(kafka: Kafka, topic: str) -> None:
    noon = 1_767_268_800_000  # 2026-01-01T12:00Z, by `date -d … +%s`
    for hours, text in enumerate(("noon", "one", "two")):
        kafka.produce(topic, *texts(text, timestamp=noon + hours * 3_600_000))
    assert values(source(kafka, topic, start_time="2026-01-01T14:00:00+01:00")) == ["one", "two"]
    assert values(source(kafka, topic, start_offsets={0: 2})) == ["two"]
    assert values(source(kafka, topic, start_time="2027-01-01T00:00:00Z")) == []
    window = Window("2026-01-01T12:30:00+00:00", "2026-01-01T14:00:00+00:00")
    assert values(source(kafka, topic), window=window) == ["one"]
    assert values(source(kafka, topic), window=Window(window.start, "2030-01-01T00:00:00+00:00")) == ["one", "two"]
    with pytest.raises(ConfigError, match="partition 7"):
        values(source(kafka, topic, start_offsets={7: 2}))


def test_a_backfill_by_a_key_that_tells_no_age_is_refused(kafka: Kafka, topic: str) -> None:
    at = source(kafka, topic)
    (stream,) = at.streams()
    merged = Stream(stream.name, stream.columns, stream.reads, ("message_value",), load_mode=LoadMode.MERGE)
    with pytest.raises(ConfigError, match=r"Set load\.cursor"):
        at.plan(merged, Window("2026-01-01T00:00:00+00:00"), {})


def test_what_the_broker_knows_of_a_message(kafka: Kafka, topic: str) -> None:
    about = {
        "key": b"ada",
        "headers": [("trace", b"7"), ("raw", b"\xff"), ("none", None)],
        "timestamp": 1_767_268_800_123,
    }
    kafka.produce(topic, *texts("x", **about), {"value": None, "partition": 0, "timestamp": 1})
    at = source(kafka, topic, metadata=["key", "headers", "timestamp", "partition", "offset"])
    stream, plan = planned(at)
    rows = [row for part in plan.partitions for batch in at.read(stream, part) for row in batch.rows.to_pylist()]
    headers = [{"name": "trace", "value": "7"}, {"name": "raw", "value": "\\xff"}, {"name": "none", "value": None}]
    assert rows[0] == {
        "message_value": "x",
        "message_key": "ada",
        "message_headers": headers,
        "message_timestamp": datetime(2026, 1, 1, 12, 0, 0, 123000, UTC),
        "message_partition": 0,
        "message_offset": 0,
    }
    assert (rows[1]["message_value"], rows[1]["message_key"], rows[1]["message_headers"]) == (None, None, None)
    assert {column.name: column.personal for column in stream.columns if column.personal} == {
        "message_key": "identifier",
        "message_headers": "free_text",
        "message_timestamp": "none",
        "message_partition": "none",
        "message_offset": "none",
    }


@pytest.mark.timeout(500)
def test_a_wrong_password_and_an_unknown_topic_are_told_soon(kafka: Kafka, topic: str) -> None:
    wrong = {"sasl.password": PASSWORD.replace("c2Vj", "WRNG"), "port": int(kafka.sasl_address.rpartition(":")[2])}
    trusted = {"ssl.ca.location": kafka.authority}
    config = EventHubsConfig(topic=topic, timeout=600)  # longer than the test may take
    health = EventHubs(config, tenant="acme", connection=Connection(wrong | trusted)).check()
    assert not health.ok
    assert "refuses these credentials" in health.detail
    assert "WRNG" not in health.detail
    right = Connection(wrong | {"sasl.password": PASSWORD})
    assert "no trusted connection" in EventHubs(config, tenant="acme", connection=right).check().detail
    with pytest.raises(FatalSourceError, match="no such topic"):
        source(kafka, "nowhere").plan(planned(source(kafka, topic))[0], Window(), {})


def test_another_member_of_the_group_and_its_rebalances_change_nothing(
    kafka: Kafka, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A group's offsets are a courtesy: while the group has members of its own, it refuses them."""
    kafka.produce(topic, *texts(*map(str, range(50))))
    at = source(kafka, topic, consumer_group="watchers", batch_rows=10)
    stream, plan = planned(at)
    member = Consumer({"bootstrap.servers": kafka.address, "group.id": "watchers", "auto.offset.reset": "earliest"})
    read: list[str] = []
    for batch in at.read(stream, plan.partitions[0]):
        read += batch.rows.column("message_value").to_pylist()
        if len(read) == 10:
            member.subscribe([topic])
            while not member.assignment():
                member.poll(0.1)
    assert read == list(map(str, range(50)))
    at.acknowledge(plan.position)
    assert "offsets could not be set" in caplog.text
    member.close()
    deadline = time.monotonic() + READY
    with closing(Consumer({"bootstrap.servers": kafka.address, "group.id": "watchers"})) as looks:
        while looks.committed([TopicPartition(topic, 0)], READY)[0].offset != 50:
            assert time.monotonic() < deadline, "the group's offset isn't there"
            at.acknowledge(plan.position)  # refused until the broker has taken leave of the member


def test_a_broker_that_is_killed_and_comes_back_is_waited_for(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, *texts(*(f"{number} {'x' * 1000}" for number in range(3000))))
    settings = {"max.partition.fetch.bytes": 50_000, "queued.max.messages.kbytes": 100}
    at = source(kafka, topic, batch_rows=500, max_poll_records=100, settings=settings, timeout=300)
    stream, plan = planned(at)
    read: list[str] = []
    for number, batch in enumerate(at.read(stream, plan.partitions[0])):
        read += batch.rows.column("message_value").to_pylist()
        if number == 1:
            kafka.stop()
            kafka.start()
    assert [text.split()[0] for text in read] == list(map(str, range(3000)))


def test_a_token_is_shown_to_the_broker(kafka: Kafka, topic: str) -> None:
    """Unsecured (RFC 7515, A.5), as Kafka's own validator takes it where nobody signs."""
    kafka.produce(topic, *texts("a"))
    said = {
        "bootstrap.servers": kafka.sasl_address,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": kafka.authority,
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": True,
        "sasl.oauthbearer.config": "principal=ada",
    }
    config = KafkaConfig(topic=topic, format="text", metadata=[], timeout=120)
    at = Source(config, tenant="acme", connection=Connection(said))
    assert at.check().ok
    assert values(at) == ["a"]
    nobody = Connection(said | {"sasl.oauthbearer.config": "scope=read"})  # a token that says of nobody
    assert not Source(config, tenant="acme", connection=nobody).check().ok
