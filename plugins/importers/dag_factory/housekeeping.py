"""The DAG that no tenant has."""

from __future__ import annotations

from airflow.sdk import DAG

from importers.dag_factory.factory import RETRIES
from importers.dag_factory.schedule import SINCE
from importers.operators import SweepOperator


def sweep_dag() -> DAG:
    """Hourly. No tenant's DAG can bear the name: theirs begin with a letter."""
    with DAG(
        dag_id="_importers.sweep",
        description="Ends what failed and forgotten runs have left, and what is past its retention",
        schedule="@hourly",
        start_date=SINCE,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # retention is a promise, which nobody should have to switch on
        default_args={"owner": "importers", **RETRIES},
        tags=["importers"],
        auto_register=False,
    ) as dag:
        SweepOperator(task_id="sweep")
    return dag
