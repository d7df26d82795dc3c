"""Who can't be reached is told with its address and the cause, and never with a piece of a secret."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import redis

from importers.core.connection import Connection
from importers.exceptions import ContractError, TransientSourceError
from importers.sources.databases._pg_connection import Database
from importers.transport.causes import cause, host_and_port
from importers.transport.postgres import connect, refusal, said_of_connection, translated
from importers.transport.redis import RedisServer
from importers.transport.s3 import Bucket
from importers.transport.sql import SqlConfig


class Owner:
    """Of connections."""


@pytest.fixture
def closed() -> Iterator[int]:
    """A port on which nobody listens, as it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def told(error: pytest.ExceptionInfo[TransientSourceError], port: int) -> None:
    said = str(error.value)
    assert f"127.0.0.1:{port}" in said or f'"127.0.0.1", port {port}' in said
    assert "Connection refused" in said
    assert "hunter2" not in said


def test_a_warehouse(closed: int) -> None:
    with pytest.raises(TransientSourceError) as failed:
        connect(f"postgresql://u:hunter2@127.0.0.1:{closed}/music")
    told(failed, closed)


def test_a_database_that_rows_come_from(closed: int) -> None:
    said = Connection({"url": f"postgresql://u:hunter2@127.0.0.1:{closed}/music"})
    database = Database(Owner(), said, SqlConfig())
    with pytest.raises(TransientSourceError) as failed, database.questions("asking"):
        pass
    told(failed, closed)
    with pytest.raises(TransientSourceError) as failed, database.rows("reading"):
        pass
    told(failed, closed)


def test_of_a_password_that_is_taken_for_a_host_nothing_is_told() -> None:
    database = Database(Owner(), Connection({"url": "postgresql://u:x@hunter2@nowhere.invalid/music"}), SqlConfig())
    with pytest.raises(TransientSourceError) as failed, database.questions("asking"):
        pass
    assert "hunter2" not in str(failed.value)
    assert host_and_port("redis://:x@hunter2@nowhere:1/0") == host_and_port("redis://:x/hunter2@nowhere:1/0") == ""


@pytest.mark.parametrize("url", [True, False])
def test_redis(closed: int, *, url: bool) -> None:
    apart: dict[str, Any] = {"host": "127.0.0.1", "port": closed, "password": "hunter2"}
    said = {"url": f"redis://:hunter2@127.0.0.1:{closed}/0"} if url else apart
    server = RedisServer(said, timeout=5, extra="redis")
    with pytest.raises(TransientSourceError) as failed, server.asked() as client:
        client.ping()
    told(failed, closed)


def test_a_bucket(closed: int) -> None:
    said = {"login": "u", "password": "hunter2", "endpoint_url": f"http://127.0.0.1:{closed}", "region_name": "eu"}
    with pytest.raises(TransientSourceError) as failed:
        Bucket(Connection(said)).list("s3://plays/*.csv")
    told(failed, closed)


def test_what_lies_behind_a_client_s_error(closed: int) -> None:
    with pytest.raises(httpx.ConnectError) as refused:
        httpx.get(f"http://127.0.0.1:{closed}/?token=hunter2")
    assert cause(refused.value) == "ConnectError: Connection refused"
    with pytest.raises(redis.ConnectionError) as unknown:
        redis.Redis(host="nowhere.invalid").ping()
    assert cause(unknown.value).startswith("ConnectionError: ")
    assert cause(ValueError("hunter2")) == "ValueError"


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:4711?secret@host:6379/0",
        "redis://:4711#x@host",
        "redis://user:4711#x@host",
        "redis://user:4711/secret@host:6379/0",
        "redis://:4711",
        "redis://user:se?cr:et@host",
    ],
)
def test_what_a_password_cuts_in_the_wrong_place_is_not_told(url: str) -> None:
    assert host_and_port(url) == ""


