"""Our app with Airflow's own check of tokens, over an auth manager that knows who may read which DAG."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

# Before anything imports Airflow, which would make itself a home in the user's. tests/dags says the same of its own.
if "AIRFLOW_HOME" not in os.environ:
    _HOME = tempfile.mkdtemp(prefix="importers-airflow-")
    os.environ |= {"AIRFLOW_HOME": _HOME, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def pytest_sessionfinish() -> None:
        shutil.rmtree(_HOME, ignore_errors=True)


MAY_READ = {
    "ada": {"acme.listening", "acme.catalogue", "_importers.sweep", "somebody_elses_dag"},
    "bob": {"beta.listening"},
    "eve": set(),
}


class AuthManager:
    """Tokens are names here: what a token proves is Airflow's affair."""

    async def get_user_from_token(self, token: str) -> Any:
        from jwt import InvalidTokenError

        if token not in MAY_READ:
            raise InvalidTokenError
        return SimpleNamespace(name=token)

    def get_authorized_dag_ids(self, *, user: Any, method: str) -> set[str]:
        assert method == "GET"
        return MAY_READ[user.name]


@dataclass
class Ledger:
    """What the ledger says, and which questions it was asked."""

    runs: list[Any] = field(default_factory=list)
    files: list[Any] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    judgements: dict[int, Any] = field(default_factory=dict)
    begun: bool = True
    stale: set[str] = field(default_factory=set)
    asked: list[tuple[Any, ...]] = field(default_factory=list)


@pytest.fixture(scope="session", autouse=True)
def _airflow() -> None:
    """Airflow's API imports what its own libraries have deprecated; none of that is ours to mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
        importlib.import_module("airflow.api_fastapi.core_api.security")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    from importers.ledger import history
    from importers.web import pages

    said = Ledger()

    @contextmanager
    def reading(_: str) -> Iterator[object]:
        yield object()

    def answer(name: str) -> Callable[..., list[Any]]:
        def asked(_: object, *about: Any, **more: Any) -> list[Any]:
            said.asked.append(about)
            return [item for item in getattr(said, name) if item.stream.startswith(".".join(about) + ".")]

        return asked

    monkeypatch.setattr(pages, "find_ledger", lambda: "postgresql://nowhere")
    monkeypatch.setattr(history, "reading", reading)
    monkeypatch.setattr(history, "begun", lambda _: said.begun)
    monkeypatch.setattr(history, "runs", answer("runs"))
    monkeypatch.setattr(history, "kept_files", answer("files"))
    monkeypatch.setattr(history, "tables", answer("tables"))
    monkeypatch.setattr(history, "judgements", lambda _, runs: {run: said.judgements[run] for run in runs})
    monkeypatch.setattr(history, "count", lambda *_: history.RowCount(1234567, exact=True))
    monkeypatch.setattr(history, "last_runs", lambda _, tenants: last_runs(said.runs, tenants))
    return said


def last_runs(runs: Sequence[Any], tenants: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for run in runs:
        if run.stream.split(".")[0] in tenants:
            found.setdefault(run.stream.rpartition(".")[0], []).append(run)
    return found


@pytest.fixture
def client(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Mounted as Airflow mounts it, behind a base path."""
    import httpx
    from airflow.api_fastapi.core_api import security
    from fastapi import FastAPI

    from importers.web import access
    from importers.web.plugin import ImportersPlugin

    monkeypatch.setattr(security, "get_auth_manager", AuthManager)
    monkeypatch.setattr(access, "get_auth_manager", AuthManager)
    monkeypatch.setattr(access, "stale_dags", lambda: ledger.stale)
    (mounted,) = ImportersPlugin().fastapi_apps
    outer = FastAPI(root_path="/base")
    outer.mount(mounted["url_prefix"], mounted["app"])
    transport = httpx.ASGITransport(outer, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://airflow.example/base")
