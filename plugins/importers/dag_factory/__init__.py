"""DAGs from tenant files."""

from importers.dag_factory.check import check_tenants
from importers.dag_factory.factory import tenant_dags
from importers.dag_factory.group import import_pipeline
from importers.dag_factory.housekeeping import sweep_dag

__all__ = ["check_tenants", "import_pipeline", "sweep_dag", "tenant_dags"]
