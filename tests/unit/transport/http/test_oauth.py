"""OAuth 2.0 against a server that grants by RFC 6749: expected requests are the RFC's."""

from __future__ import annotations

import base64
import logging
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.authorization_server import AuthorizationServer
from tests.support.loopback import Asked, Loopback, Reply
from tests.unit.transport.http.conftest import System

from importers.core.connection import Connection
from importers.exceptions import ConfigError, FatalSourceError, TransientSourceError
from importers.transport.http.address import Route
from importers.transport.http.client import Call
from importers.transport.http.oauth import JwtBearer, OAuth2, SigningKey, TokenEndpoint
from importers.transport.http.settings import HttpConfig

BASIC = "Basic " + base64.b64encode(b"me:kanarienvogel").decode()


class Granting:
    """Grants a new token each time; the system takes the newest only."""

    def __init__(self, **more: Any) -> None:
        self.granted: list[dict[str, str]] = []
        self.more = more

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            assert asked.headers["authorization"] == BASIC
            self.granted.append(asked.form)
            token = {"access_token": f"token-{len(self.granted)}", "token_type": "Bearer", "expires_in": 3600}
            return Reply(token | self.more)
        good = asked.headers["authorization"] == f"Bearer token-{len(self.granted)}"
        return Reply({"fine": 1} if good else {}, 200 if good else 401)


def tokens(at: Loopback, **more: Any) -> TokenEndpoint:
    return TokenEndpoint(f"{at.address}/token", ("me", "kanarienvogel"), HttpConfig(), **more)


def auth(system: System, at: Loopback, refresh_token: str = "") -> OAuth2:
    return OAuth2(tokens(at), system.shared, refresh_token)


def test_a_token_is_got_through_the_connection_s_proxy(system: System) -> None:
    at, proxy = system.serve([Reply({}, 503)]), system.serve(Granting())
    route = Route.of(Connection({"proxy": proxy.address}))
    mine = OAuth2(tokens(at, route=route), system.shared)
    assert mine.token() == "token-1"
    assert at.asked == []


def test_an_application_gets_one_token_for_all_its_calls(system: System) -> None:
    granting = Granting()
    at = system.serve(granting)
    for _ in range(2):  # the second client finds what the first one got
        client = system.client(at, auth(system, at))
        assert [answer.json() for answer in client.ask_all([Call("a", "a")] * 5)] == [{"fine": "1"}] * 5
    assert granting.granted == [{"grant_type": "client_credentials"}]


def test_a_token_that_ends_in_mid_read_is_replaced_once(system: System) -> None:
    granting = Granting()
    at = system.serve(granting)
    client = system.client(at, auth(system, at))
    client.ask(Call("a", "a"))
    granting.granted.append({})  # the system forgets token 1
    assert client.ask(Call("a", "a")).json() == {"fine": "1"}
    assert len(granting.granted) == 3


def test_a_token_that_is_refused_when_it_is_new_is_told(system: System) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(
            {"access_token": "t", "token_type": "Bearer"} if asked.path == "/token" else {},
            200 if asked.path == "/token" else 401,
        )

    at = system.serve(answer)
    with pytest.raises(FatalSourceError, match="HTTP 401"):
        system.client(at, auth(system, at)).ask(Call("a", "a"))
    assert len([asked for asked in at.asked if asked.path == "/a"]) == 2


