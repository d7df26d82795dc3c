"""What was no row, and is one by the settings of today: a replay reads it again, where the file is as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import answer

from importers.pipeline import rejects

Sql = psycopg.Connection[Any]

TENANT = """\
tenant: acme
pipelines:
  plays:
    importer: {importer}
    config: {{path: "{data}/plays-*.{end}", stream: plays{more}}}
    quarantine: {{max_fraction: 1.0}}
    privacy:
      purpose: tests
      lawful_basis: contract
      subject: {{column: who, domain: listener}}
      columns: {{id: keep, who: pseudonymise, paid: keep, at: keep}}
    load: {{mode: {mode}}}
"""
CSV = ["id,who,paid,at", *(f"{n},ann,{n}.5,2026-01-0{n}" for n in range(1, 6)), "6,bob,n/a,2026-01-06", "7,cyd,7.5"]


def describe(home: Path, more: str = "", importer: str = "csv", mode: str = "append") -> None:
    text = TENANT.format(data=home, more=more, importer=importer, end=importer, mode=mode)
    (home / "tenants/acme.yaml").write_text(text)


def paid(sql: Sql) -> list[Any]:
    return sql.execute("select id, paid, at::text, who is not null from acme.plays where id > 5 order by id").fetchall()


@pytest.fixture
def refused(home: Path) -> Path:
    """Of two files, whose columns are in another order, a record each that the sample's types refuse."""
    (home / "plays-1.csv").write_text("\n".join(CSV) + "\n")
    sample = ", sample_rows: 3"
    describe(home, sample)
    (result,) = answer("run", "acme.plays")
    assert (result["rows_loaded"], result["rows_quarantined"]) == (5, 2)
    (home / "plays-2.csv").write_text("at,paid,who,id\n2026-02-01,n/a,dan,8\n2026-02-02,9.5,eve,9\n")
    (result,) = answer("run", "acme.plays")
    assert (result["rows_loaded"], result["rows_quarantined"]) == (1, 1)
    describe(home, sample + ', null_values: ["", "n/a"]')
    return home


def test_a_record_that_is_a_row_now_is_loaded_once(refused: Path, sql: Sql) -> None:
    (result,) = answer("quarantine", "replay", "acme.plays", code=1)
    assert (result["rows_loaded"], result["rows_quarantined"]) == (2, 1)  # the other lacks a column
    rows = [(6, None, "2026-01-06", True), (8, None, "2026-02-01", True), (9, 9.5, "2026-02-02", True)]
    assert paid(sql) == rows
    answer("quarantine", "replay", "acme.plays", code=1)
    assert paid(sql) == rows


def test_of_a_file_that_is_not_as_it_was_nothing_is_read(refused: Path, sql: Sql) -> None:
    (refused / "plays-1.csv").unlink()
    (refused / "plays-2.csv").write_text("at,id,who,paid\n2026-02-01,1,ann,2.5\n")  # what was refused is a row by it
    (result,) = answer("quarantine", "replay", "acme.plays", code=1)
    assert (result["rows_loaded"], result["rows_quarantined"]) == (0, 3)
    assert [id_ for id_, *_ in paid(sql)] == [9]


def test_who_was_erased_meanwhile_stays_out(refused: Path, sql: Sql) -> None:
    answer("erase", "acme", "dan", "--yes")
    (result,) = answer("quarantine", "replay", "acme.plays", code=1)
    assert result["rows_loaded"] == 1
    assert [id_ for id_, *_ in paid(sql)] == [6, 9]


def demand_paid(home: Path) -> None:
    """A rule that breaks what was no row: it goes into quarantine again, as one."""
    rule = "    expect: [expect_column_values_to_not_be_null: {column: paid}]\n    load:"
    file = home / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("    load:", rule))


