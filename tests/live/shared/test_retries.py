"""Who is told to come back later waits in the triggerer: no worker, no slot of a pool and no try goes into it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import registered
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
    waiting.until("it isn't deferred", lambda: task(waiting, run)["state"] == "deferred", 600)
    other, _ = ask(waiting, "other", 0)
    waiting.wait_for_run(DAG_ID, other, {"success"}, 600)  # in the only slot there is
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
    assert (row[1] - asked_at).total_seconds() < 600
    logged = waiting.task_logs(DAG_ID, run)
    assert re.search(r"waiting 8640[01] s", logged)
    waiting.api("PATCH", f"/dags/{DAG_ID}/dagRuns/{run}", {"state": "failed"})


QUOTA = """
tenant: patient
pipelines:
  plays:
    importer: quota_api
    config: {{said: "{said}", wait: 8}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{none: true, reason: made up}}
      columns: {{id: keep}}
    streams: {{likes: {{}}, skips: {{}}}}
"""


@pytest.fixture
def quota() -> Iterator[None]:
    """The source is known here too, not only in the deployment."""
    registered.register()
    yield
    registered.unregister()


def test_after_the_wait_the_same_try_goes_on_and_only_of_the_streams_that_were_chosen(
    airflow: Airflow, quota: None
) -> None:
    """A pipeline's own tasks: its source is told to wait while it is read."""
    dag_id, said = "patient.plays", airflow.home / "quota.txt"
    airflow.describe("patient", QUOTA.format(said=said), dag_id)
    run = airflow.trigger(dag_id, conf={"streams": ["skips"]})

    def tasks() -> dict[str, dict[str, Any]]:
        return {task["task_id"]: task for task in airflow.tasks(dag_id, run)}

    airflow.wait_for_run(dag_id, run, {"success"}, 600)
    assert said.read_text() == "skips\nskips\n"
    # As above, but too short to be seen. We add up to a second to it.
    assert re.search(r"waiting [89] s", airflow.task_logs(dag_id, run, 100_000))
    done = tasks()
    assert done["skips.read.extract"]["try_number"] == 1
    assert {task["state"] for name, task in done.items() if name.startswith("skips.")} == {"success"}
    assert {task["state"] for name, task in done.items() if name.startswith("likes.")} == {"success", "skipped"}
    assert [name for name, task in done.items() if task["state"] == "success" and name.startswith("likes.")] == [
        "likes.plan"
    ]
    with psycopg.connect(airflow.warehouse) as connection:
        assert connection.execute("select id from patient.skips order by id").fetchall() == [(1,), (2,), (3,)]
        assert connection.execute("select to_regclass('patient.likes')").fetchone() == (None,)
        states = connection.execute("select state from _importers.run where tenant = 'patient'").fetchall()
    assert states == [("committed",)]
