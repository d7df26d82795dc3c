"""What is refused of a pipeline whose table another one writes, when no lint has seen the file. Rows are by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from importers.core.tenant import Tenant
from importers.exceptions import ConfigError
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.plan import foresee
from importers.pipeline.run import Result, run

MERGE = {"mode": "merge", "primary_key": "id"}


class Site:
    """A tenant with as many pipelines as are named, each of which reads `rows` from a directory of its own."""

    def __init__(self, root: Path, warehouse: str) -> None:
        self.installation = Installation(root, warehouse, False, str(root / "staging"), str(root / "quarantine"))
        for name, text in (("one", "id,v\n1,a\n2,b\n"), ("two", "id,v\n1,z\n9,c\n")):
            (root / name).mkdir()
            (root / name / "x.csv").write_text(text)
        self.root = root

    def job(self, pipeline: str, **loads: dict[str, Any]) -> Any:
        privacy = {
            "purpose": "tests",
            "lawful_basis": "contract",
            "columns": {"id": "keep", "v": "keep"},
            "subject": {"none": True, "reason": "invented"},
        }
        pipelines = {
            name: {
                "importer": "csv",
                "config": {"path": f"{self.root}/{name if name in ('one', 'two') else 'one'}/*.csv"},
                "privacy": privacy,
                "load": load,
            }
            for name, load in loads.items()
        }
        (job,) = jobs(self.installation, Tenant.model_validate({"tenant": "acme", "pipelines": pipelines}), pipeline)
        return job

    def run(self, pipeline: str, **loads: dict[str, Any]) -> Result:
        return run(self.job(pipeline, **loads), processes=1)


@pytest.fixture
def site(tmp_path: Path, database: str, encryption_key: str) -> Site:
    return Site(tmp_path, database)


def rows(sql: psycopg.Connection[Any], table: str = "rows") -> list[tuple[Any, ...]]:
    return sql.execute(f"select id, v from acme.{table} order by id, v").fetchall()


@pytest.mark.parametrize("load", [MERGE, {"mode": "append"}])
def test_another_s_table_is_refused_until_both_share_it(
    site: Site, sql: psycopg.Connection[Any], load: dict[str, Any]
) -> None:
    shared = load | {"shared": True}
    site.run("one", one=load, two=load)
    for one, two, got in (
        (load, load, "pipeline one, stream rows"),
        (shared, load, "pipeline one, stream rows"),
        (load, shared, "`load.shared` isn't said by pipeline one"),
    ):
        with pytest.raises(ConfigError, match=r"'acme\.rows' has several writers") as refused:
            site.run("two", one=one, two=two)
        assert refused.value.got == got
    with closing(site.job("two", one=load, two=load)) as job, pytest.raises(ConfigError, match="several writers"):
        foresee(job)
    assert rows(sql) == [(1, "a"), (2, "b")]
    assert site.run("one", one=load, two=load).rows_loaded == 0  # who was refused has written nothing
    site.run("two", one=shared, two=shared)
    ours = [(1, "z")] if load is MERGE else [(1, "a"), (1, "z")]
    assert rows(sql) == [*ours, (2, "b"), (9, "c")]


def test_whoever_shares_replaces_nothing(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.run("one", one={"mode": "append", "shared": True})
    replaces = {"mode": "replace", "shared": True}
    with pytest.raises(ConfigError, match="several writers") as refused:
        site.run("two", one={"mode": "append", "shared": True}, two=replaces)
    assert (refused.value.got, refused.value.do) == ("mode replace", "a shared table allows: append, merge")
    assert rows(sql) == [(1, "a"), (2, "b")]


def test_a_table_of_its_own_is_a_way_out_for_both(site: Site, sql: psycopg.Connection[Any]) -> None:
    """Two have written it, as they could before this was looked at. One goes; the other one's is what stays."""
    shared = MERGE | {"shared": True}
    site.run("one", one=shared, two=shared)
    site.run("two", one=shared, two=shared)
    elsewhere = MERGE | {"table": "twos"}
    site.run("one", one=MERGE, two=elsewhere)
    site.run("two", one=MERGE, two=elsewhere)
    assert rows(sql, "twos") == [(1, "z"), (9, "c")]


