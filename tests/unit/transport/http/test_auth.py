"""OAuth 2.0 against a server that grants by RFC 6749: expected requests are the RFC's."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from tests.support.loopback import Asked, Loopback, Reply
from tests.unit.transport.http.conftest import System

from importers.core.connection import Connection
from importers.exceptions import FatalSourceError, TransientSourceError
from importers.transport.http.address import Route
from importers.transport.http.auth import OAuth2
from importers.transport.http.client import Call
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


def auth(system: System, at: Loopback, refresh_token: str = "") -> OAuth2:
    return OAuth2(f"{at.address}/token", ("me", "kanarienvogel"), refresh_token, HttpConfig(), system.shared)


def test_a_token_is_got_through_the_connection_s_proxy(system: System) -> None:
    at, proxy = system.serve([Reply({}, 503)]), system.serve(Granting())
    route = Route.of(Connection({"proxy": proxy.address}))
    mine = OAuth2(f"{at.address}/token", ("me", "kanarienvogel"), "", HttpConfig(), system.shared, route)
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
