"""Connections to PostgreSQL, and what its errors ask of their reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo

from importers.exceptions import ConfigError, ContractError, FatalSourceError, ImporterError, TransientSourceError

CONNECT_TIMEOUT = 10  # seconds
_UNCLEAR = "an address that can't be parsed"

_FATAL = {
    "28": "it refuses these credentials",
    "3D": "there is no such database",
    "42501": "this role may not do that",
}
_CONTRACT = {
    "22": "a value doesn't fit its column",
    "23": "rows break a constraint of the table",
    "42": "the table isn't as expected",
    "2B": "other objects depend on it",
}
_LIMITS = {
    "54000": "a row or a key is larger than a page of 8 kB holds; long texts lie outside of it, numbers don't",
    "54": "one of its limits is exceeded",
}
_TRANSIENT = {
    "53100": "its disk is full",
    "53": "it is out of resources",
    "55P03": "a lock could not be had in time",
    "57014": "the statement timed out or was cancelled",
    "40": "the transaction lost against another",
}


def connect(url: str, application: str = "importers") -> psycopg.Connection:
    """Open a connection in autocommit mode; transactions are explicit.

    Raises ConfigError, FatalSourceError or TransientSourceError; none holds the password.
    """
    if safe_url(url) == _UNCLEAR:
        what = "POSTGRES_URL can't be parsed"
        raise ConfigError(what, do="write %2F, %40, %25 for `/`, `@`, `%` in user and password")
    with translated("connecting"):
        return psycopg.connect(
            url, autocommit=True, application_name=application, connect_timeout=CONNECT_TIMEOUT, client_encoding="utf8"
        )


def safe_url(url: str) -> str:
    """Host, port and database, for messages.

    A password with an unescaped `/` or `@` is cut in the wrong place: then none of it is shown.
    """
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return _UNCLEAR
    host, port, database = (str(parts.get(name) or "") for name in ("host", "port", "dbname"))
    if "@" in host + database or not re.fullmatch("[0-9,]*", port):
        return _UNCLEAR
    return f"{host or 'local socket'}{':' + port if port else ''}/{database}"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn a driver's error into ours. Keeps SQLSTATE, constraint, table and column; DETAIL and CONTEXT hold values."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, doing) from None


def said_of_connection(error: Exception) -> str:
    """What libpq says where a connection has failed: to which address, and why. Empty for any other error.

    Of what a server has answered only what it means: its words name roles, and may hold values. Of a password with an
    unescaped `@` libpq takes a part for the host.
    """
    said = _UNREACHED.search(str(error))
    if said is None or "@" in said[0]:
        return ""
    answered = _ANSWERED.search(said[0])
    if answered is None:
        return said[0]
    state = refusal(said[0])
    why = _FATAL.get(state) or _FATAL.get(state[:2])
    known = ", ".join(filter(None, (why, state and f"SQLSTATE {state}")))
    return said[0][: answered.start()] + (known or "the server refuses")


_UNREACHED = re.compile(
    "(?:connection to server|failed to resolve host|could not translate host|server closed the connection"
    "|connection timeout|timeout expired)[^\n]{0,300}"
)
_ANSWERED = re.compile("(?<=failed: )(?:(?:FATAL|ERROR|PANIC):|[^:\n]{1,40}:  )")
"""A severity, in the server's language; libpq puts two spaces behind it."""


def refused(text: str) -> str:
    """Why a connection has failed, in the server's or libpq's own words: without the address, and any name in them."""
    return " ".join(_QUOTED.sub('""', said) for said in _WHY.findall(text))


_WHY = re.compile("""(?:, port [^\n ]+ failed: |on socket "[^"\n]*" failed: |^(?=FATAL:|ERROR:))(.*)""", re.MULTILINE)
_QUOTED = re.compile('"[^"\n]*"')


def refusal(text: str) -> str:
    """What the SQLSTATE of a refused connection would have been: libpq keeps none. Empty for what isn't known."""
    why = refused(text)
    return next((state for words, state in _REFUSED.items() if words in why), "")


_REFUSED = {
    "password authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "permission denied for database": "42501",
    "not currently accepting": "57P03",
    "starting up": "57P03",
    "shutting down": "57P03",
    "too many": "53300",
    "password": "28P01",
    "authentication": "28000",
    "role": "28000",
    "database": "3D000",
}
"""By words of the server's texts, in English."""


def _translate(error: psycopg.Error, doing: str) -> ImporterError:
    lost = isinstance(error, psycopg.OperationalError) and not error.sqlstate  # libpq reports no refusal's SQLSTATE
    state = (refusal(str(error)) if lost else error.sqlstate) or ""
    about = error.diag
    parts = {"SQLSTATE": state, "constraint": about.constraint_name, "table": about.table_name}
    parts["column"] = about.column_name
    got = ", ".join(f"{key} {value}" for key, value in parts.items() if value) or type(error).__name__
    got = (said_of_connection(error) if lost else "") or got
    for table, cls, do in (
        (_FATAL, FatalSourceError, "check POSTGRES_URL and the role's grants"),
        (_TRANSIENT, TransientSourceError, "try again once the server has recovered"),
        (_CONTRACT, ContractError, "compare the stream's columns with the table's"),
        (_LIMITS, ContractError, "`drop` columns that nobody needs, or have the source deliver several streams"),
    ):
        reason = table.get(state) or table.get(state[:2])
        if reason:
            return cls(f"PostgreSQL failed while {doing}: {reason}", got=got, do=do)
    if isinstance(error, psycopg.OperationalError):
        return TransientSourceError(
            f"PostgreSQL failed while {doing}: it can't be reached or went away",
            got=got,
            do="see that the server runs, then run again",
        )
    return ContractError(f"PostgreSQL failed while {doing}", got=got, do="report this: it isn't a known failure")
