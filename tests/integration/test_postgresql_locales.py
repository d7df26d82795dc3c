"""A PostgreSQL that sorts text by a locale, as most do: what is cut, compared and merged by text loses no row by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.services.postgresql_locales import database_of, postgresql_with_locales

from importers.core.connection import Connection
from importers.core.tenant import Tenant
from importers.pipeline import plan
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.sources.databases.postgresql import Postgresql

pytestmark = pytest.mark.services
ALIKE = ("a", "A", "ä", "Ä", "-a", "a-", "a b", "ab", "aB", "_a", "z", "Z", "ß", "ss", "SS", "é", "e", "E", "1", "")
"""Bytes put `Z` before `a`, locales don't; for some of these marks and blanks count last, or not at all."""
MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql_with_locales() as url:
        yield url


@pytest.fixture(params=["glibc", "icu", "latin1"])
def located(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with a table of texts as its key, in whose order they aren't in that of their bytes."""
    with database_of(server, request.param) as url:
        with psycopg.connect(url, autocommit=True, client_encoding="utf8") as sql:
            sql.execute("create table things (id text primary key, n int, at timestamptz not null default now())")
            for n, (front, back) in enumerate((front, back) for front in ALIKE for back in ALIKE):
                sql.execute("insert into things (id, n) values (%s, %s)", (f"{front}/{back}", n))
            apart = 'select array_agg(id order by id) <> array_agg(id order by id collate "C") from things'
            assert sql.execute(apart).fetchone() == (True,)
        yield url


@pytest.fixture
def job(tmp_path: Path, encryption_key: str) -> MakeJob:
    def make(url: str, config: dict[str, Any], load: dict[str, Any], warehouse: str) -> Job:
        pipeline = {
            "importer": "postgresql",
            "config": {"tables": ["things"], **config},
            "privacy": {
                "subject": {"none": True, "reason": "measured by machines"},
                "columns": {"*": "keep"},
                "reason": "made up for a test",
            },
            "load": load,
        }
        installation = Installation(tmp_path, warehouse, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))
        tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"copy": pipeline}})
        (made,) = jobs(installation, tenant, "copy", connection=Connection({"url": url}))
        return made

    return make


def bring(made: Job) -> Result:
    with closing(made):
        return run(made, processes=1)


def told(url: str, table: str) -> list[Any]:
    with psycopg.connect(url, client_encoding="utf8") as sql:
        return sql.execute(f'select id, n from {table} order by id collate "C"').fetchall()  # type: ignore[arg-type]


def test_ranges_of_a_text_hold_each_row_once(
    located: str, database: str, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 1)
    with psycopg.connect(located, autocommit=True) as sql:
        sql.execute("alter table things add filler text; update things set filler = repeat('x', 500)")
    config = {"read": "full", "partition_by": "primary key", "partitions": 6}
    with closing(job(located, config, {"mode": "replace"}, database)) as made:
        parts = plan.plan(made, "r1").plan.partitions
        found = [
            [n for batch in made.source.read(made.stream, part) for n in batch.rows["n"].to_pylist()] for part in parts
        ]
    assert len(found) == 6
    assert all(found)
    assert sorted(n for part in found for n in part) == list(range(len(ALIKE) ** 2))


def test_ranges_of_a_text_whose_case_does_not_count_hold_each_row_once(
    server: str, database: str, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a collation in which texts of other bytes are equal."""
    monkeypatch.setattr(Postgresql, "split_above", 1)
    with database_of(server, "icu") as url:
        with psycopg.connect(url, autocommit=True) as sql:
            sql.execute("create collation anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
            sql.execute("create table things (id text collate anycase, n int, filler text)")
            sql.execute(
                "insert into things select case n % 2 when 0 then upper(id) else id end, n, repeat('x', 500)"
                " from (select n, chr(97 + n % 26) || n % 7 as id from generate_series(1, 400) n) s"
            )
        config = {"read": "full", "partition_by": "id", "partitions": 6}
        with closing(job(url, config, {"mode": "replace"}, database)) as made:
            parts = plan.plan(made, "r1").plan.partitions
            found = [
                n
                for part in parts
                for batch in made.source.read(made.stream, part)
                for n in batch.rows["n"].to_pylist()
            ]
    assert len(parts) == 6
    assert sorted(found) == list(range(1, 401))


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_rows_of_texts_that_a_locale_puts_together_stay_apart_in_a_warehouse_that_has_it(
    located: str, server: str, job: MakeJob, mode: str
) -> None:
    """Read incrementally by a cursor, with a lookback."""
    config = {"read": "incremental", "cursor": "at"}
    load = {"mode": mode, "lookback": 3_600_000_000}
    with database_of(server, "icu" if "icu" in located else "glibc") as warehouse:
        assert bring(job(located, config, load, warehouse)).rows_loaded == len(ALIKE) ** 2
        with psycopg.connect(located, autocommit=True, client_encoding="utf8") as sql:
            sql.execute("update things set n = n + 1000, at = now() where id in ('a/A', 'A/a', 'ä/ß', 'Z/z')")
            sql.execute("insert into things (id, n) values ('ÄÖ', 7), ('äö', 8)")
        bring(job(located, config, load, warehouse))
        table = "acme.things" if mode == "merge" else "(select * from acme.things where valid_to is null) as now"
        assert told(warehouse, table) == told(located, "things")


def test_changes_come_by_the_log_whatever_the_order_and_the_encoding_are(
    located: str, database: str, job: MakeJob
) -> None:
    config = {"read": "cdc", "create_replication": True}
    bring(job(located, config, {"mode": "merge"}, database))
    with psycopg.connect(located, autocommit=True, client_encoding="utf8") as sql:
        sql.execute("delete from things where id = 'a/A'")
        sql.execute("update things set id = 'Ä/new', n = -1 where id = 'ä/ä'")
        sql.execute("insert into things (id, n) values ('ÄÖ', 7), ('äö', 8)")
    bring(job(located, config, {"mode": "merge"}, database))
    assert told(database, "acme.things") == told(located, "things")