def test_a_replaced_refresh_token_is_stored_and_used(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    granting = Granting(refresh_token="second", expires_in=1)
    at = system.serve(granting)
    for _ in range(2):
        auth(system, at, "first").token()
    assert [asked["refresh_token"] for asked in granting.granted] == ["first", "second"]
    assert "without REDIS_URL" in caplog.text
    assert "second" not in caplog.text
    assert "kanarienvogel" not in caplog.text


@pytest.mark.parametrize(
    ("refresh_token", "answered", "least", "most"),
    [
        ("", {}, 3590, 3600),  # RFC 6749, 5.1: expires_in
        ("first", {}, 3590, 3600),
        ("first", {"refresh_token": "second"}, 90 * 86_400, 90 * 86_400),
        ("", {"expires_in": 10**9}, 90 * 86_400, 90 * 86_400),
    ],
)
def test_a_token_is_kept_as_long_as_it_is_needed_and_no_longer(
    system: System, refresh_token: str, answered: dict[str, Any], least: float, most: float
) -> None:
    kept = list[float | None]()
    put = system.shared.put

    def noted(name: str, value: bytes, seconds: float) -> None:
        kept.append(seconds)
        put(name, value, seconds)

    system.shared.put = noted  # type: ignore[method-assign]
    mine = auth(system, system.serve(Granting(**answered)), refresh_token)
    token = mine.token()
    assert kept[0] is not None
    assert least <= kept[0] <= most
    mine.forget(token)
    assert (system.shared.get("token") is not None) is ("refresh_token" in answered)


RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


def _pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_an_assertion_is_a_grant(system: System, key: Any, algorithm: str) -> None:
    server = AuthorizationServer(public_key=key.public_key(), algorithm=algorithm)
    at = system.serve(server)
    server.address = at.address
    bearer = JwtBearer(SigningKey(_pem(key), "key-7"), "me@apps.example", "ada@example.org")
    mine = OAuth2(TokenEndpoint(f"{at.address}/token", ("", ""), HttpConfig()), system.shared, bearer=bearer)
    assert system.client(at, mine).ask(Call("a", "a")).json() == {"fine": "1"}
    (claims,) = server.claims
    assert (claims["iss"], claims["sub"]) == ("me@apps.example", "ada@example.org")
    assert server.granted[0].keys() == {"grant_type", "assertion"}
    assert jwt.get_unverified_header(server.granted[0]["assertion"]) == {"alg": algorithm, "kid": "key-7", "typ": "JWT"}


def test_a_token_for_an_assertion_is_got_again_when_it_was_refused(system: System) -> None:
    """The server takes an assertion once only, so that the second one has to be another."""
    server = AuthorizationServer(public_key=RSA.public_key())
    at = system.serve(server)
    server.address = at.address
    bearer = JwtBearer(SigningKey(_pem(RSA)), "me")
    mine = OAuth2(TokenEndpoint(f"{at.address}/token", ("", ""), HttpConfig()), system.shared, bearer=bearer)
    client = system.client(at, mine)
    client.ask(Call("a", "a"))
    server.granted.append({})
    assert client.ask(Call("a", "a")).json() == {"fine": "1"}
    assert "sub" not in server.claims[0]
    assert len({claims["jti"] for claims in server.claims}) == 2


def test_an_assertion_that_another_key_signed_is_refused(system: System) -> None:
    server = AuthorizationServer(public_key=rsa.generate_private_key(65537, 2048).public_key())
    at = system.serve(server)
    server.address = at.address
    bearer = JwtBearer(SigningKey(_pem(RSA)), "me")
    mine = OAuth2(TokenEndpoint(f"{at.address}/token", ("", ""), HttpConfig()), system.shared, bearer=bearer)
    with pytest.raises(FatalSourceError, match="invalid_grant"):
        mine.token()


@pytest.mark.parametrize("refresh", ["", "refresh-0"])
def test_an_application_shows_itself_by_its_key(system: System, refresh: str) -> None:
    server = AuthorizationServer(public_key=RSA.public_key())
    at = system.serve(server)
    server.address = at.address
    endpoint = TokenEndpoint(f"{at.address}/token", ("me", ""), HttpConfig(), key=SigningKey(_pem(RSA)))
    assert OAuth2(endpoint, system.shared, refresh).token() == "token-1"
    assert server.claims[0]["iss"] == server.claims[0]["sub"] == "me"


def test_a_public_client_says_only_its_name(system: System) -> None:
    server = AuthorizationServer()
    at = system.serve(server)
    endpoint = TokenEndpoint(f"{at.address}/token", ("me", ""), HttpConfig())
    OAuth2(endpoint, system.shared, "refresh-0").token()
    assert server.granted == [{"grant_type": "refresh_token", "refresh_token": "refresh-0", "client_id": "me"}]


@pytest.mark.parametrize(
    "key",
    ["", "kanarienvogel", _pem(ed25519.Ed25519PrivateKey.generate()), _pem(ec.generate_private_key(ec.SECP256K1()))],
)
def test_a_key_that_signs_nothing_here_is_told_without_a_word_of_it(key: str) -> None:
    with pytest.raises(ConfigError, match="private_key") as told:
        SigningKey(key)
    assert "kanarienvogel" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_grant", "error_description": "ada@example.org"}, FatalSourceError),
        (401, {"error": "invalid_client"}, FatalSourceError),
        (503, {}, TransientSourceError),
        (429, {}, TransientSourceError),
        (200, b"<html>", FatalSourceError),
        (200, {"hello": "ada@example.org"}, FatalSourceError),
    ],
)
def test_a_refused_grant_is_told_by_its_code(system: System, status: int, body: Any, error: type[Exception]) -> None:
    at = system.serve([Reply(body, status)])
    with pytest.raises(error, match="no token was granted") as told:
        auth(system, at, "first").token()
    assert "ada@" not in str(told.value)
