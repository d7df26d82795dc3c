"""SIGKILL at random instants of imports from a real Kafka, to whole process trees, while messages keep coming.

`make soak`, or alone: `pytest -n 0 -m soak tests/soak/test_soak_kafka.py`. IMPORTERS_SOAK_KAFKA_KILLS (100),
IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED say how much and which.
"""

from __future__ import annotations

import random
from pathlib import Path

import psycopg
import pytest
from import_site import Inspector, Row, again, good
from kafka_site import PARTITIONS, KafkaSite, position_is
from random_kills import Budget, killed_at_random, lot_of
from tests.services.kafka import Kafka
from victims import Victims

from importers.core.model import LoadMode


@pytest.mark.soak
@pytest.mark.services
@pytest.mark.timeout(0)
def test_soak_of_kafka(
    victims: Victims,
    kafka: Kafka,
    database: str,
    sql: psycopg.Connection,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    budget = Budget.of("IMPORTERS_SOAK_KAFKA_KILLS", 100)
    chance, kills, lot = random.Random(budget.seed), 0, 0
    site = KafkaSite(
        tmp_path,
        database,
        "acme",
        LoadMode.APPEND,
        tmp_path,
        brokers=kafka.address,
        topic=kafka.topic("soak", PARTITIONS),
    )
    look, expected, produced = Inspector(site, sql), list[Row](), list[int]()
    while budget.lasts(kills):
        lot += 1
        rows = lot_of(lot, chance.randrange(20, 400))
        site.produce(rows, malformed=1)
        produced.append(len(rows) + 1)
        expected += good(rows)
        key = f"run {lot}"
        for attempt in range(chance.randrange(1, 4)):
            kills += killed_at_random(victims, site, key, tmp_path / f"progress {lot} {attempt}", chance)
            key = chance.choice((key, f"run {lot} {attempt}"))
        again(site, key)
        look.table_is(expected)
        position_is(look, produced)
        with capsys.disabled():
            print(f"{kills:4} kills, {len(expected):,} rows, seed {budget.seed}")
    look.sweep()
    look.settled()
    assert not look.staged_files()
    budget.spent(kills)
