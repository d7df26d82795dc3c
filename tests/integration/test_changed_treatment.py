"""A column that is treated otherwise than before: whoever runs it is told, once a run, and what to do."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call

from importers import get_importer

Sql = psycopg.Connection[Any]

TENANT = """\
tenant: acme
pipelines:
  calls:
    importer: csv
    config: {{path: "{data}/calls-*.csv", stream: calls}}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{column: caller, domain: caller}}
      columns: {{id: keep, caller: pseudonymise, phone: {phone}, town: {town}}}
    load: {load}
"""
MERGE, APPEND = "{mode: merge, primary_key: id}", "{mode: append}"
MASK = "{mask: phone}"


def describe(home: Path, phone: str = "keep", town: str = "keep", load: str = APPEND) -> None:
    (home / "tenants/acme.yaml").write_text(TENANT.format(data=home, phone=phone, town=town, load=load))


def run(home: Path, *options: str, code: int = 0) -> list[str]:
    """A run that finds a file more; its notes."""
    number = len(list(home.glob("calls-*.csv")))
    (home / f"calls-{number}.csv").write_text(f"id,caller,phone,town\n{number},ann,+49 30 90182{number},Ulm\n")
    done = call("run", "acme.calls", *options, "--json", code=code)
    return [] if code else json.loads(done.stdout)[0]["notes"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return told


def test_the_run_that_changes_a_treatment_says_so(home: Path, sql: Sql, caplog: pytest.LogCaptureFixture) -> None:
    describe(home)
    assert run(home) == run(home) == warnings(caplog) == []
    first = sql.execute("select min(id) from _importers.run").fetchone()
    describe(home, MASK, "drop")
    (plan,) = answer("plan", "acme.calls")
    assert len(plan["notes"]) == 2
    notes = run(home)
    assert notes == plan["notes"]
    assert warnings(caplog) == []  # what the answer says isn't said beside it as well
    assert sorted(note.split(": ")[0] for note in notes) == ["acme.calls, column phone", "acme.calls, column town"]
    assert first is not None
    for note, now in zip(sorted(notes), ("mask(phone)", "drop"), strict=True):
        assert f": {now} from this run on; rows that are there, loaded since run {first[0]} as keep, stay so. " in note
        assert note.endswith("and load everything there with the next run. Then drop this table")
    assert run(home) == []
    assert sql.execute("select phone, town from acme.calls order by id").fetchall() == [
        ("+49 30 901820", "Ulm"),
        ("+49 30 901821", "Ulm"),
        ("+** ** **1822", None),
        ("+** ** **1823", None),
    ]


def test_what_was_dropped_in_between_is_told_of_what_was_loaded_before(home: Path, sql: Sql) -> None:
    describe(home)
    run(home)
    describe(home, "drop")
    assert len(run(home)) == 1
    assert run(home) == []
    first = sql.execute("select min(id) from _importers.run").fetchone()
    assert first is not None
    describe(home, MASK)
    (note,) = run(home)
    assert f"mask(phone) from this run on; rows that are there, loaded since run {first[0]} as keep, stay so" in note
    describe(home, "drop")
    assert len(run(home)) == 1
    describe(home, MASK)
    (note,) = run(home)
    assert ": mask(phone) from this run on; rows that are there, loaded since run " in note
    assert ", have null: it was dropped. To have all rows alike, set load.table" in note
    assert run(home) == []


def test_all_treatments_are_told_that_rows_were_loaded_under(home: Path, sql: Sql) -> None:
    runs = []
    for phone in ("keep", MASK, "drop", "keep"):
        describe(home, phone)
        notes = run(home)
        runs += sql.execute("select max(id) from _importers.run").fetchone() or ()
    describe(home, "drop")
    run(home)
    describe(home, "{mask: initials}")
    (note,) = run(home)
    assert notes[0].split("that are there, ")[1].startswith(f"loaded since run {runs[1]} as mask(phone), stay so.")
    told = note.split("that are there, ")[1]
    assert told.startswith(f"loaded since run {runs[1]} as mask(phone) and since run {runs[3]} as keep, stay so.")


def test_from_python_the_log_says_so(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "calls-0.csv").write_text("id,caller,phone,town\n0,ann,+49 30 901820,Ulm\n")
    results = []
    for phone in ("keep", "drop"):
        columns = {"id": "keep", "caller": "pseudonymise", "phone": phone, "town": "drop"}
        privacy = {"purpose": "p", "lawful_basis": "contract", "columns": columns}
        config = {
            "path": str(home / "calls-*.csv"),
            "stream": "calls",
            "privacy": privacy | {"subject": {"column": "caller", "domain": "caller"}},
            "load": {"mode": "merge", "primary_key": "id"},
        }
        results.append(asyncio.run(get_importer("csv", tenant_id="acme", config=config).import_data()))
    assert warnings(caplog) == list(results[1].streams[0].notes)
    assert len(results[1].streams[0].notes) == 1


NEW_TYPES = [("keep", "pseudonymise", "text", "uuid"), ("keep", "encrypt", "text", "bytea"),
             ("encrypt", "keep", "bytea", "text"), ("pseudonymise", "{mask: phone}", "uuid", "text")]  # fmt: skip
ELSEWHERE = {
    APPEND: "{mode: append, table: heard}",
    MERGE: "{mode: merge, primary_key: id, table: heard}",
    "{mode: replace}": "{mode: replace, table: heard}",
}


@pytest.mark.parametrize(
    ("load", "before", "after", "have", "comes"),
    [*((APPEND, *types) for types in NEW_TYPES), *((load, *NEW_TYPES[0]) for load in list(ELSEWHERE)[1:])],
)
def test_a_treatment_that_makes_another_type_is_refused_before_anything_is_read(
    home: Path, sql: Sql, load: str, before: str, after: str, have: str, comes: str
) -> None:
    describe(home, before, load=load)
    run(home)
    describe(home, after, load=load)
    for command in ("plan", "preview", "run"):
        refused = call(command, "acme.calls", code=1)
        told = " ".join(refused.stderr.split())
        assert f"column 'phone' of acme.calls is {have} and can't hold {comes}; got " in told
        assert "et load.table to a new name, and load everything there with the next run" in told
    assert sql.execute("select state from _importers.run where state <> 'failed'").fetchall() == [("committed",)]
    describe(home, after, load=ELSEWHERE[load])
    answer("run", "acme.calls")
    assert sql.execute("select count(*) from acme.heard where phone is not null").fetchone() == (1,)


def test_a_run_that_failed_has_changed_nothing(home: Path) -> None:
    describe(home)
    run(home)
    describe(home, "drop")
    file = home / "tenants/acme.yaml"
    rule = "    expect: [{expect_table_row_count_to_be_between: {min_value: 9}}]\n    load"
    file.write_text(file.read_text().replace("    load", rule))
    run(home, code=1)
    describe(home, "drop")
    assert len(run(home)) == 1


def test_where_all_rows_are_loaded_anew_there_is_nothing_to_say(home: Path) -> None:
    describe(home, load=MERGE)
    run(home)
    describe(home, "drop", load=MERGE)
    (plan,) = answer("plan", "acme.calls")
    assert plan["notes"][0].endswith(
        "loads those anew that are at the source, and good, and takes the values out of the others"
    )
    assert run(home, "--full-refresh") == run(home) == []


def test_what_is_kept_now_no_refresh_takes_away(home: Path) -> None:
    describe(home, MASK, load=MERGE)
    run(home)
    describe(home, "keep", load=MERGE)
    (plan,) = answer("plan", "acme.calls")
    assert " by --full-refresh, or intervals by a backfill. To have all rows alike, set load.table" in plan["notes"][0]


def test_what_was_dropped_is_null_where_it_was_and_that_is_told(home: Path) -> None:
    describe(home, "drop", load=MERGE)
    run(home)
    describe(home, load=MERGE)
    (plan,) = answer("plan", "acme.calls")
    (note,) = plan["notes"]
    assert note.startswith("acme.calls, column phone: keep from this run on; rows that are there, loaded since run ")
    assert ", have null: it was dropped. Those that are at the source, and good, are loaded anew by --full-ref" in note
    assert run(home, "--full-refresh") == run(home) == []


OBJECTS = """\
tenant: acme
pipelines:
  calls:
    importer: jsonl
    config: {{path: "{data}/calls-*.jsonl", stream: calls}}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{none: true, reason: invented}}
      columns: {{id: keep, o.n: keep, o.phone: {phone}}}
    load: {{mode: append, schema_change: {how}}}
