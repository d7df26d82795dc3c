"""Any JSON API that the tenant's file describes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field as Setting
from pydantic import model_validator

from importers.core.connection import Connection
from importers.core.names import Name
from importers.exceptions import ConfigError
from importers.sources._listed import Listed, ListedSource, microseconds
from importers.sources.apis._rest import StreamSpec
from importers.transport.http.address import Route, base_url, encrypted, needed
from importers.transport.http.auth import Anybody, ApiKey, Auth, Basic, InHeader
from importers.transport.http.client import Client
from importers.transport.http.consent import Consent
from importers.transport.http.oauth import JwtBearer, OAuth2, SigningKey, TokenEndpoint
from importers.transport.http.settings import HttpConfig
from importers.transport.http.shared import Shared

DAY = 86_400_000_000  # microseconds


class RestConfig(HttpConfig):
    """What an API has, and how it wants to be asked."""

    base_url: str | None = Setting(
        None,
        description="What paths are below. With a connection its host says where; then this may only add a path to it.",
        examples=["https://api.example.org/v1"],
    )
    auth: Literal["none", "basic", "bearer", "header", "parameter", "oauth2", "jwt_bearer"] = Setting(
        "none",
        description="How a call shows who is asking, by what the connection holds: login and password; a token as the "
        "password; a key as the password, in a header or a parameter; a client's id and secret, or its `private_key`, "
        "for which `token_address` grants a token, to a person's `refresh_token` if there is one; an assertion that "
        "`private_key` signs.",
    )
    auth_name: str | None = Setting(None, description="The header or the parameter that has the key.")
    scope: str | None = Setting(None, description="The scopes that a token is asked for.")
    streams: Mapping[Name, StreamSpec] = Setting(min_length=1, description="The lists that are read, by their names.")

    @model_validator(mode="after")
    def _named(self) -> RestConfig:
        if self.auth in ("header", "parameter") and not self.auth_name:
            raise ValueError("`auth_name` has to say in which one the key stands")
        return self


_HOST_VARIABLE = "REST_API_HOST"
_HOST = f"fill in the connection's host, which without Airflow is what {_HOST_VARIABLE} says"


class Rest(ListedSource[RestConfig]):
    """Numbers keep their digits. A record that isn't as its columns say goes to quarantine; what no column names isn't
    kept.

    What is read incrementally is sealed at the moment of the plan, less `settles`. A record that changes between the
    plan and its reading is read by the next run. A run reads again what changed so many seconds before its start as
    `load.lookback` says.
    """

    title: ClassVar[str] = "A JSON API"
    config_model = RestConfig
    address: ClassVar[str] = ""
    connection_type: ClassVar[str | None] = "http"
    connection_optional: ClassVar[bool] = True
    environment: ClassVar[Mapping[str, str]] = {
        "host": _HOST_VARIABLE,
        "login": "REST_API_LOGIN",
        "password": "REST_API_PASSWORD",
    }

    def base(self, connection: Connection) -> str:
        """Whoever chooses the host gets the credentials, and they may be others': so the connection does."""
        said = self.config.base_url
        if "host" not in connection:
            if self.config.auth != "none":
                raise ConfigError("nothing says who may have the credentials", do=_HOST)
            if said is None:
                raise ConfigError("nothing says where the API is", do=f"set `base_url`, or {_HOST}")
            return encrypted(said)
        host = base_url(connection, "")
        if said is not None and not _below(said, host):
            what = "`base_url` is at another host than the connection"
            raise ConfigError(what, do=f"leave it out, or begin it with that of the connection: {host}")
        return said or host

    def auth(self, connection: Connection, shared: Shared) -> Auth:
        kind, name = self.config.auth, self.config.auth_name or ""
        if kind == "none":
            return Anybody()
        if kind == "basic":
            return Basic(f"{needed(connection, 'login')}:{needed(connection, 'password')}")
        if kind == "oauth2":
            return OAuth2(self._tokens(connection), shared, str(connection.get("refresh_token", "")))
        if kind == "jwt_bearer":
            return OAuth2(self._tokens(connection), shared, bearer=_bearer(connection))
        key = needed(connection, "password")
        if kind == "parameter":
            return ApiKey(key, name)
        return InHeader(key) if kind == "bearer" else InHeader(key, name, "")

    def consent(self) -> Consent | None:
        connection = self.connection or Connection({})
        if self.config.auth != "oauth2" or "authorize_address" not in connection:
            return None
        return Consent(encrypted(needed(connection, "authorize_address")), self._tokens(connection))

    def greet(self, client: Client) -> str:
        name = next(iter(self.config.streams))
        now = microseconds(datetime.now(UTC).isoformat())
        with closing(self.found(client, name, {"from": now - DAY, "to": now})) as found:
            first = next(found)
        return f"{len(first)} records on the first page of {name}"

    def listed(self) -> Mapping[str, Listed]:
        return {name: spec.listed() for name, spec in self.config.streams.items()}

    def settles(self, name: str) -> int:
        new = self.config.streams[name].incremental
        return new.settles if new else 0

    def _tokens(self, connection: Connection) -> TokenEndpoint:
        address, secret = encrypted(needed(connection, "token_address")), str(connection.get("password", ""))
        bears = self.config.auth == "jwt_bearer"
        key = None if secret or bears or "private_key" not in connection else _key(connection)
        client = str(connection.get("login", "")) if bears else needed(connection, "login"), secret
        return TokenEndpoint(address, client, self.config, Route.of(connection), self.config.scope, key)


def _bearer(connection: Connection) -> JwtBearer:
    subject, audience = (connection.get(name) for name in ("subject", "audience"))
    return JwtBearer(
        _key(connection),
        needed(connection, "login"),
        None if subject is None else str(subject),
        None if audience is None else str(audience),
    )


def _key(connection: Connection) -> SigningKey:
    key_id = connection.get("key_id")
    return SigningKey(needed(connection, "private_key"), None if key_id is None else str(key_id))


def _below(url: str, host: str) -> bool:
    mine, theirs = urlsplit(url), urlsplit(host)
    path = theirs.path.rstrip("/") + "/"
    return (mine.scheme, mine.netloc) == (theirs.scheme, theirs.netloc) and f"{mine.path}/".startswith(path)
