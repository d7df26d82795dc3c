"""What `make demo` and `make ui` share: a place of their own, and the synthetic plays that a tenant imports.

And what `make ui` and its command line share: an Airflow whose database is on the embedded PostgreSQL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parents[1]
HISTORY = Path("include/samples/synthetic-listening/synthetic-listening-100k.csv")
ROWS = 100_000
ELSEWHERE = ("POSTGRES_URL", "ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS", "IMPORTERS_STAGING", "IMPORTERS_QUARANTINE")
"""Settings that would send rows to a real warehouse."""
PATIENCE = 60
"""Seconds for which one thread waits while another writes to an SQLite file; by default it fails after 5."""
METADATA = "airflow"
"""The database of Airflow's own, beside the warehouse."""
WAREHOUSE = "AIRFLOW_CONN_IMPORTERS_WAREHOUSE"


def find_home() -> Path:
    """Where all that is made goes."""
    return Path(os.environ.setdefault("IMPORTERS_HOME", ".importers")).expanduser().resolve()


def settle(airflow_home: Path) -> None:
    """An Airflow of its own for this process and its children; nothing that would lead elsewhere.

    Its database is an SQLite file, which will do while one process uses it, as `dag.test()` does.
    """
    for name in [*ELSEWHERE, WAREHOUSE, *(name for name in os.environ if name.startswith("AIRFLOW__"))]:
        os.environ.pop(name, None)
    airflow_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ |= {
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/airflow.db?timeout={PATIENCE}",
        "AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE": "True",
        "IMPORTERS_TENANTS": "include/tenants",
    }


def keep_metadata_in(server: str) -> None:
    """Have this process and its children keep Airflow's database on a PostgreSQL server, where it is made if need be.

    A scheduler, an API server and a DAG processor write at once, for which an SQLite file has one lock.
    """
    url = urlunsplit(urlsplit(server)._replace(scheme="postgresql+psycopg2", path=f"/{METADATA}"))
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
    with psycopg.connect(server, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", (METADATA,)).fetchone():
            connection.execute(f"create database {METADATA}")


def write_plays() -> dict[str, int]:
    """The synthetic history; how many lines have each of the planted faults."""
    sys.path.insert(0, str(ROOT))
    from bench.listening import write_history

    return write_history(ROOT / HISTORY, ROWS, faults=True)


def told(path: Path) -> str:
    """A path as a person in the project's directory would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
