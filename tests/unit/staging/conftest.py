from __future__ import annotations

from pathlib import Path

import pytest

from importers.keys.keyring import Keyring, RunKey, TenantKeys
from importers.staging import Place, RunPlace, Staging


@pytest.fixture
def keys() -> TenantKeys:
    return Keyring([bytes(range(32))]).tenant("acme")


@pytest.fixture
def key(keys: TenantKeys) -> RunKey:
    return keys.new_run_key()[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def staging(root: Path) -> Staging:
    return Staging(str(root))


@pytest.fixture
def place() -> Place:
    return RunPlace("acme", "listening", "plays", 7).partition(0)
