"""`importers connect` against an authorization server of this process; a thread is the person and their browser."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from click.testing import CliRunner, Result
from tests.support.authorization_server import AuthorizationServer
from tests.support.loopback import Loopback

from importers.cli.main import main
from importers.core.connection import Connection
from importers.pipeline.connection import RESOLVER

FILE = """\
tenant: acme
pipelines:
  plays:
    importer: spotify_api
    privacy: {purpose: recommendations, lawful_basis: consent}
  files:
    importer: csv
    config: {path: plays.csv}
"""


class Person:
    """Opens what they are told to, and notes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
        self.addresses, self._pool = list[str](), pool
        monkeypatch.setattr("importers.cli.connect._tell", self)

    def __call__(self, address: str) -> None:
        self.addresses.append(address)
        self._pool.submit(httpx2.get, address, follow_redirects=True, timeout=60)


@pytest.fixture
def server() -> AuthorizationServer:
    return AuthorizationServer(client=("me", "kanarienvogel"))


@pytest.fixture
def tenants(tmp_path: Path, server: AuthorizationServer) -> Iterator[Path]:
    (tmp_path / "acme.yaml").write_text(FILE)
    with closing(Loopback(server)) as http:
        server.address = http.address
        said = {"login": "me", "password": "kanarienvogel", "token_address": f"{http.address}/token"}
        connection = Connection(said | {"authorize_address": f"{http.address}/authorize"})
        token = RESOLVER.set(lambda *_: connection)
        yield tmp_path
        RESOLVER.reset(token)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    with ThreadPoolExecutor(1) as pool:
        yield Person(monkeypatch, pool)


def connect(tenants: Path, to: Path, pipeline: str = "plays", **options: Any) -> Result:
    more = [f"--{name}={value}" for name, value in options.items()]
    return CliRunner().invoke(main, ["connect", f"acme.{pipeline}", f"--tenants={tenants}", f"--to={to}", *more])


def test_consent_ends_in_a_file_that_only_its_owner_reads(tenants: Path, tmp_path: Path, person: Person) -> None:
    file = tmp_path / "token"
    told = connect(tenants, file)
    assert told.exit_code == 0, told.output
    assert file.read_text() == "refresh-1"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "refresh-1" not in told.output
    assert "importer_acme_spotify_api" in told.output
    assert "SPOTIFY_REFRESH_TOKEN" in told.output
    scopes = parse_qs(urlsplit(person.addresses[0]).query)["scope"][0].split()
    assert "user-library-read" in scopes


def test_a_file_that_is_there_is_not_written_over(tenants: Path, tmp_path: Path, person: Person) -> None:
    file = tmp_path / "token"
    file.write_text("another")
    told = connect(tenants, file)
    assert told.exit_code == 2
    assert "isn't there yet" in told.output
    assert file.read_text() == "another"
    assert person.addresses == []


def test_without_consent_there_is_no_file(
    tenants: Path, tmp_path: Path, person: Person, server: AuthorizationServer
) -> None:
    server.refuses = True
    told = connect(tenants, tmp_path / "token")
    assert told.exit_code == 4
    assert "consent was refused" in told.output
    assert not (tmp_path / "token").exists()


def test_a_source_that_asks_nobody_says_so(tenants: Path, tmp_path: Path) -> None:
    told = connect(tenants, tmp_path / "token", pipeline="files")
    assert told.exit_code == 2
    assert "asks nobody for consent" in told.output
