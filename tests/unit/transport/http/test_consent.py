"""Consent by PKCE, against a server that keeps to RFC 7636; a thread is the person and their browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.support.authorization_server import AuthorizationServer
from tests.unit.transport.http.conftest import System

from importers.exceptions import ConfigError, FatalSourceError, TransientSourceError
from importers.transport.http.consent import Consent, refresh_token
from importers.transport.http.oauth import TokenEndpoint
from importers.transport.http.settings import HttpConfig


@pytest.fixture
def browser() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as person:
        yield person


def agree(address: str) -> None:
    assert httpx2.get(address, follow_redirects=True, timeout=60).is_success


def consent(system: System, server: AuthorizationServer, scope: str | None = "library") -> Consent:
    server.address = system.serve(server).address
    tokens = TokenEndpoint(f"{server.address}/token", server.client, HttpConfig(), scope=scope)
    return Consent(f"{server.address}/authorize", tokens)


@pytest.mark.parametrize("secret", ["", "kanarienvogel"])
def test_consent_gives_a_refresh_token(system: System, browser: ThreadPoolExecutor, secret: str) -> None:
    server, told = AuthorizationServer(client=("me", secret)), list[str]()

    def tell(address: str) -> None:
        told.append(address)
        browser.submit(agree, address)

    assert refresh_token(consent(system, server), tell) == "refresh-1"
    asked = parse_qs(urlsplit(told[0]).query)
    assert asked["scope"] == ["library"]
    assert server.granted[0]["code_verifier"] not in told[0]


def test_two_consents_share_no_secret(system: System, browser: ThreadPoolExecutor) -> None:
    server = AuthorizationServer()
    asked = consent(system, server)
    for _ in range(2):
        refresh_token(asked, lambda address: browser.submit(agree, address))
    first, second = server.granted
    assert first["code_verifier"] != second["code_verifier"]


def test_refused_consent_is_told(system: System, browser: ThreadPoolExecutor) -> None:
    with pytest.raises(FatalSourceError, match="consent was refused"):
        refresh_token(
            consent(system, AuthorizationServer(refuses=True)), lambda address: browser.submit(agree, address)
        )


def test_what_comes_with_another_s_state_is_not_heard(system: System, browser: ThreadPoolExecutor) -> None:
    """A page in the same browser may send it a code of its own (RFC 6749, 10.12)."""

    def forge(address: str) -> None:
        back = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        for path in (f"{back}?code=forged&state=guessed", f"{back}?code=forged", back.replace("callback", "other")):
            httpx2.get(path, timeout=60)
        agree(address)

    server = AuthorizationServer()
    assert refresh_token(consent(system, server), lambda address: browser.submit(forge, address)) == "refresh-1"
    assert server.granted[0]["code"] != "forged"


def test_nobody_is_waited_for_for_ever(system: System) -> None:
    with pytest.raises(TransientSourceError, match="nobody gave consent"):
        refresh_token(consent(system, AuthorizationServer()), lambda _: None, wait=0.05)


def test_a_token_that_cannot_be_renewed_is_no_use(system: System, browser: ThreadPoolExecutor) -> None:
    with pytest.raises(FatalSourceError, match="can't be renewed"):
        refresh_token(
            consent(system, AuthorizationServer(gives_refresh=False)), lambda address: browser.submit(agree, address)
        )


def test_a_port_that_is_taken_is_told(system: System) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="is taken"):
            refresh_token(consent(system, AuthorizationServer()), lambda _: None, port=other.getsockname()[1])
