"""SIGKILL at random instants of imports from a real Kafka, and from what stands for an event hub over AMQP, to whole
process trees, while messages keep coming.

`make soak`, or alone: `pytest -n 0 -m soak tests/soak/test_soak_topics.py`. IMPORTERS_SOAK_KAFKA_KILLS (100),
IMPORTERS_SOAK_AMQP_KILLS (100), IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED say how much and which.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from event_hub_site import EventHubSite
from kafka_site import PARTITIONS, KafkaSite
from random_kills import Budget
from tests.services.event_hubs import EventHubs
from tests.services.kafka import Kafka
from topic_kills import survives_kills
from victims import Victims

from importers.core.model import LoadMode

pytestmark = [pytest.mark.soak, pytest.mark.services, pytest.mark.timeout(0)]


@pytest.fixture
def soaked(
    victims: Victims, database: str, sql: psycopg.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    def soak(cls: type[KafkaSite], kills: str, **where: Any) -> None:
        budget = Budget.of(kills, 100)
        site = cls(tmp_path, database, "acme", LoadMode.APPEND, tmp_path, **where)

        def goes_on(kills: int, rows: int) -> bool:
            with capsys.disabled():
                print(f"{kills:4} kills, {rows:,} rows, seed {budget.seed}")
            return budget.lasts(kills)

        budget.spent(survives_kills(site, victims, sql, tmp_path, random.Random(budget.seed), goes_on, most=400))

    return soak


def test_soak_of_kafka(soaked: Any, kafka: Kafka) -> None:
    topic = kafka.topic("soak", PARTITIONS)
    soaked(KafkaSite, "IMPORTERS_SOAK_KAFKA_KILLS", brokers=kafka.address, topic=topic)


def test_soak_of_event_hubs_over_amqp(soaked: Any, amqp: EventHubs) -> None:
    soaked(EventHubSite, "IMPORTERS_SOAK_AMQP_KILLS", topic=amqp.hub(PARTITIONS), reached=amqp.connection)
