"""The public Python API, on real files and the embedded database."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psycopg
import pytest

from importers import ImporterHealthCheck, get_importer, orchestrate_import_pipeline
from importers.exceptions import ConfigError, PrivacyError
from importers.pipeline.run import Progress

POLICY = {"subject": {"column": "who", "domain": "listener"}, "columns": {"id": "keep", "who": "pseudonymise"}}


@pytest.fixture(autouse=True)
def environment(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", database)
    monkeypatch.setenv("IMPORTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENCRYPTION_KEY", bytes(range(32)).hex())
    monkeypatch.setenv("IMPORTERS_TENANTS", str(tmp_path / "tenants"))


def plays(directory: Path, rows: int = 3) -> str:
    file = directory / "plays.csv"
    file.write_text("id,who\n" + "".join(f"{n},listener {n % 2}\n" for n in range(rows)))
    return str(file)


def config(path: str, **more: Any) -> dict[str, Any]:
    privacy = POLICY | {"purpose": "tests", "lawful_basis": "consent"}
    return {"path": path, "privacy": privacy, "load": {"table": "plays"}} | more


async def test_a_result_says_what_was_done(tmp_path: Path, sql: psycopg.Connection) -> None:
    heard: list[Progress] = []
    importer = get_importer("csv", tenant_id="tenant_123", config=config(plays(tmp_path)))
    result = await importer.import_data(progress=heard.append)
    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 3, 0)
    assert list(result.position) == ["plays.csv"]
    assert [receipt.loaded for receipt in result.receipts] == [3]
    assert set(result.timings) == {"plan", "stage", "gate", "load", "commit", "clean"}
    assert [(leaf.source, leaf.treatment, leaf.column) for leaf in result.lineage] == [
        ("id", "keep", "id"),
        ("who", "pseudonymise(listener)", "who"),
    ]
    assert [step.step for step in heard if step.done == step.total] == [
        "plan",
        "stage",
        "gate",
        "load",
        "commit",
        "clean",
    ]
    assert sql.execute("select count(*), count(distinct who) from tenant_123.plays").fetchone() == (3, 2)
    steps = sql.execute("select distinct step from _importers.step order by 1").fetchall()
    assert steps == [("load",), ("stage",)]


async def test_a_key_names_a_run(tmp_path: Path) -> None:
    importer = get_importer("csv", "tenant_123", config(plays(tmp_path)))
    first = await importer.import_data(key="r1")
    again = await importer.import_data(key="r1")
    assert again.receipts == first.receipts
    assert (await importer.import_data(key="r2")).rows_read == 0  # nothing new


async def test_settings_come_from_the_tenant_s_file_and_then_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: psycopg.Connection
) -> None:
    path = plays(tmp_path)
    monkeypatch.setenv("IMPORTERS_CSV_PATH", path)
    monkeypatch.setenv("IMPORTERS_CSV_TYPES", '{"id": "string"}')
    monkeypatch.setenv("IMPORTERS_CSV_DELIMITER", ";")
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    (tenants / "tenant_123.yaml").write_text(
        textwrap.dedent("""
        tenant: tenant_123
        importers: {csv: {delimiter: ","}}
        domains: {listener: {case_sensitive: true}}
        pipelines:
          csv:
            importer: csv
            privacy:
              purpose: tests
              lawful_basis: consent
              subject: {column: who, domain: listener}
              columns: {id: keep, who: pseudonymise}
        """)
    )
    result = await get_importer("csv", "tenant_123").import_data()
    assert result.rows_loaded == 3
    assert sql.execute("select name, case_sensitive from _importers.domain").fetchall() == [("listener", True)]
    with pytest.raises(ConfigError, match="'listener' were made before"):
        await get_importer("csv", "tenant_123", {"domains": {}}).import_data()
    stopped = get_importer("csv", "tenant_123", {"delimiter": "|"})
    with pytest.raises(ConfigError):
        await stopped.import_data()


async def test_one_failing_importer_loses_nothing_of_the_others(tmp_path: Path, sql: psycopg.Connection) -> None:
    path = plays(tmp_path)
    unclassified = config(path) | {
        "privacy": {**POLICY, "columns": {"id": "keep"}, "purpose": "x", "lawful_basis": "consent"}
    }
    importers = [
        get_importer("csv", "one", config(path)),
        get_importer("csv", "two", unclassified),
        get_importer("csv", "three", config(path)),
    ]
    for parallel in (True, False):
        outcomes = await orchestrate_import_pipeline(importers=importers, parallel=parallel, max_concurrency=5)
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert [outcome.importer.tenant_id for outcome in outcomes] == ["one", "two", "three"]
        assert isinstance(outcomes[1].error, PrivacyError)
        assert "two.csv/plays" in str(outcomes[1].error)
    for tenant in ("one", "three"):
        assert sql.execute(f"select count(*) from {tenant}.plays").fetchone() == (3,)  # type: ignore[arg-type]


async def test_an_unforeseen_failure_loses_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = (get_importer("csv", tenant, config(plays(tmp_path))) for tenant in ("one", "two"))

    async def fail(**_: Any) -> None:
        raise KeyError("hunter2")

    def fall_ill() -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(broken, "import_data", fail)
    monkeypatch.setattr(broken, "_check", fall_ill)
    first, second = await orchestrate_import_pipeline([broken, sound])
    assert isinstance(first.error, KeyError)
    assert second.ok
    health = await ImporterHealthCheck().check_all_importers_health([broken, sound])
    assert (health["one.csv"].ok, health["one.csv"].detail, health["two.csv"].ok) == (False, "KeyError", True)


async def test_health_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, gone = (
        get_importer("csv", "one", config(plays(tmp_path))),
        get_importer("csv", "two", config("nowhere/*.csv")),
    )
    health = await ImporterHealthCheck().check_all_importers_health([good, gone])
    assert {name: state.ok for name, state in health.items()} == {"one.csv": True, "two.csv": False}
    monkeypatch.setenv("POSTGRES_URL", "postgresql://u:hunter2@127.0.0.1:1/none")
    (state,) = (await ImporterHealthCheck().check_all_importers_health([good])).values()
    assert not state.ok
    assert "hunter2" not in state.detail


def test_what_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'csv'"):
        get_importer("cvs", "tenant_123")
    with pytest.raises(ConfigError, match="delimter"):
        get_importer("csv", "tenant_123", config(plays(tmp_path), delimter=";"))
    with pytest.raises(ConfigError, match="tenant_123"):
        get_importer("csv", "Tenant 123", config(plays(tmp_path)))


def test_a_missing_encryption_key_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENCRYPTION_KEY")
    import asyncio

    with pytest.raises(ConfigError, match="ENCRYPTION_KEY"):
        asyncio.run(get_importer("csv", "one", config(plays(tmp_path))).import_data())


SCRIPT = """
import sys
class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "airflow":
            raise ImportError("airflow was imported")
sys.meta_path.insert(0, NoAirflow())
import asyncio
from importers import get_importer
result = asyncio.run(get_importer("csv", "one", {config}).import_data())
assert "airflow" not in sys.modules
print(result.rows_loaded, len(result.receipts))
"""


def test_a_plain_script_needs_no_airflow_and_no_main_guard(tmp_path: Path) -> None:
    """Large enough for several processes, which must not run the script again."""
    file = tmp_path / "big.csv"
    with file.open("w") as out:
        out.write("id,who\n")
        out.writelines(f"{n},{'listener' * 40} {n % 1000}\n" for n in range(100_000))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{config}", repr(config(str(file)))))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    loaded, receipts = map(int, done.stdout.split())
    assert loaded == 100_000
    assert receipts > 1
