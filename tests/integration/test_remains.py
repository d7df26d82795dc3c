"""What a run leaves as it was in a table whose rows have keys: said, and under a stricter policy taken out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer, call

from importers.destinations import _lineages
from importers.pipeline import finish
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import resume
from importers.pipeline.remains import left
from importers.pipeline.tenants import read_tenants

Sql = psycopg.Connection[Any]

TENANT = """\
tenant: acme
pipelines:
  calls:
    importer: {importer}
    config: {{path: "{data}/calls-*.{end}", stream: calls}}
    quarantine: {{max_fraction: 1.0}}
    expect: [expect_column_values_to_be_between: {{column: seconds, min_value: 0}}]
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{column: caller, domain: caller}}
      columns: {columns}
    load: {{mode: {mode}, primary_key: id, allow_empty: true}}
"""
COLUMNS = {"id": "keep", "caller": "pseudonymise", "town": "{pseudonymise: {domain: town}}", "seconds": "keep"}


def describe(home: Path, mode: str = "merge", importer: str = "csv", **columns: str) -> None:
    said = ", ".join(f'"{name}": {how}' for name, how in (COLUMNS | columns).items())
    text = TENANT.format(data=home, importer=importer, end=importer, columns=f"{{{said}}}", mode=mode)
    (home / "tenants/acme.yaml").write_text(text)


def deliver(home: Path, number: int, *rows: str) -> None:
    (home / f"calls-{number}.csv").write_text("\n".join(["id,caller,town,seconds", *rows, ""]))


def run(*options: str) -> list[str]:
    (result,) = answer("run", "acme.calls", *options)
    return list(result["notes"])


def table(sql: Sql, columns: str) -> Sequence[tuple[Any, ...]]:
    return sql.execute(f"select {columns} from acme.calls order by 1").fetchall()  # type: ignore[arg-type]


@pytest.fixture
def strict(home: Path) -> Path:
    """Three calls under a policy that then drops the town: one is gone at the source, one is bad by now."""
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1")
    deliver(home, 1, "1,bob,Bonn,1", "2,cyd,Kiel,1")
    assert run() == []
    describe(home, town="drop")
    (home / "calls-0.csv").unlink()
    deliver(home, 1, "1,bob,Bonn,-1", "2,cyd,Kiel,2")
    return home


def test_a_full_refresh_leaves_nothing_of_what_is_dropped_now(strict: Path, sql: Sql) -> None:
    notes = run("--full-refresh")
    assert table(sql, "id, seconds, town") == [(0, 1, None), (1, 1, None), (2, 2, None)]
    assert notes == [
        "acme.calls: 2 rows that this refresh hasn't loaded anew: 1 with a newer version in quarantine and"
        " 1 that the source didn't deliver, or not as new",
        "acme.calls, town: drop now; of 2 rows among those, loaded as pseudonymise(town), the values were removed",
    ]
    again = run("--full-refresh")
    assert again == notes[:1]  # there is nothing left to remove


def test_an_ordinary_run_says_what_stays_and_removes_nothing(strict: Path, sql: Sql) -> None:
    _file_changed, planned, stays, treated = run()
    assert "takes the values out of the others" in planned
    assert stays == "acme.calls: 1 row in an older version, as the newer is in quarantine"
    assert treated.startswith("acme.calls, town: drop now; of 1 row among those, loaded as pseudonymise(town), the val")
    assert treated.endswith("stay so. A full refresh takes them out")
    kept = [town is not None for _, town in table(sql, "id, town")]
    assert kept == [True, True, False]


def test_who_looks_later_finds_it_said(strict: Path) -> None:
    notes = run("--full-refresh")
    last, first = answer("runs", "acme.calls")
    assert (last["notes"], first["notes"]) == (notes, [])
    told = call("runs", "acme.calls").stdout
    assert f"run {last['run']}: {notes[0]}\n" in told
    call("report", "acme.calls", "--out", str(strict / "page.html"))
    assert notes[0].replace("'", "&#39;") in (strict / "page.html").read_text()


def test_whose_a_row_is_stays_known(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1", "1,bob,Ulm,1", "3,,Ulm,1")
    run()
    describe(home, caller="drop", town="drop")
    (home / "calls-0.csv").unlink()
    deliver(home, 1, "2,cyd,Ulm,1")
    run("--full-refresh")
    assert table(sql, "id, caller, town") == [(id_, None, None) for id_ in range(4)]
    assert sql.execute("select id from acme.calls__rows where _subject is null order by 1").fetchall() == [(3,)]
    answer("erase", "acme", "ann", "--yes")
    assert [id_ for (id_,) in table(sql, "id")] == [1, 2, 3]


def test_what_is_kept_now_or_is_a_key_stays_and_is_said(home: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(home, town="{mask: initials}", id="{pseudonymise: {domain: call}}")
    deliver(home, 0, "0,ann,Ulm,1")
    run()
    describe(home, town="keep", id="{pseudonymise: {domain: telephone}}")
    monkeypatch.setattr(_lineages, "check_keys", lambda *_, **__: None)  # as older versions let it pass
    (home / "calls-0.csv").unlink()
    deliver(home, 1, "2,cyd,Kiel,1")
    _, key, town = run("--full-refresh")
    assert "id: pseudonymise(telephone) now; of 1 row among those, loaded as pseudonymise(call), the values stay" in key
    assert "set load.table to a new name" in key
    assert town.endswith("town: keep now; of 1 row among those, loaded as mask(initials), the values stay so")
    assert sorted(town for (town,) in table(sql, "town")) == ["Kiel", "U."]


def test_a_history_keeps_its_versions_without_the_values(home: Path, sql: Sql) -> None:
    describe(home, mode="history")
    deliver(home, 0, "0,ann,Ulm,1", "1,bob,Bonn,1")
    run()
    describe(home, mode="history", town="drop")
    deliver(home, 0, "0,ann,Ulm,1", "1,bob,Bonn,2")
    versions, note = run("--full-refresh")
    assert "each row that is read becomes a version" in versions
    assert "town: drop now; of 2 rows among those, loaded as pseudonymise(town), the values were removed" in note
    assert {town for _, town in table(sql, "id, town")} == {None}
    assert len(table(sql, "id")) == 4


def test_what_ends_a_version_has_nothing_of_its_treatment(
    home: Path, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a row of the run that found the key gone: no later one would take the values out of it."""
    monkeypatch.setenv("POSTGRESQL_SOURCE_URL", database)
    sql.execute("create table calls (id int, caller text, town text, seconds int)")
    sql.execute("insert into calls values (0, 'ann', 'Ulm', 1), (1, 'bob', 'Bonn', 1)")
    config = "{tables: [calls], table_schema: public, read: full}"

    def by(**columns: str) -> None:
        describe(home, mode="history", importer="postgresql", **columns)
        file = home / "tenants/acme.yaml"
        file.write_text(re.sub(r"config: .*", f"config: {config}", file.read_text()))

    by(town="keep")
    run()
    by(caller="drop", town="drop")
    sql.execute("delete from calls where id = 0")
    run()
    ends = sql.execute("select id, caller, town, _subject is not null from acme.calls__rows where _deleted").fetchall()
    assert ends == [(0, None, None, True)]
    (cleared,) = [place for place in answer("erase", "acme", "ann", "--yes")["places"] if place["outcome"] == "clear"]
    assert cleared["rows"] == 2