def test_a_pipeline_with_another_name_takes_its_table_over_by_key_and_appends_nothing_twice(
    site: Site, sql: psycopg.Connection[Any]
) -> None:
    site.run("one", one=MERGE)
    site.run("renamed", renamed=MERGE)
    assert rows(sql) == [(1, "a"), (2, "b")]
    append = {"mode": "append", "table": "appended"}
    site.run("one", one=append)
    with pytest.raises(ConfigError, match="what the tenant's file has no more"):
        site.run("renamed", renamed=append)
    assert rows(sql, "appended") == [(1, "a"), (2, "b")]
    site.run("renamed", renamed=append | {"shared": True})
    site.run("renamed", renamed=append)  # it writes it by now


def test_an_attempt_elsewhere_that_failed_hides_no_writer(site: Site, sql: psycopg.Connection[Any]) -> None:
    elsewhere = MERGE | {"table": "twos"}
    site.run("one", one=MERGE)
    site.run("two", one=MERGE, two=elsewhere)
    with pytest.raises(ConfigError, match=r"'acme\.twos' has several writers"):
        site.run("one", one=elsewhere, two=elsewhere)
    with pytest.raises(ConfigError, match=r"'acme\.rows' has several writers"):
        site.run("two", one=MERGE, two=MERGE)
    assert rows(sql) == [(1, "a"), (2, "b")]
    assert rows(sql, "twos") == [(1, "z"), (9, "c")]


@pytest.mark.parametrize(("mode", "loaded", "writes"), [("merge", 1, True), ("merge", 0, False), ("append", 1, False)])
def test_an_aborted_run_has_written_what_it_left(
    site: Site, sql: psycopg.Connection[Any], mode: str, loaded: int, *, writes: bool
) -> None:
    site.run("one", one=MERGE)
    sql.execute("update _importers.run set state = 'aborted', mode = %s", (mode,))
    sql.execute("update _importers.receipt set loaded = %s", (loaded,))
    with closing(site.job("two", one=MERGE, two=MERGE)) as job:
        assert job.destination.writers(job.stream) == ({"acme.one.rows": None} if writes else {})


@pytest.mark.parametrize("load", [MERGE, {"mode": "replace"}, MERGE | {"mode": "history"}])
def test_who_is_in_no_file_takes_no_table_over_again_and_again(
    site: Site, sql: psycopg.Connection[Any], load: dict[str, Any]
) -> None:
    """Each is imported by Python, or an operator: the tenant has this pipeline and no other."""
    site.run("one", one=load)
    site.run("two", two=load)
    (site.root / "one/y.csv").write_text("id,v\n1,a2\n")
    with pytest.raises(ConfigError, match=r"'acme\.rows' was written, after this pipeline's last run") as refused:
        site.run("one", one=load)
    assert refused.value.got == "pipeline two, stream rows"
    with closing(site.job("one", one=load)) as job, pytest.raises(ConfigError, match="after this pipeline's last run"):
        foresee(job)
    (site.root / "two/y.csv").write_text("id,v\n9,c2\n")
    site.run("two", two=load)
    assert (9, "c2") in rows(sql)
    assert (1, "a2") not in rows(sql)


def test_who_shares_takes_turns_with_whom_no_file_has(site: Site, sql: psycopg.Connection[Any]) -> None:
    shared = MERGE | {"shared": True}
    site.run("one", one=shared)
    site.run("two", two=shared)
    (site.root / "one/y.csv").write_text("id,v\n1,a2\n")
    site.run("one", one=shared)
    site.run("one", one=MERGE)  # it wrote last
    assert rows(sql) == [(1, "a2"), (2, "b"), (9, "c")]
