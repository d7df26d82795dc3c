"""A position is one of a table: another `load.table` is read anew, and the one before goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call
from older_ledger import downgrade

from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.plan import plan
from importers.pipeline.tenants import read_tenant

Sql = psycopg.Connection[Any]

TENANT = """\
tenant: acme
pipelines:
  calls:
    importer: csv
    config: {{path: "{data}/calls-*.csv", stream: calls{more}}}
    quarantine: {{max_fraction: 1.0}}
    expect: [{rule}]
    privacy: {{purpose: tests, lawful_basis: none, columns: {{id: keep, seconds: keep, day: keep}}}}
    load: {{{load}}}
"""
RULE = "expect_column_values_to_be_between: {column: seconds, min_value: 0}"
APPEND, MERGE = "mode: append", "mode: merge, primary_key: id"


def describe(home: Path, table: str = "calls", load: str = APPEND, rule: str = RULE, more: str = "") -> None:
    text = TENANT.format(data=home, load=f"{load}, table: {table}", rule=rule, more=more)
    (home / "tenants/acme.yaml").write_text(text)


def deliver(home: Path, *ids: int, seconds: int = 1, name: str | None = None) -> None:
    lines = [f"{id_},{seconds},2026-01-01" for id_ in ids]
    (home / f"calls-{name or ids[0]}.csv").write_text("\n".join(["id,seconds,day", *lines, ""]))


def run(*options: str) -> tuple[int, list[str]]:
    """Rows loaded, and notes."""
    (result,) = answer("run", "acme.calls", *options)
    return result["rows_loaded"], result["notes"]


def ids(sql: Sql, table: str) -> Sequence[int]:
    return [id_ for (id_,) in sql.execute(f"select id from acme.{table} order by 1").fetchall()]  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [APPEND, MERGE])
def test_a_new_table_gets_everything_and_the_old_one_goes_on_where_it_was(home: Path, sql: Sql, load: str) -> None:
    describe(home, load=load)
    deliver(home, 1, 2)
    assert run() == (2, [])
    describe(home, "heard", load)
    deliver(home, 3)
    said = (
        "acme.heard is new to this pipeline: what the source has is read from the beginning. acme.calls, which it"
        " loaded before, stays as it is"
    )
    (plan,) = answer("plan", "acme.calls")
    assert (plan["position_lanes"], plan["notes"]) == (0, [said])
    assert run() == (3, [said])
    assert run() == (0, [])
    describe(home, load=load)
    assert run() == (1, [])
    assert ids(sql, "calls") == ids(sql, "heard") == [1, 2, 3]


@pytest.mark.parametrize("load", [APPEND, MERGE])
def test_a_table_that_was_dropped_is_read_anew(home: Path, sql: Sql, load: str) -> None:
    """Of the bad row there is one in quarantine, though it was read twice."""
    describe(home, load=load)
    deliver(home, 1)
    deliver(home, 2, seconds=-1)
    run()
    describe(home, "heard", load)
    run()
    sql.execute(f"drop table acme.calls{'__rows' if load == MERGE else ''} cascade")  # type: ignore[arg-type]
    deliver(home, 3)
    describe(home, load=load, rule="expect_column_values_to_not_be_null: {column: id}")
    if load == APPEND:
        refused = call("quarantine", "replay", "acme.calls", code=1)
        assert "isn't there any more" in " ".join(refused.stderr.split())
    (plan,) = answer("plan", "acme.calls")
    describe(home, load=load)
    loaded, notes = run()
    assert (loaded, plan["position_lanes"]) == (2, 0)
    describe(home, load=load, rule="expect_column_values_to_not_be_null: {column: id}")
    assert notes[:1] == plan["notes"] == ["acme.calls was dropped: what the source has is read from the beginning"]
    assert [result["rows_loaded"] for result in answer("quarantine", "replay", "acme.calls")] == [1]
    assert run() == (0, [])
    assert ids(sql, "calls") == [1, 2, 3]
    describe(home, "heard", load, rule="expect_column_values_to_not_be_null: {column: id}")
    assert [result["rows_loaded"] for result in answer("quarantine", "replay", "acme.calls")] == [1]  # its own


def test_a_table_that_was_renamed_away_from_its_view_is_read_anew(home: Path, sql: Sql) -> None:
    describe(home, load=MERGE)
    deliver(home, 1)
    run()
    sql.execute("grant select on acme.calls to pg_monitor")
    sql.execute("alter table acme.calls__rows rename to earlier")
    deliver(home, 2)
    assert run() == (2, ["acme.calls was dropped: what the source has is read from the beginning"])
    assert ids(sql, "calls") == [1, 2]
    assert ids(sql, "earlier") == [1]
    assert sql.execute("select has_table_privilege('pg_monitor', 'acme.calls', 'select')").fetchone() == (True,)


def test_views_in_the_way_of_a_table_that_is_made_anew_are_named(home: Path, sql: Sql) -> None:
    describe(home, load=MERGE)
    deliver(home, 1)
    run()
    sql.execute("create view acme.mine as select id from acme.calls")
    sql.execute("alter table acme.calls__rows rename to earlier")
    refused = " ".join(call("run", "acme.calls", code=1).stderr.split())
    assert "shown by acme.mine" in refused
    assert 'Give the table its name "calls__rows" back' in refused
    assert "drop these views" in refused
    sql.execute("drop view acme.mine")
    assert run()[0] == 1


def test_a_run_that_is_refused_leaves_the_position_where_it_was(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 1)
    run()
    sql.execute("alter table acme.calls rename to calls_base")
    sql.execute("create view acme.calls as select * from acme.calls_base")
    deliver(home, 2)
    assert "made for another load mode" in " ".join(call("run", "acme.calls", code=1).stderr.split())
    sql.execute("drop view acme.calls")
    sql.execute("alter table acme.calls_base rename to calls")
    assert run() == (1, [])
    assert ids(sql, "calls") == [1, 2]


@pytest.mark.parametrize("load", [APPEND, MERGE, "mode: history, primary_key: id"])
def test_a_table_that_gets_its_name_back_has_no_row_twice(home: Path, sql: Sql, load: str) -> None:
    describe(home, load=load)
    deliver(home, 1)
    run()
    table = "calls" if load == APPEND else "calls__rows"
    sql.execute(f"alter table acme.{table} rename to away")  # type: ignore[arg-type]
    deliver(home, 2)
    (job,) = jobs(Installation.from_environment(), read_tenant(home / "tenants/acme.yaml").tenant, "calls")
    with closing(job):
        assert plan(job, "planned").plan.dropped
    sql.execute(f"alter table acme.away rename to {table}")  # type: ignore[arg-type]
    refused = " ".join(call("run", "acme.calls", "--key", "planned", code=1).stderr.split())
    assert "wasn't there when this run was planned" in refused
    assert ids(sql, table) == [1]
    assert run()[0] == 1
    assert ids(sql, table) == [1, 2]


def test_an_interval_that_makes_a_table_anew_doesn_t_stand_for_the_rest(home: Path, sql: Sql) -> None:
    more = ", interval: {pattern: calls-%Y-%m-%d}"
    describe(home, load=MERGE, more=more)
    deliver(home, 1, name="2026-01-01")
    deliver(home, 2, name="2026-01-02")
    run()
    describe(home, "heard", MERGE, more=more)
    run()
    describe(home, load=MERGE, more=more)
    sql.execute("drop table acme.calls__rows cascade")
    run("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-02T00:00:00Z")
    assert run() == (2, ["acme.calls was dropped: what the source has is read from the beginning"])
    assert run() == (0, [])
    assert ids(sql, "calls") == [1, 2]


def test_a_table_under_the_name_of_one_that_was_dropped_is_not_read_twice(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 1)
    run()
    describe(home, "heard")
    run()
    describe(home)
    deliver(home, 2)
    run()
    sql.execute("drop table acme.heard")
    sql.execute("alter table acme.calls rename to heard")
    describe(home, "heard")
    refused = call("run", "acme.calls", code=1)
    assert "'heard' has rows that were appended to 'calls'" in " ".join(refused.stderr.split())
    assert ids(sql, "heard") == [1, 2]


def test_a_table_that_was_renamed_before_positions_were_a_table_s_goes_on(home: Path, sql: Sql) -> None:
    """It has rows of both names."""
    describe(home)
    deliver(home, 1)
    run()
    deliver(home, 2)
    run()
    sql.execute("alter table acme.calls rename to heard")
    sql.execute("update _importers.position set table_name = 'heard'")
    sql.execute("update _importers.run set table_name = 'heard' where id = (select max(id) from _importers.run)")
    deliver(home, 3)
    describe(home, "heard")
    assert run() == (1, [])
    assert ids(sql, "heard") == [1, 2, 3]


def test_a_table_under_another_name_is_not_read_twice(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 1)
    run()
    sql.execute("alter table acme.calls rename to heard")
    describe(home, "heard")
    refused = call("run", "acme.calls", code=1)
    assert "'heard' has rows that were appended to 'calls'" in " ".join(refused.stderr.split())
    assert ids(sql, "heard") == [1]


def test_quarantine_belongs_to_its_table(home: Path, sql: Sql) -> None:
    """The bad row is read again for the new table: from both files it would be there twice."""
    describe(home)
    deliver(home, 1, seconds=-1)
    run()
    describe(home, "heard")
    run()
    describe(home, "heard", rule="expect_column_values_to_not_be_null: {column: id}")
    old, new = answer("quarantine", "list", "acme.calls")
    assert (old["replayable"], new["replayable"]) == (False, True)
    assert old["not_replayable"] == "its rows belong into acme.calls, and load.table names another"
    assert [result["rows_loaded"] for result in answer("quarantine", "replay", "acme.calls")] == [1]
    assert ids(sql, "heard") == [1]
    describe(home, rule="expect_column_values_to_not_be_null: {column: id}")
    assert [result["rows_loaded"] for result in answer("quarantine", "replay", "acme.calls")] == [1]
    assert (ids(sql, "calls"), ids(sql, "heard")) == ([1], [1])


def test_an_interval_that_begins_a_table_says_that_others_are_missing(home: Path, sql: Sql) -> None:
    more = ", interval: {pattern: calls-%Y-%m-%d}"
    window = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-02T00:00:00Z")
    describe(home, more=more)
    deliver(home, 1, name="2026-01-01")
    assert run(*window) == (1, [])
    describe(home, "heard", more=more)
    loaded, (note,) = run(*window)
    assert loaded == 1
    assert note.endswith("gets this interval. Load those that are in acme.calls again by a backfill")


def test_what_a_ledger_knew_before_goes_on(home: Path, database: str, sql: Sql) -> None:
    describe(home)
    deliver(home, 1)
    run()
    describe(home, "heard")
    deliver(home, 2)
    run()
    sql.execute(
        "insert into _importers.run (tenant, stream, key, generation, kind, mode, table_name, version, plan, state)"
        " select tenant, stream, 'gone', 1, kind, mode, 'gone', version, plan, 'aborted' from _importers.run limit 1"
    )
    downgrade(database, "0013")
    lanes = sql.execute("select lane from _importers.position order by 1").fetchall()
    assert lanes == [("calls-1.csv",), ("calls-2.csv",)]  # of the table that was loaded last
    deliver(home, 3)
    assert run() == (1, [])
    tables = sql.execute("select distinct table_name from _importers.position order by 1").fetchall()
    assert tables == [("calls",), ("heard",)]
    describe(home)
    assert run() == (1, [])  # what it lacks of the file that came meanwhile; none is there twice
    assert (ids(sql, "calls"), ids(sql, "heard")) == ([1, 3], [1, 2, 3])
