"""A preview: what a run would load, and that nothing anywhere shows that somebody looked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from import_site import FIRST, PIPELINE, SECOND, STREAM, Inspector, Site, cut_small, good

from importers.core.model import LoadMode, Window
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, PrivacyError
from importers.pipeline.erase import Request, erase
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.preview import preview

NEGATIVE, TWICE = (
    "expect_column_values_to_be_between(score)",
    "expect_column_values_to_be_unique(play)",
)


@pytest.fixture
def site(tmp_path: Path, database: str, encryption_key: str) -> Site:
    site = Site.make(tmp_path, database, "acme", LoadMode.APPEND)
    site.second()
    return site


def everything(sql: psycopg.Connection[Any], site: Site) -> object:
    """All tables with all rows that matter, and all files."""
    tables = [
        f"{s}.{t}" for s, t in sql.execute("select schemaname, tablename from pg_tables order by 1, 2").fetchall()
    ]
    rows = {
        name: sql.execute(f"select * from {name} t order by t::text").fetchall()  # type: ignore[arg-type]
        for name in tables
        if not name.startswith(("pg_catalog.", "information_schema."))
    }
    return tables, rows, sorted(path for path in site.root.rglob("*") if site.data not in (path, *path.parents))


def shown(site: Site, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
    table = preview(site.job, *args, **options).table
    return [tuple(row.values()) for row in table.select(["play", "id", "track", "score"]).to_pylist()]


def test_the_first_good_rows_under_the_policy(site: Site) -> None:
    seen = preview(site.job, 5)
    assert seen.table.column_names == ["play", "id", "listener", "track", "score"]
    assert shown(site, 5) == [(r[0], r[1], r[3], r[4]) for r in good(SECOND)][:5]
    assert not any("listener" in str(token) for token in seen.table["listener"].to_pylist())
    assert {leaf.source: leaf.treatment for leaf in seen.columns}["listener"].startswith("pseudonymise")
    assert (seen.stream, seen.target) == (f"acme.{PIPELINE}.{STREAM}", "acme.plays")


def test_what_would_be_quarantined_is_counted_by_rule(site: Site) -> None:
    with cut_small():
        seen = preview(site.job, 1000)
    assert seen.complete
    assert (seen.read, seen.bad, seen.rejected) == (len(SECOND) + 1, 3, 1)
    assert seen.rules == {NEGATIVE: 1, TWICE: 2}
    assert sum(seen.reasons.values()) == 1
    assert sorted(seen.table["play"].to_pylist()) == sorted(row[0] for row in good(SECOND))
    assert seen.failures == ()


def test_a_preview_tells_what_the_run_then_does(site: Site) -> None:
    seen, did = preview(site.job, 1000), site.run("one")
    assert (seen.read, seen.table.num_rows) == (did.rows_read, did.rows_loaded)
    assert {**seen.rules, **seen.reasons} == did.rules


def test_erased_persons_are_neither_shown_nor_counted_as_bad(site: Site) -> None:
    """Of listener 0 are the row that breaks a rule and, at the other end of the file, one of two that are the same."""
    job = site.job
    with closing(job):
        request = Request(["listener 0"], asked_by="tests", domain="listener")
        erase(job.installation, job.tenant, request)
    with cut_small():
        for size in range(1, 9):  # whatever part of a batch is theirs, as many others are shown as were asked for
            assert shown(site, size) == [(r[0], r[1], r[3], r[4]) for r in SECOND if r[2] != "listener 0"][:size]
        seen, did = preview(site.job, 1000), site.run("one")
    assert seen.suppressed == did.rows_suppressed == sum(row[2] == "listener 0" for row in SECOND)
    assert (seen.read, seen.table.num_rows) == (did.rows_read, did.rows_loaded)
    assert seen.bad + seen.rejected == did.rows_quarantined == 1
    assert {**seen.rules, **seen.reasons} == did.rules


def test_it_reads_no_further_than_it_must(site: Site) -> None:
    with cut_small():  # a batch holds few rows
        seen = preview(site.job, 1)
    assert seen.table.num_rows == 1
    assert not seen.complete
    assert seen.read < len(SECOND)


@pytest.mark.parametrize("ran", [False, True])
def test_nothing_is_written(site: Site, sql: psycopg.Connection[Any], ran: bool) -> None:
    if ran:
        site.run("one")
        site.first()
    before = everything(sql, site)
    assert shown(site) != []
    assert everything(sql, site) == before


def test_what_was_loaded_is_not_shown_unless_everything_is_asked_for(site: Site) -> None:
    site.run("one")
    assert preview(site.job).table.num_rows == preview(site.job).read == 0
    assert preview(site.job).table.column_names == ["play", "id", "listener", "track", "score"]
    site.first()
    assert [row[0] for row in shown(site)] == [row[0] for row in FIRST]


def test_a_window_is_what_a_backfill_would_read(tmp_path: Path, database: str, encryption_key: str) -> None:
    site = Site.make(tmp_path, database, "acme", LoadMode.MERGE)
    site.first()
    site.run("one")
    year_2000 = Window("2000-01-01T00:00:00+00:00", "2001-01-01T00:00:00+00:00")
    assert shown(site, window=year_2000) == []
    assert len(shown(site, window=Window("2001-01-01T00:00:00+00:00"))) == len(FIRST)
    with pytest.raises(ConfigError, match="a backfill would append"):
        preview(changed(site, load={"mode": "append"}), window=year_2000)


def test_a_full_refresh_looks_at_everything_again(tmp_path: Path, database: str, encryption_key: str) -> None:
    site = Site.make(tmp_path, database, "acme", LoadMode.MERGE)
    site.first()
    site.run("one")
    assert preview(site.job).read == 0
    assert preview(site.job, full_refresh=True).read == len(FIRST)


def test_why_the_run_would_fail_is_said_of_a_whole_reading_only(site: Site) -> None:
    strict = changed(site, quarantine={"max_fraction": 0.01})
    assert [failure.split(":")[0] for failure in preview(strict, 1000).failures] == ["quarantine.max_fraction"]
    with cut_small():
        seen = preview(changed(site, quarantine={"max_fraction": 0.01}), 10)
    assert (seen.complete, seen.bad, seen.failures) == (False, 1, ())


def test_a_column_that_nobody_classified_shows_nothing(site: Site) -> None:
    columns = {"play": "keep", "id": "keep"}
    with pytest.raises(PrivacyError, match="no policy covers"):
        preview(changed(site, privacy={"columns": columns, "subject": {"none": True, "reason": "a test"}}))


def test_no_row_is_no_preview(site: Site) -> None:
    with pytest.raises(ConfigError, match="at least one row"):
        preview(site.job, 0)


def changed(site: Site, **settings: Any) -> Job:
    said = site.definition.model_dump(exclude_unset=True)
    said["pipelines"][PIPELINE] |= settings
    (job,) = jobs(site.installation, Tenant.model_validate(said), PIPELINE)
    return job


def test_the_position_and_the_runs_stay(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.first()
    site.run("one")
    look = Inspector(site, sql)
    runs = look.runs()
    preview(site.job)
    assert look.runs() == runs
