"""A type that widens past the sample, through the whole chain: what the table has, and what stays out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from importers.core.model import RunKind
from importers.core.tenant import Tenant
from importers.exceptions import ContractError
from importers.pipeline.held import contents, show
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.preview import preview
from importers.pipeline.run import Result, run

ROWS = "id,n,d\n1,10,2024-01-01\n2,11,2024-01-02\n3,12.5,2024-01-03 10:30:00\n4,13,2024-01-04\n"


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


def tenant(path: Path, *, n: str = "keep", config: dict[str, Any] | None = None, **pipeline: Any) -> Tenant:
    privacy = {
        "subject": {"none": True, "reason": "nobody in it exists"},
        "columns": {"id": "keep", "n": n, "d": "keep"},
        "purpose": "a test",
        "lawful_basis": "consent",
    }
    settings = {"path": str(path / "*.csv"), "stream": "plays", "sample_rows": 1} | (config or {})
    body = {"importer": "csv", "config": settings, "privacy": privacy, "quarantine": {"max_fraction": 0.5}} | pipeline
    return Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": body}})


def imported(installation: Installation, whose: Tenant) -> Result:
    (job,) = jobs(installation, whose, "listening")
    with closing(job):
        return run(job, processes=1)


def table(sql: psycopg.Connection) -> list[tuple[Any, ...]]:
    return sql.execute("select id, n, d::text from acme.plays order by id").fetchall()


WIDE = [
    (1, 10.0, "2024-01-01 00:00:00"),
    (2, 11.0, "2024-01-02 00:00:00"),
    (3, 12.5, "2024-01-03 10:30:00"),
    (4, 13.0, "2024-01-04 00:00:00"),
]


@pytest.mark.parametrize("partitions", [1, 2])
def test_partitions_of_one_run_and_runs_after_it_agree_on_the_wider_type(
    installation: Installation,
    sql: psycopg.Connection,
    tmp_path: Path,
    partitions: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importers.sources.files.csv.Csv.whole_below", 1)
    (tmp_path / "a.csv").write_text(ROWS)
    key_and_sum = {
        "expect": [
            {"expect_column_values_to_be_unique": {"column": "n"}},
            {"expect_column_sum_to_be_between": {"column": "n", "min_value": 46.5, "max_value": 46.5}},
        ]
    }
    whose = tenant(tmp_path, config={"max_partitions": partitions}, **key_and_sum)
    result = imported(installation, whose)
    assert len(result.receipts) == partitions
    assert (result.rows_loaded, result.rows_quarantined) == (4, 0)
    assert table(sql) == WIDE
    (tmp_path / "b.csv").write_text("id,n,d\n5,14,2024-01-05\n")
    imported(installation, tenant(tmp_path, config={"max_partitions": partitions}))
    assert table(sql) == [*WIDE, (5, 14.0, "2024-01-05 00:00:00")]


def test_a_table_of_integers_becomes_one_of_numbers(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id,n,d\n0,9,2023-12-31\n")
    assert imported(installation, tenant(tmp_path)).rows_loaded == 1
    (tmp_path / "b.csv").write_text(ROWS)
    (job,) = jobs(installation, tenant(tmp_path), "listening")
    assert preview(job).table.num_rows == 4
    assert imported(installation, tenant(tmp_path)).rows_loaded == 4
    assert table(sql) == [(0, 9.0, "2023-12-31 00:00:00"), *WIDE]


@pytest.mark.parametrize(("load", "on"), [("append", "plays"), ("merge", "plays"), ("merge", "plays__rows")])
def test_views_that_are_in_the_way_of_a_wider_type_are_named(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, load: str, on: str
) -> None:
    loaded = {"load": {"mode": load, "primary_key": "id"}} if load == "merge" else {}
    (tmp_path / "a.csv").write_text("id,n,d\n1,10,2024-01-01\n")
    imported(installation, tenant(tmp_path, **loaded))
    sql.execute(f"create view acme.mine as select n from acme.{on}")  # type: ignore[arg-type]
    sql.execute("create view acme.other as select id from acme.plays__rows" if load == "merge" else "select 1")
    (tmp_path / "b.csv").write_text("id,n,d\n2,12.5,2024-01-02\n")
    with pytest.raises(ContractError, match=r"double precision.*got bigint, shown by acme\.mine\. Drop these views"):
        imported(installation, tenant(tmp_path, **loaded))
    sql.execute("drop view acme.mine")
    assert imported(installation, tenant(tmp_path, **loaded)).rows_loaded == 1


@pytest.mark.parametrize(
    "pipeline",
    [
        {"load": {"schema_change": "freeze"}},
        {"n": "pseudonymise"},
        {"load": {"mode": "merge", "primary_key": "n"}},
        {"expect": [{"expect_column_values_to_match_regex": {"column": "n", "regex": "^1"}}]},
        {"expect": [{"expect_column_values_to_be_of_type": {"column": "n", "type_": "integer"}}]},
        {"config": {"types": {"n": "integer"}}},
    ],
)
def test_where_a_wider_type_would_mean_something_else_the_row_is_quarantined(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, pipeline: dict[str, Any]
) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    result = imported(installation, tenant(tmp_path, **pipeline))
    assert (result.rows_loaded, result.rows_quarantined) == (3, 1)
    assert [reason.split(":")[0] for reason in result.rules] == ["column 'n'"]
    assert sql.execute("select array_agg(id order by id) from acme.plays").fetchone() == ([1, 2, 4],)


def test_a_wider_value_comes_back_from_quarantine_as_it_was(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    """A day that a replay cut a moment to would be loaded without a word."""
    (tmp_path / "a.csv").write_text(ROWS)
    strict = tenant(tmp_path, expect=[{"expect_column_values_to_be_in_set": {"column": "id", "value_set": [1, 2, 4]}}])
    assert imported(installation, strict).rows_quarantined == 1
    (job,) = jobs(installation, tenant(tmp_path), "listening")
    with closing(job):
        assert run(job, kind=RunKind.REPLAY, processes=1).rows_loaded == 1
    assert [(number, n, d[:19]) for number, n, d in table(sql)] == WIDE


def test_integers_that_no_double_holds_beside_fractions_of_another_partition_ask_for_types(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.sources.files.csv.Csv.whole_below", 1)
    (tmp_path / "a.csv").write_text(f"id,n,d\n1,1,2024-01-01\n2,{2**53 + 1},2024-01-01\n")
    (tmp_path / "b.csv").write_text("id,n,d\n3,2,2024-01-01\n4,1.5,2024-01-01\n")
    with pytest.raises(ContractError, match="column 'n' has integers of more digits") as caught:
        imported(installation, tenant(tmp_path, config={"max_partitions": 2}))
    assert "`types`" in str(caught.value)
    assert str(2**53 + 1) not in str(caught.value)
    exact = {"max_partitions": 2, "types": {"n": "decimal(20,1)"}}
    assert imported(installation, tenant(tmp_path, config=exact, load={"table": "exact"})).rows_loaded == 4
    assert sql.execute("select max(n)::text from acme.exact").fetchone() == (f"{2**53 + 1}.0",)


POSITIVE = [{"expect_column_values_to_be_between": {"column": "n", "min_value": 0}}]


def kept_out(installation: Installation, whose: Tenant) -> list[tuple[str, str]]:
    """Where each reject of the pipeline stood, and why it is one."""
    destination = installation.open_destination("listening", installation.keyring().tenant("acme"))
    with closing(destination):
        files = contents(destination, whose).held
        shown = [show(installation, whose, "listening", held, 10).rejects for held in files]
    return [(Path(row["_location"]).name, row["_reason"]) for table in shown for row in table.to_pylist()]


@pytest.mark.parametrize("first", ["12.5", "7"])
def test_an_odd_cell_in_a_later_file_is_quarantined_and_tells_its_place(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, first: str
) -> None:
    """By itself the new file's sample says text, which no rule on numbers can judge and no column of numbers hold."""
    whose = tenant(tmp_path, config={"sample_rows": 100}, expect=POSITIVE)
    (tmp_path / "a.csv").write_text(f"id,n,d\n1,{first},2024-01-01\n")
    assert imported(installation, whose).rows_loaded == 1
    (tmp_path / "b.csv").write_text("id,n,d\n2,abc,2024-01-02\n3,8.5,2024-01-03\n4,9,some day\n")
    result = imported(installation, tenant(tmp_path, expect=POSITIVE, quarantine={"max_fraction": 0.7}))
    assert (result.rows_loaded, result.rows_quarantined) == (1, 2)
    assert sql.execute("select id, n from acme.plays order by id").fetchall() == [(1, float(first)), (3, 8.5)]
    by = "which the column is by the sample or the run before: see `types`"
    assert kept_out(installation, whose) == [
        ("b.csv:line 2", f"column 'n': not a number, {by}"),
        ("b.csv:line 4", f"column 'd': not a date such as 2026-12-31, {by}"),
    ]


