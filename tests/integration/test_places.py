"""Bad rows are found again in their source: whichever step finds them bad, in one process or several, and replayed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from importers.core.model import RunKind
from importers.core.tenant import Tenant
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.held import contents, show
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run

LINES = ["id,n,said", '1,1,"two\nlines"', "2,-5,x", "", "3,3,x", "2,4,x", "7,7", "5,-1,x"]


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


def job_of(installation: Installation, path: Path, **pipeline: Any) -> Job:
    columns = {"id": "keep", "n": "keep", "said": "keep"}
    privacy = {"subject": {"none": True, "reason": "nobody in it exists"}, "columns": columns, "reason": "a test"}
    config = {"path": str(path / "*.csv"), "stream": "plays"}
    body = {"importer": "csv", "config": config, "privacy": privacy, "quarantine": {"max_fraction": 1}} | pipeline
    (job,) = jobs(
        installation, Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": body}}), "listening"
    )
    return job


def kept(installation: Installation, job: Job) -> set[tuple[Any, str]]:
    """Identifier and place of each row in quarantine, and of each reject, which has none."""
    found: set[tuple[Any, str]] = set()
    with closing(job):
        for held in contents(job.destination, job.tenant).held:
            seen = show(installation, job.tenant, "listening", held, 100)
            found |= {(row["id"], Path(row["_location"]).name) for row in seen.rows.to_pylist()}
            found |= {(None, Path(row["_location"]).name) for row in seen.rejects.to_pylist()}
    return found


BETWEEN = {"expect_column_values_to_be_between": {"column": "n", "min_value": 0}}
UNIQUE = {"expect_column_values_to_be_unique": {"column": "id"}}
BAD = {(2, "plays.csv:line 4"), (5, "plays.csv:line 9"), (None, "plays.csv:line 8")}
TWICE = {(2, "plays.csv:line 4"), (2, "plays.csv:line 7"), (None, "plays.csv:line 8")}


@pytest.mark.parametrize(("rule", "bad"), [(BETWEEN, BAD), (UNIQUE, TWICE)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_bad_row_tells_its_line_and_goes_on_to_after_a_replay(
    installation: Installation, tmp_path: Path, rule: dict[str, Any], bad: set[tuple[Any, str]], apart: bool
) -> None:
    (tmp_path / "plays.csv").write_text("\n".join(LINES))
    job = job_of(installation, tmp_path, expect=[rule])
    if apart:
        steps(job)
    else:
        run(job, processes=1)
    assert kept(installation, job_of(installation, tmp_path, expect=[rule])) == bad
    run(job_of(installation, tmp_path, expect=[BETWEEN]), kind=RunKind.REPLAY, processes=1)
    still = {one for one in bad if one[1] in {place for _, place in BAD}}
    assert kept(installation, job_of(installation, tmp_path, expect=[rule])) == still


def steps(job: Job) -> None:
    """As a scheduler runs them: who validates has no source."""
    with closing(job):
        opened = plan.plan(job, "by hand")
        fixed = job.fixed(opened)
        with closing(fixed):
            extract.extract(fixed, opened, 0)
            extract.validate(fixed, opened, 0)
            passed = gate.gate(fixed, opened)
            load.load(fixed, passed.run, 0)
            finish.commit(fixed, passed.run)