def places_of_rows() -> list[str]:
    shown = answer("quarantine", "show", "acme.plays")
    return [row["_location"].rpartition("/")[2] for one in shown for row in one["rows"]]


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose a record is that is no row, nobody knows when it comes."""
    monkeypatch.setattr(rejects.Whose, "_values", lambda *_: iter(()))


def test_who_was_erased_meanwhile_does_not_come_into_quarantine_again(unsaid: None, refused: Path) -> None:
    demand_paid(refused)
    answer("erase", "acme", "dan", "--yes")
    (result,) = answer("quarantine", "replay", "acme.plays", code=1)
    assert (result["rows_read"], result["rows_quarantined"], result["rows_suppressed"]) == (3, 2, 1)
    assert places_of_rows() == ["plays-1.csv:line 7"]


def test_a_place_is_kept_by_what_is_bad_then(refused: Path) -> None:
    demand_paid(refused)
    answer("quarantine", "replay", "acme.plays", code=1)
    assert places_of_rows() == ["plays-1.csv:line 7", "plays-2.csv:line 2"]


def test_what_a_later_run_has_read_again_is_not_loaded_twice(home: Path, sql: Sql) -> None:
    """Of two days in one quarantine file the second has been read once more since, and is right by now."""
    for day, id_ in ((1, 8), (2, 9)):
        (home / f"plays-2026-02-0{day}.csv").write_text(f"id,who,paid,at\n{id_},ann,n/a,2026-02-0{day}\n")
    daily = ', interval: "plays-%Y-%m-%d", types: {paid: number}'
    describe(home, daily)
    (result,) = answer("run", "acme.plays", "--from", "2026-02-01T00:00Z", "--to", "2026-02-03T00:00Z")
    assert (result["rows_loaded"], result["rows_quarantined"]) == (0, 2)
    describe(home, daily + ', null_values: ["", "n/a"]')
    answer("run", "acme.plays", "--from", "2026-02-02T00:00Z", "--to", "2026-02-03T00:00Z")
    assert [id_ for id_, *_ in paid(sql)] == [9]
    (result,) = answer("quarantine", "replay", "acme.plays")
    assert result["rows_loaded"] == 1
    assert [id_ for id_, *_ in paid(sql)] == [8, 9]


def test_lines_of_json_too(home: Path, sql: Sql) -> None:
    lines = [{"id": n, "who": "ann", "paid": n, "at": "2026-01-01T00:00:00"} for n in range(1, 8)]
    lines[6]["at"] = "soon"
    sample = ", sample_rows: 5"
    (home / "plays-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    describe(home, sample + ", types: {at: timestamp}", "jsonl")
    (result,) = answer("run", "acme.plays")
    assert (result["rows_loaded"], result["rows_quarantined"]) == (6, 1)
    sql.execute("alter table acme.plays alter column at type text")
    describe(home, sample + ", types: {at: string}", "jsonl")
    (result,) = answer("quarantine", "replay", "acme.plays")
    assert result["rows_loaded"] == 1
    assert paid(sql)[-1] == (7, 7, "soon", True)


def test_whose_a_record_is_that_a_flattened_object_says(home: Path, sql: Sql) -> None:
    """An erased person's stays neither in quarantine nor comes into it again."""

    def deliver(day: int) -> dict[str, Any]:
        records = [{"id": n, "user": {"who": who, "paid": paid}} for n, who, paid in ((1, "ann", 1), (2, "bob", "?"))]
        (home / f"plays-{day}.json").write_text(json.dumps([{**record, "at": "-"} for record in records]))
        (result,) = answer("run", "acme.plays")
        return {key: result[f"rows_{key}"] for key in ("loaded", "quarantined", "suppressed")}

    describe(home, ", nested: flatten, sample_rows: 1", "json")
    file = home / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("column: who, ", "column: user_who, ").replace("who: p", "user_who: p"))
    file.write_text(file.read_text().replace("paid: keep", "user_paid: keep"))
    assert deliver(1) == {"loaded": 1, "quarantined": 1, "suppressed": 0}
    answer("erase", "acme", "bob", "--yes")
    assert sql.execute("select sum(rows) from _importers.quarantine").fetchall() == [(0,)]
    assert deliver(2) == {"loaded": 1, "quarantined": 0, "suppressed": 1}
