"""What holds for a stream: its own words over its pipeline's over its tenant's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from importers.core.names import did_you_mean
from importers.core.tenant import Expectation, Load, Pipeline, Privacy, Quarantine, StreamSpec, Tenant, period
from importers.exceptions import ConfigError


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The rules, the policy and the way to load of one stream."""

    expect: tuple[Expectation, ...]
    privacy: Privacy
    load: Load


def pipeline_of(tenant: Tenant, pipeline: str) -> Pipeline:
    """A tenant's pipeline by name. Raises ConfigError."""
    if pipeline not in tenant.pipelines:
        what = f"{tenant.tenant} has no pipeline '{pipeline}'"
        raise ConfigError(what, do=did_you_mean(pipeline, tenant.pipelines), tenant=tenant.tenant)
    return tenant.pipelines[pipeline]


def effective(tenant: Tenant, pipeline: str, stream: str) -> StreamSettings:
    """The stream's words over its pipeline's over the tenant's; rules add up. A stream needn't be in the file."""
    spec = pipeline_of(tenant, pipeline)
    refined = spec.streams.get(stream) or StreamSpec()
    load = spec.load.model_copy(update={name: getattr(refined.load, name) for name in refined.load.model_fields_set})
    return StreamSettings(
        expect=(*spec.expect, *refined.expect),
        privacy=refined.privacy.over(spec.privacy.over(tenant.privacy)),
        load=load,
    )


def retention(tenant: Tenant | None, pipeline: str, stream: str) -> str | None:
    """How long rows of a stream are kept; None: for good. Of a pipeline that the file lacks the tenant's holds."""
    if tenant is None or pipeline not in tenant.pipelines:
        return tenant.privacy.retention if tenant else None
    return effective(tenant, pipeline, stream).privacy.retention


class Kept(NamedTuple):
    """How long something is kept, and the setting that says so: `quarantine.retention P30D`."""

    time: timedelta
    said: str


def kept_in_quarantine(tenant: Tenant | None, pipeline: str, stream: str) -> Kept:
    """How long a stream's bad rows are kept: no longer than its good ones. By defaults, if no file describes it."""
    spec = tenant.pipelines.get(pipeline) if tenant else None
    bad = (spec.quarantine if spec else Quarantine()).retention
    good = retention(tenant, pipeline, stream)
    said = [Kept(period(bad), f"quarantine.retention {bad}")]
    said += [Kept(period(good), f"privacy.retention {good}")] if good else []
    return min(said)


def importer_settings(tenant: Tenant, pipeline: str) -> tuple[str, dict[str, Any]]:
    """The registry name of a pipeline's importer, and its settings: the pipeline's `config` over the tenant's."""
    spec = pipeline_of(tenant, pipeline)
    settings = tenant.importers.get(spec.importer, {})
    name = str(settings.get("use", spec.importer))
    return name, {key: value for key, value in settings.items() if key != "use"} | spec.config
