"""Airflow in a home of its own; and one program that runs DAGs, whose report many tests read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports Airflow, which would make itself a home in the user's.
_HOME = tempfile.mkdtemp(prefix="importers-airflow-")
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": f"{_HOME}/dags",
}

TENANT = """
tenant: {name}
controller: {{name: Acme Music GmbH, contact: dpo@acme.example}}
pipelines:
  songs:  # what is sung
    importer: csv
    schedule: "0 6 * * *"
    config: {{path: songs.csv}}
    privacy:
      purpose: a catalogue
      lawful_basis: consent
      subject: {{column: owner, domain: fan}}
      columns: {{owner: pseudonymise, born: {{mask: date, unit: year}}, title: keep}}
  plays:
    importer: parquet
    config: {{path: plays.parquet}}
    max_parallel: 3
    streams:
      plays: {{}}
      skips: {{privacy: {{columns: {{reason: drop}}}}}}
"""


def pytest_sessionfinish() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files of two tenants."""
    directory = tmp_path / "tenants"
    directory.mkdir()
    for name in ("acme", "beta"):
        (directory / f"{name}.yaml").write_text(TENANT.format(name=name))
    monkeypatch.setenv("IMPORTERS_TENANTS", str(directory))
    return directory


@pytest.fixture(scope="session")
def site() -> Iterator[tuple[Path, dict[str, Any], str]]:
    """Where `run_scenarios.py` ran, its report, and all that it printed."""
    # Not under pytest's own directory: the embedded server may run as another user, who can't see into that.
    root = Path(tempfile.mkdtemp(prefix="importers-runs-"))
    program = Path(__file__).with_name("run_scenarios.py")
    done = subprocess.run([sys.executable, program, root], capture_output=True, text=True, timeout=900, check=False)
    said = done.stdout + done.stderr
    try:
        assert done.returncode == 0, said[-8000:]
        yield root, json.loads((root / "report.json").read_text()), said
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def report(site: tuple[Path, dict[str, Any], str]) -> dict[str, Any]:
    return site[1]
