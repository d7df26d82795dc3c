"""Retention: rows go when the time is over for which the tenant's file says that they are kept."""

from __future__ import annotations

from datetime import datetime

from importers.core.names import StreamName
from importers.core.retention import Expired, Expirer
from importers.core.settings import retention
from importers.core.tenant import Tenant, period
from importers.exceptions import ImporterError


def keeps_for_a_time(tenant: Tenant) -> bool:
    """Whether the tenant's file says a retention anywhere."""
    said = [tenant.privacy, *(spec.privacy for spec in tenant.pipelines.values())]
    said += [stream.privacy for spec in tenant.pipelines.values() for stream in spec.streams.values() if stream]
    return any(privacy.retention for privacy in said)


def expire(expirer: Expirer, tenant: Tenant, now: datetime) -> tuple[list[Expired], list[ImporterError]]:
    """Delete the tenant's rows that are past their retention. What fails keeps no other stream's rows there."""
    gone, failed = list[Expired](), list[ImporterError]()
    for loaded in expirer.loaded():
        _, pipeline, stream = StreamName.of(loaded.stream)
        kept = retention(tenant, pipeline, stream)
        if kept is None:
            continue
        try:
            line = expirer.expire(loaded, kept, now - period(kept))
        except ImporterError as error:
            failed.append(error.at(tenant=tenant.tenant, pipeline=pipeline, stream=stream))
        else:
            gone += [line] if line.rows else []
    return gone, failed
