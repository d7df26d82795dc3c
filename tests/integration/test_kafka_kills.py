"""SIGKILL of an import from a real Kafka, at steps and at random instants: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from import_site import again
from kafka_site import PARTITIONS, KafkaSite, finished
from random_kills import killed_at_random
from tests.services.kafka import Kafka
from victims import Victims

from importers.core.model import LoadMode

pytestmark = pytest.mark.services
MakeSite = Callable[[LoadMode], KafkaSite]
POINTS = [
    ("plan: COMMIT sent", LoadMode.APPEND, "second"),
    ("stage: the first batch read", LoadMode.APPEND, "second"),
    ("stage: within the second partition", LoadMode.MERGE, "third"),
    ("stage: one partition of three", LoadMode.APPEND, "second"),
    ("gate: done", LoadMode.APPEND, "third"),
    ("load: within COPY", LoadMode.MERGE, "second"),
    ("load: COMMIT sent", LoadMode.APPEND, "second"),
    ("load: two partitions of three", LoadMode.APPEND, "third"),
    ("commit: all written, not committed", LoadMode.APPEND, "second"),
    ("commit: COMMIT sent", LoadMode.MERGE, "second"),
    ("commit: done", LoadMode.APPEND, "third"),
]
BEFORE_QUARANTINE = ("plan", "stage")
COMMITTED = ("commit: COMMIT sent", "commit: done")
RANDOM = 6


@pytest.fixture
def a_site(kafka: Kafka, database: str, tmp_path: Path, encryption_key: str) -> MakeSite:
    def make(mode: LoadMode) -> KafkaSite:
        topic = kafka.topic(f"plays-{uuid4().hex}", PARTITIONS)
        site = KafkaSite(tmp_path, database, "acme", mode, tmp_path, brokers=kafka.address, topic=topic)
        site.first()
        site.run("first")
        site.second()
        return site

    return make


@pytest.mark.parametrize(("point", "mode", "key"), POINTS)
def test_killed_at_a_step(
    victims: Victims, a_site: MakeSite, sql: psycopg.Connection, point: str, mode: LoadMode, key: str
) -> None:
    site = a_site(mode)
    assert victims.run(site, "second", at=point).signal == signal.SIGKILL
    again(site, key)
    # a new run reads anew, and so quarantines anew, unless the killed one had committed
    twice = key == "third" and not point.startswith(BEFORE_QUARANTINE) and point not in COMMITTED
    finished(site, sql, quarantines=2 if twice else 1)


def test_killed_at_random_instants(victims: Victims, a_site: MakeSite, sql: psycopg.Connection, tmp_path: Path) -> None:
    site, chance, kills = a_site(LoadMode.APPEND), random.Random(), 0
    for number in range(RANDOM):
        at = {"signs": 7, "late": 0.2} if number else {"signs": 0, "late": 0.0}  # the first has surely not ended
        progress = tmp_path / f"progress {number}"
        kills += killed_at_random(victims, site, "second", progress, chance, processes=1, **at)
    assert kills
    again(site)
    finished(site, sql)
