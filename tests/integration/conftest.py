"""Imports to be disturbed: a tenant whose first file is in, and processes to kill."""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from import_site import Inspector, Site, cut_small
from installed import settle
from victims import Victims

from importers.core.model import LoadMode

MakeSite: TypeAlias = Callable[[LoadMode], tuple[Site, psycopg.Connection]]
_numbers = itertools.count()


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
def loaded_once(
    postgres: str, encryption_key: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[LoadMode], Site]:
    """A site of a mode with its first file in and its second ready; a test gets a copy of its database."""
    sites: dict[LoadMode, Site] = {}

    def of(mode: LoadMode) -> Site:
        if mode not in sites:
            url = _create(postgres, f"loaded_{mode}")
            site = Site.make(tmp_path_factory.mktemp(f"loaded_{mode}"), url, "acme", mode)
            site.first()
            with cut_small():
                site.run("first")
            site.second()
            sites[mode] = site
        return sites[mode]

    return of


@pytest.fixture
def a_site(postgres: str, loaded_once: Callable[[LoadMode], Site], tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site whose first file is in, and an analyst's connection to its warehouse."""
    opened: list[psycopg.Connection[Any]] = []
    names: list[str] = []

    def make(mode: LoadMode) -> tuple[Site, psycopg.Connection]:
        base = loaded_once(mode)
        names.append(f"disturbed_{next(_numbers)}")
        url = _create(postgres, names[-1], f"loaded_{mode}")
        site = Site(tmp_path / names[-1], url, base.tenant, mode, base.data)
        opened.append(psycopg.connect(url, autocommit=True))
        Inspector(site, opened[-1]).table_is(site.before)
        return site, opened[-1]

    with cut_small():
        yield make
    for connection in opened:
        connection.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in names:
            connection.execute(f'drop database "{name}" with (force)')


def _create(postgres: str, name: str, template: str = "template1") -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "{template}" strategy file_copy')
    return urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
