"""A tenant that only Python knows: what was imported of persons is listed, and can be erased, without a tenant file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call

from importers import get_importer

Sql = psycopg.Connection[Any]


def imported(home: Path) -> None:
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
    asyncio.run(get_importer("csv", tenant_id="acme", config=config).import_data())


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


def test_runs_say_that_no_file_describes_them(home: Path) -> None:
    imported(home)
    told = call("runs", "acme")
    assert "acme.csv.plays (in no tenant file)" in " ".join(told.stdout.split())


def test_health_says_where_once(home: Path) -> None:
    importer = get_importer("csv", tenant_id="acme", config={"path": str(home / "none*.csv")})
    health = asyncio.run(importer.check_health())
    assert not health.ok
    assert health.detail.startswith("none: no file matches")
