"""The *Test* of our connection types, against a server on this machine: what is asked for, and what a person is told.

What each vendor's server has to see is written down here from its documentation, not from the hooks.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pylast
import pytest
import spotipy
import trustme
from airflow._shared.module_loading import import_string
from tests.support.loopback import Asked, Loopback, Reply

from importers.get_provider_info import get_provider_info
from importers.hooks.forms import CONNECTION_TYPES
from importers.hooks.http import HttpHook

SECRET = "kanarienvogel-5f2b"
BASIC = f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
CATALOGUE = {form["connection-type"]: form for form in CONNECTION_TYPES}


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str | None
    form: dict[str, list[str]]


@dataclass
class Server:
    address: str
    answer: Callable[[Seen], tuple[int, Any]]
    seen: list[Seen] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """Answers as `answer` says, and notes what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            seen = Seen(self.command, url.path, parse_qs(url.query), self.headers.get("Authorization"), parse_qs(body))
            here.seen.append(seen)
            status, answer = here.answer(seen)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", answer)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        here = Server(f"http://127.0.0.1:{http.server_port}", lambda _: (200, {}))
        Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield here
        http.shutdown()


def hook(kind: str, address: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> HttpHook:
    said = {"conn_type": kind, "host": address, "login": "me", "password": SECRET, "extra": {}} | more
    monkeypatch.setenv("AIRFLOW_CONN_TRIED", json.dumps(said))
    made = import_string(CATALOGUE[kind]["hook-class-name"])(conn_id="tried")
    assert isinstance(made, HttpHook)
    return made


def by_basic(seen: Seen) -> bool:
    return seen.authorization == BASIC


def by_bearer(seen: Seen) -> bool:
    return seen.authorization == f"Bearer {SECRET}"


ASKED: dict[str, list[tuple[str, str, Callable[[Seen], bool]]]] = {
    "amplitude": [("GET", "/3/cohorts", by_basic)],
    "instagram": [("GET", "/me", by_bearer)],
    "lastfm": [("POST", "/", lambda seen: seen.form["api_key"] == [SECRET])],
    "mixpanel": [("GET", "/app/me", by_basic)],
    "segment": [("GET", "/", by_bearer)],
    "soundcloud": [
        ("POST", "/token", lambda seen: by_basic(seen) and seen.form == {"grant_type": ["client_credentials"]}),
        ("GET", "/tracks", lambda seen: seen.authorization == "OAuth granted"),
    ],
    "spotify": [
        ("POST", "/token", lambda seen: by_basic(seen) and seen.form == {"grant_type": ["client_credentials"]}),
        ("GET", "/search", lambda seen: seen.authorization == "Bearer granted"),
    ],
    "tiktok": [
        (
            "POST",
            "/oauth/token/",
            lambda seen: (
                seen.form == {"client_key": ["me"], "client_secret": [SECRET], "grant_type": ["client_credentials"]}
            ),
        )
    ],
    "twitter": [("GET", "/usage/tweets", by_bearer)],
}
KINDS = sorted(ASKED)


def vendor(kind: str) -> Callable[[Seen], tuple[int, Any]]:
    """Takes what the vendor would take, and refuses all else."""
    expected = {(method, path): right for method, path, right in ASKED[kind]}

    def answer(seen: Seen) -> tuple[int, Any]:
        right = expected.get((seen.method, seen.path))
        if right is None:
            return 404, {}
        if not right(seen):
            return 401, {"error": "invalid_client", "echo": seen.authorization}
        return 200, {"access_token": "granted", "expires_in": 3600} if "token" in seen.path else {"ok": True}

    return answer


def extra(kind: str, address: str) -> dict[str, Any]:
    return {"extra": {"token_address": f"{address}/token"}} if kind in ("soundcloud", "spotify") else {}


def test_every_type_is_tried_here() -> None:
    assert set(CATALOGUE) == set(ASKED)


@pytest.mark.parametrize("kind", KINDS)
def test_right_credentials_pass_after_a_real_call(kind: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = vendor(kind)
    ok, said = hook(kind, server.address, monkeypatch, **extra(kind, server.address)).test_connection()
    assert ok, said
    assert said == "127.0.0.1 takes the credentials"
    assert [(seen.method, seen.path) for seen in server.seen] == [(method, path) for method, path, _ in ASKED[kind]]
    assert not any(SECRET in str(seen.query) + seen.path for seen in server.seen)  # addresses are written down


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_credentials_are_said_without_them(kind: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = vendor(kind)
    wrong = extra(kind, server.address) | {"password": "falsch-9c1d"}
    ok, said = hook(kind, server.address, monkeypatch, **wrong).test_connection()
    assert not ok
    assert "refused the credentials" in said
    assert "HTTP 401" in said
    assert "falsch" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_missing_credentials_are_said_before_any_call(
    kind: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok, said = hook(kind, server.address, monkeypatch, login=None, password=None).test_connection()
    assert not ok
    assert "lacks its credentials" in said
    assert server.seen == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((429, {}), "can't answer now; got HTTP 429"),
        ((503, {}), "can't answer now; got HTTP 503"),
        ((302, "http://127.0.0.1:1/"), "refused the credentials; got HTTP 302"),
    ],
)
def test_trouble_is_told_by_its_kind(
    answer: tuple[int, Any], expected: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _: answer
    ok, said = hook("segment", server.address, monkeypatch).test_connection()
    assert not ok
    assert expected in said
    assert len(server.seen) == 1  # a redirection isn't followed: it would take the token along


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, []), (200, {"error": "invalid_client"}), (200, {})])
def test_a_token_that_is_none(answer: tuple[int, Any], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda _: answer
    ok, said = hook("tiktok", server.address, monkeypatch).test_connection()
    assert not ok
    assert "HTTP 200" in said


def test_lastfm_refuses_by_a_number(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (200, 403):
        server.answer = lambda _, status=status: (status, {"error": 10, "message": f"Invalid API key {SECRET}"})
        ok, said = hook("lastfm", server.address, monkeypatch).test_connection()
        assert not ok
        assert f"HTTP {status}, error 10" in said
        assert SECRET not in said


def test_a_refresh_token_asks_for_the_users_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda seen: (200, {"access_token": "the-users"})
    more = {"token_address": f"{server.address}/token", "refresh_token": "auffrischung"}
    ok, said = hook("spotify", server.address, monkeypatch, extra=more).test_connection()
    assert ok, said
    assert server.seen[0].form == {"grant_type": ["refresh_token"], "refresh_token": ["auffrischung"]}
    assert server.seen[1].authorization == "Bearer the-users"


@pytest.mark.parametrize("host", ["http://api.example", "ftp://127.0.0.1", "https://user:word@api.example"])
def test_credentials_do_not_travel_in_the_clear(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ok, said = hook("segment", host, monkeypatch).test_connection()
    assert not ok
    assert "credentials" in said
    assert "word" not in said.replace("password", "")


def test_a_host_without_a_scheme_is_spoken_to_by_tls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    port = urlsplit(server.address).port
    ok, said = hook("segment", "127.0.0.1", monkeypatch, port=port).test_connection()
    assert not ok
    assert said == "the system can't be reached: ConnectError"
    assert server.seen == []


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ok, said = hook("segment", "http://127.0.0.1:1", monkeypatch).test_connection()
    assert (ok, said) == (False, "the system can't be reached: ConnectError")


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_is_the_hooks(kind: str) -> None:
    form, cls = CATALOGUE[kind], import_string(CATALOGUE[kind]["hook-class-name"])
    assert (form["connection-type"], form["hook-name"]) == (cls.conn_type, cls.hook_name)
    assert form["ui-field-behaviour"]["placeholders"]["host"] == cls.address
    assert cls.__module__ in get_provider_info()["hooks"][0]["python-modules"]


def test_spotify_s_session_is_spotipy_with_a_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own retries are off: a `Retry-After` of a day would be slept through."""
    server.answer = lambda seen: (200, {"access_token": "granted", "id": "t"}) if "429" not in seen.path else (429, {})
    session = hook("spotify", server.address, monkeypatch, **extra("spotify", server.address)).get_conn()
    assert isinstance(session, spotipy.Spotify)
    assert session.track("6y0igZArWVi6Iz0rj35c1Y")["id"] == "t"
    with pytest.raises(spotipy.SpotifyException, match="http status: 429"):
        session._get("429")
    token, track, refused = server.seen
    assert (token.path, by_basic(token)) == ("/token", True)
    assert (track.path, track.authorization) == ("/tracks/6y0igZArWVi6Iz0rj35c1Y", "Bearer granted")
    assert refused.path == "/429"


def test_last_fm_s_session_is_pylast_at_the_connection_s_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, asked = trustme.CA(), list[Asked]()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(pylast, "SSL_CONTEXT", trusting)

    def answer(said: Asked) -> Reply:
        asked.append(said)
        return Reply(b'<lfm status="ok"><user><playcount>7</playcount></user></lfm>')

    with closing(Loopback(answer, tls)) as http:
        network = hook("lastfm", f"{http.address}/2.0/", monkeypatch).get_conn()
        assert isinstance(network, pylast.LastFMNetwork)
        assert network.get_user("RJ").get_playcount() == 7
    assert (asked[0].path, asked[0].form["api_key"]) == ("/2.0/", SECRET)
    assert network.is_rate_limited()
