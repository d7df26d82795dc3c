"""How a PostgreSQL source is reached: by psycopg for questions, by ADBC for rows. Both over libpq, both read-only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import conninfo

from importers.core.connection import Connection
from importers.core.model import JSON
from importers.core.registry import optional
from importers.exceptions import ConfigError, FatalSourceError, ImporterError
from importers.transport.postgres import refusal, refused, said_of_connection
from importers.transport.sql import Pool, SqlConfig, failure

SYSTEM = "PostgreSQL"
CONNECT_TIMEOUT = 10  # seconds
_PARTS = {"host": "host", "port": "port", "schema": "dbname", "login": "user", "password": "password"}
_EXTRAS = re.compile(
    "ssl[a-z_]+|channel_binding|require_auth|target_session_attrs|load_balance_hosts|connect_timeout|keepalives[a-z_]*"
    "|tcp_user_timeout|passfile|service|gssencmode|krbsrvname"
)
"""What of a connection's extra is libpq's. Several hosts and `target_session_attrs: prefer-standby` read a replica."""
_SESSION = {  # so that what is cast to text is the same everywhere
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "utf8",
}


def address(connection: Connection | None) -> str:
    """A connection as libpq takes it. Raises ConfigError without one, and for an address that can't be parsed."""
    if connection is None:
        raise ConfigError("a PostgreSQL source needs a connection", do="make it, or set POSTGRESQL_SOURCE_URL")
    parts: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    parts |= {name: value for name, value in connection.items() if _EXTRAS.fullmatch(name)}
    parts |= {ours: connection[theirs] for theirs, ours in _PARTS.items() if theirs in connection}
    parts["application_name"] = "importers"
    try:
        return conninfo.make_conninfo(str(connection.get("url", "")), **parts)
    except psycopg.Error:  # its text may hold the password
        do = "write %2F, %40, %25 for `/`, `@`, `%` in its user and password"
        raise ConfigError("the source's address can't be parsed", do=do) from None


class Database:
    """One source's database. Transactions are read-only, one snapshot, and under the configured timeouts."""

    def __init__(self, owner: object, connection: Connection | None, config: SqlConfig) -> None:
        self._address, self._config = address(connection), config
        self._pool = Pool(owner, lambda: psycopg.connect(self._address, autocommit=True), config)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def questions(self, doing: str) -> Iterator[psycopg.Connection]:
        """A transaction for small answers. Raises ImporterError by what the reader must do."""
        with translated(doing), self._pool.connection() as connection, connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute(self._settings())
            yield connection

    @contextmanager
    def changing(self, doing: str) -> Iterator[psycopg.Connection]:
        """A transaction that may change the database: only to make what the tenant's file asks to make."""
        with translated(doing), self._pool.connection() as connection, connection.transaction():
            connection.execute(self._settings())
            yield connection

    @contextmanager
    def rows(self, doing: str) -> Iterator[Any]:
        """An ADBC cursor in such a transaction: what it executes comes as Arrow, by binary COPY.

        Not from the pool: ADBC's connections are always in a transaction, which must not stay open between two reads.
        """
        adbc = optional("adbc_driver_postgresql.dbapi", "postgresql")
        with translated(doing), closing(adbc.connect(self._address)) as connection, connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
            cursor.execute(self._settings())
            cursor.fetchall()
            yield cursor

    def _settings(self) -> str:
        """For this transaction only: a pooler between us may hand the connection on, or refuse it with such options."""
        said = dict(_SESSION)
        said["statement_timeout"] = str(round(self._config.statement_timeout * 1000))
        said["lock_timeout"] = str(round(self._config.lock_timeout * 1000))
        return "select " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in said.items())


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn a driver's error into ours. Keeps SQLSTATE and names; messages, DETAIL and CONTEXT hold values."""
    try:
        yield
    except psycopg.Error as error:
        about = error.diag
        raise _ours(error, doing, {"table": about.table_name, "column": about.column_name}) from None
    except (OSError, pa.ArrowException) as error:  # what ADBC's stream breaks off with, when rows are on their way
        raise _ours(error, doing, {}) from None
    except Exception as error:
        if not type(error).__module__.startswith("adbc_driver_manager"):
            raise
        raise _ours(error, doing, {}) from None


def _ours(error: Any, doing: str, names: Mapping[str, JSON]) -> ImporterError:
    text = str(error)
    why = "" if getattr(error, "sqlstate", None) else refused(text)
    if "certificate" in why or "does not support SSL" in why:
        what = f"{SYSTEM} failed while {doing}: no trusted connection is possible"
        do = "check the connection's host, and `sslmode` and `sslrootcert` in its extra"
        return FatalSourceError(what, got="no TLS, or a certificate that isn't trusted", do=do)
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, OSError | pa.ArrowException) and "ERROR:" in text:  # in mid-stream ADBC keeps the words alone
        state = "57014" if "canceling statement" in text else "22000"
    state = state or refusal(text)  # libpq refuses to connect without a SQLSTATE
    got = {"SQLSTATE": state} | dict(names)
    said = ", ".join(f"{name} {value}" for name, value in got.items() if value)
    if not said:  # no server has answered: ADBC's words in mid-stream are none of libpq's
        streams = isinstance(error, OSError | pa.ArrowException)
        said = ("" if streams else said_of_connection(error)) or type(error).__name__
    return failure(SYSTEM, doing, state, said, reached=not isinstance(error, OSError | psycopg.OperationalError))
