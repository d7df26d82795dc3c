"""Quarantine whose time was over is gone for good: whatever the file says afterwards, and whenever the sweep dies."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call
from crash_points import OF_SWEPT_FILES
from victims import Victims

JOB = "acme.plays"
TENANT = """\
tenant: acme
privacy: {{purpose: tests, lawful_basis: contract}}
pipelines:
  plays:
    importer: csv
    config: {{path: "{data}/plays_*.csv", stream: plays}}
    quarantine: {{max_fraction: 0.9, retention: {retention}}}
    expect:
      - expect_column_values_to_be_between: {{column: score, min_value: {least}}}
    privacy:
      subject: {{none: true, reason: made up}}
      columns: {{id: keep, score: keep}}{kept}
"""


def describe(home: Path, retention: str = "P30D", least: int = 0, kept: str = "") -> None:
    more = f"\n      retention: {kept}" if kept else ""
    text = TENANT.format(data=home, retention=retention, least=least, kept=more)
    (home / "tenants/acme.yaml").write_text(text)


def files(home: Path) -> list[Path]:
    return sorted((home / "home/quarantine").rglob("*.parquet"))


@pytest.fixture
def old(home: Path, sql: psycopg.Connection[Any]) -> Path:
    """Rows 2 and 4 of two runs in quarantine, the first for two days."""
    describe(home)
    for number in (1, 3):
        (home / f"plays_{number}.csv").write_text(f"id,score\n{number},1\n{number + 1},-1\n")
        call("run", JOB)
        if number == 1:
            sql.execute("update _importers.quarantine set at = at - interval '2 days'")
    return home


def loaded(sql: psycopg.Connection[Any]) -> list[int]:
    return [number for (number,) in sql.execute("select id from acme.plays order by id")]


def test_what_no_sweep_has_deleted_yet_is_told(old: Path, sql: psycopg.Connection[Any]) -> None:
    describe(old, "P1D")
    assert f"{JOB}.plays: 1 row kept longer than retention allows" in call("quarantine", "list").stderr
    (held,) = answer("quarantine", "list")
    assert held["run"] == 2
    sql.execute("update _importers.quarantine set at = at - interval '2 days'")
    for words in ("list",), ("show", JOB):
        said = call("quarantine", *words).stderr
        assert f"{JOB}.plays: 2 rows kept longer than retention allows: `importers sweep` deletes\n" in said
        assert "nothing else is in quarantine" in said


@pytest.mark.parametrize(("said", "kept"), [("quarantine.retention P1D", ""), ("privacy.retention PT36H", "PT36H")])
def test_a_longer_retention_brings_nothing_back(old: Path, sql: psycopg.Connection[Any], said: str, kept: str) -> None:
    describe(old, "P1D" if not kept else "P30D", kept=kept)
    assert answer("sweep")["quarantine"]["deleted"] == 1
    describe(old, "P90D", least=-9)
    told = call("quarantine", "list")
    (held,) = answer("quarantine", "list")
    assert held["run"] == 2
    assert f"{JOB}.plays: 1 row deleted from quarantine up to " in told.stderr
    assert f", by {said}" in told.stderr
    shown = call("quarantine", "show", JOB, "--run", 1, code=2).stderr
    assert "nothing is in quarantine of run 1; got run 1's deleted on " in shown
    assert f", by {said}" in shown
    (replayed,) = answer("quarantine", "replay", JOB)
    assert (replayed["rows_loaded"], replayed["notes"]) == (1, [])
    assert loaded(sql) == [1, 3, 4]
    assert said in call("quarantine", "replay", JOB).stderr
    assert {run["state"] for run in answer("runs", JOB)} == {"committed"}


@pytest.mark.parametrize("point", OF_SWEPT_FILES)
def test_a_sweep_that_is_killed_between_note_and_deletion_is_ended_by_the_next(
    old: Path, sql: psycopg.Connection[Any], victims: Victims, point: str
) -> None:
    describe(old, "P1D")
    assert victims.command("sweep", at=point).signal == signal.SIGKILL
    describe(old, "P90D", least=-9)
    assert [held["run"] for held in answer("quarantine", "list")] == [2]
    marked = "select run, kept_for from _importers.quarantine where expired_at is not null"
    assert sql.execute(marked).fetchall() == [(1, "quarantine.retention P1D")]
    assert call("sweep").exit_code == 0
    assert [path.parent.name for path in files(old)] == ["2"]
    assert answer("quarantine", "replay", JOB)[0]["rows_loaded"] == 1
    assert sql.execute(marked).fetchall() == [(1, "quarantine.retention P1D")]


def test_what_an_open_replay_reads_stays_and_goes_once_that_is_dead(
    old: Path, sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(old, least=-9)
    for path in files(old):
        path.write_bytes(b"")  # so that the replay fails
    with monkeypatch.context() as killed:
        killed.setattr("importers.pipeline.finish.give_up", lambda *_: None)  # and its run stays open
        call("quarantine", "replay", JOB, code=1)
    describe(old, "P1D")
    assert answer("sweep")["quarantine"]["deleted"] == 0
    sql.execute("update _importers.run set lease = now() - interval '2 days' where state = 'open'")
    assert answer("sweep")["quarantine"]["deleted"] == 1
    assert [path.parent.name for path in files(old)] == ["2"]
    assert [run["state"] for run in answer("runs", JOB)] == ["aborted", "committed", "committed"]


def test_a_file_that_somebody_has_taken_away_holds_no_other_back(old: Path, sql: psycopg.Connection[Any]) -> None:
    describe(old, least=-9)
    files(old)[0].unlink()
    (replayed,) = answer("quarantine", "replay", JOB)
    assert replayed["rows_loaded"] == 1
    assert "no file for 1 row of run 1" in replayed["notes"][0]
    refused = call("quarantine", "replay", JOB, code=1).stderr
    assert "quarantine isn't where it was put" in refused
    assert "IMPORTERS_QUARANTINE" in refused
    assert loaded(sql) == [1, 3, 4]
    assert {run["state"] for run in answer("runs", JOB)} == {"committed"}


def test_what_an_erasure_has_emptied_is_not_listed(old: Path, sql: psycopg.Connection[Any]) -> None:
    sql.execute("update _importers.quarantine set rows = 0, reasons = '{}' where run = 1")
    assert [held["run"] for held in answer("quarantine", "list")] == [2]
    assert [shown["run"] for shown in answer("quarantine", "show", JOB)] == [2]
