"""Files by interval, from the command line: a window again takes the place of what it loaded, and moves nothing."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from importers.api import runner
from importers.cli.main import main
from importers.core.model import Plan, RunKind, Window
from importers.core.tenant_file import parse_tenant
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs

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
    (before,) = sql.execute("select clock_timestamp()").fetchone() or (None,)
    opened = job.destination.open(job.stream, "slow", RunKind.WINDOW, Window(), slow, sealed, 1.0)
    after_the_plan = "select lease >= %s + interval '3 s' from _importers.run where id = %s"
    row = sql.execute(after_the_plan, (before, opened.id)).fetchone()
    job.close()
    assert row == (True,)


def test_the_same_run_again_keeps_rows_whose_file_is_gone(data: Path, sql: Sql) -> None:
    assert run("--key", "first", *window(1, 2)).exit_code == 0
    (data / "plays-2026-01-01.csv").unlink()
    assert run("--key", "first", *window(1, 2)).exit_code == 0
    assert table(sql) == [(10, 1), (11, 1)]


def judged(data: Path) -> str:
    """The tenant's file with a rule that negative numbers break; its text."""
    file = data / "tenants" / "acme.yaml"
    rule = "\n    expect: [{expect_column_values_to_be_between: {column: n, min_value: 0}}]"
    text = file.read_text() + rule + "\n    quarantine: {max_fraction: 0.9}\n"
    file.write_text(text)
    return text


def test_a_window_that_is_read_again_while_its_quarantine_is_replayed(data: Path, sql: Sql) -> None:
    """The rows are in the table once, whichever of the two ends first."""
    strict = judged(data)
    (data / "plays-2026-01-01.csv").write_text("id,n\n10,1\n11,-1\n")
    assert run(*window(1, 2)).exit_code == 0
    assert table(sql) == [(10, 1)]
    (data / "tenants" / "acme.yaml").write_text(strict.replace("min_value: 0", "min_value: -9"))

    tenant = parse_tenant((data / "tenants" / "acme.yaml").read_text(), "acme.yaml").tenant
    (job,) = jobs(Installation.from_environment(), tenant, "plays")
    opened = plan.plan(job, "replay", RunKind.REPLAY)
    fixed = job.fixed(opened)
    extract.stage(fixed, opened, 0)
    passed = gate.gate(fixed, opened).run
    load.load(fixed, passed, 0)
    assert run(*window(1, 2)).exit_code == 0
    finish.commit(fixed, passed)
    finish.clean(fixed, passed)
    job.close()
    fixed.close()
    assert table(sql) == [(10, 1), (11, -1)]


def test_a_replay_that_was_interrupted_goes_on_under_its_key(
    data: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = judged(data)
    for day in (1, 2, 3):
        (data / f"plays-2026-01-0{day}.csv").write_text(f"id,n\n{day}0,1\n{day}1,-1\n")
        assert run(*window(day, day + 1)).exit_code == 0
    tenant = parse_tenant(strict.replace("min_value: 0", "min_value: -9"), "acme.yaml").tenant

    def interrupted(job: Any, key: str, *args: Any, **more: Any) -> Any:
        if key == "mend/1":
            raise KeyboardInterrupt
        return whole(job, key, *args, **more)

    whole = runner.run
    monkeypatch.setattr(runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.replay_pipeline(tenant, "plays", None, "mend")
    monkeypatch.setattr(runner, "run", whole)
    runner.replay_pipeline(tenant, "plays", None, "mend")
    assert table(sql) == [(id_, n) for day in (1, 2, 3) for id_, n in ((10 * day, 1), (10 * day + 1, -1))]
    runner.replay_pipeline(tenant, "plays", None, "mend")
    assert len(table(sql)) == 6
