"""How long to look for a table that breaks something."""

from __future__ import annotations

import os


def examples(number: int) -> int:
    """As many of hypothesis's examples as a test that runs at every change has time for; `make soak` tries far more."""
    return number * int(os.environ.get("IMPORTERS_TEST_EXAMPLES", "1"))
