"""What is wrong with the tenants' files, as one import error that doesn't touch any tenant's DAGs."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import conf

from importers.dag_factory.shares import check_shares
from importers.exceptions import ConfigError
from importers.hooks.deployment import check_reach, staging_root, tenants_directory
from importers.pipeline.lint import lint


def check_tenants() -> None:
    """Raises one ConfigError that lists every finding by FILE:LINE."""
    found = [*lint(tenants_directory()), *_deployment(), *check_shares(Path(conf.get("core", "dags_folder")))]
    if found:
        heading = f"{len(found)} {'thing is' if len(found) == 1 else 'things are'} wrong; all other pipelines run"
        raise ConfigError("\n".join([heading, *(f"  {finding}" for finding in found)]))


def _deployment() -> list[ConfigError]:
    try:
        check_reach(staging_root())
    except ConfigError as error:
        return [error]
    return []
