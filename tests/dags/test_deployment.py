"""What the deployment says, and what Airflow learns of the package."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow
import psycopg
import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from jsonschema import validate
from psycopg.conninfo import conninfo_to_dict

from importers.exceptions import ConfigError
from importers.get_provider_info import get_provider_info
from importers.hooks import deployment

PROJECT = Path(__file__).parents[2]


def connection(**said: Any) -> Connection:
    return Connection(conn_id="importers_warehouse", **{"conn_type": "postgres", **said})


def test_a_connection_reaches_libpq_as_it_was_entered() -> None:
    extra = json.dumps({"sslmode": "verify-full", "connect_timeout": 7, "cursor": "dictcursor"})
    said = connection(
        host="db.example", port=6543, login="im@porter", password="p/?&#: ö", schema="ware house", extra=extra
    )
    assert conninfo_to_dict(deployment.warehouse_url(said)) == {
        "host": "db.example",
        "port": "6543",
        "user": "im@porter",
        "password": "p/?&#: ö",
        "dbname": "ware house",
        "sslmode": "verify-full",
        "connect_timeout": "7",
    }


def test_a_socket_is_a_host_too() -> None:
    url = deployment.warehouse_url(connection(host="/run/postgres ql", login="me", schema="warehouse"))
    assert conninfo_to_dict(url) == {"host": "/run/postgres ql", "user": "me", "dbname": "warehouse"}
    assert url.startswith("postgresql://")


@pytest.mark.parametrize("said", [{"conn_type": "mysql"}, {"extra": '{"iam": true}'}])
def test_what_is_no_warehouse_is_refused_without_its_password(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        deployment.warehouse_url(connection(password="geheim", **said))
    assert "importers_warehouse" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A deployment that names no warehouse; where an embedded one would be."""
    monkeypatch.setenv("IMPORTERS_HOME", str(tmp_path))
    monkeypatch.delenv("POSTGRES_URL", raising=False)
    monkeypatch.delenv("AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE", raising=False)
    return tmp_path


def test_the_connection_names_the_warehouse(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IMPORTERS_WAREHOUSE", "postgres://me:geheim@conn/warehouse")
    found = deployment.find_installation()
    assert conninfo_to_dict(found.warehouse) == conninfo_to_dict("postgresql://me:geheim@conn/warehouse")
    assert not found.embedded
    assert "geheim" not in repr(found)


def test_what_the_environment_names_is_not_a_question_to_airflow(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup that fails looks like one that finds nothing: it must not decide where rows go."""
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: pytest.fail(conn_id))
    monkeypatch.setenv("AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE", "True")
    assert deployment.warehouse() is None
    monkeypatch.setenv("POSTGRES_URL", "postgresql://env/warehouse")
    assert deployment.find_installation().warehouse == deployment.find_ledger() == "postgresql://env/warehouse"


@pytest.mark.parametrize("find", [deployment.find_installation, deployment.find_ledger])
def test_without_a_warehouse_none_is_started(nowhere: Path, find: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        find()
    for word in ("POSTGRES_URL", "'importers_warehouse'", "AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE=True"):
        assert word in str(caught.value)
    assert list(nowhere.iterdir()) == []


def test_a_lookup_that_failed_once_is_asked_again(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [AirflowNotFoundException("isn't defined"), connection(host="db.example")]

    def get_connection(conn_id: str) -> Connection:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(BaseHook, "get_connection", get_connection)
    assert conninfo_to_dict(deployment.warehouse() or "") == {"host": "db.example"}


def test_who_only_looks_starts_no_embedded_server(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE", "True")
    with pytest.raises(ConfigError, match="the embedded PostgreSQL isn't running"):
        deployment.find_ledger()
    assert list(nowhere.iterdir()) == []


def test_who_only_looks_finds_the_embedded_server_that_runs(
    nowhere: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres) as connection:
        data = connection.execute("show data_directory").fetchone()
    monkeypatch.setenv("IMPORTERS_HOME", str(Path(data[0]).parent if data else nowhere))
    monkeypatch.setenv("AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE", "True")
    assert conninfo_to_dict(deployment.find_ledger()) == conninfo_to_dict(postgres)


def test_tenants_are_found_by_variable_then_setting_then_beside_the_dags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPORTERS_TENANTS", raising=False)
    assert deployment.tenants_directory() == Path(os.environ["AIRFLOW_HOME"], "include", "tenants")
    monkeypatch.setenv("AIRFLOW__IMPORTERS__TENANTS", "/by/setting")
    assert deployment.tenants_directory() == Path("/by/setting")
    monkeypatch.setenv("IMPORTERS_TENANTS", "/by/variable")
    assert deployment.tenants_directory() == Path("/by/variable")


def test_the_provider_is_what_airflow_expects() -> None:
    info = get_provider_info()
    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    validate(info, schema)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert info["package-name"] == project["name"]
    module, _, function = project["entry-points"]["apache_airflow_provider"]["provider_info"].partition(":")
    assert getattr(import_module(module), function) is get_provider_info
    for each in info["operators"]:
        for name in each["python-modules"]:
            import_module(name)


def test_settings_of_the_code_are_the_providers() -> None:
    assert set(get_provider_info()["config"][deployment.SECTION]["options"]) == {
        "tenants",
        "embedded_warehouse",
        "shared_disk",
    }


def test_airflow_does_not_run_the_packages_files() -> None:
    assert (PROJECT / "plugins" / ".airflowignore").read_text() == "*\n"
