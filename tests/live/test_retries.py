"""Who is told to come back later waits in the triggerer: no worker, no slot of a pool and no try goes into it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.services.airflow import Airflow

DAG_ID = "told_to_wait"
DAY = 86_400


@pytest.fixture(scope="module")
def waiting(airflow: Airflow) -> Airflow:
    """With a pool in which one task at a time has room."""
    airflow.api("POST", "/pools", {"name": "narrow", "slots": 1})
    shutil.copy(Path(__file__).parent / "dags" / "told_to_wait.py", airflow.dags)
    airflow.wait_for_dag(DAG_ID)
    airflow.unpause(DAG_ID)
    return airflow


def ask(airflow: Airflow, name: str, wait: float) -> tuple[str, Path]:
    said = airflow.home / f"{name}.txt"
    return airflow.trigger(DAG_ID, conf={"wait": wait, "said": str(said)}), said


def task(airflow: Airflow, run: str) -> dict[str, Any]:
    (found,) = airflow.tasks(DAG_ID, run)
    return found


def test_a_day_is_waited_in_the_triggerer_while_others_work(waiting: Airflow) -> None:
    asked_at = datetime.now(UTC)
    run, said = ask(waiting, "long", DAY)
    waiting.until("it isn't deferred", lambda: task(waiting, run)["state"] == "deferred", 180)
    other, _ = ask(waiting, "other", 0)
    waiting.wait_for_run(DAG_ID, other, {"success"}, 180)  # in the only slot there is
    found = task(waiting, run)
    assert (found["state"], found["try_number"]) == ("deferred", 1)
    assert said.read_text() == "asked\n"
    with psycopg.connect(waiting.metadata) as connection:
        row = connection.execute(
            """select trigger_timeout, t.created_date from task_instance i join trigger t on t.id = i.trigger_id
               where dag_id = %s and run_id = %s""",
            (DAG_ID, run),
        ).fetchone()
    assert row is not None
    assert row[0] is None  # nothing ends the wait before its time
    assert (row[1] - asked_at).total_seconds() < 180
    logged = waiting.task_logs(DAG_ID, run)
    assert "waiting 864" in logged
    waiting.api("PATCH", f"/dags/{DAG_ID}/dagRuns/{run}", {"state": "failed"})


def test_after_the_wait_the_same_try_goes_on(waiting: Airflow) -> None:
    run, said = ask(waiting, "short", 8)
    waiting.until("it isn't deferred", lambda: task(waiting, run)["state"] == "deferred", 180)
    waiting.wait_for_run(DAG_ID, run, {"success"}, 180)
    assert task(waiting, run)["try_number"] == 1
    assert said.read_text() == "asked\nasked\n"
