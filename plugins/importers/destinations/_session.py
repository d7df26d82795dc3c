"""A destination's session at the server: connected when it is asked for, and anew when the connection was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import cast

import psycopg
from psycopg.pq import TransactionStatus

from importers.ledger.schema import migrate, revision
from importers.transport.postgres import connect, translated


class Session:
    """The first connection brings `_importers` up to date. `application` is what the server calls it."""

    def __init__(self, url: str, application: str) -> None:
        self._url, self._application = url, application
        self._connection: psycopg.Connection | None = None

    @property
    def connection(self) -> psycopg.Connection:
        """In autocommit mode; a new one when the last was lost."""
        if not self._is_open:
            self._adopt(connect(self._url, self._application))
        return cast("psycopg.Connection", self._connection)

    @property
    def _is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def _adopt(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        with translated("migrating _importers"):
            migrate(connection)

    @contextmanager
    def transaction(self, doing: str) -> Iterator[psycopg.Connection]:
        """One transaction; within another, a part of it."""
        connection = self.connection
        idle = connection.info.transaction_status is TransactionStatus.IDLE
        with translated(doing), ExitStack() as stack:
            try:
                stack.enter_context(connection.transaction())
            except psycopg.OperationalError:
                if not idle:  # what it would be a part of is lost, and what that had locked
                    raise
                connection = self.connection  # lost while it was idle: nothing has begun, nothing is done twice
                stack.enter_context(connection.transaction())
            yield connection

    def is_new(self) -> bool:
        """Whether the server has no `_importers`: it isn't made by asking."""
        if self._is_open:
            return False
        with translated("looking for _importers"), ExitStack() as stack:
            connection = stack.enter_context(closing(connect(self._url, self._application)))
            if revision(connection) is None:
                return True
            stack.pop_all()  # who asks has more to ask then
        self._adopt(connection)
        return False

    def close(self) -> None:
        """Nothing, where nobody has connected."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
