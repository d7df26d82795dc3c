"""No Airflow DAG: an import error of this file lists what is wrong with the tenants' files, and hides nobody's DAGs."""

from importers.dag_factory import check_tenants

check_tenants()
