"""A tenant that only Python knows: what was imported of persons is listed, and can be erased, without a tenant file."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call

from importers import Importer, get_importer

Sql = psycopg.Connection[Any]


def importer(home: Path, **more: Any) -> Importer:
    (home / "plays.csv").write_text("play,listener\n1,ann\n2,bob\n,ann\n")
    privacy = {
        "purpose": "tests",
        "lawful_basis": "contract",
        "subject": {"column": "listener", "domain": "listener"},
        "columns": {"play": "keep", "listener": "pseudonymise"},
    }
    config = {
        "path": str(home / "plays.csv"),
        "privacy": privacy,
        "load": {"mode": "merge", "primary_key": "play"},
        "quarantine": {"max_fraction": 1.0},
    }
    return get_importer("csv", tenant_id="acme", config=config | more)


def imported(home: Path, **more: Any) -> None:
    asyncio.run(importer(home, **more).import_data())


def test_a_person_is_erased_and_let_in_again_by_what_the_ledger_knows(home: Path, sql: Sql) -> None:
    imported(home)
    receipt = answer("erase", "acme", "ann", "--yes")
    rows = {place["kind"]: place["rows"] for place in receipt["places"] if place["outcome"] == "clear"}
    assert rows == {"table": 1, "quarantine": 1}
    assert [place["name"] for place in receipt["places"] if place["kind"] == "source"] == [
        "acme.csv (in no tenant file)"
    ]
    assert sql.execute("select play from acme.plays").fetchall() == [(2,)]
    assert answer("readmit", "acme", "ann", "--yes")["domain"] == "listener"


def test_whom_nobody_ever_imported_there_is_not(home: Path) -> None:
    imported(home)
    refused = call("erase", "acne", "ann", "--yes", code=2)
    assert "no tenant 'acne'" in refused.stderr


@pytest.mark.parametrize("command", ["erase", "readmit"])
def test_a_directory_that_is_mistyped_does_not_hide_a_tenant_s_file(home: Path, sql: Sql, command: str) -> None:
    imported(home)
    told = call(command, "acme", "ann", "--yes", "--tenants", str(home / "tenant"), code=2)
    assert "there is no directory" in told.stderr
    assert sql.execute("select count(*) from _importers.erasure").fetchone() == (0,)


def test_whoever_has_no_directory_at_all_names_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(home)
    monkeypatch.delenv("IMPORTERS_TENANTS")
    monkeypatch.chdir(home)
    assert answer("erase", "acme", "ann", "--yes")["finished_at"] is not None


def test_how_long_quarantine_is_kept_nobody_has_said(home: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """So what lies elsewhere may be there yet, however old it is."""
    imported(home)
    sql.execute("update _importers.quarantine set at = now() - interval '200 days'")
    monkeypatch.setenv("IMPORTERS_QUARANTINE", str(home / "elsewhere"))
    receipt = answer("erase", "acme", "ann", "--yes", code=3)
    assert receipt["finished_at"] is None
    failed = [place["kind"] for place in receipt["places"] if place["outcome"] == "failed"]
    assert failed == ["quarantine"]


@pytest.mark.parametrize("target", [(), ("acme",)])
@pytest.mark.parametrize("has_directory", [True, False])
def test_runs_say_that_no_file_describes_them(
    home: Path, monkeypatch: pytest.MonkeyPatch, target: tuple[str, ...], *, has_directory: bool
) -> None:
    imported(home)
    if not has_directory:
        monkeypatch.delenv("IMPORTERS_TENANTS")
        monkeypatch.chdir(home)
    told = call("runs", *target)
    assert "acme.csv.plays (in no tenant file)" in " ".join(told.stdout.split())


BELOW_TWO = {"expect": [{"expect_column_values_to_be_between": {"column": "play", "max_value": 1}}]}
FILE = """\
tenant: acme
privacy: {retention: P1D, purpose: tests, lawful_basis: contract}
pipelines: {other: {importer: csv, config: {path: none.csv}, privacy: {columns: {a: keep}}}}
"""


@pytest.mark.parametrize("target", [(), ("acme",), ("acme.csv",)])
def test_what_is_in_quarantine_is_listed(home: Path, target: tuple[str, ...]) -> None:
    imported(home)
    (held,) = answer("quarantine", "list", *target)
    assert (held["stream"], held["rows"], held["replayable"]) == ("acme.csv.plays", 1, False)
    assert "no tenant file describes it" in held["not_replayable"]


def test_that_there_is_no_directory_hides_no_quarantine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(home)
    monkeypatch.delenv("IMPORTERS_TENANTS")
    monkeypatch.chdir(home)
    assert [held["rows"] for held in answer("quarantine", "list")] == [1]
    assert "there is no directory" in call("quarantine", "list", "--tenants", str(home / "tenant"), code=2).stderr
    assert "no tenant 'acne'" in call("quarantine", "list", "acne", "--tenants", str(home / "tenants"), code=2).stderr


@pytest.mark.parametrize("target", [(), ("acme.csv",)])
def test_a_file_with_other_pipelines_says_how_long_quarantine_is_kept(home: Path, target: tuple[str, ...]) -> None:
    imported(home)
    (home / "tenants/acme.yaml").write_text(FILE)
    (held,) = answer("quarantine", "list", *target)
    kept = datetime.fromisoformat(held["kept_until"]) - datetime.fromisoformat(held["since"])
    assert kept == timedelta(days=1)


def test_of_a_file_that_is_wrong_nobody_knows_how_long_it_is_kept(home: Path) -> None:
    imported(home)
    (home / "tenants/acme.yaml").write_text("tenant: [")
    told = call("quarantine", "list")
    assert "acme.yaml" in told.stderr
    assert "acme.csv" not in told.stdout
    call("quarantine", "list", "acme.csv", code=2)


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_policy_that_no_file_has_is_said_to_be_python_s(home: Path, command: str) -> None:
    imported(home)
    told = call("quarantine", command, "acme.csv", code=2)
    assert "no tenant file describes acme.csv" in told.stderr
    assert "Importer.replay_quarantine" in told.stderr
    assert "no tenant 'acne'" in call("quarantine", command, "acne.csv", code=2).stderr


def test_python_replays_what_its_rules_let_through_now(home: Path, sql: Sql) -> None:
    imported(home, **BELOW_TWO)
    assert sql.execute("select play from acme.plays").fetchall() == [(1,)]
    replayed = asyncio.run(importer(home).replay_quarantine())
    assert (replayed.rows_read, replayed.rows_loaded, replayed.rows_quarantined) == (2, 1, 1)
    assert sql.execute("select play from acme.plays order by play").fetchall() == [(1,), (2,)]
    assert [held["rows"] for held in answer("quarantine", "list")] == [1]


def test_quarantine_is_given_up(home: Path) -> None:
    imported(home)
    assert answer("quarantine", "discard", "acme.csv", "--all", "--yes") == {"files": 1, "rows": 1, "files_kept": 0}
    assert answer("quarantine", "list") == []
    call("quarantine", "discard", "acme.cvs", "--all", "--yes", code=2)


def test_health_says_where_once(home: Path) -> None:
    importer = get_importer("csv", tenant_id="acme", config={"path": str(home / "none*.csv")})
    health = asyncio.run(importer.check_health())
    assert not health.ok
    assert health.detail.startswith("none: no file matches")
