"""Columns that polars takes for patterns, and one called as it names counts: each is itself all through the chain."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from importers.core.tenant import Tenant
from importers.ledger.report import reported
from importers.pages.page import write_page
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run

PIPELINE = {
    "importer": "csv",
    "privacy": {
        "subject": {"column": "^a.*$", "domain": "listener"},
        "columns": {
            "^a.*$": "pseudonymise",
            "^v$": {"treat": "mask", "mask": "email"},
            "*": "keep",
            "^w$": "keep",
            "a": "keep",
            "v": "keep",
            "count": "keep",
        },
        "reason": "a test",
    },
    "quarantine": {"max_fraction": 0.5},
    "expect": [
        {"expect_column_values_to_be_between": {"column": "*", "max_value": 50}},
        {"expect_column_values_to_not_be_null": {"column": "^w$", "row_condition": 'col("^v$").notnull()'}},
        {"expect_column_values_to_be_unique": {"column": "^a.*$"}},
        {"expect_column_mean_to_be_between": {"column": "*", "min_value": 30, "max_value": 30}},
        {"expect_column_proportion_of_unique_values_to_be_between": {"column": "^w$", "max_value": 0.5}},
    ],
}
HEADER = "^a.*$,*,^v$,^w$,a,v,count\n"
ROWS = [
    "ann,10,ann@example.org,x,1,5,few",
    "bob,20,bob@example.org,x,1,5,few",
    "cat,30,cat@example.org,y,1,5,few",
    "dan,60,dan@example.org,y,1,5,few",  # more than 50
    "eve,20,eve@example.org,,1,5,few",  # no `^w$`
    "fay,40,,,1,5,few",  # no `^w$` either, but no address
]


def test_columns_called_like_patterns_are_themselves(
    database: str, sql: psycopg.Connection[Any], tmp_path: Path
) -> None:
    (tmp_path / "plays.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    config = {"path": str(tmp_path / "plays.csv"), "stream": "plays"}
    tenant = Tenant.model_validate(
        {
            "tenant": "acme",
            "privacy": {"purpose": "tests", "lawful_basis": "contract"},
            "pipelines": {"listening": {**PIPELINE, "config": config}},
        }
    )
    at = Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))
    (job,) = jobs(at, tenant, "listening")
    with closing(job):
        run(job, processes=1)
    found = sql.execute('select "^a.*$", "*", "^v$", "^w$", a, v, count from acme.plays order by "*", "^v$"').fetchall()
    assert [row[1:] for row in found] == [
        (10, "a***@example.org", "x", 1, 5, "few"),
        (20, "b***@example.org", "x", 1, 5, "few"),
        (30, "c***@example.org", "y", 1, 5, "few"),
        (40, None, None, 1, 5, "few"),
    ]
    assert len({UUID(str(row[0])) for row in found}) == 4
    (told,) = reported(sql, "acme", "listening")
    assert told.judgement is not None
    profiled = {one["name"]: one for one in told.judgement["profile"]["columns"]}
    assert {name: one["nulls"] for name, one in profiled.items()} == {
        "^a.*$": 0,
        "*": 0,
        "^v$": 1,
        "^w$": 2,
        "a": 0,
        "v": 0,
        "count": 0,
    }
    assert {name: one["distinct"] for name, one in profiled.items()} == {
        "^a.*$": 6,
        "*": 5,
        "^v$": 5,
        "^w$": 2,
        "a": 1,
        "v": 1,
        "count": 1,
    }
    assert sum(told.reasons.values()) == 2, Counter(told.reasons)
    write_page(tmp_path / "report.html", "report.html", pipeline="acme.listening", reports=[told], back=None)
    page = (tmp_path / "report.html").read_text()
    assert "expect_column_values_to_be_between(*)" in page
    assert "^w$" in page
