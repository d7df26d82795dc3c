"""Any table of a format's types comes out of PostgreSQL as it was. `make soak` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.any_table import FORMATS, try_tables


@pytest.mark.parametrize("name", FORMATS)
def test_any_table_comes_back(name: str, database: str, tmp_path: Path) -> None:
    try_tables(name, database, tmp_path, max_examples=5, derandomize=True)
