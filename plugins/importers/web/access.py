"""Who may see which pipeline: whoever may see its DAG. What one may not see looks like what there isn't."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models import DagModel
from airflow.utils.session import create_session
from fastapi import HTTPException, status
from sqlalchemy import select

from importers.core.names import NAME

_ID = re.compile(rf"({NAME[1:-1]})\.({NAME[1:-1]})")


@dataclass(frozen=True, slots=True, order=True)
class Pipeline:
    """A pipeline that the user may see. `stale`: Airflow knows its DAG, and no file makes it any more."""

    tenant: str
    name: str
    stale: bool = field(default=False, compare=False)

    @property
    def dag_id(self) -> str:
        return f"{self.tenant}.{self.name}"

    @classmethod
    def parse(cls, dag_id: str, *, stale: bool = False) -> Self | None:
        """None for what can't be a pipeline's DAG."""
        match = _ID.fullmatch(dag_id)
        return cls(match[1], match[2], stale) if match else None


def readable_pipelines(user: GetUserDep) -> list[Pipeline]:
    """Those whose DAGs the user may read, in order."""
    allowed, gone = get_auth_manager().get_authorized_dag_ids(user=user, method="GET"), stale_dags()
    return sorted(pipeline for dag_id in allowed if (pipeline := Pipeline.parse(dag_id, stale=dag_id in gone)))


def stale_dags() -> set[str]:
    """By id. Their pages and runs stay; nothing begins."""
    with create_session(scoped=False) as session:
        return set(session.scalars(select(DagModel.dag_id).where(DagModel.is_stale)))


def the_pipeline(dag_id: str, user: GetUserDep) -> Pipeline:
    """The pipeline that the address names. A DAG that isn't there and one that isn't the user's are both 404."""
    for pipeline in readable_pipelines(user):
        if pipeline.dag_id == dag_id:
            return pipeline
    raise HTTPException(status.HTTP_404_NOT_FOUND)
