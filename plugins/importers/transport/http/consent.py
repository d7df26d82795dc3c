"""A person's consent, asked for once in their browser: the code grant with PKCE (RFC 6749, 4.1; RFC 7636; RFC 8252)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from importers.exceptions import ConfigError, FatalSourceError, TransientSourceError
from importers.transport.http.oauth import TokenEndpoint

BACK = "/callback"
DONE = b"<!doctype html><title>importers</title><p>You can close this window; the rest is in the terminal."


@dataclass(frozen=True, slots=True)
class Consent:
    """Where a person is asked, and where the token is granted afterwards."""

    address: str
    tokens: TokenEndpoint


def refresh_token(asked: Consent, tell: Callable[[str], None], port: int = 0, wait: float = 300.0) -> str:
    """Have `tell` show a person the address of the consent, and wait so many seconds until they have given it.

    The browser comes back to this machine's own loopback address, on `port` or on one that is free. Raises
    FatalSourceError for a refusal and for a system that gives no refresh token, TransientSourceError if nobody came,
    ConfigError for a port that is taken.
    """
    with closing(_Listener(port)) as listener:
        back, verifier, state = f"http://127.0.0.1:{listener.port}{BACK}", secrets.token_urlsafe(64), _random()

        def ask(client: Any) -> Mapping[str, Any]:
            address, _ = client.create_authorization_url(asked.address, state=state, code_verifier=verifier)
            tell(address)
            code = listener.code(state, wait)
            granted: Mapping[str, Any] = client.fetch_token(
                asked.tokens.address, grant_type="authorization_code", code=code, code_verifier=verifier
            )
            return granted

        granted = asked.tokens.granted(ask, redirect_uri=back, code_challenge_method="S256")
    if not granted.get("refresh_token"):
        what = "the system gave a token that can't be renewed"
        raise FatalSourceError(what, do="see which scope or setting of the application gives refresh tokens")
    return str(granted["refresh_token"])


class _Listener:
    """Hears what the browser brings. Only this machine reaches it."""

    def __init__(self, port: int) -> None:
        self._brought: Mapping[str, str] | None = None
        here = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds that one visitor may keep others waiting

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                found = url.path == BACK
                if found:
                    here._brought = dict(parse_qsl(url.query))
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(DONE) if found else 0))
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                if found:
                    self.wfile.write(DONE)

            def log_message(self, *_: Any) -> None:
                """What is asked for holds the code."""

        try:
            self._http = HTTPServer(("127.0.0.1", port), Handler)
        except OSError:
            raise ConfigError(f"port {port} of this machine is taken", do="give another `--port`") from None
        self.port = self._http.server_port

    def close(self) -> None:
        self._http.server_close()

    def code(self, state: str, wait: float) -> str:
        """The code that came with this state. What comes with another is somebody else's, and isn't heard."""
        until = monotonic() + wait
        while (left := until - monotonic()) > 0:
            self._http.timeout = left
            self._http.handle_request()
            brought, self._brought = self._brought, None
            if brought is None or not hmac.compare_digest(brought.get("state", "").encode(), state.encode()):
                continue
            if "code" in brought:
                return brought["code"]
            raise FatalSourceError("consent was refused", do="ask again, and agree in the browser")
        raise TransientSourceError("nobody gave consent", got=f"{wait:.0f} seconds of waiting", do="ask again")


def _random() -> str:
    return secrets.token_urlsafe(32)
