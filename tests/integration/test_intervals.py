"""Files by interval, from the command line: a window again takes the place of what it loaded, and moves nothing."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from importers.cli.main import main
from importers.core.model import Plan, RunKind, Window
from importers.core.tenant_file import parse_tenant
from importers.pipeline.installation import Installation
from importers.pipeline.job import jobs

TENANT = """
tenant: acme
pipelines:
  plays:
    importer: csv
    config: {{path: "{data}/plays-*.csv", interval: "plays-%Y-%m-%d"}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{none: true, reason: made up}}
      columns: {{id: keep, n: keep}}
    load: {load}
"""
Sql = psycopg.Connection[Any]


@pytest.fixture
def data(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTGRES_URL", database)
    monkeypatch.setenv("IMPORTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENCRYPTION_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    monkeypatch.setenv("IMPORTERS_PROCESSES", "1")
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path / "tenants"))
    (tmp_path / "tenants").mkdir()
    describe(tmp_path, "{mode: append}")
    for day in range(1, 5):
        write(tmp_path, day, 1)
    return tmp_path


def describe(data: Path, load: str) -> None:
    (data / "tenants" / "acme.yaml").write_text(TENANT.format(data=data, load=load))


def write(data: Path, day: int, n: int) -> None:
    (data / f"plays-2026-01-0{day}.csv").write_text(f"id,n\n{day}0,{n}\n{day}1,{n}\n")


def run(*options: str) -> Result:
    return CliRunner().invoke(main, ["run", "acme.plays", *options])


def window(first: int, last: int) -> tuple[str, ...]:
    return ("--from", f"2026-01-0{first}T00:00Z", "--to", f"2026-01-0{last}T00:00Z")


def table(sql: Sql) -> list[tuple[Any, ...]]:
    return sql.execute("select id, n from acme.plays order by id, n").fetchall()


def test_windows_that_overlap_double_nothing(data: Path, sql: Sql) -> None:
    assert run(*window(1, 3)).exit_code == 0
    assert table(sql) == [(10, 1), (11, 1), (20, 1), (21, 1)]
    write(data, 2, 2)
    assert run(*window(2, 5)).exit_code == 0
    assert table(sql) == [(10, 1), (11, 1), (20, 2), (21, 2), (30, 1), (31, 1), (40, 1), (41, 1)]
    assert sql.execute("select count(*) from _importers.position").fetchone() == (0,)


def test_an_interval_whose_files_are_gone_keeps_its_rows(data: Path, sql: Sql) -> None:
    assert run(*window(1, 3)).exit_code == 0
    (data / "plays-2026-01-01.csv").unlink()
    assert run(*window(1, 2)).exit_code == 0
    assert table(sql) == [(10, 1), (11, 1), (20, 1), (21, 1)]


def test_without_an_interval_nothing_is_appended(data: Path, sql: Sql) -> None:
    done = run()
    assert done.exit_code != 0
    assert "say from when to when" in done.output.lower()


def test_merged_the_newer_day_wins_whenever_it_is_read(data: Path, sql: Sql) -> None:
    describe(data, "{mode: merge, primary_key: id}")
    for day in (1, 2):
        (data / f"plays-2026-01-0{day}.csv").write_text(f"id,n\n7,{day}\n")
    assert run().exit_code == 0  # incremental: all the files are new
    moved = sql.execute("select lane, value from _importers.position order by 1").fetchall()
    assert len(moved) == 4
    assert run(*window(1, 2)).exit_code == 0  # the older day once more
    assert [row for row in table(sql) if row[0] == 7] == [(7, 2)]
    assert sql.execute("select lane, value from _importers.position order by 1").fetchall() == moved


def test_a_plan_that_takes_longer_than_its_lease_opens_a_run_that_is_alive(data: Path, sql: Sql) -> None:
    path = data / "tenants" / "acme.yaml"
    (job,) = jobs(Installation.from_environment(), parse_tenant(path.read_text(), str(path)).tenant, "plays")

    def slow(_: Any) -> Plan:
        sql.execute("select pg_sleep(2)")
        return Plan(partitions=[])

    _, sealed = job.keys.new_run_key()
    opened = job.destination.open(job.stream, "slow", RunKind.WINDOW, Window(), slow, sealed, 1.0)
    row = sql.execute("select lease > clock_timestamp() from _importers.run where id = %s", (opened.id,)).fetchone()
    job.close()
    assert row == (True,)
