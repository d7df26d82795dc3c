"""A DAG for each pipeline of each tenant file.

One import error makes all the DAGs of a file stale, and the scheduler skips them. So nothing here raises over a
tenant's mistake: what is broken is left out, and `check_tenants` reports it elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowException

from importers.core.names import did_you_mean
from importers.core.registry import sources
from importers.core.settings import importer_settings
from importers.core.tenant_file import TenantFile
from importers.dag_factory.deadline import deadlines
from importers.dag_factory.document import document
from importers.dag_factory.group import add_streams
from importers.dag_factory.params import form
from importers.dag_factory.schedule import schedule_of, start_of
from importers.dag_factory.shares import Share, share_of
from importers.exceptions import ConfigError
from importers.hooks.deployment import tenants_directory
from importers.operators import RetryByRemedy
from importers.pipeline.tenants import find_tenant, read_tenant, read_tenants

RETRIES = {"retries": 5, "retry_delay": timedelta(seconds=30)}

log = logging.getLogger(__name__)


def tenant_dags(file: str | Path = "") -> dict[str, DAG]:
    """DAGs by `tenant.pipeline`: of the share that the DAG file's name says, of all if it says none.

    While a task is started, only the one that it belongs to.
    """
    wanted = get_parsing_context().dag_id
    dags: dict[str, DAG] = {}
    for tenant in _tenants(wanted, share_of(file)):
        dags |= _dags(tenant, wanted)
    return dags


def _dags(file: TenantFile, wanted: str | None) -> dict[str, DAG]:
    dags = {}
    for pipeline in file.tenant.pipelines:
        dag_id = f"{file.tenant.tenant}.{pipeline}"
        if wanted not in (None, dag_id):
            continue
        try:
            dags[dag_id] = pipeline_dag(file, pipeline)
        except (ConfigError, AirflowException) as error:
            log.warning("left out: %s", error)
    return dags


def _tenants(wanted: str | None, share: Share) -> Iterator[TenantFile]:
    try:
        if wanted is None:
            yield from read_tenants(tenants_directory(), share.has)[0]
        else:
            yield read_tenant(find_tenant(tenants_directory(), wanted.partition(".")[0]))
    except ConfigError as error:
        log.warning("left out: %s", error)


LOOPING = {"retry_policy": RetryByRemedy(looping=True)}
FAILURES = 10
"""After so many runs in a row that failed Airflow pauses a `@continuous` DAG. The next one begins as one ends: what a
person has to mend would fail some hundred times a day, though each run tries ever later.
"""


def pipeline_dag(file: TenantFile, pipeline: str) -> DAG:
    """Raises ConfigError for an importer that there isn't, AirflowException for what Airflow refuses."""
    tenant = file.tenant
    spec = tenant.pipelines[pipeline]
    importer, _ = importer_settings(tenant, pipeline)
    if importer not in sources():
        raise file.error(
            ("pipelines", pipeline, "importer"),
            f"there is no importer '{importer}'",
            do=did_you_mean(importer, sources()),
        )
    loops = spec.schedule == "@continuous"
    dag = DAG(
        dag_id=f"{tenant.tenant}.{pipeline}",
        description=f"{importer} → {tenant.tenant}",
        schedule=schedule_of(spec),
        start_date=start_of(spec),
        catchup=spec.catchup,
        max_active_runs=spec.max_active_runs,
        max_consecutive_failed_dag_runs=FAILURES if loops else 0,
        deadline=deadlines(tenant.tenant, spec),
        default_args={"owner": tenant.tenant, **RETRIES, **(LOOPING if loops else {})},
        tags=[tenant.tenant, importer, sources()[importer]],
        doc_md=document(tenant, pipeline, _text(file, pipeline)),
        auto_register=False,  # what fails to build must not be found half-built
    )
    with dag:
        add_streams(tenant.tenant, pipeline, spec)
    # Only now: else each task, and each class of a task, copies them all. A task finds its DAG's when it runs.
    dag.params = ParamsDict(form(spec.streams))
    dag.validate()  # type: ignore[no-untyped-call]
    return dag


def _text(file: TenantFile, pipeline: str) -> str:
    """The pipeline's lines of the file, comments and all."""
    lines = Path(file.file).read_text(encoding="utf-8-sig").splitlines()
    first = file.line(("pipelines", pipeline))
    later = (line for path, line in file.lines.items() if len(path) <= 2 and line > first)
    return "\n".join(lines[first - 1 : min(later, default=len(lines) + 1) - 1])
