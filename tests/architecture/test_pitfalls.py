"""docs/pitfalls.md names tests; each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_pitfall_has_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs/pitfalls.md").read_text().split("## Of what")[0].splitlines() if "`" in line]
    assert len(rows) > 20
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), row
