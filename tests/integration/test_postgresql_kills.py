"""SIGKILL while a PostgreSQL table is imported, with a transaction that commits only after the kill."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest
from crash_points import POINTS
from import_site import FIRST, SECOND, STREAM, Inspector, Row, Site, again, cut_small, good, must
from victims import Victims

from importers.core.model import LoadMode

LATE: Row = (99, 99, "listener 4", "begun before the kill, committed after it", 1)
SHORT = (
    ("plan: stored, not committed", LoadMode.APPEND),
    ("plan: COMMIT sent", LoadMode.MERGE),
    ("stage: the first batch read", LoadMode.APPEND),
    ("stage: within the second partition", LoadMode.MERGE),
    ("stage: one partition of three", LoadMode.HISTORY),
    ("gate: COMMIT sent", LoadMode.APPEND),
    ("load: within COPY", LoadMode.MERGE),
    ("load: COMMIT sent", LoadMode.APPEND),
    ("load: two partitions of three", LoadMode.HISTORY),
    ("commit: the position moved, not committed", LoadMode.APPEND),
    ("commit: COMMIT sent", LoadMode.HISTORY),
    ("commit: done", LoadMode.MERGE),
)
OF_RANGES = (
    "plan: COMMIT sent",
    "stage: within the second partition",
    "stage: one partition of three",
    "load: within COPY",
    "load: two partitions of three",
    "commit: COMMIT sent",
)


def expected(mode: LoadMode) -> list[Row]:
    rows = [*FIRST, *good(SECOND), LATE]
    return sorted({row[1]: row for row in rows}.values()) if mode is LoadMode.MERGE else sorted(rows)


def killed(
    point: str, mode: LoadMode, key: str, victims: Victims, database: str, sql: psycopg.Connection, root: Path
) -> None:
    """`key` is that of the run after the kill: the killed one's, or another's."""
    site = Site.make(root, database, "acme", mode, importer="postgresql")
    site.first()
    with cut_small():
        site.run("first")
    site.second()
    with psycopg.connect(database) as late:
        late.execute(f"insert into source.{STREAM} values (%s, %s, %s, %s, %s)", LATE)  # type: ignore[arg-type]
        death = victims.run(site, "second", at=point)
        assert death.signal == signal.SIGKILL, f"{point}: {death}"
    with cut_small():
        again(site, key)
        again(site, "fourth")
    look = Inspector(site, sql)
    look.table_is(expected(mode))
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left")
    must(not look.shadows(), "shadow tables are left")


@pytest.mark.parametrize(("point", "mode"), SHORT)
def test_nothing_is_lost_or_doubled(
    victims: Victims, database: str, sql: psycopg.Connection, tmp_path: Path, point: str, mode: LoadMode
) -> None:
    killed(point, mode, "second", victims, database, sql, tmp_path)


@pytest.mark.parametrize("point", OF_RANGES)
def test_a_read_in_ranges_goes_on_by_key_whatever_was_written_meanwhile(
    victims: Victims, database: str, sql: psycopg.Connection, tmp_path: Path, point: str
) -> None:
    """After the kill every row moves to another block: what is staged already stays, and the rest is read by key."""
    site = Site.make(
        tmp_path, database, "acme", LoadMode.REPLACE, importer="postgresql", partitions=6, partition_by="play"
    )
    site.first()
    site.second()
    death = victims.run(site, "first", at=point)
    assert death.signal == signal.SIGKILL, f"{point}: {death}"
    moved = f"with gone as (delete from source.{STREAM} returning *) insert into source.{STREAM} select * from gone"
    sql.execute(f"{moved} order by play desc")  # type: ignore[arg-type]
    with cut_small():
        again(site, "first")
    look = Inspector(site, sql)
    assert look.ask("select count(*)::int from _importers.receipt") == [(6,)]
    look.table_is(site.after)
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left")
    must(not look.shadows(), "shadow tables are left")


@pytest.mark.soak
@pytest.mark.parametrize("key", ["second", "third"])
@pytest.mark.parametrize("mode", LoadMode)
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_or_doubled_wherever_it_dies(
    victims: Victims, database: str, sql: psycopg.Connection, tmp_path: Path, point: str, mode: LoadMode, key: str
) -> None:
    killed(point, mode, key, victims, database, sql, tmp_path)
