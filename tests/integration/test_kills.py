"""SIGKILL at every step of an import, in every load mode: what runs again ends as if nothing had happened."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psycopg
import pytest
from crash_points import POINTS
from import_site import Inspector, Site, again, finished
from victims import Victims

from importers.core.model import LoadMode

MakeSite = Callable[[LoadMode], tuple[Site, psycopg.Connection]]
MODES = tuple(LoadMode)


def kill(victims: Victims, site: Site, point: str, key: str = "second") -> None:
    death = victims.run(site, key, at=point)
    assert death.signal == signal.SIGKILL, f"{point}: {death}"


def step(point: str) -> str:
    return point.partition(":")[0]


# What is read, staged, judged and deleted knows of no table, nor does a border between two steps.
OF_THE_TABLE = (
    "gate: the table made, not committed",
    "gate: COMMIT sent",
    "load: within COPY",
    "load: rows, not committed",
    "load: COMMIT sent",
    "load: one partition of three",
    "load: two partitions of three",
    "commit: the table changed, the run open",
    "commit: the position moved, not committed",
    "commit: all written, not committed",
    "commit: COMMIT sent",
)
POINTS_IN_MODES = [
    pytest.param(
        point, mode, marks=() if point in OF_THE_TABLE or mode is MODES[number % len(MODES)] else pytest.mark.soak
    )
    for number, point in enumerate(POINTS)
    for mode in MODES
]
"""Every point, and every step in every mode. `make soak` takes all points in all modes."""


def test_every_step_is_killed_in_every_mode() -> None:
    killed = {(step(str(case.values[0])), case.values[1]) for case in POINTS_IN_MODES if not case.marks}
    assert killed == {(step(point), mode) for point in POINTS for mode in MODES}


@pytest.mark.parametrize(("point", "mode"), POINTS_IN_MODES)
def test_killed_and_run_again(victims: Victims, a_site: MakeSite, point: str, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    kill(victims, site, point)
    again(site)
    finished(site, sql)


@pytest.mark.parametrize(
    ("point", "query"),
    [
        ("plan: COMMIT sent", "select 1 from _importers.run where key = 'second' and state = 'open' and pins = '{}'"),
        ("gate: COMMIT sent", "select 1 from _importers.run where key = 'second' and pins <> '{}'"),
        ("load: COMMIT sent", "select 1 from _importers.receipt r join _importers.run on id = run and key = 'second'"),
        ("commit: COMMIT sent", "select 1 from _importers.run where key = 'second' and state = 'committed'"),
    ],
)
def test_what_was_sent_before_death_was_done(victims: Victims, a_site: MakeSite, point: str, query: str) -> None:
    """Otherwise those points would be no others than the points before them."""
    site, sql = a_site(LoadMode.APPEND)
    kill(victims, site, point)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not sql.execute(query).fetchone():  # type: ignore[arg-type]
        time.sleep(0.01)
    assert sql.execute(query).fetchone() is not None  # type: ignore[arg-type]


def test_what_a_repair_needs_stays_and_opens_until_then(victims: Victims, a_site: MakeSite) -> None:
    """Otherwise it would prove nothing that the tests above find nothing that opens."""
    site, sql = a_site(LoadMode.APPEND)
    look = Inspector(site, sql)
    kill(victims, site, "gate: done")
    assert len(look.readable()) >= 3
    look.sweep()  # a run that is young is left in peace
    assert len(look.readable()) >= 3
    assert look.staged_files()
    again(site)
    assert not look.readable()


def test_a_shadow_table_stays_until_it_is_shown(victims: Victims, a_site: MakeSite) -> None:
    """Otherwise it would prove nothing that the tests above find none."""
    site, sql = a_site(LoadMode.REPLACE)
    look = Inspector(site, sql)
    kill(victims, site, "load: two partitions of three")
    assert len(look.shadows()) == 1
    look.table_is(site.before)
    again(site)
    assert not look.shadows()


NAMES = list(POINTS)
REGISTERED, COMMITTED = NAMES.index("gate: quarantine registered"), NAMES.index("commit: COMMIT sent")
ANEW = (
    "plan: COMMIT sent",
    "stage: quarantined, no verdict",
    "gate: duplicates quarantined, not registered",
    "gate: COMMIT sent",
    "load: within COPY",
    "load: COMMIT sent",
    "load: two partitions of three",
    "commit: all written, not committed",
    "commit: COMMIT sent",
    "commit: done",
    "clean: half deleted",
)
ANEW_IN_MODES = [
    pytest.param(point, mode, marks=() if mode is MODES[number % len(MODES)] else pytest.mark.soak)
    for number, point in enumerate(ANEW)
    for mode in MODES
]


@pytest.mark.parametrize(("point", "mode"), ANEW_IN_MODES)
def test_killed_and_a_new_run_comes(victims: Victims, a_site: MakeSite, point: str, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    kill(victims, site, point)
    again(site, "third")
    # Quarantine tells of every run that came to its registration: the killed one, and the one that read anew. A
    # snapshot that follows a committed one takes its place there, too.
    number = NAMES.index(point)
    told = (number >= REGISTERED) + (number < COMMITTED)
    finished(site, sql, quarantines=told)


@pytest.mark.parametrize(
    ("first", "second", "mode"),
    [
        ("stage: a manifest, no verdict", "stage: one partition of three", LoadMode.APPEND),
        ("gate: COMMIT sent", "load: COMMIT sent", LoadMode.REPLACE),
        ("load: one partition of three", "gate: quarantine registered", LoadMode.MERGE),
        ("load: COMMIT sent", "load: within COPY", LoadMode.APPEND),
        ("load: two partitions of three", "commit: COMMIT sent", LoadMode.REPLACE),
        ("commit: COMMIT sent", "clean: half deleted", LoadMode.APPEND),
    ],
)
def test_the_run_that_repairs_is_killed_too(
    victims: Victims, a_site: MakeSite, first: str, second: str, mode: LoadMode
) -> None:
    site, sql = a_site(mode)
    kill(victims, site, first)
    kill(victims, site, second)
    again(site)
    finished(site, sql)
