"""Imports to be disturbed: a tenant whose first file is in, and processes to kill."""

from __future__ import annotations

import base64
import itertools
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from import_site import Inspector, Site, cut_small
from installed import settle
from tests.support.databases import Databases
from victims import Victims

from importers.core.model import LoadMode


@pytest.fixture(scope="session")
def encryption_key() -> Iterator[str]:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENCRYPTION_KEY", key)
        yield key


@pytest.fixture
def home(tmp_path: Path, database: str, encryption_key: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of a warehouse that is empty, without tenants."""
    settle(tmp_path, database, monkeypatch)
    return tmp_path


@pytest.fixture(scope="session")
def victims(encryption_key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    with Victims({"VICTIMS": str(tmp_path_factory.mktemp("victims"))}) as helper:
        yield helper


@pytest.fixture(scope="session")
def imported(
    databases: Databases, encryption_key: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[LoadMode, int], Site]:
    """A site of a mode of whose two files one or both are in; a test gets a copy of it."""

    @cache
    def of(mode: LoadMode, files: int) -> Site:
        name = f"loaded_{mode}_{files}"
        site = Site.make(tmp_path_factory.mktemp(name), databases.make(name), "acme", mode)
        with cut_small():
            site.first()
            site.run("first")
            site.second()
            if files == 2:
                site.run("second")
        return site

    return of


@pytest.fixture
def a_site(
    databases: Databases, imported: Callable[[LoadMode, int], Site], tmp_path: Path
) -> Iterator[Callable[..., tuple[Site, psycopg.Connection]]]:
    """Makes a site whose first file is in, or both, and an analyst's connection to its warehouse."""
    numbers = itertools.count()
    with ExitStack() as stack:
        stack.enter_context(cut_small())

        def make(mode: LoadMode, files: int = 1) -> tuple[Site, psycopg.Connection]:
            base = imported(mode, files)
            url = stack.enter_context(databases.one(urlsplit(base.warehouse).path[1:]))
            sql = stack.enter_context(psycopg.connect(url, autocommit=True))
            site = replace(base, root=tmp_path / f"disturbed_{next(numbers)}", warehouse=url)
            if files == 2:
                shutil.copytree(base.root / "quarantine", site.root / "quarantine")
                moved = (str(base.root), str(site.root))
                sql.execute("update _importers.quarantine set uri = replace(uri, %s, %s)", moved)
            Inspector(site, sql).table_is(site.before if files == 1 else site.after)
            return site, sql

        yield make
