"""A child process that sweeps by the command line and is killed at a point of it: `sweeping.py POINT`."""

from __future__ import annotations

import sys
from unittest.mock import patch

from erasing import dying

POINTS = {
    "a file's end is noted, the file is there": (
        "importers.destinations.postgresql.PostgresDestination.expire_file",
        True,
    ),
    "a file is deleted": ("importers.staging.store.LocalStore.remove", True),
    "rows deleted, not committed": ("importers.destinations._expiring.PostgresExpirer._note", True),
    "a stretch is committed": ("importers.destinations._expiring.PostgresExpirer._go_through", True),
    "all are deleted, not finished": ("importers.destinations._expiring.PostgresExpirer._finish", False),
    "finished": ("importers.destinations._expiring.PostgresExpirer._finish", True),
}
"""What dies, in the order of a sweep, and whether after it was done."""


if __name__ == "__main__":
    from pkgutil import resolve_name

    from importers.cli.main import main

    name, after = POINTS[sys.argv[1]]
    with patch(name, dying(resolve_name(name), after=after)):
        main(["sweep"])
