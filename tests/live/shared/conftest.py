"""One deployment of Airflow, which all tests here share, since each costs a minute; each describes tenants of its own.

tests/conftest.py has one process run all of this directory.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.live.conftest import Deploy
from tests.services.airflow import Airflow

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="package")  # behind it, a scheduler that has nothing to do would take a fifth of the machine
def airflow(deploy: Deploy) -> Iterator[Airflow]:
    """Every process has the sources of tests/support/registered.py, and knows the warehouse by its connection alone."""
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
