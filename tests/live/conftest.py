"""Deployments of Airflow on databases of their own. They run by `make test-services`, not by `make test`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.services.airflow import Airflow

Deploy: TypeAlias = Callable[..., Airflow]
_numbers = itertools.count()
LONGEST = (Path(__file__).parent / "shared", Path(__file__).with_name("test_celery.py"))
"""What takes longest comes first, so that all processes end together."""


@pytest.hookimpl(tryfirst=True)  # before marks choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("services")
    items.sort(key=lambda item: [not item.path.is_relative_to(path) for path in LONGEST])


@pytest.fixture(scope="session")
def deploy(postgres: str) -> Iterator[Deploy]:
    """Makes a deployment with empty databases, to be started and ended by `with`; takes settings as `Airflow` does."""
    with ExitStack() as stack:

        def make(kind: type[Airflow] = Airflow, **said: Any) -> Airflow:
            number = next(_numbers)
            metadata, warehouse = (_create(postgres, f"{name}_{number}", stack) for name in ("metadata", "warehouse"))
            return kind(metadata, warehouse, **said)

        yield make


def _create(postgres: str, name: str, stack: ExitStack) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    stack.callback(_drop, postgres, name)
    return urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))


def _drop(postgres: str, name: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')
