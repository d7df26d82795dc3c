"""What generating the tenants' DAGs costs beside plain Airflow DAGs of the same shape, in CPU seconds of one process.

Each pair is measured in turn, a few times, and the least counts: what else the machine does makes it slower, never
faster.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable, TriggerRule, XComArg, task_group
from airflow.sdk.definitions.context import _AIRFLOW_PARSING_CONTEXT_DAG_ID as PARSING
from airflow.serialization.serialized_objects import DagSerialization

from importers.dag_factory import tenant_dags
from importers.dag_factory.factory import RETRIES
from importers.dag_factory.params import form
from importers.dag_factory.schedule import SINCE

PIPELINES = ("listening", "orders", "songs")
PIPELINE = """\
  {name}:
    importer: csv
    config: {{path: data/{name}-*.csv, stream: {name}}}
    schedule: "{minute} * * * *"
    expect:
      - expect_column_values_to_not_be_null: {{column: track_id}}
      - expect_column_values_to_be_between: {{column: ms_played, min_value: 0, max_value: 86400000}}
      - expect_column_values_to_be_unique: {{column: event_id}}
    quarantine: {{max_fraction: 0.05, retention: P30D}}
    privacy:
      purpose: recommendations to listeners
      lawful_basis: consent
      retention: P2Y
      subject: {{column: account_id, domain: listener}}   # whose row it is
      columns:
        event_id: keep
        account_id: pseudonymise
        email: {{mask: email}}
        ip: {{mask: ip_prefix}}
        track_id: keep
        ms_played: keep
        played_at: keep
    load: {{mode: merge, table: {name}, primary_key: event_id, cursor: played_at}}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of ours and of the plain DAGs; None where the plain ones have no such thing."""

    what: str
    ours: float
    plain: float | None


def write_tenants(directory: Path, tenants: int) -> None:
    """As the examples in include/tenants are: three pipelines each, with rules, a policy and comments."""
    for number in range(tenants):
        name = f"t{number:04}"
        head = f"tenant: {name}\ncontroller: {{name: Tenant {number}, contact: dpo@{name}.example}}\npipelines:\n"
        parts = (PIPELINE.format(name=pipeline, minute=number % 60) for pipeline in PIPELINES)
        (directory / f"{name}.yaml").write_text(head + "".join(parts))


class Plain(BaseOperator):
    """An operator as people write them: some arguments, two of which are templates."""

    template_fields = ("tenant", "run")

    def __init__(self, *, tenant: str, run: Any = None, partition: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tenant, self.run, self.partition = tenant, run, partition


def plain_dags(tenants: int) -> dict[str, DAG]:
    """The same tasks, mapped groups, edges, form, timetable and retries, from a loop instead of files."""
    names = [(f"t{number:04}", pipeline, number % 60) for number in range(tenants) for pipeline in PIPELINES]
    return {f"{tenant}.{pipeline}": _plain_dag(tenant, pipeline, minute) for tenant, pipeline, minute in names}


def _plain_dag(tenant: str, pipeline: str, minute: int) -> DAG:
    with DAG(
        dag_id=f"{tenant}.{pipeline}",
        schedule=CronDataIntervalTimetable(f"{minute} * * * *", timezone="UTC"),
        start_date=SINCE,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": tenant, **RETRIES},
        tags=[tenant, "csv", "files"],
        params=form([]),
        auto_register=False,
    ) as dag:
        plan = Plain(task_id="plan", tenant=tenant)
        of: dict[str, Any] = {"tenant": tenant, "run": XComArg(plan, key="run")}

        @task_group(group_id="read")
        def read(partition: int) -> None:
            Plain(task_id="extract", partition=partition, **of) >> Plain(task_id="validate", partition=partition, **of)

        @task_group(group_id="write")
        def write(partition: int) -> None:
            Plain(task_id="anonymise", partition=partition, **of) >> Plain(task_id="load", partition=partition, **of)

        gate = Plain(task_id="gate", trigger_rule=TriggerRule.NONE_FAILED, **of)
        commit = Plain(task_id="commit", trigger_rule=TriggerRule.NONE_FAILED, **of)
        reading, writing = (group.expand(partition=plan.output) for group in (read, write))
        reading >> gate >> writing >> commit
        gate >> commit
        clean = Plain(task_id="clean", tenant=tenant, run="{{ ti.xcom_pull(task_ids='plan', key='run') }}")
        ended = EmptyOperator(task_id="ended")
        commit >> ended.as_teardown() >> clean.as_teardown(on_failure_fail_dagrun=True)
        [plan, gate, *reading.iter_tasks(), *writing.iter_tasks()] >> clean
        plan >> ended
    dag.validate()
    return dag


def least(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The least CPU seconds of each work, done in turn."""
    seconds = [[_cpu(work) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*seconds, strict=True)]


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


@contextmanager
def deployment(tenants: int) -> Iterator[Path]:
    """A directory of so many tenants, which the factory reads."""
    directory = Path(tempfile.mkdtemp(prefix="importers-bench-"))
    try:
        write_tenants(directory, tenants)
        with patch.dict(os.environ, {"IMPORTERS_TENANTS": str(directory)}):
            yield directory
    finally:
        shutil.rmtree(directory)


def measure(tenants: int, rounds: int) -> list[Cost]:
    with deployment(tenants):
        ours, plain = tenant_dags(), plain_dags(tenants)
        if set(ours) != set(plain):
            raise ValueError("the plain DAGs aren't those of the tenants")
        parse = least(rounds, tenant_dags, lambda: plain_dags(tenants))
        serialise = least(rounds, lambda: _serialise(ours), lambda: _serialise(plain))
        with patch.dict(os.environ, {PARSING: "t0000.songs"}):
            (one,) = least(rounds, tenant_dags)
    return [Cost("parse", *parse), Cost("serialise", *serialise), Cost("parse for one task", one, None)]


def _serialise(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        DagSerialization.to_dict(dag)


def as_records(costs: list[Cost]) -> list[dict[str, Any]]:
    return [asdict(cost) for cost in costs]


def show(costs: list[Cost], tenants: int) -> str:
    lines = [f"{tenants:,} tenants × {len(PIPELINES)} pipelines, CPU seconds:"]
    for cost in costs:
        beside = f"plain {cost.plain:7.2f}   {cost.ours / cost.plain:.2f} ×" if cost.plain else ""
        lines.append(f"  {cost.what:<20} {cost.ours:7.2f}   {beside}")
    return "\n".join(lines)
