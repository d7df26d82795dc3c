"""SIGKILL at random instants of imports of a PostgreSQL table, to whole process trees, while rows keep coming.

`make soak`, or alone: `pytest -n 0 -m soak tests/soak/test_soak_postgresql.py`. IMPORTERS_SOAK_POSTGRESQL_KILLS (100),
IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED say how much and which.
"""

from __future__ import annotations

import random
from pathlib import Path

import psycopg
import pytest
from import_site import STREAM, Inspector, Row, Site, again, cut_small, good, insert
from random_kills import Budget, killed_at_random, lot_of
from victims import Victims

from importers.core.model import LoadMode


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak_of_postgresql(
    victims: Victims,
    database: str,
    sql: psycopg.Connection,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One tenant appends what transactions wrote, the other replaces all of it, read in ranges of its key.

    Each lot has a row that is written before the kills and committed after them.
    """
    budget = Budget.of("IMPORTERS_SOAK_POSTGRESQL_KILLS", 100)
    chance, kills, lot, rows = random.Random(budget.seed), 0, 0, list[Row]()
    appends = Site.make(tmp_path / "acme", database, "acme", LoadMode.APPEND, importer="postgresql")
    replaces = Site.make(
        tmp_path / "beta", database, "beta", LoadMode.REPLACE, importer="postgresql", partition_by="play"
    )
    with cut_small():
        while budget.lasts(kills):
            lot += 1
            fresh = lot_of(lot, chance.randrange(20, 200))
            insert(database, fresh[1:])
            rows += fresh
            with psycopg.connect(database) as late:
                late.execute(f"insert into source.{STREAM} values (%s, %s, %s, %s, %s)", fresh[0])  # type: ignore[arg-type]
                for site in (appends, replaces):
                    for attempt in range(chance.randrange(1, 3)):
                        progress = tmp_path / f"progress {site.tenant} {lot} {attempt}"
                        kills += killed_at_random(
                            victims, site, f"run {lot} {chance.choice((0, attempt))}", progress, chance
                        )
            for site in (appends, replaces):
                again(site, f"run {lot} 0")
                again(site, f"rest {lot}")
                Inspector(site, sql).table_is(good(rows))
            with capsys.disabled():
                print(f"{kills:4} kills, {len(rows):,} rows, seed {budget.seed}")
    for site in (appends, replaces):
        look = Inspector(site, sql)
        look.sweep()
        look.settled()
        assert not look.staged_files()
        assert not look.shadows()
    budget.spent(kills)
