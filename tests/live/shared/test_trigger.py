"""The trigger form through the REST API of a live deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.services.airflow import Airflow

DAG = "form.orders"
TENANT = """
tenant: form
pipelines:
  orders:
    importer: csv
    config: {{path: "{data}/orders-*.csv", max_partitions: 2}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{column: customer, domain: customer}}
      columns: {{id: keep, customer: pseudonymise}}
    load: {{mode: merge, primary_key: id}}
"""


@pytest.fixture(scope="module")
def orders(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    data: Path = tmp_path_factory.mktemp("orders")
    (data / "orders-1.csv").write_text("id,customer\n1,ada\n2,grace\n")
    (data / "orders-2.csv").write_text("id,customer\n3,joan\n")
    airflow.describe("form", TENANT.format(data=data), DAG)
    yield airflow
    (airflow.tenants / "form.yaml").unlink()


def states(airflow: Airflow, run: str) -> dict[str, str]:
    return {task["task_id"]: str(task["state"]) for task in airflow.tasks(DAG, run)}


def runs(airflow: Airflow) -> list[Any]:
    with psycopg.connect(airflow.warehouse) as connection:
        there = connection.execute("select to_regclass('_importers.run')").fetchone()
        if there == (None,):
            return []
        return connection.execute("select kind, state from _importers.run where tenant = 'form' order by id").fetchall()


@pytest.mark.parametrize(
    "conf",
    [
        {"start": "yesterday"},
        {"start": 5},
        {"full_refresh": "yes"},
        {"dry_run": 1},
        {"sample_size": 0},
        {"sample_size": "many"},
        {"sample_size": 1_000_000_000},
        {"replay_quarantine": None},
    ],
    ids=str,
)
def test_what_has_the_wrong_type_is_answered_with_400(orders: Airflow, conf: dict[str, Any]) -> None:
    before = len(orders.runs(DAG))
    with pytest.raises(RuntimeError, match=f"was answered 400: .*{next(iter(conf))}"):
        orders.trigger(DAG, conf=conf)
    assert len(orders.runs(DAG)) == before


def test_the_api_shows_the_form_with_help(orders: Airflow) -> None:
    params = orders.api("GET", f"/dags/{DAG}/details")["params"]
    assert set(params) == {"start", "end", "full_refresh", "replay_quarantine", "dry_run", "sample_size"}
    assert all(param["description"] and param["schema"]["title"] for param in params.values())


def test_a_dry_run_then_a_run_then_a_contradiction(orders: Airflow) -> None:
    before = runs(orders)
    looked = orders.trigger(DAG, conf={"dry_run": True, "sample_size": 2})
    orders.wait_for_run(DAG, looked, {"success"}, 400)
    assert states(orders, looked).pop("plan") == "success"
    assert {state for name, state in states(orders, looked).items() if name != "plan"} == {"skipped"}
    assert runs(orders) == before
    said = orders.task_logs(DAG, looked, 100_000)
    assert "nothing is written" in said
    assert not [name for name in ("ada", "grace", "joan") if name in said]

    loaded = orders.trigger(DAG)
    orders.wait_for_run(DAG, loaded, {"success"}, 400)
    assert runs(orders) == [*before, ("incremental", "committed")]
    reads = orders.api("GET", f"/dags/{DAG}/dagRuns/{loaded}/taskInstances/plan/xcomEntries/reads")["value"]
    assert "no dates: goes on from the committed position" in reads

    wrong = orders.trigger(DAG, conf={"full_refresh": True, "start": "2026-01-01T00:00:00Z", "sample_size": 3})
    orders.wait_for_run(DAG, wrong, {"failed"}, 400)
    said = orders.task_logs(DAG, wrong, 100_000)
    assert "a full refresh of a window" in said
    assert "a sample without a dry run" in said
    assert runs(orders) == [*before, ("incremental", "committed")]


def table(airflow: Airflow) -> list[int]:
    with psycopg.connect(airflow.warehouse) as connection:
        return [row[0] for row in connection.execute("select id from form.orders order by id").fetchall()]


def test_a_run_that_a_person_marks_failed_ends_failed_and_is_aborted(orders: Airflow) -> None:
    before = table(orders)
    run = orders.trigger(DAG, conf={"full_refresh": True})
    orders.until("plan isn't done", lambda: states(orders, run)["plan"] == "success", 400)
    orders.api("PATCH", f"/dags/{DAG}/dagRuns/{run}", {"state": "failed"})

    def cleaned() -> str | None:
        state = states(orders, run)["clean"]
        return state if state in ("success", "failed") else None

    assert orders.until("clean hasn't run", cleaned, 400) == "failed"
    orders.wait_for_run(DAG, run, {"failed"}, 400)
    assert states(orders, run)["commit"] == "skipped"
    assert runs(orders)[-1] == ("incremental", "aborted")
    assert table(orders) == before
    assert "the run was marked as failed; what it had loaded is taken back" in orders.task_logs(DAG, run, 100_000)


@pytest.mark.timeout(1200)
def test_one_that_is_marked_failed_before_its_plan_has_opened_a_run_ends_failed_too(orders: Airflow) -> None:
    run = orders.trigger(DAG, conf={"full_refresh": True})
    orders.api("PATCH", f"/dags/{DAG}/dagRuns/{run}", {"state": "failed"})
    orders.wait_for_run(DAG, run, {"failed"}, 400)
    known = states(orders, run)
    assert (known["commit"], known["clean"]) == ("skipped", "failed")


def test_where_plan_fails_nothing_else_does(orders: Airflow) -> None:
    before = runs(orders)
    run = orders.trigger(DAG, conf={"full_refresh": True, "start": "2026-01-01T00:00:00Z"})
    orders.wait_for_run(DAG, run, {"failed"}, 400)
    known = states(orders, run)
    assert [name for name, state in known.items() if state == "failed"] == ["plan"]
    assert (known["commit"], known["clean"]) == ("upstream_failed", "skipped")
    assert runs(orders) == before


MENDED = """
tenant: mended
pipelines:
  orders:
    importer: csv
    config: {{path: "{data}/orders.csv"}}
    expect: [{{expect_column_values_to_be_between: {{column: total, max_value: {most}}}}}]
    quarantine: {{max_fraction: 0.9}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{column: customer, domain: customer}}
      columns: {{id: keep, customer: pseudonymise, total: keep}}
    load: {{mode: append}}
"""


def test_mended_quarantine_is_loaded_once_by_the_form(airflow: Airflow, tmp_path: Path) -> None:
    dag = "mended.orders"
    (tmp_path / "orders.csv").write_text("id,customer,total\n1,ada,5\n2,grace,50\n3,joan,500\n")

    def ids() -> list[int]:
        with psycopg.connect(airflow.warehouse) as connection:
            return [row[0] for row in connection.execute("select id from mended.orders order by id").fetchall()]

    def done(conf: dict[str, Any]) -> None:
        airflow.wait_for_run(dag, airflow.trigger(dag, conf=conf), {"success"}, 400)

    airflow.describe("mended", MENDED.format(data=tmp_path, most=10), dag)
    done({})
    assert ids() == [1]
    airflow.describe("mended", MENDED.format(data=tmp_path, most=100), dag)
    done({"replay_quarantine": True})
    assert ids() == [1, 2]
    done({"replay_quarantine": True})
    assert ids() == [1, 2]  # order 3 is still bad
