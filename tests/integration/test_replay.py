"""Rows come out of quarantine exactly once, under today's rules, and never over a newer row."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from crash_points import OF_REPLAYS, POINTS
from import_site import PIPELINE, SECOND, Inspector, Site, again, good, replayed, write
from tests.support.runs import erase as erase_from
from victims import Victims

from importers.core.model import LoadMode, RunKind, Window
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, QualityError
from importers.pipeline.jobs import jobs
from importers.pipeline.plan import plan
from importers.pipeline.replay import held
from importers.pipeline.run import run

MakeSite: TypeAlias = Callable[..., tuple[Site, psycopg.Connection[Any]]]

BAD = [row for row in SECOND if row not in good(SECOND)]
MODES = (LoadMode.APPEND, LoadMode.MERGE)


@pytest.fixture(params=MODES)
def both_in(request: pytest.FixtureRequest, a_site: MakeSite) -> tuple[Site, psycopg.Connection[Any]]:
    """The first and the second file are in; three rows and a broken line of the second are in quarantine."""
    return a_site(request.param, files=2)


@pytest.fixture
def site(both_in: tuple[Site, psycopg.Connection[Any]]) -> Site:
    return both_in[0]


@pytest.fixture
def look(both_in: tuple[Site, psycopg.Connection[Any]]) -> Inspector:
    return Inspector(*both_in)


@pytest.fixture
def nothing_in(a_site: MakeSite, tmp_path: Path) -> MakeSite:
    """Makes a site that hasn't run yet, beside another tenant."""

    def make(mode: LoadMode) -> tuple[Site, psycopg.Connection[Any]]:
        other, sql = a_site(mode)
        return Site.make(tmp_path / "own", other.warehouse, "other", mode), sql

    return make


def mended(site: Site) -> Site:
    return replace(site, lenient=True)


def test_mended_rows_are_loaded_and_the_rest_stays(site: Site, look: Inspector) -> None:
    look.table_is(site.after)
    result = mended(site).replay("mend")
    assert (result.rows_loaded, result.rows_quarantined) == (len(BAD), 1)
    replayed(mended(site), look.sql)


def test_a_second_replay_loads_nothing(site: Site, look: Inspector) -> None:
    mended(site).replay("mend")
    for key in ("mend", "another"):
        mended(site).replay(key)
    replayed(mended(site), look.sql)


def test_rows_that_are_still_bad_stay(site: Site, look: Inspector) -> None:
    result = site.replay("too early")
    assert (result.rows_loaded, result.rows_quarantined) == (0, len(BAD) + 1)
    look.table_is(site.after)
    look.quarantine_is(1)
    mended(site).replay("mend")
    look.table_is(site.mended)


def test_their_retention_goes_on(site: Site, look: Inspector) -> None:
    sql = look.sql
    sql.execute("update _importers.quarantine set at = at - interval '29 days'")
    (before,) = sql.execute("select max(at) from _importers.quarantine").fetchone() or ()
    site.replay("too early")
    (after,) = sql.execute("select max(at) from _importers.quarantine").fetchone() or ()
    assert after == before
    sql.execute("update _importers.quarantine set at = at - interval '2 days'")
    assert mended(site).replay("too late").rows_read == 0


def test_a_newer_row_stays(nothing_in: MakeSite) -> None:
    site, sql = nothing_in(LoadMode.MERGE)
    site.second()
    site.run("second")
    newer = [(50, 11, "listener 1", "newer than play 15", 5)]
    write(site.data / "plays_3.csv", newer)
    site.run("third")
    mended(site).replay("mend")
    expected = {row[1]: row for row in [*SECOND, *newer]}
    Inspector(site, sql).table_is(sorted(expected.values()))


def test_a_row_that_was_read_later_in_the_same_file_stays(nothing_in: MakeSite) -> None:
    site, sql = nothing_in(LoadMode.MERGE)
    rows = [(1, 1, "listener 1", "bad and older", -1), (2, 1, "listener 1", "good and newer", 1)]
    rows += [(n, n, "listener 2", "others", 1) for n in range(3, 9)]
    write(site.data / "plays_1.csv", rows)
    site.run("one")
    assert mended(site).replay("mend").rows_loaded == 1
    Inspector(site, sql).table_is(rows[1:])


def test_what_a_failed_run_left_is_not_replayed(site: Site, look: Inspector, tmp_path: Path) -> None:
    """Its rows are read again by the next run: they would be there twice."""
    site = replace(site, data=shutil.copytree(site.data, tmp_path / "data"))
    write(site.data / "plays_3.csv", [(60, 60, "listener 1", "bad", -1)])
    with pytest.raises(QualityError, match="max_fraction"):
        site.run("third")
    lenient = mended(site)
    assert lenient.replay("mend").rows_loaded == len(BAD)
    lenient.run("again")
    expected = [*site.mended, (60, 60, "listener 1", "bad", -1)]
    look.table_is(sorted(expected))
    lenient.replay("mend more")
    look.table_is(sorted(expected))


