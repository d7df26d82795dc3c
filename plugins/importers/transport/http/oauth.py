"""OAuth 2.0: tokens that one worker is granted and all use."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from importers.core.registry import optional
from importers.exceptions import ConfigError, FatalSourceError, TransientSourceError
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
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SIGNED_FOR = 300  # seconds that an assertion is good for; it is used at once
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""RFC 7518, 3.4."""


@dataclass(frozen=True, repr=False)
class TokenEndpoint:
    """Where tokens are granted, and the application that asks: its id, and the secret or key by which it shows itself.

    Without either it is a public client (RFC 6749, 2.1).
    """

    address: str
    client: tuple[str, str]
    config: HttpConfig
    route: Route = DIRECT
    scope: str | None = None
    key: SigningKey | None = None

    def granted(self, ask: Callable[[Any], Mapping[str, Any]], **about: Any) -> dict[str, Any]:
        """What `ask` is given by the client that it gets, which is authlib's. `about` goes to that client.

        Raises FatalSourceError for a refusal, TransientSourceError for a system in trouble, ConfigError for a key.
        """
        httpx2, oauth = optional("httpx2", "http"), optional("authlib.integrations.httpx_client", "http")
        timeout = httpx2.Timeout(self.config.read_timeout, connect=self.config.connect_timeout)
        trusted, proxy = context(self.config, self.route), self.route.proxy
        what = "no token was granted"
        identity, secret = self.client
        try:
            with oauth.OAuth2Client(
                identity,
                secret,
                token_endpoint_auth_method="client_secret_basic" if secret else "none",
                scope=self.scope,
                timeout=timeout,
                verify=trusted,
                proxy=proxy,
                **about,
            ) as client:
                if self.key is not None and not secret:
                    client.token_endpoint_auth_method = self.key.client_assertion(identity, self.address)
                for response in ("access_token_response", "refresh_token_response"):
                    client.register_compliance_hook(response, _able)
                granted = ask(client)
        except oauth.OAuthError as error:
            got = error.error if error.error in CODES else "a refusal"
            raise FatalSourceError(what, got=got, do="correct the connection's credentials") from None
        except httpx2.HTTPError as error:
            raise TransientSourceError(what, got=type(error).__name__, do="try again later") from None
        except ValueError:  # no JSON, or no object
            granted = {}
        if "access_token" not in granted:
            raise FatalSourceError(what, got="an answer without a token", do="correct the address that grants them")
        return dict(granted)


class SigningKey:
    """A private key that signs who is asking (RFC 7523), in the PEM form of the connection's `private_key`."""

    def __init__(self, pem: str, key_id: str | None = None) -> None:
        """Raises ConfigError for what is no private key of RSA or of one of NIST's curves."""
        self._key, self._header = _imported(pem), {"alg": _algorithm(pem)}
        if key_id:
            self._header["kid"] = key_id

    def assertion(self, issuer: str, audience: str, subject: str | None, **claims: Any) -> str:
        """RFC 7523, 2.1 and 3: an authorization grant, for `audience` and once."""
        jwt = optional("authlib.oauth2.rfc7523", "http").JWTBearerGrant
        more = {"header": dict(self._header), "claims": claims, "expires_in": SIGNED_FOR}
        return str(jwt.sign(self._key, issuer, audience, subject, **more))

    def client_assertion(self, client: str, audience: str) -> Callable[..., Any]:
        """RFC 7523, 2.2: how the application shows itself, as authlib calls it for each request."""
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        add = optional("authlib.common.urls", "http").add_params_to_qs

        def authenticate(_: Any, __: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
            signed = self.assertion(client, audience, client)
            said = [("client_assertion_type", kind), ("client_assertion", signed)]
            return uri, headers, add(body, said)

        return authenticate


@dataclass(frozen=True, repr=False)
class JwtBearer:
    """What an assertion says (RFC 7523, 2.1): by whom, about whom, and for whom if not for the token endpoint."""

    key: SigningKey
    issuer: str
    subject: str | None = None
    audience: str | None = None


class OAuth2:
    """OAuth 2.0 (RFC 6749): a token for the application, for a user by refresh token, or for a signed assertion.

    One worker gets it and all use it. A refresh token that the system replaces is stored before the access token that
    came with it is used: it may be the only one that is still good.
    """

    renews = True

    def __init__(
        self, tokens: TokenEndpoint, shared: Shared, refresh_token: str = "", bearer: JwtBearer | None = None
    ) -> None:
        self._tokens, self._shared, self._refresh_token, self._bearer = tokens, shared, refresh_token, bearer
        self._one_at_a_time = threading.Lock()
        self._held: dict[str, Any] = {}

    def token(self) -> str:
        return self.granted()[0]

    def granted(self) -> tuple[str, float]:
        """A token, and until when it is good, in seconds since 1970."""
        with self._one_at_a_time:
            if not _good(self._held):
                self._held = self._stored() if _good(self._stored()) else self._renewed()
            return str(self._held["access_token"]), float(self._held["expires_at"])

    def close(self) -> None:
        self._shared.close()

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
        at, bearer = self._tokens.address, self._bearer

        def ask(client: Any) -> Mapping[str, Any]:
            granted: Mapping[str, Any]
            if bearer is not None:
                signed = bearer.key.assertion(bearer.issuer, bearer.audience or at, bearer.subject)
                granted = client.fetch_token(at, grant_type=JWT_BEARER, assertion=signed, auth=_nobody())
            elif refresh_token:
                granted = client.refresh_token(at, refresh_token=refresh_token)
            else:
                granted = client.fetch_token(at, grant_type="client_credentials")
            return granted

        return self._tokens.granted(ask)

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


def _nobody() -> httpx2.Auth:
    """An assertion says who is asking, so the client needn't (RFC 7523, 2.1)."""
    auth: httpx2.Auth = optional("httpx2", "http").Auth()
    return auth


def _imported(pem: str) -> Any:
    """Authlib's form of the key. It isn't made anew for each signature: of RSA that takes milliseconds."""
    jwk = optional("joserfc.jwk", "http")
    return (jwk.RSAKey if _algorithm(pem) == "RS256" else jwk.ECKey).import_key(pem)


def _algorithm(pem: str) -> str:
    """RFC 7518, 3.1. Raises ConfigError, without a word of the key."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "the connection's `private_key` can't be read"
        raise ConfigError(what, do="give a private key in PEM form, without a password") from None
    found = "RS256" if isinstance(key, RSAPrivateKey) else None
    if isinstance(key, EllipticCurvePrivateKey):
        found = CURVES.get(key.curve.name)
    if found is None:
        raise ConfigError("the connection's `private_key` is of a kind that isn't used here", do="take RSA or P-256")
    return found


def _good(token: Mapping[str, Any]) -> bool:
    return float(token.get("expires_at") or 0) > time() + EARLY
