"""What was loaded is taken away: the next run has nothing to do, and says so by committing nothing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from import_site import Inspector, Site

from importers.core.model import LoadMode
from importers.core.tenant import Tenant
from importers.exceptions import EmptySourceError, ImporterError
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run


@pytest.fixture
def site(database: str, encryption_key: str, tmp_path: Path) -> Site:
    return Site.make(tmp_path, database, "acme", LoadMode.MERGE)


def emptied(site: Site) -> None:
    for file in site.data.glob("*.csv"):
        file.rename(file.with_name(file.name + ".done"))


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.MERGE])
def test_a_run_after_the_files_were_taken_away_commits_nothing(
    site: Site, sql: psycopg.Connection, mode: LoadMode
) -> None:
    site = replace(site, mode=mode)
    site.first()
    loaded = site.run("first")
    emptied(site)
    empty = site.run("second")
    assert (empty.rows_read, empty.rows_loaded, empty.position) == (0, 0, loaded.position)
    look = Inspector(site, sql)
    look.table_is(site.before)
    site.second()
    site.run("third")
    look.table_is(site.after)
    emptied(site)
    assert site.run("fourth").rows_read == 0  # the last run but one was empty too, and remembers


def test_a_first_run_without_a_file_says_so(site: Site, sql: psycopg.Connection) -> None:
    site.data.mkdir()
    with pytest.raises(EmptySourceError, match=r"no file matches.*the directory is there"):
        site.run("first")


def test_a_run_that_failed_is_not_remembered(site: Site) -> None:
    site.data.mkdir()
    (site.data / "plays_1.csv").write_text("play,id,listener,track,score\n1,1,listener 1,a,high\n" * 2)
    with pytest.raises(ImporterError):
        site.run("first")
    emptied(site)
    with pytest.raises(EmptySourceError):
        site.run("second")


def test_a_snapshot_isn_t_emptied_because_its_files_are_away(site: Site, sql: psycopg.Connection) -> None:
    site = replace(site, mode=LoadMode.REPLACE)
    site.first()
    site.run("first")
    emptied(site)
    with pytest.raises(EmptySourceError):
        site.run("second")
    Inspector(site, sql).table_is(site.before)


def test_a_path_that_was_changed_to_one_that_matches_nothing_is_a_mistake(site: Site) -> None:
    site.first()
    site.run("first")
    for file in list(site.data.glob("*.csv")):
        file.rename(file.with_name(file.name.replace("plays_", "played_")))
    assert site.run("second").rows_read == 0  # the lanes are remembered by the pattern that they came by
    other = site.definition.model_dump(mode="json", exclude_unset=True)
    other["pipelines"]["listening"]["config"]["path"] = str(site.data / "songs_*.csv")
    (job,) = jobs(site.installation, Tenant.model_validate(other), "listening")
    with closing(job), pytest.raises(EmptySourceError, match="songs_"):
        run(job, "third", processes=1)
