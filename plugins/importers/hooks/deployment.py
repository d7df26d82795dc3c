"""What this deployment of Airflow says: where the tenants' files are, which warehouse, who sees what is staged.

The warehouse is asked for when a task runs, never while a DAG file is read.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseHook, conf
from airflow.sdk.exceptions import AirflowNotFoundException

from importers.exceptions import ConfigError
from importers.pipeline.tenants import DIRECTORY

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from importers.pipeline.installation import Installation

SECTION = "importers"
WAREHOUSE = "importers_warehouse"
_OF_AIRFLOW = frozenset({"cursor", "sqlalchemy_scheme", "sqlalchemy_query"})
"""Extras of a Postgres connection that only Airflow's own hook understands."""
_BY_TOKEN = ("iam", "azure_conn_id")


def tenants_directory() -> Path:
    """`IMPORTERS_TENANTS`, else `[importers] tenants`, else include/tenants beside the DAGs' directory."""
    said = os.environ.get("IMPORTERS_TENANTS") or conf.get(SECTION, "tenants", fallback="")
    return Path(said) if said else Path(conf.get("core", "dags_folder")).parent / DIRECTORY


def find_installation() -> Installation:
    """With the warehouse that `warehouse` finds; the embedded one is started. Raises ConfigError."""
    from importers.pipeline.installation import Installation

    return Installation.from_environment(warehouse=warehouse())


def find_ledger() -> str:
    """The URL of the warehouse, for whoever only looks: starts nothing.

    Raises ConfigError if there is none, or if the embedded one isn't running.
    """
    from importers.pipeline.installation import home
    from importers.transport.embedded import running_postgres

    found = warehouse() or running_postgres(home())
    if found is None:
        what, do = "the embedded PostgreSQL isn't running", "start a run, which starts it, or `make ui`, which keeps it"
        raise ConfigError(what, do=do)
    return found


def warehouse() -> str | None:
    """`POSTGRES_URL`, else what the connection `importers_warehouse` gives; None for the embedded one.

    The embedded one has to be asked for, by `[importers] embedded_warehouse`: to Airflow a lookup that failed is one
    that found nothing, and rows must not go elsewhere because of that. So each of the three excludes those after it.
    Raises ConfigError if there is none.
    """
    said = os.environ.get("POSTGRES_URL")
    if said:
        return said
    if conf.getboolean(SECTION, "embedded_warehouse", fallback=False):
        return None
    for _ in range(2):
        with suppress(AirflowNotFoundException):
            return warehouse_url(BaseHook.get_connection(WAREHOUSE))
    raise ConfigError(
        "no warehouse is named",
        got=f"no POSTGRES_URL, and twice no answer with a connection '{WAREHOUSE}'",
        do="make the connection; if there is one, Airflow's API server didn't give it out: see its log, and try again; "
        "to try things out, set AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE=True",
    )


def warehouse_url(connection: Connection) -> str:
    """A Postgres connection as libpq's URL; its extras are libpq's settings. Raises ConfigError."""
    here = f"the connection '{connection.conn_id}'"
    if connection.conn_type not in ("postgres", "postgresql"):
        raise ConfigError(f"{here} isn't a warehouse", got=str(connection.conn_type), do="make it of type postgres")
    extra = connection.extra_dejson
    by_token = [name for name in _BY_TOKEN if extra.get(name)]
    if by_token:
        raise ConfigError(f"{here} logs in by a token, which isn't supported", got=by_token[0], do="use a password")
    said = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
    }
    said |= {name: value for name, value in extra.items() if name not in _OF_AIRFLOW}
    settings = {name: value for name, value in said.items() if value not in (None, "")}
    return f"postgresql:///?{urlencode(settings, quote_via=quote)}"  # all by name: no host or password is special


def staging_root() -> str:
    """As `Installation` finds it, without starting anything."""
    return os.environ.get("IMPORTERS_STAGING") or str(
        Path(os.environ.get("IMPORTERS_HOME") or ".importers") / "staging"
    )


def check_reach(staging: str) -> None:
    """Raises ConfigError if a step may run on a machine that doesn't see what the step before it has staged.

    `[importers] shared_disk` says that the directory is a mount that every worker has.
    """
    executors = re.findall(r"\w*Executor", conf.get("core", "executor"))
    remote = [name for name in executors if not name.endswith(("LocalExecutor", "SequentialExecutor"))]
    on_disk = urlsplit(staging).scheme in ("", "file")
    if remote and on_disk and not conf.getboolean(SECTION, "shared_disk", fallback=False):
        raise ConfigError(
            "staged data lies on one machine's disk, and tasks run on several",
            got=f"{remote[0]}, and IMPORTERS_STAGING is a local directory",
            do="set IMPORTERS_STAGING to s3://BUCKET/PREFIX; or, if every worker mounts it, [importers] shared_disk",
        )
