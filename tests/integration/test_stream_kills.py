"""SIGKILL of a stream from a real Kafka, at each step of a micro-batch and at random: nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from crash_points import OF_STREAMS
from import_site import FIRST, SECOND, Row, again
from kafka_site import PARTITIONS
from random_kills import killed_at_random
from stream_site import StreamSite, finished
from tests.services.kafka import Kafka
from victims import Victims

from importers.core.model import LoadMode
from importers.pipeline.stream import FEW

pytestmark = pytest.mark.services
MakeSite = Callable[..., StreamSite]
RANDOM = 6


@pytest.fixture
def a_site(kafka: Kafka, database: str, tmp_path: Path, encryption_key: str) -> MakeSite:
    def make(mode: LoadMode, few: int = FEW) -> StreamSite:
        topic = kafka.topic(f"plays-{uuid4().hex}", PARTITIONS)
        site = StreamSite(tmp_path, database, "acme", mode, tmp_path, brokers=kafka.address, topic=topic, few=few)
        site.first()
        site.follow()
        site.second()
        return site

    return make


@pytest.mark.parametrize(("number", "point"), list(enumerate(OF_STREAMS)))
def test_killed_at_a_step(victims: Victims, a_site: MakeSite, sql: psycopg.Connection, number: int, point: str) -> None:
    """Of every other two points the next batch is read while one is loaded."""
    site = a_site((LoadMode.APPEND, LoadMode.MERGE)[number % 2], (FEW, 0)[number // 2 % 2])
    assert victims.run(site, "second", at=point).signal == signal.SIGKILL
    again(site)
    finished(site, sql)


def test_killed_at_random_instants(victims: Victims, a_site: MakeSite, sql: psycopg.Connection, tmp_path: Path) -> None:
    """Messages keep coming, so that each victim has something to lose."""
    site, chance, kills = a_site(LoadMode.APPEND), random.Random(), 0
    expected, produced = [*site.after], [len(FIRST), len(SECOND) + 1]
    for number in range(RANDOM):
        lot: list[Row] = [
            (n, n, f"listener {n % 5}", f"lot {number}", n) for n in range(100 * number + 100, 100 * number + 190)
        ]
        site.produce(lot)
        expected += lot
        produced.append(len(lot))
        progress = tmp_path / f"progress {number}"
        kills += killed_at_random(victims, site, "second", progress, chance, signs=2, late=0.01, processes=1)
    assert kills
    again(site)
    finished(site, sql, sorted(expected), produced)
