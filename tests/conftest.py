"""One embedded PostgreSQL a test process, a database of its own for each test that asks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from importers.transport.embedded import start_postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a running server."""
    return start_postgres(tmp_path_factory.mktemp("pg"))


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
