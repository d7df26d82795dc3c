"""Where an importer's settings come from: `config=`, else the tenant's file, else the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from importers.core.model_faults import faults
from importers.core.names import NAME, as_name
from importers.core.registry import source_class
from importers.core.tenant import Pipeline, Tenant
from importers.exceptions import ConfigError
from importers.pipeline.tenants import DIRECTORY, find_tenant, read_tenant

OF_PIPELINE = frozenset({"expect", "privacy", "load", "quarantine", "streams", "max_parallel", "staging_ttl"})
"""Keys of `config=` that say what the pipeline does; all others are the importer's own settings."""


def tenant_of(
    name: str, tenant_id: str, pipeline: str, config: Mapping[str, Any] | None, environ: Mapping[str, str] = os.environ
) -> Tenant:
    """A tenant with the one pipeline that `config=` describes, key by key over the tenant's file over the environment.

    Raises ConfigError.
    """
    if "connection" in (config or {}):
        what = "an operator's `config` is stored with the task, and a connection holds secrets"
        raise ConfigError(what, do="make the connection in Airflow", tenant=tenant_id)
    on_file = _on_file(tenant_id, environ)
    known = on_file.importers.get(name, {}) if on_file else {}
    said = dict(config or {})
    settings = {**_from_environment(name, known, environ), **known, **said}
    base = on_file.pipelines.get(pipeline) if on_file else None
    domains = {"domains": settings.pop("domains")} if "domains" in settings else {}
    about: dict[str, Any] = {key: settings.pop(key) for key in OF_PIPELINE & settings.keys()}
    inherited = base.model_dump(exclude_unset=True) if base else {}
    body: dict[str, Any] = {
        "tenant": tenant_id,
        "importers": {name: settings},
        "pipelines": {pipeline: {**inherited, **about, "importer": name}},
    }
    if on_file:
        body |= {
            "privacy": on_file.privacy.model_dump(exclude_unset=True),
            "controller": on_file.controller,
            "shared_connections": on_file.shared_connections,
            "domains": on_file.domains,
        }
    try:
        return Tenant.model_validate(body | domains)
    except ValidationError as error:
        first = faults(error, Tenant, body)[0]
        where = ".".join(str(part) for part in first.path)
        do = first.do or f"see {Pipeline.__name__} in the tenant file's reference"
        if where == "tenant":
            do = f"match {NAME}: '{as_name(tenant_id)}'"
        raise ConfigError(f"config {where}: {first.what}", got=first.got, do=do) from None


def _on_file(tenant_id: str, environ: Mapping[str, str]) -> Tenant | None:
    directory = Path(environ.get("IMPORTERS_TENANTS") or DIRECTORY)
    if not directory.is_dir():
        return None
    try:
        file = find_tenant(directory, tenant_id)
    except ConfigError:  # a tenant needn't have a file when Python asks
        return None
    return read_tenant(file).tenant


def _from_environment(name: str, known: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """`IMPORTERS_CSV_PATH=…` is the setting `path` of `csv`; lists and numbers are written as JSON."""
    fields = source_class(str(known.get("use", name))).config_model.model_fields
    found = {field: environ.get(f"IMPORTERS_{name}_{field}".upper()) for field in fields}
    return {field: _value(text) for field, text in found.items() if text is not None}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
