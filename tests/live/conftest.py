"""Deployments of Airflow on databases of their own. They run by `make test-services`, not by `make test`."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.services.airflow import Airflow

Deploy: TypeAlias = Callable[..., Airflow]
SUPPORT = Path(__file__).parents[1] / "support"
_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)  # before marks choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("services")


@pytest.fixture(scope="session")
def deploy(postgres: str) -> Iterator[Deploy]:
    """Makes a deployment with empty databases, to be started and ended by `with`; takes settings as `Airflow` does."""
    with ExitStack() as stack:

        def make(kind: type[Airflow] = Airflow, **said: Any) -> Airflow:
            number = next(_numbers)
            metadata, warehouse = (_create(postgres, f"{name}_{number}", stack) for name in ("metadata", "warehouse"))
            return kind(metadata, warehouse, **said)

        yield make


@pytest.fixture(scope="session")
def airflow(deploy: Deploy) -> Iterator[Airflow]:
    """The deployment that most tests share, since each costs a minute; each describes tenants with names of its own.

    Every process has the sources of tests/support/registered.py, and knows the warehouse by its connection alone.
    """
    site = Path(tempfile.mkdtemp(prefix="importers-site-"))
    (site / "sitecustomize.py").write_text("import registered\nregistered.register()\n")
    settings = {
        "PYTHONPATH": f"{site}:{SUPPORT}",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "POSTGRES_URL": "",
        "COLUMNS": "200",
    }
    deployment = deploy(settings=settings)
    deployment.settings["AIRFLOW_CONN_IMPORTERS_WAREHOUSE"] = _as_connection(deployment.warehouse)
    try:
        with deployment:
            yield deployment
    finally:
        shutil.rmtree(site, ignore_errors=True)


def _as_connection(url: str) -> str:
    names = {"host": "host", "port": "port", "user": "login", "password": "password", "dbname": "schema"}
    said = {names[name]: value for name, value in conninfo_to_dict(url).items() if name in names}
    return json.dumps({"conn_type": "postgres", **said})


def _create(postgres: str, name: str, stack: ExitStack) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    stack.callback(_drop, postgres, name)
    return urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))


def _drop(postgres: str, name: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')
