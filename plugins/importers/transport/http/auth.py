"""How a request shows who is asking."""

from __future__ import annotations

import json
import logging
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any, Protocol

from importers.core.registry import optional
from importers.exceptions import FatalSourceError, TransientSourceError
from importers.transport.http.address import DIRECT, Route
from importers.transport.http.budget import retry_after
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Shared
from importers.transport.http.tls import context

if TYPE_CHECKING:
    import httpx2

    from importers.transport.http.client import Call

logger = logging.getLogger(__name__)

EARLY = 30.0  # seconds before its end at which a token isn't used any more
REPLACED = 90 * 86_400.0
"""Seconds since its last use that a replaced refresh token is kept: it may be the only one that is still good."""
CODES = frozenset({"invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client"})
"""RFC 6749, 5.2: what may be told of a refusal."""


class Auth(Protocol):
    """`token` is what the next request is signed with, and `forget` says that it was refused."""

    renews: bool
    """Whether a refused token can be replaced."""

    def token(self) -> str: ...

    def forget(self, token: str) -> None: ...

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        """The call with what it needs, and headers."""


class _Fixed:
    renews = False

    def forget(self, token: str) -> None:
        """There is no other."""


@dataclass(frozen=True, repr=False)
class ApiKey(_Fixed):
    """A key among the parameters of a call, or in its form."""

    key: str
    parameter: str

    def token(self) -> str:
        return self.key

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call.having(**{self.parameter: token}), {}


@dataclass(frozen=True, repr=False)
class Basic(_Fixed):
    """A user's name and password (RFC 7617), `NAME:PASSWORD`."""

    user_info: str

    def token(self) -> str:
        return b64encode(self.user_info.encode()).decode()

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call, {"Authorization": f"Basic {token}"}


class Anybody(_Fixed):
    """Nobody is asked who they are."""

    def token(self) -> str:
        return ""

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:  # noqa: ARG002
        return call, {}


class OAuth2:
    """OAuth 2.0 (RFC 6749): a token for the application, or for a user by refresh token.

    One worker gets it and all use it. A refresh token that the system replaces is stored before the access token that
    came with it is used: it may be the only one that is still good.
    """

    renews = True

    def __init__(
        self,
        tokens: str,
        client: tuple[str, str],
        refresh_token: str,
        config: HttpConfig,
        shared: Shared,
        route: Route = DIRECT,
        scope: str | None = None,
    ) -> None:
        """`tokens` is the address that grants them, `client` the application's id and secret."""
        self._scope = scope
        self._tokens, self._client, self._refresh_token = tokens, client, refresh_token
        self._config, self._shared, self._route = config, shared, route
        self._one_at_a_time = threading.Lock()
        self._held: dict[str, Any] = {}

    def token(self) -> str:
        with self._one_at_a_time:
            if not _good(self._held):
                self._held = self._stored() if _good(self._stored()) else self._renewed()
            return str(self._held["access_token"])

    def forget(self, token: str) -> None:
        with self._one_at_a_time:
            if self._held.get("access_token") == token:
                self._held = {}
            stored = self._stored()
            if stored.get("access_token") == token:
                self._store({**stored, "expires_at": 0})

    def sign(self, call: Call, token: str) -> tuple[Call, Mapping[str, str]]:
        return call, {"Authorization": f"Bearer {token}"}

    def _renewed(self) -> dict[str, Any]:
        with self._shared.lock("token"):
            stored = self._stored()
            if _good(stored):  # another worker was first
                return stored
            refresh_token = str(stored.get("refresh_token") or self._refresh_token)
            granted = self._granted(refresh_token)
            token = {
                "access_token": granted["access_token"],
                "expires_at": time() + float(granted.get("expires_in") or 3600),
                "refresh_token": granted.get("refresh_token") or refresh_token,
            }
            self._store(token)
            if token["refresh_token"] != refresh_token and not self._shared.lasting:
                logger.warning("a refresh token was replaced, and without REDIS_URL the new one ends with this process")
            return token

    def _granted(self, refresh_token: str) -> Mapping[str, Any]:
        httpx2, oauth = optional("httpx2", "http"), optional("authlib.integrations.httpx_client", "http")
        timeout = httpx2.Timeout(self._config.read_timeout, connect=self._config.connect_timeout)
        login, password = self._client
        trusted, proxy = context(self._config, self._route), self._route.proxy
        what = "no token was granted"
        try:
            with oauth.OAuth2Client(
                login, password, scope=self._scope, timeout=timeout, verify=trusted, proxy=proxy
            ) as client:
                for response in ("access_token_response", "refresh_token_response"):
                    client.register_compliance_hook(response, _able)
                if refresh_token:
                    granted = client.refresh_token(self._tokens, refresh_token=refresh_token)
                else:
                    granted = client.fetch_token(self._tokens, grant_type="client_credentials")
        except oauth.OAuthError as error:
            got = error.error if error.error in CODES else "a refusal"
            raise FatalSourceError(what, got=got, do="correct the connection's credentials") from None
        except httpx2.HTTPError as error:
            raise TransientSourceError(what, got=type(error).__name__, do="try again later") from None
        except ValueError:
            granted = {}
        if "access_token" not in granted:
            raise FatalSourceError(what, got="an answer without a token", do="correct the address that grants them")
        return dict(granted)

    def _stored(self) -> dict[str, Any]:
        kept = self._shared.get("token")
        return dict(json.loads(kept)) if kept else {}

    def _store(self, token: Mapping[str, Any]) -> None:
        left = float(token["expires_at"]) - time()
        if token["refresh_token"] != self._refresh_token:  # the connection's own stands there
            left = REPLACED
        self._shared.put("token", json.dumps(token).encode(), min(left, REPLACED))


def _able(response: httpx2.Response) -> httpx2.Response:
    """Raises TransientSourceError for a system in trouble, of which RFC 6749 doesn't speak."""
    if response.status_code == 429 or response.status_code >= 500:
        got, told = f"HTTP {response.status_code}", retry_after(response.headers)
        raise TransientSourceError("no token was granted", got=got, do="try again later", retry_after=told)
    return response


def _good(token: Mapping[str, Any]) -> bool:
    return float(token.get("expires_at") or 0) > time() + EARLY