def test_of_a_document_only_the_leaf_goes(home: Path, sql: Sql) -> None:
    paths = {"call.to": "keep", "call.name": "keep", "legs[].via": "keep", "legs[].n": "keep", "tags[]": "keep"}
    describe(home, importer="jsonl", **paths)
    one = {"call": {"to": "dan", "name": "x"}, "legs": [{"via": "eve", "n": 1}, {"via": None, "n": 2}], "tags": ["fay"]}
    record = {"id": 0, "caller": "ann", "town": "Ulm", "seconds": 1} | one
    (home / "calls-0.jsonl").write_text(json.dumps(record) + "\n")
    run()
    describe(home, importer="jsonl", **(paths | {"call.to": "drop", "legs[].via": "drop", "tags[]": "drop"}))
    (home / "calls-0.jsonl").write_text(json.dumps(record | {"id": 1}) + "\n")
    notes = run("--full-refresh")
    assert sum("the values were removed" in note for note in notes) == 3
    old, new = table(sql, "id, call, legs, tags")
    assert old[1:3] == new[1:3] == ({"name": "x"}, [{"n": 1}, {"n": 2}])
    assert (old[3], new[3]) == ([], None)


@pytest.mark.parametrize(
    ("by_hand", "stays"),
    [
        ("alter table acme.calls__rows drop column town cascade", [0, 1, 2]),
        ("drop table acme.calls__rows cascade", [2]),
    ],
)
def test_a_column_that_the_table_has_no_more_holds_nothing(
    strict: Path, sql: Sql, by_hand: str, stays: list[int]
) -> None:
    """The ledger goes on saying what was loaded into it."""
    sql.execute(by_hand)  # type: ignore[arg-type]
    assert not any("town" in note for note in run("--full-refresh"))
    assert [id_ for (id_,) in table(sql, "id")] == stays
    deliver(strict, 3, "2,cyd,Kiel,-1")
    note = run()[-1]
    assert note == "acme.calls: 1 row in an older version, as the newer is in quarantine"


