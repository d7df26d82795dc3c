"""Hundreds of tables of each format. `make soak`; IMPORTERS_SOAK_TABLES says how many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.any_table import FORMATS, try_tables

TABLES = int(os.environ.get("IMPORTERS_SOAK_TABLES", "300"))


@pytest.mark.soak
@pytest.mark.parametrize("name", FORMATS)
def test_any_table_comes_back(name: str, database: str, tmp_path: Path) -> None:
    try_tables(name, database, tmp_path, max_examples=TABLES)
