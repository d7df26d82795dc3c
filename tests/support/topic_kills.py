"""Imports of a topic that are killed at random instants while messages keep coming, and what has to be there then."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import psycopg
from import_site import Inspector, Row, again, good
from kafka_site import KafkaSite, position_is
from random_kills import killed_at_random, lot_of
from victims import Victims


def survives_kills(
    site: KafkaSite,
    victims: Victims,
    sql: psycopg.Connection,
    directory: Path,
    chance: random.Random,
    goes_on: Callable[[int, int], bool],
    *,
    most: int,
) -> int:
    """How many there were. `goes_on` is asked with that and the number of rows before each lot, which has fewer rows
    than `most`.
    """
    look, kills, lot, expected, produced = Inspector(site, sql), 0, 0, list[Row](), list[int]()
    while goes_on(kills, len(expected)):
        lot += 1
        rows = lot_of(lot, chance.randrange(20, most))
        site.produce(rows, malformed=1)
        produced.append(len(rows) + 1)
        expected += good(rows)
        key = f"run {lot}"
        for attempt in range(chance.randrange(1, 4)):
            kills += killed_at_random(victims, site, key, directory / f"progress {lot} {attempt}", chance)
            key = chance.choice((key, f"run {lot} {attempt}"))
        again(site, key)
        look.table_is(expected)
        position_is(look, produced)
    look.sweep()
    look.settled()
    assert not look.staged_files()
    return kills
