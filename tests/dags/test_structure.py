"""The generated DAGs: their tasks, their edges, and what Airflow makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

from importers.dag_factory import import_pipeline, sweep_dag, tenant_dags
from importers.operators import RetryByRemedy
from importers.pipeline.lint import PRESETS

CHAIN = ["plan", "read.extract", "read.validate", "gate", "write.anonymise", "write.load", "commit", "ended", "clean"]


def upstream(task: BaseOperator) -> set[str]:
    """Everything that comes before a task, however far."""
    found = set(task.upstream_task_ids)
    for parent in task.upstream_list:
        found |= upstream(parent)
    return found


@dataclass(frozen=True)
class Instance:
    """As much of a task instance as that code looks at."""

    task_id: str
    state: None = None


@pytest.fixture
def dag(tenants: Path) -> DAG:
    return tenant_dags()["acme.songs"]


def test_a_dag_for_each_pipeline_of_each_tenant(tenants: Path) -> None:
    assert set(tenant_dags()) == {"acme.songs", "acme.plays", "beta.songs", "beta.plays"}


def test_the_steps_come_one_after_another(dag: DAG) -> None:
    assert set(dag.task_ids) == set(CHAIN)
    for before, task_id in enumerate(CHAIN):
        assert upstream(dag.get_task(task_id)) == set(CHAIN[:before]), task_id


def test_nothing_is_treated_or_loaded_before_the_gate(dag: DAG) -> None:
    assert "gate" in dag.get_task("write.anonymise").upstream_task_ids
    assert dag.get_task("gate").upstream_task_ids >= {"read.validate"}


def test_a_gate_that_fails_behind_skipped_partitions_is_seen_by_commit(dag: DAG) -> None:
    assert {"gate", "write.load"} <= dag.get_task("commit").upstream_task_ids


def test_clean_waits_for_every_task_itself(dag: DAG) -> None:
    clean = dag.get_task("clean")
    assert clean.upstream_task_ids == set(CHAIN) - {"clean", "commit"}
    assert dag.get_task("ended").upstream_task_ids == {"plan", "commit"}
    assert clean.is_teardown
    assert clean.on_failure_fail_dagrun
    assert clean.trigger_rule == TriggerRule.ALL_DONE_SETUP_SUCCESS


def test_commit_and_clean_decide_how_a_run_ends(dag: DAG) -> None:
    """Asked of the code by which Airflow's scheduler decides, of the DAG as the scheduler has it."""
    serialised = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    instances = [Instance(task_id) for task_id in CHAIN]
    deciding = DagRun()._tis_for_dagrun_state(dag=serialised, tis=instances)
    assert {instance.task_id for instance in deciding} == {"commit", "clean"}


def test_an_empty_run_goes_through_gate_and_commit(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule for task in dag.tasks if not task.is_teardown}
    lenient = {"gate", "commit"}
    assert all(rules[task_id] == TriggerRule.NONE_FAILED for task_id in lenient)
    assert all(rule == TriggerRule.ALL_SUCCESS for task_id, rule in rules.items() if task_id not in lenient)


def test_a_group_for_each_stream_that_the_file_names(tenants: Path) -> None:
    dag = tenant_dags()["acme.plays"]
    assert set(dag.task_ids) == {f"{stream}.{task}" for stream in ("plays", "skips") for task in CHAIN}
    assert {dag.get_task(f"{stream}.plan").stream for stream in ("plays", "skips")} == {"plays", "skips"}
    assert not [task_id for task_id in upstream(dag.get_task("plays.clean")) if task_id.startswith("skips")]


def test_max_parallel_limits_the_partitions_at_work(tenants: Path) -> None:
    tasks = tenant_dags()["acme.plays"].task_dict
    assert tasks["plays.read.extract"].max_active_tis_per_dagrun == 3
    assert tasks["plays.gate"].max_active_tis_per_dagrun is None


def test_a_dag_says_whose_it_is(dag: DAG) -> None:
    assert dag.tags == {"acme", "csv", "files"}
    assert {task.owner for task in dag.tasks} == {"acme"}
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    ours = [task for task in dag.tasks if task.task_id != "ended"]
    assert all(isinstance(task.retry_policy, RetryByRemedy) and task.retries == 5 for task in ours)


def test_cron_has_intervals(dag: DAG) -> None:
    assert dag.timetable == CronDataIntervalTimetable("0 6 * * *", timezone="UTC")


def test_the_page_shows_treatments_and_the_file(dag: DAG) -> None:
    assert dag.doc_md is not None
    assert "| `owner` | pseudonymise |" in dag.doc_md
    assert "| `born` | mask: date, unit: year |" in dag.doc_md
    assert "Acme Music GmbH" in dag.doc_md
    assert "    songs:  # what is sung\n      importer: csv\n" in dag.doc_md
    assert "parquet" not in dag.doc_md  # another pipeline's


def test_text_of_the_file_cannot_leave_its_place_on_the_page(tenants: Path) -> None:
    path = tenants / "acme.yaml"
    path.write_text(path.read_text().replace("owner: pseudonymise", '"a`|<b>\\n# x": drop, owner: pseudonymise'))
    page = tenant_dags()["acme.songs"].doc_md
    assert page is not None
    assert "| `a'\\|<b> # x` | drop |" in page
    assert "\n# x" not in page


@pytest.mark.parametrize("schedule", [*sorted(PRESETS), "*/5 * * * *", "0 3 * * 1-5"])
def test_airflow_takes_every_schedule_that_lint_lets_through(tenants: Path, schedule: str) -> None:
    path = tenants / "acme.yaml"
    path.write_text(path.read_text().replace("0 6 * * *", schedule))
    data = DagSerialization.to_dict(tenant_dags()["acme.songs"])
    assert DagSerialization.from_dict(data).timetable.summary


def test_every_dag_serialises_without_the_tenants_settings(tenants: Path) -> None:
    for dag in [*tenant_dags().values(), sweep_dag()]:
        data = DagSerialization.to_dict(dag)
        again = DagSerialization.from_dict(data)
        assert set(again.task_ids) == set(dag.task_ids)
        assert "songs.csv" not in json.dumps(data["dag"]["tasks"])


def test_a_pipeline_in_a_hand_written_dag(tenants: Path) -> None:
    with DAG("mine", schedule=None) as dag:
        first = BaseOperator(task_id="first")
        last = BaseOperator(task_id="last")
        first >> import_pipeline("acme", "songs") >> last
    dag.validate()
    assert set(dag.task_ids) == {"first", "last", *(f"songs.{task}" for task in CHAIN)}
    assert upstream(dag.get_task("songs.plan")) == {"first"}
    assert dag.get_task("last").upstream_task_ids == {"songs.commit"}  # a teardown holds nobody up


def test_no_tenant_can_have_the_housekeeping_dags_name() -> None:
    assert sweep_dag().dag_id == "_importers.sweep"
    assert sweep_dag().task_ids == ["sweep"]


def test_sweeping_need_not_be_switched_on() -> None:
    assert sweep_dag().is_paused_upon_creation is False
