"""SIGKILL while changes of a PostgreSQL table are imported, with a transaction that commits only after the kill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from cdc_site import LATE, TABLE, CdcSite, finished
from crash_points import OF_CHANGES, POINTS
from import_site import again
from tests.services.postgresql import LogicalPostgres
from victims import Victims

from importers.core.model import LoadMode

FIRST_RUN = (
    ("subscribe: a publication, no slot", LoadMode.MERGE),
    ("subscribe: a slot, no run", LoadMode.HISTORY),
    ("stage: the first batch read", LoadMode.MERGE),
    ("load: COMMIT sent", LoadMode.HISTORY),
    ("commit: the position moved, not committed", LoadMode.MERGE),
)
SECOND_RUN = (
    ("plan: the slot moved to where the last run ended", LoadMode.MERGE),
    ("plan: COMMIT sent", LoadMode.HISTORY),
    ("stage: the first batch read", LoadMode.MERGE),
    ("gate: COMMIT sent", LoadMode.MERGE),
    ("load: within COPY", LoadMode.HISTORY),
    ("load: COMMIT sent", LoadMode.MERGE),
    ("commit: the position moved, not committed", LoadMode.HISTORY),
    ("commit: COMMIT sent", LoadMode.MERGE),
    ("commit: done", LoadMode.MERGE),
    ("clean: the slot moved", LoadMode.HISTORY),
)
ONE_PARTITION = [point for point in (*POINTS, *OF_CHANGES) if "second" not in point and " of three" not in point]
"""Points that are met when there is but one partition, and nothing to quarantine."""
NOT_MET = {
    "stage: quarantined, no verdict",
    "load: a receipt with counts, not committed",
}


@pytest.fixture
def source(logical_postgres: LogicalPostgres) -> Iterator[str]:
    with logical_postgres.database() as url:
        yield url


def killed_in_the_first(point: str, mode: LoadMode, victims: Victims, site: CdcSite, sql: psycopg.Connection) -> None:
    """Rows change between the kill and the run that reads them all."""
    site.first()
    assert victims.run(site, "first", at=point).signal == signal.SIGKILL, point
    if mode is LoadMode.MERGE:  # else the snapshot may have other versions than `finished` expects
        site.second()
    again(site, "first")
    if mode is LoadMode.HISTORY:
        site.second()
    again(site, "second")
    finished(site, sql)


def killed_in_the_second(
    point: str, mode: LoadMode, key: str, victims: Victims, site: CdcSite, sql: psycopg.Connection
) -> None:
    site.first()
    site.run("first")
    site.second()
    with closing(psycopg.connect(site.source)) as late:
        late.execute(f"insert into {TABLE} values (%s, %s, %s, %s, %s)", LATE)  # type: ignore[arg-type]
        assert victims.run(site, "second", at=point).signal == signal.SIGKILL, point
        late.commit()
    again(site, key)
    again(site, "fourth")
    finished(site, sql)


@pytest.mark.parametrize(("point", "mode"), FIRST_RUN)
def test_a_first_run_that_dies(
    victims: Victims, database: str, source: str, sql: psycopg.Connection, tmp_path: Path, point: str, mode: LoadMode
) -> None:
    site = CdcSite(tmp_path, database, "acme", mode, tmp_path, source=source)
    killed_in_the_first(point, mode, victims, site, sql)


@pytest.mark.parametrize(("point", "mode"), SECOND_RUN)
def test_no_change_is_lost_or_done_twice(
    victims: Victims, database: str, source: str, sql: psycopg.Connection, tmp_path: Path, point: str, mode: LoadMode
) -> None:
    site = CdcSite(tmp_path, database, "acme", mode, tmp_path, source=source)
    killed_in_the_second(point, mode, "second", victims, site, sql)


@pytest.mark.soak
@pytest.mark.parametrize("key", ["second", "third"])
@pytest.mark.parametrize("mode", [LoadMode.MERGE, LoadMode.HISTORY])
@pytest.mark.parametrize("point", [point for point in ONE_PARTITION if point not in NOT_MET])
def test_no_change_is_lost_or_done_twice_wherever_it_dies(
    victims: Victims,
    database: str,
    source: str,
    sql: psycopg.Connection,
    tmp_path: Path,
    point: str,
    mode: LoadMode,
    key: str,
) -> None:
    site = CdcSite(tmp_path, database, "acme", mode, tmp_path, source=source)
    killed_in_the_second(point, mode, key, victims, site, sql)
