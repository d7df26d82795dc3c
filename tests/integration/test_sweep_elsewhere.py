"""A sweep ends what its own warehouse's runs left, and nothing if it doesn't know how long to keep what."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from click.testing import CliRunner

from importers.cli.main import main
from importers.core.tenant import Tenant
from importers.destinations import _session
from importers.pipeline import extract, plan
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.sweep import sweep
from importers.transport import postgres as transport


def staged(installation: Installation, directory: Path, pipeline: str = "listening") -> tuple[Tenant, set[Path]]:
    """A run that staged and quarantined, and has not ended."""
    (directory / "plays.csv").write_text("id,what\n1,a\n2,B\n")
    privacy = {"subject": {"none": True, "reason": "nobody in it exists"}, "columns": {"id": "keep", "what": "keep"}}
    rule = {"expect_column_values_to_match_regex": {"column": "what", "regex": "^[a-z]$"}}
    config = {"path": str(directory / "plays.csv")}
    body = {"importer": "csv", "config": config, "privacy": privacy, "expect": [rule], "load": {"table": pipeline}}
    tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {pipeline: body}})
    (job,) = jobs(installation, tenant, pipeline)
    with closing(job):
        opened = plan.plan(job, "r1")
        with closing(job.fixed(opened)) as fixed:
            extract.stage(fixed, opened, 0)
    return tenant, files(installation)


def files(installation: Installation) -> set[Path]:
    roots = (Path(installation.staging), Path(installation.quarantine))
    return {path for root in roots for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


@pytest.mark.parametrize("years", [3, -3])
def test_what_is_old_a_worker_s_clock_alone_doesn_t_say(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    tenant, mine = staged(installation, tmp_path)

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=366 * years)

    monkeypatch.setattr("importers.pipeline.sweep.datetime", Wrong)
    swept = sweep(installation, {"acme": tenant})
    assert (swept.staging.deleted, swept.quarantine.deleted) == (0, 0)
    assert files(installation) == mine


def test_another_warehouse_s_data_is_left_alone(installation: Installation, database: str, tmp_path: Path) -> None:
    tenant, mine = staged(installation, tmp_path)
    assert {path.relative_to(tmp_path).parts[0] for path in mine} == {"staging", "quarantine"}
    other = f"{urlsplit(database).path[1:]}_other"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'create database "{other}"')  # type: ignore[arg-type]
        try:
            elsewhere = replace(installation, warehouse=urlunsplit(urlsplit(database)._replace(path=f"/{other}")))
            later = datetime.now(UTC) + timedelta(days=365)
            assert sweep(elsewhere, {"acme": tenant}, later).staging.deleted == 0
            assert files(installation) == mine
            assert sweep(installation, {"acme": tenant}, later).staging.deleted > 0
            assert files(installation) == set()
        finally:
            connection.execute(f'drop database "{other}" with (force)')  # type: ignore[arg-type]


def test_a_sweep_holds_one_connection_however_many_pipelines_there_are(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, _ = staged(installation, tmp_path)
    staged(installation, tmp_path, "watching")
    opened = list[psycopg.Connection]()

    def connect(url: str, application: str) -> psycopg.Connection:
        assert all(connection.closed for connection in opened)
        opened.append(transport.connect(url, application))
        return opened[-1]

    monkeypatch.setattr(_session, "connect", connect)
    assert sweep(installation, {"acme": tenant}, datetime.now(UTC) + timedelta(days=365)).staging.deleted
    assert len(opened) > 2
    assert all(connection.closed for connection in opened)
    assert files(installation) == set()


def test_without_tenant_files_nothing_is_swept(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, mine = staged(installation, tmp_path)
    with psycopg.connect(installation.warehouse, autocommit=True) as connection:
        connection.execute("update _importers.run set lease = now() - interval '2 days'")
    (tmp_path / "wrong").mkdir()
    monkeypatch.chdir(tmp_path / "wrong")
    environment = {
        "POSTGRES_URL": installation.warehouse,
        "IMPORTERS_HOME": str(installation.home),
        "IMPORTERS_STAGING": installation.staging,
        "IMPORTERS_QUARANTINE": installation.quarantine,
        "ENCRYPTION_KEY": bytes(32).hex(),
        "IMPORTERS_TENANTS": None,
    }
    done = CliRunner().invoke(main, ["sweep"], env=environment)
    assert done.exit_code == 2
    assert "nothing is swept" in done.stderr
    assert files(installation) == mine
