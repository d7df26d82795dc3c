"""What SQL databases share as sources: settings, a pool of connections, what a failure asks of its reader."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from importers.core.source import SourceConfig
from importers.exceptions import ContractError, FatalSourceError, ImporterError, TransientSourceError

_FATAL = {
    "28": "it refuses these credentials",
    "3D": "there is no such database",
    "42501": "this role may not do that",
}
_TRANSIENT = {
    "08": "the connection broke",
    "57P": "it is being stopped or started",
    "53": "it is out of resources",
    "55P03": "a lock could not be had in time",
    "55006": "somebody else is using it",
    "57014": "the statement timed out or was cancelled",
    "40": "the transaction lost against another",
}
_CONTRACT = {
    "42P01": "a table or view that was planned isn't there any more",
    "42703": "a column that was planned isn't there any more",
    "42": "the table isn't as it was when the read was planned",
    "22": "a value can't be had in the type of its column",
    "55000": "an object isn't in the state that this needs",
}


class SqlConfig(SourceConfig):
    """Of every SQL database."""

    pool_size: int = Field(1, ge=1, le=64, description="How many connections a process keeps open.")
    max_overflow: int = Field(2, ge=0, le=64, description="How many more it may open for a moment.")
    pool_timeout: float = Field(30, gt=0, description="Seconds to wait for a connection when all are in use.")
    statement_timeout: float = Field(
        3600, ge=0, description="Seconds after which the server gives a statement up; 0 means never."
    )
    lock_timeout: float = Field(
        30, ge=0, description="Seconds to wait for somebody who changes a table; 0 means for ever."
    )


class Pool:
    """Connections of one process to one database, for one source of one tenant. Closed at the latest with `owner`."""

    def __init__(self, owner: object, connect: Callable[[], Any], config: SqlConfig) -> None:
        self._pool = QueuePool(
            connect, pool_size=config.pool_size, max_overflow=config.max_overflow, timeout=config.pool_timeout
        )
        weakref.finalize(owner, self._pool.dispose)

    def close(self) -> None:
        """Close those that nobody uses; one that is used at that moment closes with the process or its owner."""
        self._pool.dispose()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A driver's connection, rolled back afterwards; given up if anything went wrong on it.

        Raises TransientSourceError if none was free in time, and what connecting raises.
        """
        try:
            checked_out = self._pool.connect()
        except PoolTimeoutError:
            raise TransientSourceError(
                "all connections of the pool are in use", do="raise pool_size or max_overflow, or read less at once"
            ) from None
        try:
            yield checked_out.dbapi_connection
        except BaseException:
            checked_out.invalidate()
            raise
        finally:
            checked_out.close()


def failure(system: str, doing: str, state: str, got: str, *, reached: bool = True) -> ImporterError:
    """Our error for a driver's, by SQLSTATE. `got` holds no value; `reached` says whether the server answered at all.

    The classes are those of the SQL standard, the rest PostgreSQL's (postgresql.org/docs/18/errcodes-appendix.html).
    """
    for table, cls, do in (
        (_FATAL, FatalSourceError, "correct the connection, or grant what the role lacks"),
        (_TRANSIENT, TransientSourceError, "try again once the server has recovered"),
        (_CONTRACT, ContractError, "start a new run, which looks at the source again"),
    ):
        reason = next((table[part] for part in (state, state[:3], state[:2]) if part in table), None)
        if reason:
            return cls(f"{system} failed while {doing}: {reason}", got=got, do=do)
    if not reached or not state:
        what = f"{system} failed while {doing}: it can't be reached or went away"
        return TransientSourceError(what, got=got, do="see that the server runs, then run again")
    return ContractError(f"{system} failed while {doing}", got=got, do="look the SQLSTATE up, and mend what it says")
