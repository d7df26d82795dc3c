"""The commands for people against a warehouse: what they print, what they leave alone, and their exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from click.testing import CliRunner, Result
from command_line import answer, call

from importers.cli.main import main
from importers.core.model import Reads, RunKind, RunState, Stream, Window
from importers.destinations import _control as control
from importers.exceptions import TransientSourceError
from importers.ledger import history
from importers.ledger.report import reported
from importers.pipeline.finish import commit
from importers.pipeline.gate import gate
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import resume
from importers.pipeline.load import load
from importers.pipeline.tenants import read_tenant

TENANT = """\
tenant: acme
privacy: {purpose: tests, lawful_basis: contract}
pipelines:
  plays:
    importer: csv
    config: {path: DATA/plays_*.csv, stream: plays}
    quarantine: {max_fraction: 0.9}
    expect:
      - expect_column_values_to_be_between: {column: score, min_value: 0}
    privacy:
      subject: {column: listener, domain: listener}
      columns: {id: keep, listener: pseudonymise, score: keep}
"""
ROWS = "id,listener,score\n1,canary ann,1\n2,canary bob,-2\n3,canary ann,3\nbroken,4\n"
RULE = "expect_column_values_to_be_between(score)"
JOB = "acme.plays"

Call: TypeAlias = Callable[..., Result]


@pytest.fixture
def home(home: Path) -> Path:
    """An installation with one tenant, whose first file waits."""
    (home / "plays_1.csv").write_text(ROWS)
    tenant(home, TENANT)
    return home


def tenant(home: Path, text: str) -> None:
    (home / "tenants/acme.yaml").write_text(text.replace("DATA", str(home)))


def lenient(home: Path) -> None:
    tenant(home, TENANT.replace("min_value: 0", "min_value: -9"))


def tables(sql: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return sql.execute(
        "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    ).fetchall()


def test_before_anything_was_run_looking_leaves_no_trace(
    home: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", empty_database)
    (plan,) = answer("plan", JOB)
    assert (plan["kind"], plan["mode"], plan["position_lanes"]) == ("incremental", "append", 0)
    assert plan["partitions"] == [{"number": 0, "reads": "plays_1.csv", "bytes": len(ROWS)}]
    (seen,) = answer("preview", JOB)
    assert [row["id"] for row in seen["rows"]] == [1, 3]
    assert (seen["read"], seen["bad"], seen["rejected"]) == (4, 1, 1)
    assert seen["quarantined_by_rule"][RULE] == 1
    assert answer("runs") == answer("quarantine", "list") == answer("quarantine", "show", JOB) == []
    assert answer("quarantine", "replay", JOB) == []
    assert answer("quarantine", "discard", JOB, "--all") == {"files": 0, "rows": 0, "files_kept": 0}
    with psycopg.connect(empty_database) as sql:
        assert tables(sql) == []
    assert not (home / "home/staging").exists()
    assert not (home / "home/quarantine").exists()


def test_from_a_bad_row_to_a_mended_one(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB)
    (run,) = answer("runs", JOB)
    about = (run["state"], run["kind"], run["partitions"], run["rows_loaded"], run["rows_quarantined"])
    assert about == ("committed", "incremental", 1, 2, 2)
    assert run["position_lanes_moved"] == 1
    (file,) = answer("quarantine", "list", "acme")
    assert (file["run"], file["rows"], file["replayable"], file["reasons"][RULE]) == (run["run"], 2, True, 1)
    assert answer("quarantine", "replay", JOB, code=1)[0]["rows_loaded"] == 0  # the rule still stands
    lenient(home)
    (mended,) = answer("quarantine", "replay", JOB, code=1)  # the broken line stays
    assert (mended["rows_loaded"], mended["rows_quarantined"]) == (1, 1)
    assert [row[0] for row in sql.execute("select id from acme.plays order by id").fetchall()] == [1, 2, 3]
    assert [run["kind"] for run in answer("runs", "acme")] == ["replay", "replay", "incremental"]
    assert answer("quarantine", "replay", JOB, code=1)[0]["rows_loaded"] == 0


def test_rows_are_shown_under_the_policy_unless_somebody_says_so(home: Path) -> None:
    call("run", JOB)
    masked, as_json = call("quarantine", "show", JOB), call("quarantine", "show", JOB, "--json")
    for word in (RULE, "-2", "plays_1.csv", "line 5"):
        assert word in masked.stdout
    assert "canary" not in masked.output + as_json.output
    assert "broken" not in masked.output + as_json.output
    ((row,), (reject,)) = (json.loads(as_json.stdout)[0][name] for name in ("rows", "rejects"))
    assert (row["id"], row["_rules"]) == (2, [RULE])
    assert row["_location"].endswith("plays_1.csv:line 3")
    assert reject["_location"].endswith("plays_1.csv:line 5")
    unmasked = call("quarantine", "show", JOB, "--unmasked").output
    assert "canary bob" in unmasked
    assert "broken,4" in unmasked
    assert "b'" not in unmasked


def test_runs_of_a_pipeline_that_was_renamed_are_still_told(home: Path) -> None:
    call("run", JOB)
    tenant(home, TENANT.replace("  plays:\n", "  heard:\n"))
    for target in ([], ["acme"], [JOB]):
        (run,) = answer("runs", *target)
        assert (run["stream"], run["described"]) == ("acme.plays.plays", False)
        assert "(in no tenant file)" in " ".join(call("runs", *target).stdout.split())
    assert answer("runs", "acme.heard") == []
    assert "Did you mean 'heard'" in call("runs", "acme.herd", code=2).stderr
    (home / "tenants/acme.yaml").rename(home / "tenants/notes.txt")
    for target in ([], ["acme"]):
        (run,) = answer("runs", *target)
        assert not run["described"]


def test_quarantine_of_a_run_that_has_none_is_no_success(home: Path) -> None:
    call("run", JOB)
    (run,) = answer("runs", JOB)
    assert run["described"]
    said = call("quarantine", "show", JOB, "--run", run["run"] + 98, code=2).stderr
    assert f"of run {run['run'] + 98}. There is of run {run['run']}" in said
    assert answer("quarantine", "show", JOB, "--run", run["run"])[0]["run"] == run["run"]


def test_discarded_is_gone_and_the_ledger_says_so(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB)
    call("quarantine", "discard", JOB, code=2)
    assert CliRunner().invoke(main, ["quarantine", "discard", JOB, "--all"], input="n\n").exit_code == 1
    assert len(answer("quarantine", "list")) == 1
    assert answer("quarantine", "discard", JOB, "--run", 999, "--yes")["files"] == 0
    assert answer("quarantine", "discard", JOB, "--all", "--yes") == {"files": 1, "rows": 2, "files_kept": 0}
    assert answer("quarantine", "list") == []
    assert not [path for path in (home / "home/quarantine").rglob("*") if path.is_file()]
    lenient(home)
    assert answer("quarantine", "replay", JOB) == []
    told = sql.execute("select rows, discarded_at is not null from _importers.quarantine").fetchall()
    assert told == [(2, True)]


def test_a_claimed_file_is_not_discarded(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB)
    sql.execute("update _importers.quarantine set replayed_by = run")  # as an open replay would
    sql.execute("update _importers.run set state = 'open'")
    answered = json.loads(call("quarantine", "discard", JOB, "--all", "--yes", "--json", code=3).stdout)
    assert answered == {"files": 0, "rows": 0, "files_kept": 1}
    assert len(list((home / "home/quarantine").rglob("*.parquet"))) == 1


def fails(*_: object) -> None:
    raise TransientSourceError("the warehouse is gone")


@pytest.mark.parametrize("killed", [False, True])
def test_a_replay_that_failed_gives_back_what_it_had_claimed(
    home: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    call("run", JOB)
    with monkeypatch.context() as patch:
        patch.setattr("importers.pipeline.load.load", fails)
        if killed:  # then nobody gives anything back
            patch.setattr("importers.pipeline.finish.give_up", lambda *_: None)
        call("quarantine", "replay", JOB, code=3)
    (file,) = answer("quarantine", "list")
    claimed = "run 2 replays it; if that has failed, the next replay takes it over"
    assert (file["run"], file["not_replayable"]) == (1, claimed if killed else "")
    assert answer("quarantine", "discard", JOB, "--run", 1, "--yes") == {"files": 1, "rows": 2, "files_kept": 0}
    assert answer("quarantine", "list") == []


def test_what_a_killed_replay_has_put_back_is_listed_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("run", JOB)
    with monkeypatch.context() as patch:
        patch.setattr("importers.pipeline.finish.give_up", lambda *_: None)
        patch.setattr("importers.pipeline.load.load", fails)
        call("quarantine", "replay", JOB, code=3)
    assert [file["run"] for file in answer("quarantine", "list")] == [1]
    call("quarantine", "replay", JOB, code=1)
    (file,) = answer("quarantine", "list")
    assert (file["run"], file["replayable"]) == (3, True)


def test_what_a_failed_run_left_says_why_it_is_not_replayed(home: Path) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, code=1)
    (file,) = answer("quarantine", "list")
    said = "its run isn't committed"
    assert (file["replayable"], file["not_replayable"]) == (False, said)
    assert said in " ".join(call("quarantine", "list").stdout.split())


def test_a_run_that_failed_is_told_as_such_until_it_is_mended(home: Path, sql: psycopg.Connection[Any]) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, "--key", "one", code=1)
    (run,) = answer("runs", JOB)
    assert (run["state"], run["failure"]) == ("failed", "QualityError")
    assert "failed: QualityError" in call("runs").stdout
    tenant(home, TENANT)
    call("run", JOB, "--key", "one")
    (run,) = answer("runs", JOB)
    assert (run["state"], run["failure"]) == ("committed", None)


def test_what_a_run_failed_with_is_told_when_another_has_taken_its_place(home: Path) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, code=1)
    tenant(home, TENANT)
    call("run", JOB)
    assert [(run["state"], run["failure"]) for run in answer("runs", JOB)] == [
        ("committed", None),
        ("aborted", "QualityError"),
    ]
    assert "aborted: QualityError" in call("runs").stdout


def test_what_a_run_that_counts_once_failed_with_is_forgotten(home: Path, sql: psycopg.Connection[Any]) -> None:
    """As under Airflow, where a task that is tried again opens no run."""
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, "--key", "one", code=1)
    tenant(home, TENANT)
    installation = Installation.from_environment()
    job, run = resume(installation, read_tenant(home / "tenants/acme.yaml").tenant, "plays", 1)
    with closing(job):
        passed = gate(job, run).run
        load(job, passed, 0)
        commit(job, passed)
    assert sql.execute("select state, failure from _importers.run").fetchall() == [("committed", None)]


def test_a_run_that_died_is_abandoned_and_one_that_is_worked_on_is_open(
    home: Path, sql: psycopg.Connection[Any]
) -> None:
    call("run", JOB)
    sql.execute("update _importers.run set state = 'open', lease = now() - interval '1 second'")
    assert [run["state"] for run in answer("runs", JOB)] == ["abandoned"]
    sql.execute("select pg_advisory_lock(6675, id::int) from _importers.run")  # as its process would hold
    assert [run["state"] for run in answer("runs", JOB)] == ["open"]
    sql.execute("select pg_advisory_unlock(6675, id::int) from _importers.run")
    sql.execute("update _importers.run set lease = now() + interval '1 hour'")  # as a task of Airflow would
    assert [run["state"] for run in answer("runs", JOB)] == ["open"]


def test_runs_say_what_was_asked_for(home: Path) -> None:
    merged = TENANT + "    load: {mode: merge, primary_key: id}\n"
    tenant(home, merged)
    call("run", JOB)
    call("run", JOB, "--full-refresh")
    tenant(home, TENANT + "    load: {mode: replace, table: others}\n")
    call("run", JOB)
    told = answer("runs", JOB)
    assert [(run["mode"], run["full_refresh"]) for run in told] == [
        ("replace", False),
        ("merge", True),
        ("merge", False),
    ]
    lines = call("runs", JOB).stdout.splitlines()[1:]
    assert [next(said for said in ("full refresh", "replace", "incremental") if said in line) for line in lines] == [
        "replace",
        "full refresh",
        "incremental",
    ]


def test_a_run_that_failed_has_lasted_until_then(home: Path, sql: psycopg.Connection[Any]) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, code=1)
    sql.execute("update _importers.step set at = '2026-01-01T00:00:05Z'")
    sql.execute("update _importers.run set opened_at = '2026-01-01T00:00:00Z'")
    assert sql.execute("select failed_at > now() - interval '1 hour' from _importers.run").fetchone() == (True,)
    sql.execute("update _importers.run set failed_at = '2026-01-01T00:00:07Z'")
    assert [(run["state"], run["seconds"]) for run in answer("runs", JOB)] == [("failed", 7.0)]
    tenant(home, TENANT)
    call("run", JOB)
    assert [(run["state"], run["seconds"]) for run in answer("runs", JOB)][1] == ("aborted", 7.0)
    sql.execute("update _importers.run set failure = null, failed_at = null, state = 'open' where id = 1")
    assert [(run["state"], run["seconds"]) for run in answer("runs", JOB)][1] == ("abandoned", 5.0)
    sql.execute("delete from _importers.step")
    assert answer("runs", JOB)[1]["seconds"] is None
    assert " – " in call("runs", JOB).stdout


@pytest.mark.parametrize("command", ["plan", "preview", "run"])
def test_a_column_that_nobody_classified_is_told_by_the_line_to_add_it_at(home: Path, command: str) -> None:
    (home / "plays_1.csv").write_text("id,listener,score,phone\n1,ann,1,0731 1\n")
    told = call(command, JOB, code=1).stderr
    line = 1 + TENANT.splitlines().index("      columns: {id: keep, listener: pseudonymise, score: keep}")
    assert f"{home}/tenants/acme.yaml:{line} acme.plays/plays: no policy covers a column; got phone" in told
    assert "\n    phone: drop" in told


def test_what_was_kept_out_is_shown_by_the_command_that_is_told(home: Path) -> None:
    """One file of what single rows show to be bad, one of what the whole partition does."""
    rules = "    expect:\n      - expect_column_values_to_be_unique: {column: id}\n"
    tenant(home, TENANT.replace("0.9", "0.1").replace("    expect:\n", rules))
    (home / "plays_1.csv").write_text("id,listener,score\n1,ann,1\n1,bob,2\n2,ann,-3\n")
    told = call("run", JOB, code=1).stderr
    (command,) = re.findall("3 rows are in quarantine: `importers (.*?)`", told)
    shown = answer(*command.split())
    assert sorted(len(file["rows"]) for file in shown) == [1, 2]


def test_tables_are_for_people(home: Path) -> None:
    planned = call("plan", JOB).stdout
    assert "from the beginning" in planned
    assert "plays_1.csv" in planned
    seen = call("preview", JOB)
    assert "canary" not in seen.output
    assert "4 records, all that a run would read: 1 bad, 1 unreadable" in seen.stderr
    call("run", JOB)
    assert "nothing new to read" in call("plan", JOB).stdout
    assert "nothing new to read" in call("preview", JOB).stderr
    assert "committed" in call("runs").stdout
    assert RULE in "".join(call("quarantine", "list").stdout.split())


def test_a_preview_of_what_would_fail_exits_1(home: Path) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    assert answer("preview", JOB, code=1)[0]["would_fail"][0].startswith("quarantine.max_fraction")


def test_windows_are_moments_with_an_offset(home: Path) -> None:
    assert "offset" in call("plan", JOB, "--start", "2026-01-01", code=2).stderr
    assert "write it as" in call("preview", JOB, "--end", "yesterday", code=2).stderr
    assert "a backfill would append" in call("plan", JOB, "--start", "2026-01-01T00:00:00+00:00", code=2).stderr


def test_targets_that_are_not_there(home: Path) -> None:
    for args in (["plan", "acme"], ["preview", ".x"], ["runs", "acme."], ["quarantine", "show", "acme"]):
        assert "TENANT.PIPELINE" in call(*args, code=2).stderr
    for args in (["runs", "acne"], ["quarantine", "list", "acme.play"], ["plan", "acme.play"]):
        assert "Did you mean" in call(*args, code=2).stderr


def test_a_warehouse_out_of_reach_is_for_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    call("runs", code=3)


def test_two_statements_are_told_as_such(home: Path) -> None:
    refused = call("sql", "select 1; select 2", code=2)
    assert "these are several statements. Write one SELECT, or ask twice" in refused.stderr
    assert answer("sql", "select 1 as n, null as x") == [{"n": 1, "x": None}]


def test_times_that_python_lacks_are_shown(home: Path) -> None:
    query = "select date '10000-01-01' a, date '0044-03-15 BC' b, 'infinity'::timestamptz c, date '2024-02-29' d"
    assert answer("sql", query) == [{"a": "10000-01-01", "b": "0044-03-15 BC", "c": "infinity", "d": "2024-02-29"}]


def test_a_broken_file_hides_no_run_and_nobody_s_quarantine(home: Path) -> None:
    (home / "tenants/other.yaml").write_text(
        TENANT.replace("tenant: acme", "tenant: other").replace("DATA", str(home)).replace("  plays:", "  others:")
    )
    for job in (JOB, "other.others"):
        call("run", job)
    other = home / "tenants/other.yaml"
    other.write_text(other.read_text().replace("max_fraction", "max_fractoin"))
    listed = call("quarantine", "list", "--json")
    assert {file["stream"] for file in json.loads(listed.stdout)} == {"acme.plays.plays"}
    assert "other.yaml:7: there is no setting `max_fractoin`" in listed.stderr
    seen = call("runs", "--json")
    assert [(run["stream"], run["described"]) for run in json.loads(seen.stdout)] == [
        ("other.others.plays", None),
        ("acme.plays.plays", True),
    ]
    assert "max_fractoin" in seen.stderr
    assert [run["stream"] for run in answer("runs", "other.others")] == ["other.others.plays"]
    assert "in no tenant file" not in call("runs", "other").stdout
    assert "max_fractoin" not in call("runs", "acme").stderr


def test_a_sweep_beside_a_broken_file_says_so(home: Path) -> None:
    call("run", JOB)
    assert answer("sweep")["quarantine"]["kept"] == 1
    (home / "tenants/other.yaml").write_text("tenant: [")
    broken = call("sweep", code=1)
    assert "other.yaml" in broken.stderr
    assert "quarantine: 0 files deleted" in broken.stdout


def test_an_empty_home_is_the_default_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTERS_HOME", "")
    monkeypatch.chdir(home)
    call("run", JOB)
    assert (home / ".importers/quarantine").is_dir()
    assert not (home / "quarantine").exists()


def test_a_report_says_what_the_gate_said_and_no_value(home: Path) -> None:
    call("run", JOB)
    assert "wrote" in call("report", JOB, "--out", home / "report.html").stdout
    text = (home / "report.html").read_text()
    assert "canary" not in text
    assert "Rows of its first run" in text
    assert "1 of 3 break it" in text
    assert f"<code>{RULE}</code>" in text
    assert "3 rows and 1 lines or records that are none" in text
    assert "2 into <code>acme.plays</code>" in text
    assert not set(re.findall(r"\b(?:src|href)=|url\(|<script", text))


def test_a_run_that_failed_has_a_report_too(home: Path) -> None:
    tenant(home, TENANT.replace("max_fraction: 0.9", "max_fraction: 0.1"))
    call("run", JOB, code=1)
    call("report", JOB, "--run", 1, "--out", home / "report.html")
    text = (home / "report.html").read_text()
    assert "Why nothing was loaded" in text
    assert "1 bad and 1 unreadable of 4" in text
    tenant(home, TENANT.replace("expect:", "expect:\n      - expect_table_row_count_to_equal: {value: 7}"))
    call("run", JOB, code=1)
    call("report", JOB, "--out", home / "report.html")
    text = (home / "report.html").read_text()
    assert "the number of rows is another one; wanted value: 7; got 3 rows" in text
    assert "3 rows; the run fails it" in text


def test_a_minimum_of_rows_where_nothing_is_new_says_that(home: Path) -> None:
    rule = "expect_table_row_count_to_be_between: {min_value: 1}"
    tenant(home, TENANT.replace("expect:", f"expect:\n      - {rule}"))
    call("run", JOB)
    said = call("run", JOB, code=1).output
    assert "there was nothing new to read, and that breaks the rules: nothing was loaded" in said
    assert "wanted min_value: 1" in said
    assert "change the rules, if a run may find nothing" in said


def test_a_report_shows_how_values_are_shared_out_beside_how_they_should_be(home: Path) -> None:
    rule = "expect_column_kl_divergence_to_be_less_than"
    half = "partition_object: {values: [1, 2], weights: [0.5, 0.5]}"
    rules = f"expect:\n      - {rule}: {{column: score, {half}, threshold: 0.5}}"
    rules += "\n      - expect_table_row_count_to_equal: {value: 100}"
    tenant(home, TENANT.replace("expect:", rules))
    delivery(home, 1, [1, 1, 1, 2] * 25)
    call("run", JOB)
    call("report", JOB, "--out", home / "report.html")
    text = (home / "report.html").read_text()
    assert "75.0 %, expected 50.0 %" in text
    assert "25.0 %, expected 50.0 %" in text
    assert ", at most 0.5; it holds<" in text
    assert "100 rows; it holds<" in text


DRIFT = "expect_column_drift_to_be_less_than"


def delivery(home: Path, number: int, scores: Iterable[int]) -> None:
    rows = (f"{number * 10_000 + n},canary {n},{score}\n" for n, score in enumerate(scores))
    (home / f"plays_{number}.csv").write_text("id,listener,score\n" + "".join(rows))


def test_a_run_that_is_spread_otherwise_than_the_last_one_that_counted_loads_nothing(
    home: Path, sql: psycopg.Connection[Any]
) -> None:
    tenant(home, TENANT.replace("expect:", f"expect:\n      - {DRIFT}: {{column: score, threshold: 0.25}}"))
    delivery(home, 1, range(1000))
    call("run", JOB)
    call("report", JOB, "--out", home / "report.html")
    text = (home / "report.html").read_text()
    assert "not compared: no earlier run has 500 rows" in text
    assert 'aria-label="How often which values of score occur"' in text
    assert "canary" not in text
    assert answer("runs", JOB)[0]["drift"] is None
    delivery(home, 2, range(5, 1005))
    call("run", JOB)
    delivery(home, 3, range(500, 1500))
    refused = call("run", JOB, code=1).output
    assert "wanted threshold: 0.25; got an index of " in refused
    assert " against run 2" in refused
    assert sql.execute("select count(*) from acme.plays").fetchone() == (2000,)
    failed, alike, first = answer("runs", JOB)
    assert alike["drift"] < 0.1 < 0.25 < failed["drift"]
    call("report", JOB, "--out", home / "report.html")
    assert "against run 2; the run fails it" in (home / "report.html").read_text()
    assert "drift" in call("runs", JOB).stdout
    (home / "plays_3.csv").unlink()
    delivery(home, 4, range(1000))
    call("run", JOB)  # the run that failed is none to be like
    (told,) = (
        sql.execute("select counts -> 'profile' from _importers.judgement where run = %s", (first["run"],)).fetchone()
        or ()
    )
    assert told["rows"] == 1000
    columns = {column["name"]: column for column in told["columns"]}
    assert {name: (one["nulls"], one["distinct"]) for name, one in columns.items()} == dict.fromkeys(
        ("id", "listener", "score"), (0, 1000)
    )
    assert columns["score"]["deciles"] == [None, 99, 199, 299, 399, 499, 599, 699, 799, 899, None]
    bars = columns["score"]["histogram"]
    assert (bars[0][0], bars[-1][1]) == (99, 899)  # an extreme is one person's
    assert "spread" not in columns["listener"]  # a person


def test_an_erased_person_s_rows_tell_a_profile_nothing(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB)
    call("erase", "acme", "canary ann", "--domain", "listener", "--yes")
    rows = [f"{n},listener {n},{n}\n" for n in range(30)] + [f"{n},canary ann,987654321\n" for n in range(30, 60)]
    (home / "plays_2.csv").write_text("id,listener,score\n" + "".join(rows))
    call("run", JOB)
    (told,) = sql.execute("select counts -> 'profile' from _importers.judgement order by run desc").fetchone() or ()
    (score,) = (column for column in told["columns"] if column["name"] == "score")
    assert told["rows"] == 60
    assert score["deciles"][9] == 26  # floor(29 * 0.9) among the thirty others'
    assert "987654321" not in str(told)


@pytest.mark.parametrize("column", ["id", "listener"])
def test_drift_of_a_column_whose_values_are_not_remembered_is_refused(home: Path, column: str) -> None:
    text = TENANT.replace("expect:", f"expect:\n      - {DRIFT}: {{column: {column}, threshold: 0.25}}")
    tenant(home, text.replace("    privacy:", "    load: {mode: merge, primary_key: id}\n    privacy:"))
    assert "nothing of this column's values is remembered" in call("run", JOB, code=2).output


def test_a_report_on_nothing_is_refused(home: Path) -> None:
    assert "was never run" in call("report", JOB, code=2).output
    call("run", JOB)
    assert "has no run 99" in call("report", JOB, "--run", 99, code=2).output


def test_a_frozen_schema_stops_a_run_before_it_loads(home: Path, sql: psycopg.Connection[Any]) -> None:
    text = TENANT.replace("score: keep}", "score: keep, extra: keep}").replace(
        "    expect:", "    load: {schema_change: freeze}\n    expect:"
    )
    tenant(home, text.replace(", extra: keep", ""))
    call("run", JOB)
    (home / "plays_1.csv").unlink()  # files of one pipeline have one shape
    for number, more in ((2, ""), (3, ",x"), (4, ",y")):
        header = f"id,listener,score{',extra' if more else ''}"
        (home / f"plays_{number}.csv").write_text(f"{header}\n{number + 1},canary dan,4{more}\n")
    tenant(home, text)
    said = call("run", JOB, code=1).output
    assert "frozen" in said
    assert "extra text; in the table: id bigint, listener " in " ".join(said.split())
    assert "read from plays_2.csv" in said
    assert "; extra first in plays_3.csv." in said
    assert sql.execute("select count(*) from acme.plays").fetchone() == (2,)
    tenant(home, text.replace("schema_change: freeze", "schema_change: evolve"))
    call("run", JOB)
    assert sql.execute("select id, extra from acme.plays where extra is not null order by id").fetchall() == [
        (4, "x"),
        (5, "y"),
    ]


def test_a_history_without_a_cursor_says_in_each_run_what_becomes_of_its_table(home: Path) -> None:
    for key, said in ("primary_key: id", True), ("primary_key: id, cursor: seen", False):
        (home / "plays_1.csv").write_text("id,listener,score,seen\n1,ann,1,2026-01-01\n")
        policy = TENANT.replace("score: keep", "score: keep, seen: keep")
        tenant(home, policy + f"    load: {{mode: history, {key}, table: {key[-2:]}s}}\n")
        notes = answer("plan", JOB)[0]["notes"]
        call("run", JOB)
        for told in notes, answer("runs", JOB)[0]["notes"]:
            assert any("each row that is read becomes a version" in note for note in told) is said


def states(target: str = JOB) -> list[tuple[str, str, str | None]]:
    return [(run["stream"], run["state"], run["failure"]) for run in answer("runs", target)]


def test_a_run_that_fails_at_its_plan_is_listed_until_its_key_is_done(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB, "--key", "monday")
    good = ("acme.plays.plays", "committed", None)
    file = home / "plays_1.csv"
    file.rename(home / "away.csv")
    tenant(home, TENANT.replace("plays_*.csv", "elsewhere.csv"))
    for _ in range(2):  # by one key: listed once
        call("run", JOB, "--key", "tuesday", code=2)
        assert states() == [("acme.plays.plays", "failed", "ConfigError"), good]
    assert "failed: ConfigError" in call("runs", JOB).stdout
    assert answer("runs", JOB)[0]["key"] == "tuesday"
    tenant(home, TENANT)
    (home / "plays_2.csv").write_text("id,listener,score\n9,ann,9\n")
    call("run", JOB, "--key", "tuesday")
    assert states() == [good, good]
    assert sql.execute("select id from acme.plays order by id").fetchall() == [(1,), (3,), (9,)]
    assert sql.execute("select max(generation) from _importers.run").fetchone() == (1,)


def test_of_attempts_that_follow_each_other_the_last_is_listed(home: Path) -> None:
    """A schedule gives each a new key. What is in between, or of another interval, is another story."""
    call("run", JOB)
    installation, stream = Installation.from_environment(), Stream("plays", (), Reads.POSITION)
    with closing(installation.open_destination("plays", installation.keyring().tenant("acme"))) as destination:

        def fail(key: str, kind: RunKind = RunKind.INCREMENTAL, window: Window | None = None) -> None:
            destination.unopened(stream, key, kind, window or Window(), "ConfigError", datetime.now(UTC))

        fail("a")
        fail("b")
        (home / "plays_2.csv").write_text("id,listener,score\n9,ann,9\n")
        call("run", JOB, "--key", "good")
        fail("c")
        for day in 1, 2:
            january = Window(f"2026-01-0{day}T00:00:00Z", f"2026-01-0{day + 1}T00:00:00Z")
            for attempt in "first", "last":
                fail(f"{attempt} of {day}", RunKind.WINDOW, january)
        fail("d")
    keys = [run["key"] for run in answer("runs", JOB)]
    assert keys[:-1] == ["d", "last of 2", "last of 1", "good", "b"]


def test_a_key_that_is_done_stays_done_whatever_its_next_plan_fails_at(
    home: Path, sql: psycopg.Connection[Any]
) -> None:
    call("run", JOB, "--key", "monday")
    tenant(home, TENANT.replace("{id: keep, ", "{"))
    call("run", JOB, "--key", "monday", code=1)
    assert [state for _, state, _ in states()] == ["failed", "committed"]
    done = control.latest(sql, "acme.plays.plays", "monday")
    assert done is not None
    assert done.state is RunState.COMMITTED
    tenant(home, TENANT)
    (home / "plays_2.csv").write_text("id,listener,score\n9,ann,9\n")
    call("run", JOB, "--key", "monday")  # nothing is read: the key is done
    assert states() == [("acme.plays.plays", "committed", None)]
    assert sql.execute("select id from acme.plays order by id").fetchall() == [(1,), (3,)]


def test_before_its_source_told_its_streams_a_run_is_the_pipelines(home: Path, sql: psycopg.Connection[Any]) -> None:
    tenant(home, TENANT.replace("DATA/plays_*.csv", "DATA/nowhere.csv"))
    call("run", JOB, code=2)
    assert states() == [("acme.plays", "failed", "ConfigError")]
    (failed,) = history.last_runs(sql, ["acme"])[JOB]
    assert (failed.outcome, failed.name, failed.read) == ("failed: ConfigError", "acme.plays", None)
    assert [report.run.id for report in reported(sql, "acme", "plays")] == [failed.id]
    tenant(home, TENANT)
    call("run", JOB)
    assert [run.stream for run in history.last_runs(sql, ["acme"])[JOB]] == ["acme.plays.plays"]
    assert [state for _, state, _ in states()] == ["committed", "failed"]


def test_a_plan_that_waits_for_another_run_is_no_failure(home: Path, sql: psycopg.Connection[Any]) -> None:
    call("run", JOB)
    sql.execute("update _importers.run set state = 'open', lease = now() + interval '1 hour'")
    call("run", JOB, code=3)
    assert [state for _, state, _ in states()] == ["open"]


def test_an_open_run_whose_plan_is_refused_when_it_is_tried_again_stays_the_one_run(
    home: Path, sql: psycopg.Connection[Any]
) -> None:
    tenant(home, TENANT.replace("0.9", "0.1"))
    call("run", JOB, "--key", "monday", code=1)
    tenant(home, TENANT.replace("{id: keep, ", "{"))
    call("run", JOB, "--key", "monday", code=1)
    assert states() == [("acme.plays.plays", "failed", "UnclassifiedError")]
    tenant(home, TENANT)
    call("run", JOB, "--key", "monday")
    assert states() == [("acme.plays.plays", "committed", None)]
    assert sql.execute("select count(*) from acme.plays").fetchone() == (2,)