def test_text_stays_text_though_a_later_file_has_only_numbers(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id,n,d\n1,A7,2024-01-01\n")
    imported(installation, tenant(tmp_path))
    (tmp_path / "a.csv").unlink()
    (tmp_path / "b.csv").write_text("id,n,d\n2,1.50,2024-01-02\n")
    assert imported(installation, tenant(tmp_path)).rows_loaded == 1
    assert sql.execute("select n from acme.plays order by id").fetchall() == [("A7",), ("1.50",)]


def test_what_no_wider_type_may_take_keeps_the_type_of_the_run_before(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    """The pseudonyms of 7 and 7.0 differ: a file of fractions mustn't give the person another one."""
    whose = tenant(tmp_path, n="pseudonymise", config={"sample_rows": 100})
    (tmp_path / "a.csv").write_text("id,n,d\n1,7,2024-01-01\n")
    imported(installation, whose)
    (tmp_path / "b.csv").write_text("id,n,d\n2,7,2024-01-01\n3,7.5,2024-01-01\n")
    assert imported(installation, whose).rows_quarantined == 1
    assert sql.execute("select count(distinct n), count(*) from acme.plays").fetchone() == (1, 2)


@pytest.mark.parametrize(
    ("importer", "texts"),
    [
        ("jsonl", ['{"id": 1, "n": 1.5, "d": "2024-01-01 00:00:00"}', '{"id": 2, "n": 2, "d": "soon"}']),
        ("json", ['[{"id": 1, "n": 1.5, "d": "2024-01-01 00:00:00"}]', '[{"id": 2, "n": 2, "d": "soon"}]']),
    ],
)
def test_json_keeps_to_the_run_before_alike(
    installation: Installation, tmp_path: Path, importer: str, texts: list[str]
) -> None:
    whose = tenant(tmp_path, config={"path": str(tmp_path / "*.txt")}, importer=importer)
    (tmp_path / "a.txt").write_text(texts[0])
    assert imported(installation, whose).rows_loaded == 1
    (tmp_path / "b.txt").write_text(texts[1])
    open_to_all = tenant(
        tmp_path, config={"path": str(tmp_path / "*.txt")}, importer=importer, quarantine={"max_fraction": 1.0}
    )
    assert imported(installation, open_to_all).rows_quarantined == 1
    assert [where for where, _ in kept_out(installation, whose)] == [
        f"b.txt:{'line' if importer == 'jsonl' else 'record'} 1"
    ]
