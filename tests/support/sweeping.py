"""A child process that sweeps by the command line and is killed at a point of it: `sweeping.py POINT`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any
from unittest.mock import patch

_DESTINATION = "importers.destinations.postgresql.PostgresDestination"
_EXPIRER = "importers.destinations._expiring.PostgresExpirer"
OF_FILES = {
    "a file's end is noted, the file is there": (f"{_DESTINATION}.expire_file", 1, True),
    "a file is deleted": ("importers.staging.store.LocalStore.remove", 1, True),
}
OF_ROWS = {
    "rows are deleted, not counted": (f"{_EXPIRER}._delete", 1, True),
    "rows are deleted and counted, not committed": (f"{_EXPIRER}._note", 1, True),
    "a stretch is committed, the next is not": (f"{_EXPIRER}._note", 2, True),
    "all rows are deleted, no run says so": (f"{_EXPIRER}._finish", 1, False),
    "the runs say so": (f"{_EXPIRER}._finish", 1, True),
}
"""What dies, in the order of a sweep: at which call, and whether after it was done."""


def dying(original: Callable[..., Any], nth: int, *, after: bool) -> Callable[..., Any]:
    calls = count(1)

    def die(*args: Any, **kwargs: Any) -> Any:
        now = next(calls) == nth
        result = original(*args, **kwargs) if after or not now else None
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return die


if __name__ == "__main__":
    from pkgutil import resolve_name

    from importers.cli.main import main
    from importers.destinations import _expiring

    _expiring.STRETCH = 1  # page
    name, nth, after = {**OF_FILES, **OF_ROWS}[sys.argv[1]]
    with patch(name, dying(resolve_name(name), nth, after=after)):
        main(["sweep"])
