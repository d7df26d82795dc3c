"""An installation as the command line and the sweeper find it: by its environment."""

from __future__ import annotations

from pathlib import Path

import pytest


def settle(home: Path, url: str, patch: pytest.MonkeyPatch) -> None:
    """Its warehouse is at `url`; in its directory `tenants` there is nothing yet."""
    for name, value in (("HOME", home / "home"), ("TENANTS", home / "tenants"), ("PROCESSES", 1)):
        patch.setenv(f"IMPORTERS_{name}", str(value))
    patch.setenv("POSTGRES_URL", url)
    (home / "tenants").mkdir()
