"""Where a system is asked, and what its connection has to hold."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from importers.core.connection import Connection
from importers.exceptions import ConfigError


@dataclass(frozen=True, slots=True)
class Route:
    """Through which proxy, and with whose certificates (a PEM file), as the connection's extras say.

    Never the tenant's file: the credentials may be others', and whoever chooses these two reads them.
    """

    proxy: str | None = None
    tls_ca_file: str | None = None

    @classmethod
    def of(cls, connection: Connection) -> Route:
        proxy, authorities = connection.get("proxy"), connection.get("tls_ca_file")
        return cls(None if proxy is None else str(proxy), None if authorities is None else str(authorities))


DIRECT = Route()
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def needed(connection: Connection, *names: str) -> str:
    """The first of these parts that the connection has. Raises ConfigError if it has none."""
    for name in names:
        if name in connection:
            return str(connection[name])
    raise ConfigError("the connection lacks its credentials", do=f"fill in {' or '.join(names)}")


def base_url(connection: Connection, default: str) -> str:
    """The host of the connection, else the system's. Raises ConfigError where credentials would travel in the clear."""
    host = str(connection.get("host", default))
    url = host if "://" in host else f"https://{host}"
    if "port" in connection and urlsplit(url).port is None:
        parts = urlsplit(url)
        url = parts._replace(netloc=f"{parts.netloc}:{connection['port']}").geturl()
    return encrypted(url)


def encrypted(url: str) -> str:
    """The address, if it is of https or of this machine. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError("an address holds credentials", do="put them into the connection's own fields")
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url
    what = "credentials would travel unencrypted"
    raise ConfigError(what, got=f"{parts.scheme}://", do="give the host as https://…, or without a scheme")
