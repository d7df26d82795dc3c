"""SIGKILL at random instants of imports of a PostgreSQL table, to whole process trees, while rows keep coming.

`make soak`, or alone: `pytest -n 0 -m soak tests/soak/test_soak_postgresql.py`. IMPORTERS_SOAK_POSTGRESQL_KILLS (100),
IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED say how much and which.
"""

from __future__ import annotations

import base64
import os
import random
import secrets
import time
from pathlib import Path

import psycopg
import pytest
from import_site import STREAM, Inspector, Row, Site, again, cut_small, good, insert
from random_kills import killed_at_random
from victims import Victims

from importers.core.model import LoadMode


def lot_of(number: int, chance: random.Random) -> list[Row]:
    return [
        (1000 * number + n, 1000 * number + n, f"listener {n % 7}", f"lot {number}", -1 if n % 50 == 7 else n)
        for n in range(chance.randrange(20, 200))
    ]


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak_of_postgresql(
    database: str,
    sql: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One tenant appends what transactions wrote, the other replaces all of it, read in ranges of its key.

    Each lot has a row that is written before the kills and committed after them.
    """
    monkeypatch.setenv("ENCRYPTION_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    monkeypatch.setenv("VICTIMS", str(tmp_path))
    seed = int(os.environ.get("IMPORTERS_SOAK_SEED", random.randrange(10**6)))
    wanted = int(os.environ.get("IMPORTERS_SOAK_POSTGRESQL_KILLS", "100"))
    deadline = time.monotonic() + 60 * float(os.environ.get("IMPORTERS_SOAK_MINUTES", "25"))
    chance, kills, lot, rows = random.Random(seed), 0, 0, list[Row]()
    appends = Site.make(tmp_path / "acme", database, "acme", LoadMode.APPEND, importer="postgresql")
    replaces = Site.make(
        tmp_path / "beta", database, "beta", LoadMode.REPLACE, importer="postgresql", partition_by="play"
    )
    with cut_small(), Victims() as victims:
        while kills < wanted and time.monotonic() < deadline:
            lot += 1
            fresh = lot_of(lot, chance)
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
                print(f"{kills:4} kills, {len(rows):,} rows, seed {seed}")
    for site in (appends, replaces):
        look = Inspector(site, sql)
        look.sweep()
        look.settled()
        assert not look.staged_files()
        assert not look.shadows()
    assert kills >= wanted, "the time was too short"