"""


def bring(home: Path, phone: str, how: str = "evolve", *, code: int = 0) -> str:
    """A run that finds a file more: what it says."""
    (home / "tenants/acme.yaml").write_text(OBJECTS.format(data=home, phone=phone, how=how))
    number = len(list(home.glob("calls-*.jsonl")))
    (home / f"calls-{number}.jsonl").write_text(json.dumps({"id": number, "o": {"phone": "+49 30", "n": 1}}) + "\n")
    done = call("run", "acme.calls", "--json", code=code)
    return " ".join(done.stderr.split()) if code else "; ".join(json.loads(done.stdout)[0]["notes"])


def test_of_an_object_the_leaf_is_named_that_is_treated_otherwise(home: Path) -> None:
    assert bring(home, "keep") == ""
    assert bring(home, "drop").startswith("acme.calls, o.phone: drop from this run on; rows that are there, loaded ")


def test_a_leaf_that_was_always_dropped_is_new_to_a_frozen_table(home: Path, sql: Sql) -> None:
    bring(home, "drop", "freeze")
    said = bring(home, "keep", "freeze", code=1)
    assert (
        "the columns of calls are frozen, and others arrive within o; got delivered: o.phone string; agreed: " in said
    )
    bring(home, "drop", "freeze")
    assert sql.execute("select o from acme.calls").fetchall() == [({"n": 1},)] * 3
    bring(home, "keep")
    assert bring(home, "keep", "freeze") == ""


@pytest.mark.parametrize(
    ("before", "after", "load"),
    [("keep", "drop", "{mode: replace}"), ("keep", "drop", "{mode: append, table: other}")],
)
def test_what_has_no_old_values_is_not_told(home: Path, before: str, after: str, load: str) -> None:
    describe(home, before, load="{mode: replace}" if "replace" in load else APPEND)
    run(home)
    describe(home, after, load=load)
    assert all("other is new to this pipeline" in note for note in run(home))
