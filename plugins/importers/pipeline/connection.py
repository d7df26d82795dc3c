"""Which connection a pipeline's source gets. Nothing in a tenant's file names one: the name follows from the tenant's.

Without Airflow a connection is `config={'connection': …}` or the variables that the source names. With Airflow
`hooks.connections` finds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

from pydantic import ValidationError

from importers.core.connection import Connection
from importers.core.names import NAME
from importers.core.registry import source_class, sources
from importers.core.settings import importer_settings, pipeline_of
from importers.core.source import Source
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError

Resolver: TypeAlias = Callable[[Tenant, str], Connection | None]


class Ids(NamedTuple):
    """The names under which a connection may stand."""

    own: str
    shared: str
    may_share: bool
    """Whether the tenant's file allows the shared one."""


def connection_ids(tenant: Tenant, pipeline: str) -> Ids:
    """`importer_TENANT_SOURCE`, or `importer_TENANT_SOURCE.NAME` for settings with `use:`; and `importer_SOURCE`.

    Only one tenant and source can give an id: no source's name ends in `_` and another's, and no name has a dot. Raises
    ConfigError for a name that can't be in one.
    """
    source, called = importer_settings(tenant, pipeline)[0], pipeline_of(tenant, pipeline).importer
    if not re.fullmatch(NAME, called):
        what = f"the importer '{called[:60]}' can't have a connection"
        raise ConfigError(what, do=f"call it by a name that matches {NAME}", tenant=tenant.tenant, pipeline=pipeline)
    own = f"importer_{tenant.tenant}_{source}" + (f".{called}" if called != source else "")
    return Ids(own, f"importer_{source}", called in tenant.shared_connections)


def takes_connection(tenant: Tenant, pipeline: str) -> type[Source[Any]] | None:
    """The pipeline's source, if it takes a connection. Raises ConfigError for a source that there isn't."""
    name, settings = importer_settings(tenant, pipeline)
    source = source_class(name)
    return source if source.takes_connection(settings) else None


def unconnected(tenant: Tenant, pipeline: str) -> Source[Any] | None:
    """The pipeline's source, for what its settings alone tell; None if they are wrong, which is told elsewhere."""
    name, settings = importer_settings(tenant, pipeline)
    if name not in sources():
        return None
    cls = source_class(name)
    try:
        return cls(cls.config_model.model_validate(settings), tenant=tenant.tenant, pipeline=pipeline)
    except ValidationError:
        return None


def from_environment(tenant: Tenant, pipeline: str, environ: Mapping[str, str] = os.environ) -> Connection | None:
    """What the source's variables say; they are the same for all tenants.

    Raises ConfigError if one isn't set and the source can't do without.
    """
    source = takes_connection(tenant, pipeline)
    if source is None:
        return None
    parts = {**source.environment_besides, **source.environment}
    found = {part: environ[name] for part, name in parts.items() if environ.get(name)}
    if source.connection_optional:
        return Connection(found) if found else None
    missing = [name for name in source.environment.values() if not environ.get(name)]
    if missing or not source.environment:
        own = connection_ids(tenant, pipeline).own
        variables = f"set {' and '.join(missing)}, or " if missing else ""
        raise ConfigError(
            f"{source.title}: a connection is needed",
            do=f"{variables}give config={{'connection': …}}; under Airflow, make the connection '{own}'",
            tenant=tenant.tenant,
            pipeline=pipeline,
        )
    return Connection(found)


RESOLVER: ContextVar[Resolver] = ContextVar("resolver", default=from_environment)
"""How a connection is found where none is handed over: `airflow importers …` looks among Airflow's."""
