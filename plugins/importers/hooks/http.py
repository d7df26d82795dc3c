"""What the hooks of HTTP systems have in common: an authenticated session, and a test that asks the system itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import httpx
from airflow.sdk import BaseHook

from importers.core.connection import Connection
from importers.exceptions import FatalSourceError, ImporterError, TransientSourceError
from importers.hooks.connections import handed_over
from importers.transport.http.address import base_url, needed

TIMEOUT = 15.0  # seconds; somebody waits beside a button


class HttpHook(BaseHook):
    """A system that Airflow has no connection type for. Its form is in `hooks.forms`.

    The connection's `host` may name another address than `address`: a region's, or a proxy's.
    """

    conn_name_attr = "conn_id"
    default_conn_name: str
    conn_type: str
    hook_name: str
    address: ClassVar[str]

    def __init__(self, conn_id: str | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id or self.default_conn_name

    def get_conn(self) -> Any:
        """A session with the system. Raises ConfigError for what is missing."""
        return self.session()

    def session(self) -> httpx.Client:
        """By paths relative to the system's address."""
        said = handed_over(self.get_connection(self.conn_id))
        return httpx.Client(base_url=base_url(said, self.address), auth=self.auth(said), timeout=TIMEOUT)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the system takes the credentials, and what it said. Never a secret, nor what the system answered."""
        try:
            with self.session() as session:
                self.ask(session)
                return True, f"{session.base_url.host} takes the credentials"
        except ImporterError as error:
            return False, str(error)
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # their texts may quote an address
            return False, f"the system can't be reached: {type(error).__name__}"

    @abstractmethod
    def auth(self, connection: Connection) -> httpx.Auth:
        """How a request shows who is asking. Raises ConfigError."""

    @abstractmethod
    def ask(self, session: httpx.Client) -> None:
        """The cheapest call that only right credentials pass. Raises what `accepted` raises."""


class Bearer(httpx.Auth):
    """A token in the header, after the word that the system wants there."""

    def __init__(self, token: str, word: str = "Bearer") -> None:
        self._header = f"{word} {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


class TokenFirst(httpx.Auth):
    """OAuth 2.0 (RFC 6749): a token for the application, or for a user by refresh token, got once a session."""

    requires_response_body = True

    def __init__(self, request: httpx.Request, word: str = "Bearer") -> None:
        self._request, self._word = request, word
        self._bearer: Bearer | None = None

    def fetch(self, session: httpx.Client) -> None:
        """Get the token before it is needed."""
        self._bearer = Bearer(token_of(session.send(self._request, auth=None)), self._word)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._bearer is None:
            self._request.extensions = request.extensions  # the session's timeout
            self._bearer = Bearer(token_of((yield self._request)), self._word)
        yield from self._bearer.auth_flow(request)


def token_of(response: httpx.Response) -> str:
    """The token that was granted. Some systems refuse with status 200."""
    accepted(response)
    body = json_of(response)
    token = body.get("access_token")
    if not isinstance(token, str) or not token:
        raise refused(response, body)
    return token


def grant(connection: Connection, **more: str) -> dict[str, str]:
    """What is asked for: a user's token, if the connection has a `refresh_token`, else the application's."""
    if "refresh_token" in connection:
        return {"grant_type": "refresh_token", "refresh_token": needed(connection, "refresh_token"), **more}
    return {"grant_type": "client_credentials", **more}


def accepted(response: httpx.Response) -> httpx.Response:
    """Raises FatalSourceError for credentials that are refused, TransientSourceError for a system in trouble."""
    status = response.status_code
    if status == 429 or status >= 500:
        raise TransientSourceError(f"{response.url.host} can't answer now", got=f"HTTP {status}", do="try again later")
    if not response.is_success:
        raise refused(response)
    return response


def refused(response: httpx.Response, body: Mapping[str, object] | None = None) -> FatalSourceError:
    """Of the answer only its status, and the error's code if it is a number or one of RFC 6749's words."""
    code = (body or {}).get("error")
    known = isinstance(code, int) or code in ("invalid_client", "invalid_grant", "invalid_request", "invalid_scope")
    said = f", error {code}" if known else ""
    return FatalSourceError(
        f"{response.url.host} refused the credentials",
        got=f"HTTP {response.status_code}{said}",
        do="correct the connection, and see that the account may use the API",
    )


def json_of(response: httpx.Response) -> Mapping[str, object]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        what = f"{response.url.host} doesn't answer as the system does"
        raise FatalSourceError(what, got=f"HTTP {response.status_code} without a JSON object", do="correct the host")
    return body
