"""The Airflow DAG that sweeps what runs have left."""

from importers.dag_factory import sweep_dag

sweep = sweep_dag()
