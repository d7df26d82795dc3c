"""`make demo` holds what was quarantined, and why, against what its generator planted: the two must agree."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from bench.listening import write_history

from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import run
from importers.pipeline.tenants import read_tenant

ROOT = Path(__file__).parents[2]


def test_the_demo_s_reasons_are_what_the_import_says(
    database: str, sql: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import demo  # type: ignore[import-not-found]

    planted = write_history(tmp_path / "plays.csv", 10_000, faults=True)
    tenant = read_tenant(ROOT / "include/tenants/synthetic_radio.yaml").tenant
    described = tenant.model_dump(mode="json", by_alias=True, exclude_unset=True)
    described["pipelines"]["listening"]["config"]["path"] = str(tmp_path / "plays.csv")
    places = str(tmp_path / "staging"), str(tmp_path / "quarantine")
    installation = Installation(tmp_path / "home", database, True, *places)
    (job,) = jobs(installation, Tenant.model_validate(described), "listening")
    with closing(job):
        result = run(job, processes=1)
    expected: Counter[str] = Counter()
    for fault, lines in planted.items():
        expected[demo.REASONS[fault]] += lines
    assert demo.why(sql, result.run) == expected