def test_runs_that_were_open_at_once_are_told_apart(home: Path, sql: Sql) -> None:
    """One that was opened first came to its gate last, under the newer policy: its version isn't this run's."""
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1")
    run()
    sql.execute(
        "insert into _importers.schema_version select stream, 2, 'x', columns, 1 from _importers.schema_version"
    )
    sql.execute(
        "insert into _importers.lineage select stream, 2, source, personal, 'drop', null, table_name, null"
        " from _importers.lineage"
    )
    describe(home, town="drop")
    (home / "calls-0.csv").unlink()
    deliver(home, 1, "2,cyd,Kiel,1")
    assert "of 1 row among those, loaded as pseudonymise(town), the values were removed" in run("--full-refresh")[-1]
    assert table(sql, "id, town") == [(0, None), (2, None)]


def test_what_a_newer_policy_has_let_in_meanwhile_stays(home: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1")
    run()
    describe(home, town="drop")
    deliver(home, 1, "1,bob,Bonn,1")
    commit = finish.commit

    def after_another(*args: Any) -> Any:
        monkeypatch.setattr(finish, "commit", commit)
        describe(home)
        deliver(home, 2, "2,cyd,Kiel,1")
        answer("run", "acme.calls", "--start", "2020-01-01T00:00:00Z", "--end", "2100-01-01T00:00:00Z")
        return commit(*args)

    monkeypatch.setattr(finish, "commit", after_another)
    run("--full-refresh")
    assert [town is not None for _, town in table(sql, "id, town")] == [True] * 3


def test_of_a_table_that_pipelines_share_only_the_stream_s_own_rows_are_told(home: Path) -> None:
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1")
    run()
    file = home / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("allow_empty: true", "allow_empty: true, shared: true"))
    _, block = file.read_text().split("pipelines:\n")
    file.write_text(file.read_text() + block.replace("  calls:\n", "  more:\n").replace("calls-*", "more-*"))
    deliver(home, 1, "1,bob,Bonn,1")
    (home / "calls-1.csv").rename(home / "more-1.csv")
    (result,) = answer("run", "acme.more", "--full-refresh")
    assert (result["rows_loaded"], result["notes"]) == (1, [])


def test_a_commit_that_comes_again_says_and_does_nothing_more(strict: Path, sql: Sql) -> None:
    notes = run("--full-refresh", "--key", "again")
    number, said = sql.execute("select id, notes from _importers.run where key = 'again'").fetchone() or (0, [])
    assert said == notes
    (file,), _ = read_tenants(strict / "tenants", lambda _: True)
    job, opened = resume(Installation.from_environment(), file.tenant, "calls", number)
    with closing(job):
        assert left(job, opened) == ((), ())
        finish.commit(job, opened)
    assert sql.execute("select notes from _importers.run where id = %s", (number,)).fetchone() == (notes,)


def test_a_key_that_comes_twice_is_told_of_as_such(home: Path, sql: Sql) -> None:
    describe(home)
    deliver(home, 0, "0,ann,Ulm,1", "1,bob,Bonn,1", "0,ann,Ulm,2", "0,ann,Ulm,3")
    (result,) = answer("run", "acme.calls")
    assert (result["rows_read"], result["rows_loaded"]) == (4, 4)
    assert result["notes"] == [
        "acme.calls: of 4 rows loaded 2 gave way to another of the same key, newer or read later"
    ]
    assert table(sql, "id, seconds") == [(0, 3), (1, 1)]
    deliver(home, 1, "2,cyd,Kiel,1")
    assert run() == []


@pytest.mark.parametrize("key", ["{pseudonymise: {domain: call}}", "{encrypt: {deterministic: true}}"])
def test_keys_in_quarantine_are_looked_for_as_they_stand_in_the_table(home: Path, key: str) -> None:
    describe(home, id=key)
    deliver(home, 0, "0,ann,Ulm,1", "1,bob,Bonn,1")
    run()
    deliver(home, 1, "0,ann,Ulm,-1", "7,dan,Kiel,-1", ",eve,Kiel,-1")
    assert run() == ["acme.calls: 1 row in an older version, as the newer is in quarantine"]
