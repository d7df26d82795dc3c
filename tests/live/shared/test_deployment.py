"""A deployment of its own imports a file: what every other test of this directory builds on."""

from __future__ import annotations

from pathlib import Path

import psycopg
from tests.live.conftest import Deploy
from tests.services.airflow import PROCESSES, Airflow

TENANT = """
tenant: acme
pipelines:
  orders:
    importer: csv
    config: {{path: "{data}/orders-*.csv", max_partitions: 2}}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {{column: customer, domain: customer}}
      columns: {{id: keep, customer: pseudonymise}}
"""


def test_a_triggered_run_loads_the_file(airflow: Airflow, tmp_path: Path) -> None:
    (tmp_path / "orders-1.csv").write_text("id,customer\n1,ada\n2,grace\n")
    (tmp_path / "orders-2.csv").write_text("id,customer\n3,joan\n")
    airflow.describe("acme", TENANT.format(data=tmp_path), "acme.orders")
    run = airflow.trigger("acme.orders")
    airflow.wait_for_run("acme.orders", run, {"success"})
    assert {task["state"] for task in airflow.tasks("acme.orders", run)} == {"success"}
    with psycopg.connect(airflow.warehouse) as connection:
        rows = connection.execute("select id, customer from acme.orders order by id").fetchall()
    assert [number for number, _ in rows] == [1, 2, 3]
    assert not {"ada", "grace", "joan"} & {customer for _, customer in rows}


def test_the_projects_dag_files_have_no_errors(airflow: Airflow) -> None:
    airflow.wait_for_dag("_importers.sweep")
    assert airflow.api("GET", "/importErrors")["import_errors"] == []
    assert "No data found" in airflow.cli("dags", "list-import-errors")


def test_a_deployment_may_do_without_most_processes_and_leaves_none(deploy: Deploy) -> None:
    with deploy(processes={}) as small:
        small.start("triggerer", *PROCESSES["triggerer"])
        with psycopg.connect(small.metadata, autocommit=True) as metadata:
            jobs = "select count(*) from job where job_type = 'TriggererJob' and state = 'running'"
            small.until("no triggerer is at work", lambda: metadata.execute(jobs).fetchone() == (1,), 300)
        (pid,) = {process.pid for process in small.running.values()}
        assert pid in small.left()
    assert small.left() == []
    assert not small.home.exists()
