"""Who works on an open run: its owner renews a lease, or a session of its own holds a lock until it ends."""

from __future__ import annotations

from contextlib import closing, suppress
from datetime import timedelta

import psycopg

from importers.core.model import Run
from importers.exceptions import RunBusyError
from importers.ledger.schema import ALIVE
from importers.transport.postgres import connect, translated


class Owner:
    """This process, while it works on runs without a lease: the server itself sees it end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.Connection | None = None

    def hold(self, run: Run) -> None:
        """Raises RunBusyError if another process holds the run."""
        if self._session is None or self._session.closed:
            self._session = connect(self._url, f"importers run {run.stream}")
        with translated("holding the run"):
            row = self._session.execute("select pg_try_advisory_lock(%s, %s)", (ALIVE, run.id)).fetchone()
        if row != (True,):
            raise RunBusyError(
                "this run is already being worked on", got=f"run {run.id}, key {run.key}", do="wait for it to end"
            )

    def let_go(self) -> None:
        """Of every run. Of a session that was merely closed the server keeps the lock for a moment yet."""
        if self._session is not None and not self._session.closed:
            with suppress(psycopg.Error), closing(self._session) as session:
                session.execute("select pg_advisory_unlock_all()")


def is_gone(connection: psycopg.Connection, run: Run) -> bool:
    """Whether no session holds the run; its lease is another matter."""
    row = connection.execute("select pg_try_advisory_xact_lock(%s, %s)", (ALIVE, run.id)).fetchone()
    return row == (True,)


def idle(connection: psycopg.Connection, run: Run) -> timedelta:
    """For how long no session has held the run and its lease has been over."""
    if not is_gone(connection, run):
        return timedelta()
    row = connection.execute(
        "select greatest(now() - lease, interval '0') from _importers.run where id = %s", (run.id,)
    ).fetchone()
    return row[0] if row else timedelta.max


def renew(connection: psycopg.Connection, run: Run, seconds: float) -> bool:
    """Make the lease last for that long from now, unless it does anyway; false if the run was aborted."""
    row = connection.execute(
        "update _importers.run set lease = greatest(lease, now() + make_interval(secs => %s))"
        " where id = %s returning state",
        (seconds, run.id),
    ).fetchone()
    return row != ("aborted",)


def end_lease(connection: psycopg.Connection, run: Run) -> None:
    connection.execute("update _importers.run set lease = now() where id = %s and state = 'open'", (run.id,))
