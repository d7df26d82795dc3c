"""The tasks of a pipeline: plan → [extract → validate][*] → gate → [anonymise → load][*] → commit → clean."""

from __future__ import annotations

from typing import Any, cast

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, TriggerRule, XComArg, task_group

from importers.core.settings import pipeline_of
from importers.core.tenant import Pipeline
from importers.hooks.deployment import tenants_directory
from importers.operators import (
    AnonymiseOperator,
    CleanOperator,
    CommitOperator,
    ExtractOperator,
    GateOperator,
    LoadOperator,
    PlanOperator,
    RetryByRemedy,
    ValidateOperator,
)
from importers.pipeline.tenants import find_tenant, read_tenant


def import_pipeline(tenant: str, pipeline: str, *, group_id: str | None = None) -> TaskGroup:
    """A pipeline of a tenant's file as a task group of a hand-written DAG, called like the pipeline.

    What comes after the group waits for commit. Reads the file. Raises ConfigError.
    """
    spec = pipeline_of(read_tenant(find_tenant(tenants_directory(), tenant)).tenant, pipeline)
    with TaskGroup(group_id or pipeline) as group:
        add_streams(tenant, pipeline, spec)
    return group


def add_streams(tenant: str, pipeline: str, spec: Pipeline) -> None:
    """A group of tasks for each stream that the file names. If it names none: tasks for the source's only stream."""
    for stream in spec.streams:
        with TaskGroup(stream):
            _add_tasks({"tenant": tenant, "pipeline": pipeline}, stream, spec.max_parallel)
    if not spec.streams:
        _add_tasks({"tenant": tenant, "pipeline": pipeline}, None, spec.max_parallel)


def _add_tasks(of: dict[str, Any], stream: str | None, at_once: int) -> None:
    """Draws the edges. A mapped group runs a partition to its end before others begin, and one's failure alone.

    An empty run skips the mapped groups, so gate and commit go on where nothing failed; and commit has an edge from
    gate, since a skipped group would hide from it that the gate failed.

    Two tasks decide how the DAG run ends. commit does, so that after a failure only what failed is red; and clean,
    since commit is merely skipped where a person marks the run as failed. To Airflow a task isn't the last of its DAG
    if a teardown that may fail the run follows it: so `ended` stands between the two, empty; no worker runs it.
    """
    plan = PlanOperator(task_id="plan", stream=stream, **of)
    of = {**of, "run": XComArg(plan, key="run")}
    mapped = {**of, "max_active_tis_per_dagrun": at_once}

    # These two return None: an edge to a group that returns a task's output would be an edge to that task only.
    @task_group(group_id="read")
    def read(partition: int) -> None:
        extract = ExtractOperator(task_id="extract", partition=partition, **mapped)
        extract >> ValidateOperator(task_id="validate", partition=partition, **mapped)

    @task_group(group_id="write")
    def write(partition: int) -> None:
        anonymise = AnonymiseOperator(task_id="anonymise", partition=partition, **mapped)
        anonymise >> LoadOperator(task_id="load", partition=partition, **mapped)

    gate = GateOperator(task_id="gate", trigger_rule=TriggerRule.NONE_FAILED, **of)
    commit = CommitOperator(task_id="commit", trigger_rule=TriggerRule.NONE_FAILED, **of)
    reading, writing = (cast("TaskGroup", group.expand(partition=plan.output)) for group in (read, write))
    reading >> gate >> writing >> commit
    gate >> commit

    # By a template, which is empty where plan failed: then there is nothing to clean.
    run = f"{{{{ ti.xcom_pull(task_ids='{plan.task_id}', key='run') }}}}"
    decided = RetryByRemedy()  # what it fails of has failed, in whatever DAG
    clean = CleanOperator(task_id="clean", commit=commit.task_id, retry_policy=decided, **{**of, "run": run})
    ended = EmptyOperator(task_id="ended")
    commit >> ended.as_teardown() >> clean.as_teardown(on_failure_fail_dagrun=True)
    [plan, gate, *reading.iter_tasks(), *writing.iter_tasks()] >> clean
    plan >> ended  # so that it is skipped, as all the others are, where plan says that nothing follows
