"""Every Airflow DAG of every tenant, from include/tenants/*.yaml. A broken file is left out; see config_check.py."""

from importers.dag_factory import tenant_dags

globals().update(tenant_dags(__file__))
