"""Ten thousand broken files. `make soak`; IMPORTERS_SOAK_MUTANTS and IMPORTERS_SOAK_SEED say how many and which."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from tests.support.mutants import FORMATS, hunt

MUTANTS = int(os.environ.get("IMPORTERS_SOAK_MUTANTS", "10000"))


@pytest.mark.soak
@pytest.mark.parametrize("name", FORMATS)
def test_no_mutant_of_a_real_file_crashes_a_reader_or_loses_a_record(tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("IMPORTERS_SOAK_SEED") or secrets.randbits(32))
    print(f"{name}: {MUTANTS} mutants of seed {seed}")
    hunt(name, tmp_path, MUTANTS // len(FORMATS), seed)