def test_a_window_that_is_read_again_takes_the_place_of_what_was_mended(
    nothing_in: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.pipeline.plan._check", lambda *_: None)  # files are no windows, but do for one
    site, sql = nothing_in(LoadMode.APPEND)
    site.second()
    window = Window("2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00")
    site.run("window", window=window)
    mended(site).replay("mend")
    look = Inspector(site, sql)
    look.table_is(sorted(SECOND))
    mended(site).run("window", window=window)
    look.table_is(sorted(SECOND))
    mended(site).replay("mend more")
    look.table_is(sorted(SECOND))


def test_windows_are_replayed_one_at_a_time(nothing_in: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importers.pipeline.plan._check", lambda *_: None)
    monkeypatch.setattr("importers.destinations._opening.check_overlap", lambda *_: None)
    site, _ = nothing_in(LoadMode.APPEND)
    site.second()
    for key in ("one", "two"):
        site.run(key, window=Window("2000-01-01T00:00:00+00:00"))
    assert [mended(site).replay(key).rows_loaded for key in ("a", "b", "c")] == [3, 3, 0]


def test_a_twin_gets_nothing(site: Site, look: Inspector) -> None:
    with closing(mended(site).job) as one, closing(mended(site).job) as other:
        first = plan(one, "one", RunKind.REPLAY)
        second = plan(other, "other", RunKind.REPLAY)
        assert len(first.plan.partitions) > 0
        assert second.plan.partitions == []
        assert mended(site).replay("third").rows_loaded == 0
    mended(site).replay("fourth")  # both are gone now: what they held is free
    replayed(mended(site), look.sql)


def test_an_erased_subject_neither_comes_back_nor_stays(site: Site, look: Inspector) -> None:
    with closing(site.job) as job:
        domain = job.policy.subject_domain
        assert domain
        (token,) = {t for f in held(job) for t, p in tokens(job, f.file.uri) if p == 15}
        erase_from(job.destination, domain, token)
    assert site.replay("still bad").rows_loaded == 0
    kept = sum(look.quarantined().values(), Counter())
    erased = [row for row in BAD if row[2] == "listener 0"]
    assert kept == Counter(row[0] for row in BAD if row not in erased) + Counter({None: 1})
    mended(site).replay("mend")
    assert not [row for row in look.rows() if row[0] == 15]


def tokens(job: Any, uri: str) -> list[tuple[bytes, int | None]]:
    table = job.quarantine.read(uri, job.keys.quarantine())
    return list(zip(table["_subject"].to_pylist(), table["play"].to_pylist(), strict=True))


def test_today_s_policy_treats_what_was_read_under_another(site: Site, look: Inspector) -> None:
    tenant = mended(site).definition.model_dump(exclude_unset=True)
    tenant["pipelines"][PIPELINE]["privacy"]["columns"]["track"] = {"treat": "drop"}
    (job,) = jobs(site.installation, Tenant.model_validate(tenant), PIPELINE)
    assert run(job, "mend", RunKind.REPLAY).rows_loaded == len(BAD)
    tracks = look.ask("select track from acme.plays where play in (10, 15)")
    assert tracks == [(None,)] * len(BAD)


def test_a_snapshot_is_read_again_instead(nothing_in: MakeSite) -> None:
    site, _ = nothing_in(LoadMode.REPLACE)
    site.second()
    site.run("one")
    with pytest.raises(ConfigError, match="reads everything again"):
        site.replay("mend")


def test_a_replay_has_no_window(site: Site) -> None:
    with closing(site.job) as job, pytest.raises(ConfigError, match="reads quarantine, not the source"):
        plan(job, "mend", RunKind.REPLAY, Window("2000-01-01T00:00:00+00:00"))


# --- SIGKILL, and again


HOW = cycle(product(MODES, ("mend", "another")))
COMBINED = [
    pytest.param(point, how, marks=() if point in OF_REPLAYS or number % 2 else pytest.mark.soak)
    for (number, point), how in zip(enumerate([*POINTS, *OF_REPLAYS]), HOW, strict=False)
]
"""Every other point that a replay shares with other runs; `make soak` takes all."""


@pytest.mark.parametrize(("point", "how"), COMBINED)
def test_killed_and_replayed_again(victims: Victims, a_site: MakeSite, point: str, how: tuple[LoadMode, str]) -> None:
    """Under the same key or under a new one."""
    mode, key = how
    site, sql = a_site(mode, files=2)
    site = mended(site)
    death = victims.run(site, "mend", at=point, replay=True)
    assert death.signal == signal.SIGKILL, f"{point}: {death}"
    again(site, key, replay=True)
    replayed(site, sql)
