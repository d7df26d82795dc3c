"""An event hub over AMQP, from a broker that stands for Azure's: what Microsoft's client was told to send, come back.

What the broker adds to AMQP is ours: see tests/services/amqp_broker.py.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage
from event_hub_site import EventHubSite
from import_site import again
from kafka_site import PARTITIONS, finished
from tests.services.event_hubs import EventHubs as Broker
from topic_kills import survives_kills
from victims import Victims

from importers.core.connection import Connection
from importers.core.model import LoadMode, Pace, Position, Window
from importers.exceptions import ContractError, FatalSourceError, TransientSourceError
from importers.sources.streaming.azure_event_hubs import EventHubs, EventHubsConfig
from importers.transport.event_reading import Reading

pytestmark = pytest.mark.services
WRONG = "Endpoint=sb://localhost/;SharedAccessKeyName=reader;SharedAccessKey=d3Jvbmc="
RANDOM = 10
ALL = ["key", "headers", "timestamp", "partition", "offset"]


def source(broker: Broker, hub: str, reached: dict[str, Any] | None = None, **settings: Any) -> EventHubs:
    said = Connection(broker.connection if reached is None else reached)
    return EventHubs(EventHubsConfig(topic=hub, protocol="amqp", **settings), tenant="acme", connection=said)


def read(at: EventHubs, window: Window | None = None, position: Position | None = None) -> pa.Table:
    (stream,) = at.streams()
    plan = at.plan(stream, window or Window(), position or {})
    batches = [batch.rows for part in plan.partitions for batch in at.read(stream, part)]
    return pa.Table.from_batches(batches, stream.schema)


def event(number: int, **more: Any) -> EventData:
    made = EventData(json.dumps({"id": number}))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_an_event_is_a_row_with_all_that_the_service_says_of_it(amqp: Broker) -> None:
    hub, before = amqp.hub(2), datetime.now(UTC)
    sent = {"colour": "grün", "raw": b"\xff", "n": 7, "half": 0.5, "sure": True, "none": None}
    amqp.send(
        hub,
        (event(1, properties=sent, content_type="application/json"), {"partition_id": "1"}),
        (event(2), {"partition_id": "1"}),
        (event(3), {"partition_key": "Zoë"}),
    )
    with closing(source(amqp, hub, metadata=ALL)) as at:
        (stream,) = at.streams()
        assert stream.primary_key == ("message_partition", "message_offset")
        assert stream.schema.field("id").type == pa.int64(), "a sample told it"
        rows = {row["id"]: row for row in read(at).to_pylist()}
    assert [(rows[number]["message_partition"], rows[number]["message_offset"]) for number in (1, 2)] == [
        (1, 0),
        (1, 1),
    ]
    assert {number: row["message_key"] for number, row in rows.items()} == {1: None, 2: None, 3: "Zoë"}
    assert {each["name"]: each["value"] for each in rows[1]["message_headers"]} == {
        "content-type": "application/json",
        "colour": "grün",
        "raw": "\\xff",
        "n": "7",
        "half": "0.5",
        "sure": "true",
        "none": None,
    }
    assert rows[2]["message_headers"] is None
    assert all(before.replace(microsecond=0) <= row["message_timestamp"] <= datetime.now(UTC) for row in rows.values())


def test_a_body_that_is_no_bytes_is_the_text_that_microsoft_s_client_makes_of_it(amqp: Broker) -> None:
    hub = amqp.hub()
    bodies = {"value_body": "plain"}, {"value_body": 7}, {"sequence_body": [1, "two"]}, {"data_body": [b"bytes"]}
    amqp.send(hub, *((AmqpAnnotatedMessage(**body), {"partition_id": "0"}) for body in bodies))
    with closing(source(amqp, hub, format="text")) as at:
        assert read(at)["message_value"].to_pylist() == ["plain", "7", "[1, 'two']", "bytes"]


def test_large_events_make_small_batches(amqp: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importers.transport.event_hubs.MOST", 250_000)
    hub = amqp.hub()
    events = [(EventData(bytes([65 + number]) * 100_000), {"partition_id": "0"}) for number in range(7)]
    amqp.send(hub, *events)
    with closing(source(amqp, hub, format="bytes", metadata=["offset"])) as at:
        (stream,) = at.streams()
        (part,) = at.plan(stream, Window(), {}).partitions
        batches = [batch.rows.to_pylist() for batch in at.read(stream, part)]
        assert [len(rows) for rows in batches] == [3, 3, 1]
        first = b"".join(row["message_value"][:1] for rows in batches for row in rows)
        assert first == b"ABCDEFG"
        with closing(at.follow(stream, {}, Pace(linger=60, rows=100))) as followed:
            sizes = [*islice(filter(None, (batch.rows.num_rows for batch in followed)), 2)]
        assert sizes == [3, 3]


def test_a_window_is_cut_by_when_the_service_took_events_in(amqp: Broker) -> None:
    hub, moments = amqp.hub(), list[str]()
    for number in range(3):
        amqp.send(hub, (event(number), {"partition_id": "0"}))
        time.sleep(0.02)
        moments.append(datetime.now(UTC).isoformat())
        time.sleep(0.02)
    with closing(source(amqp, hub, columns={"id": "integer"})) as at:
        assert read(at, Window(moments[0], moments[1]))["id"].to_pylist() == [1]
        assert read(at, Window(None, moments[0]))["id"].to_pylist() == [0]
        assert read(at, Window(moments[2], None))["id"].to_pylist() == []
    with closing(source(amqp, hub, columns={"id": "integer"}, start_time=moments[1])) as at:
        assert read(at)["id"].to_pylist() == [2]


def test_more_than_is_sent_ahead_comes_once_and_in_order(amqp: Broker) -> None:
    hub = amqp.hub()
    amqp.send(hub, *((event(number), {"partition_id": "0"}) for number in range(10)))
    many = amqp.repeat(hub, 1_000)
    with closing(source(amqp, many, columns={"id": "integer"}, batch_rows=4_096)) as at:
        rows = read(at)
        assert rows["message_offset"].to_pylist() == list(range(10_000))
        assert rows["id"].to_pylist() == list(range(10)) * 1_000
        (stream,) = at.streams()
        position = {**at.plan(stream, Window(), {}).position, f"{many}/0": 4_000}
        followed, count = at.follow(stream, position, Pace(linger=0.01, rows=1_000)), 0
        with closing(followed):
            for batch in followed:
                assert batch.rows.num_rows <= 1_000
                if batch.rows.num_rows:
                    assert batch.rows.column("message_offset")[0].as_py() == 4_000 + count
                    count += batch.rows.num_rows
                    assert batch.position == {f"{many}/0": 4_000 + count}
                assert batch.behind == 6_000 - count
                if not batch.behind:
                    break


def test_what_was_deleted_after_it_was_planned_is_missed(amqp: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = amqp.hub()
    amqp.send(hub, *((event(number), {"partition_id": "0"}) for number in range(4)))
    with closing(source(amqp, hub, columns={"id": "integer"})) as at:
        (stream,) = at.streams()
        plan = at.plan(stream, Window(), {})
        amqp.forget(hub, 0, before=2)
        with pytest.raises(ContractError, match=r"deleted before they were read.*sequence number 0 comes next"):
            list(at.read(stream, plan.partitions[0]))
        amqp.forget(hub, 0, before=4)
        with monkeypatch.context() as patch:
            patch.setattr(Reading, "heard", hears_nothing)
            with pytest.raises(ContractError, match="deleted before they were read"):
                list(at.read(stream, plan.partitions[0]))
        assert at.plan(stream, Window(), {}).partitions == [], "nothing is left"
    gc.collect()  # a connection that is left open warns, which is an error


async def hears_nothing(_: Reading, seconds: float) -> None:
    """As after the whole time-out."""


def test_a_hub_that_was_made_anew_is_another(amqp: Broker) -> None:
    hub = amqp.hub()
    amqp.send(hub, (event(1), {"partition_id": "0"}))
    with closing(source(amqp, hub, columns={"id": "integer"})) as at:
        (stream,) = at.streams()
        position = at.plan(stream, Window(), {}).position
        made = amqp.home / hub / "made"
        made.write_text(str(int(made.read_text()) + 1))
        with pytest.raises(ContractError, match="deleted and made anew"):
            at.plan(stream, Window(), position)
        assert at.refreshed(position) == {f"{hub}/0": 0}


@pytest.mark.parametrize(
    ("wrong", "cls", "told"),
    [
        (
            {"sasl.password": WRONG},
            FatalSourceError,
            "key",
        ),
        ({"ssl.ca.location": None}, FatalSourceError, "no trusted connection"),
        ({"port": 1}, TransientSourceError, "can be reached"),
    ],
)
def test_who_is_not_let_in_is_told_why_and_no_key(
    amqp: Broker, wrong: dict[str, Any], cls: type[Exception], told: str
) -> None:
    reached = {name: value for name, value in (amqp.connection | wrong).items() if value is not None}
    patience = 2 if "port" in wrong else 120
    with closing(source(amqp, amqp.hub(), reached, timeout=patience)) as at, pytest.raises(cls, match=told) as raised:
        at.plan(at.streams()[0], Window(), {})
    assert "d3Jvbmc" not in str(raised.value)


@pytest.fixture
def a_site(amqp: Broker, database: str, tmp_path: Path, encryption_key: str) -> Callable[[LoadMode], EventHubSite]:
    def make(mode: LoadMode) -> EventHubSite:
        site = EventHubSite(
            tmp_path, database, "acme", mode, tmp_path, topic=amqp.hub(PARTITIONS), reached=amqp.connection
        )
        site.first()
        site.run("first")
        site.second()
        return site

    return make


@pytest.mark.parametrize(
    ("point", "mode", "key"),
    [
        ("stage: within the second partition", LoadMode.MERGE, "third"),
        ("load: two partitions of three", LoadMode.APPEND, "second"),
    ],
)
def test_killed_at_a_step(
    victims: Victims,
    a_site: Callable[[LoadMode], EventHubSite],
    sql: psycopg.Connection,
    point: str,
    mode: LoadMode,
    key: str,
) -> None:
    """Among the rows is one that is none: it is in quarantine, once."""
    site = a_site(mode)
    victims.run(site, "second", at=point)
    again(site, key)
    finished(site, sql)


def test_killed_at_random_instants_while_events_keep_coming(
    victims: Victims, amqp: Broker, database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str
) -> None:
    where = {"topic": amqp.hub(PARTITIONS), "reached": amqp.connection}
    site = EventHubSite(tmp_path, database, "acme", LoadMode.APPEND, tmp_path, **where)
    survives_kills(site, victims, sql, tmp_path, random.Random(), lambda kills, _: kills < RANDOM, most=40)
