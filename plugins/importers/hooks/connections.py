"""The connection that Airflow has for a tenant's source. Asked for when a task runs, never while a DAG is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.log import mask_secret

from importers.core.connection import Connection
from importers.core.settings import pipeline_of
from importers.core.source import Source
from importers.exceptions import ConfigError, ImporterError
from importers.pipeline.connection import connection_ids, takes_connection

if TYPE_CHECKING:
    from airflow.sdk import Connection as AirflowConnection

    from importers.core.model import JSON
    from importers.core.tenant import Tenant

GENERIC = "generic"
"""What Airflow's command line makes of a type whose provider isn't installed; it has the same fields."""


def resolve(tenant: Tenant, pipeline: str) -> Connection | None:
    """The tenant's own connection, else the shared one if the tenant's file allows it; None if the source takes none.

    None also if there is neither and the source can do without. Raises ConfigError, which names both ids.
    """
    source = takes_connection(tenant, pipeline)
    if source is None:
        return None
    ids = connection_ids(tenant, pipeline)
    found = _stored(ids.own)
    if found is None and (ids.may_share or source.connection_optional):
        # To Airflow a lookup that failed is one that found nothing. A tenant that has its own must not get the shared
        # account because of that, nor read as nobody: it counts when its own is missing before and after.
        shared = _stored(ids.shared) if ids.may_share else None
        found = _stored(ids.own) or shared
    if found is None:
        if source.connection_optional:
            return None
        raise _missing(tenant, pipeline)
    if found.conn_type not in {source.connection_type, GENERIC}:
        what = f"the connection '{found.conn_id}' is of another type than {source.title} needs"
        do = f"make it of type {source.connection_type}, or of {GENERIC} where Airflow doesn't know that one"
        raise ConfigError(what, got=str(found.conn_type), do=do, tenant=tenant.tenant, pipeline=pipeline)
    return handed_over(found, _from_hook(source, found))


def handed_over(connection: AirflowConnection, more: Mapping[str, JSON] | None = None) -> Connection:
    """As a source takes it, with `more` over its fields. Its secrets are masked in what the task logs from now on."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:  # its text may hold a secret
        extra = None
    if not isinstance(extra, dict):
        what = f"the extra of the connection '{connection.conn_id}' isn't a JSON object"
        raise ConfigError(what, do="write one, or nothing")
    fields = {name: getattr(connection, name) for name in ("host", "port", "schema", "login", "password")}
    said = {**extra, **fields, **(more or {})}
    mask_secret(said)  # those whose name is a secret's
    return Connection(said)


def _from_hook(source: type[Source[Any]], connection: AirflowConnection) -> Mapping[str, JSON]:
    """What the source takes from the hook of the connection's provider. Nothing where that isn't installed."""
    if source.from_hook.__func__ is Source.from_hook.__func__:  # type: ignore[attr-defined]
        return {}
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError):
        return {}
    try:
        return source.from_hook(hook)
    except ImporterError:
        raise
    except Exception as error:  # noqa: BLE001 - a vendor's; its text may hold a secret
        what = f"Airflow's hook can't use the connection '{connection.conn_id}'"
        raise ConfigError(what, got=type(error).__name__, do="correct the connection") from None


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
