"""Who may import whom, and that the package needs no Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

WITHOUT_AIRFLOW = """
    import asyncio, importlib.abc, sys

    class NoAirflow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "airflow":
                raise ImportError(f"{name} is asked for")

    sys.meta_path.insert(0, NoAirflow())
    from importers import get_importer

    privacy = {
        "purpose": "tests",
        "lawful_basis": "consent",
        "subject": {"column": "who", "domain": "listener"},
        "columns": {"id": "keep", "who": "pseudonymise"},
    }
    importer = get_importer("csv", "alone", {"path": "plays.csv", "privacy": privacy})
    result = asyncio.run(importer.import_data())
    print(result.rows_read, result.rows_loaded, "airflow" in sys.modules)
"""


def test_rooms_import_downwards_only() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout


def test_an_import_needs_no_airflow(tmp_path: Path, empty_database: str) -> None:
    (tmp_path / "plays.csv").write_text("id,who\n1,ada\n2,bob\n")
    said = {
        "POSTGRES_URL": empty_database,
        "ENCRYPTION_KEY": bytes(range(32)).hex(),
        "IMPORTERS_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_AIRFLOW)],
        cwd=tmp_path,
        env=os.environ | said,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout.split() == ["2", "2", "False"], done.stderr


def test_airflow_is_not_among_what_the_package_requires() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if "airflow" in name]
    assert any("apache-airflow" in name for name in project["optional-dependencies"]["airflow"])
