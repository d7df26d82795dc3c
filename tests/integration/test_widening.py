"""A type that widens past the sample, through the whole chain: what the table has, and what stays out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from importers.core.model import RunKind
from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.job import jobs
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
