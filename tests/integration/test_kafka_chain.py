"""From a real broker through the whole chain: what history makes of messages' times, and how much is left unread."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from kafka_site import KafkaSite
from tests.services.kafka import Kafka

from importers.core.model import LoadMode
from importers.core.tenant import Tenant

pytestmark = pytest.mark.services
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Changes(KafkaSite):
    """Each message is what its key's score became at the message's time."""

    limit: int | None = None

    @property
    def definition(self) -> Tenant:
        said = super().definition.model_dump(exclude_unset=True, mode="json")
        (pipeline,) = said["pipelines"].values()
        pipeline["expect"] = []
        pipeline["config"] |= {
            "columns": {"id": "integer", "listener": "string", "score": "integer"},
            "metadata": ["timestamp"],
            "max_messages": self.limit,
        }
        pipeline["privacy"]["columns"] = {
            "listener": "pseudonymise",
            **dict.fromkeys(("id", "score", "message_timestamp"), "keep"),
        }
        if self.mode is LoadMode.HISTORY:
            pipeline["load"]["cursor"] = "message_timestamp"
        return Tenant.model_validate(said)


def at(hours: int) -> datetime:
    return NOON.replace(hour=12 + hours)


def change(hours: int, key: int, score: int) -> dict[str, Any]:
    row = {"id": key, "listener": f"listener {key}", "score": score}
    return {"value": json.dumps(row).encode(), "timestamp": int(at(hours).timestamp() * 1000)}


@pytest.fixture
def make(kafka: Kafka, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ENCRYPTION_KEY", base64.b64encode(bytes(range(32))).decode())

    def made(mode: LoadMode, **more: Any) -> Changes:
        topic = kafka.topic(f"changes-{uuid4().hex}")
        return Changes(tmp_path, database, "acme", mode, tmp_path, brokers=kafka.address, topic=topic, **more)

    return made


def test_a_version_holds_from_its_message_s_time_however_late_the_message_is(
    kafka: Kafka, make: Any, sql: psycopg.Connection
) -> None:
    site = make(LoadMode.HISTORY)
    kafka.produce(site.topic, change(0, 1, 10), change(3, 1, 40), change(1, 2, 20))
    site.run("first")
    kafka.produce(site.topic, change(2, 1, 30))
    site.run("second")
    found = sql.execute("select id, score, valid_from, valid_to from acme.plays order by id, valid_from").fetchall()
    assert found == [
        (1, 10, at(0), at(2)),
        (1, 30, at(2), at(3)),
        (1, 40, at(3), None),
        (2, 20, at(1), None),
    ]


def test_a_result_says_how_much_is_unread(kafka: Kafka, make: Any) -> None:
    site = make(LoadMode.APPEND, limit=2)
    kafka.produce(site.topic, *(change(0, n, n) for n in range(5)))
    assert [site.run(key).lag for key in ("a", "b", "c")] == [{f"{site.topic}/0": left} for left in (3, 1, 0)]