@pytest.mark.parametrize("url", ["redis://u:p@cache:6379/0?protocol=3", "redis://cache:6379"])
def test_an_address_that_is_whole_is_told(url: str) -> None:
    assert host_and_port(url) == "cache:6379"


AT = 'connection to server at "db" (10.0.0.7), port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "said"),
    [  # as libpq 17 writes them: a server's severity, in its own language, is followed by two spaces
        (
            f'connection failed: {AT}FATAL:  password authentication failed for user "ann"',
            AT + "it refuses these credentials, SQLSTATE 28P01",
        ),
        (
            f'connection failed: {AT}FATAL:  database "ann" does not exist',
            AT + "there is no such database, SQLSTATE 3D000",
        ),
        (f"connection failed: {AT}FATAL:  ann may not come in", AT + "the server refuses"),
        (f'connection failed: {AT}ВАЖНО:  роль "ann" не существует', AT + "the server refuses"),
        (f"connection failed: {AT.replace('db', 'role')}FATAL:  ann", AT.replace("db", "role") + "the server refuses"),
        (f"connection failed: {AT}ERROR:  ann is not there", AT + "the server refuses"),
        (f"connection failed: {AT}Connection refused\n\tIs the server running?", AT + "Connection refused"),
        (f"connection failed: {AT}fe_sendauth: no password supplied", AT + "fe_sendauth: no password supplied"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", None),
        ("FATAL:  ann", ""),
    ],
)
def test_of_a_connection_libpq_s_words_are_told_and_a_server_s_are_not(text: str, said: str | None) -> None:
    assert said_of_connection(psycopg.OperationalError(text)) == (text if said is None else said)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (f'connection failed: {AT}FATAL:  password authentication failed for user "too many"', "28P01"),
        (f'connection failed: {AT}FATAL:  role "database" does not exist', "28000"),
        (f'connection failed: {AT}FATAL:  database "role" does not exist', "3D000"),
        (f"connection failed: {AT}fe_sendauth: no password supplied", "28P01"),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption', "28000"),
        (f"{AT}FATAL:  the database system is starting up", "57P03"),
        (f"connection failed: {AT.replace('db', 'role.password')}Connection refused", ""),
        (f"connection failed: {AT.replace('db', 'db-role')}FATAL:  the server rests", ""),
        ('connection to server on socket "/role/.s.PGSQL.5432" failed: No such file or directory', ""),
        ("failed to resolve host 'role-authentication': [Errno -2] Name or service not known", ""),
        (f"{AT}timeout expired\n{AT}FATAL:  sorry, too many clients already", "53300"),
    ],
)
def test_a_refusal_is_known_by_what_was_answered_and_never_by_a_name(text: str, state: str) -> None:
    """The SQLSTATEs are those of postgresql.org/docs/18/errcodes-appendix.html that its sources raise."""
    assert refusal(text) == state


@pytest.mark.parametrize("host", ["role.invalid", "password.invalid", "certificate-authentication-fatal.invalid"])
def test_a_host_s_name_makes_no_refusal_of_what_passes(host: str) -> None:
    address = f"host={host} user=u dbname=d"
    with pytest.raises(TransientSourceError):
        connect(address)
    said = Connection({"url": address})
    database = Database(Owner(), said, SqlConfig())
    with pytest.raises(TransientSourceError), database.questions("asking"):
        pass
    with pytest.raises(TransientSourceError), database.rows("reading"):
        pass


def test_a_row_beyond_a_page_is_no_server_that_is_gone() -> None:
    page = pytest.raises(ContractError, match=r"(?s)larger than a page of 8 kB.*SQLSTATE 54000.*`drop` columns")
    with page, translated("loading"):
        raise psycopg.errors.ProgramLimitExceeded("row is too big: size 12032, maximum size 8160")
    with pytest.raises(ContractError, match="one of its limits is exceeded"), translated("loading"):
        raise psycopg.errors.StatementTooComplex
