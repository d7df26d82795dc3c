"""A child process that erases by the command line and is killed at a point of it: `erasing.py POINT ARGUMENT…`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

POINTS = {
    "listed, not committed": ("importers.destinations._erasure.suppress", True),
    "listed": ("importers.destinations._erasing.PostgresEraser.begin", True),
    "a table's rows deleted, not committed": ("importers.destinations._erasing.PostgresEraser._delete", True),
    "a table's rows deleted": ("importers.destinations._erasing.PostgresEraser.erase", True),
    "a file rewritten, not registered": ("importers.staging.quarantine.Quarantine.erase_subjects", True),
    "not finished": ("importers.destinations._erasing.PostgresEraser.finish", False),
}
"""What dies, in the order of an erasure, and whether after it was done."""


def dying(original: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def die(*args: Any, **kwargs: Any) -> Any:
        if after:
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


if __name__ == "__main__":
    from pkgutil import resolve_name

    from importers.cli.main import main

    name, after = POINTS[sys.argv[1]]
    with patch(name, dying(resolve_name(name), after=after)):
        main(sys.argv[2:])
