"""The connection that Airflow has for a tenant's source. Asked for when a task runs, never while a DAG is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from importers.core.connection import Connection
from importers.core.settings import pipeline_of
from importers.exceptions import ConfigError
from importers.pipeline.connection import connection_ids, needs_connection

if TYPE_CHECKING:
    from airflow.sdk import Connection as AirflowConnection

    from importers.core.tenant import Tenant


def resolve(tenant: Tenant, pipeline: str) -> Connection | None:
    """The tenant's own connection, else the shared one if the tenant's file allows it; None if the source needs none.

    Raises ConfigError, which names both ids.
    """
    source = needs_connection(tenant, pipeline)
    if source is None:
        return None
    ids = connection_ids(tenant, pipeline)
    found = _stored(ids.own)
    if found is None and ids.may_share:
        # To Airflow a lookup that failed is one that found nothing. A tenant that has its own must not get the shared
        # account because of that: it counts when the tenant's own is missing before and after.
        shared, found = _stored(ids.shared), _stored(ids.own)
        found = found or shared
    if found is None:
        raise _missing(tenant, pipeline)
    if found.conn_type != source.connection_type:
        what = f"the connection '{found.conn_id}' is of another type than {source.title} needs"
        do = f"make it of type {source.connection_type}"
        raise ConfigError(what, got=str(found.conn_type), do=do, tenant=tenant.tenant, pipeline=pipeline)
    return handed_over(found)


def handed_over(connection: AirflowConnection) -> Connection:
    """As a source takes it. Its secrets are masked in what the task logs from now on."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:  # its text may hold a secret
        extra = None
    if not isinstance(extra, dict):
        what = f"the extra of the connection '{connection.conn_id}' isn't a JSON object"
        raise ConfigError(what, do="write one, or nothing")
    fields = {name: getattr(connection, name) for name in ("host", "port", "schema", "login", "password")}
    mask_secret({**extra, "password": connection.password})  # those whose name is a secret's
    return Connection({**extra, **fields})


def _stored(conn_id: str) -> AirflowConnection | None:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None


def _missing(tenant: Tenant, pipeline: str) -> ConfigError:
    ids, importer = connection_ids(tenant, pipeline), pipeline_of(tenant, pipeline).importer
    if ids.may_share:
        what, do = f"there is neither the connection '{ids.own}' nor the shared '{ids.shared}'", "make one of them"
    else:
        what = f"there is no connection '{ids.own}'"
        do = f"make it; or allow the tenant '{ids.shared}': `shared_connections: [{importer}]` in its file"
    return ConfigError(what, do=do, tenant=tenant.tenant, pipeline=pipeline)
