"""Deployments of Airflow on databases of their own. They run by `make test-services`, not by `make test`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.services.airflow import Airflow
from tests.support.databases import Databases

Deploy: TypeAlias = Callable[..., Airflow]
LONGEST = (Path(__file__).parent / "shared", Path(__file__).with_name("test_celery.py"))
"""What takes longest comes first, so that all processes end together."""


@pytest.hookimpl(tryfirst=True)  # before marks choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("services")
    items.sort(key=lambda item: [not item.path.is_relative_to(path) for path in LONGEST])


@pytest.fixture(scope="session")
def deploy(databases: Databases) -> Iterator[Deploy]:
    """Makes a deployment with empty databases, to be started and ended by `with`; takes settings as `Airflow` does."""
    with ExitStack() as stack:

        def make(kind: type[Airflow] = Airflow, **said: Any) -> Airflow:
            metadata, warehouse = (stack.enter_context(databases.one()) for _ in ("metadata", "warehouse"))
            return kind(metadata, warehouse, **said)

        yield make
