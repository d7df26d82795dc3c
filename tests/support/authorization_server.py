"""An authorization server that grants only what RFC 6749, 7523 and 7636 let it grant; PyJWT reads the assertions."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from .loopback import Asked, Reply

ASSERTED = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass
class AuthorizationServer:
    """`client` is the application's id and secret, without a secret a public one; `public_key` verifies assertions.

    `address` has to be set to where it is served before it is asked.
    """

    client: tuple[str, str] = ("me", "")
    public_key: Any = None
    algorithm: str = "RS256"
    refuses: bool = False
    gives_refresh: bool = True
    address: str = ""
    granted: list[dict[str, str]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/authorize":
            return self._authorize(asked.query)
        return self._token(asked) if asked.path == "/token" else self._resource(asked)

    def _resource(self, asked: Asked) -> Reply:
        good = asked.headers.get("authorization") == f"Bearer token-{len(self.granted)}"
        return Reply({"fine": 1} if good else {}, 200 if good else 401)

    def _authorize(self, query: dict[str, str]) -> Reply:
        """RFC 6749, 4.1.1 and 4.1.2; RFC 7636, 4.2 and 4.3; RFC 8252, 7.3."""
        back = urlsplit(query["redirect_uri"])
        well_asked = (
            query["response_type"] == "code"
            and query["client_id"] == self.client[0]
            and (back.scheme, back.hostname) == ("http", "127.0.0.1")
            and query["code_challenge_method"] == "S256"
            and re.fullmatch(r"[A-Za-z0-9_-]{43}", query["code_challenge"])
        )
        if not well_asked:
            return Reply({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        said = {"error": "access_denied"} if self.refuses else {"code": code}
        return Reply(b"", 302, {"Location": f"{query['redirect_uri']}?{urlencode(said | {'state': query['state']})}"})

    def _token(self, asked: Asked) -> Reply:
        if asked.method != "POST" or asked.query or not self._known(asked):
            return Reply({"error": "invalid_client"}, 401)
        form = asked.form
        good = {
            "authorization_code": self._code,
            JWT_BEARER: lambda form: self._asserted(form["assertion"]),
            "refresh_token": lambda form: form["refresh_token"].startswith("refresh-"),
            "client_credentials": lambda _: True,
        }[form["grant_type"]](form)
        if not good:
            return Reply({"error": "invalid_grant"}, 400)
        self.granted.append(form)
        token = {"access_token": f"token-{len(self.granted)}", "token_type": "Bearer", "expires_in": 3600}
        more = {"refresh_token": f"refresh-{len(self.granted)}"} if self.gives_refresh else {}
        return Reply(token | more if form["grant_type"] == "authorization_code" else token)

    def _known(self, asked: Asked) -> bool:
        """RFC 6749, 2.3.1 and 3.2.1; RFC 7523, 2.2. An assertion that is a grant needs no client (RFC 7523, 2.1)."""
        name, secret = self.client
        if secret:
            return asked.headers.get("authorization") == (
                "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()
            )
        if "authorization" in asked.headers:
            return False
        if asked.form.get("client_assertion_type") == ASSERTED:
            return self._asserted(asked.form["client_assertion"]) and self.claims[-1]["sub"] == name
        return asked.form["grant_type"] == JWT_BEARER or asked.form.get("client_id") == name

    def _asserted(self, assertion: str) -> bool:
        """RFC 7523, 3: signed, for this endpoint, with an end that is near, and once."""
        must = {"require": ["iss", "aud", "exp", "iat", "jti"]}
        audience = f"{self.address}/token"
        try:
            said = jwt.decode(assertion, self.public_key, algorithms=[self.algorithm], audience=audience, options=must)
        except jwt.InvalidTokenError:
            return False
        if said["jti"] in self._seen or said["exp"] - said["iat"] > 3600:
            return False
        self._seen.add(said["jti"])
        self.claims.append(said)
        return True

    def _code(self, form: dict[str, str]) -> bool:
        """RFC 6749, 4.1.3: the code once and with the same address; RFC 7636, 4.1 and 4.6: who began ends it."""
        begun = self._codes.pop(form["code"], None)
        verifier = form["code_verifier"]
        if begun is None or not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
            return False
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return challenge == begun["code_challenge"] and form["redirect_uri"] == begun["redirect_uri"]
