"""Clients of a Redis server, and what its errors ask of their reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from importers.core.model import JSON
from importers.core.registry import optional
from importers.exceptions import ConfigError, FatalSourceError, TransientSourceError
from importers.transport.causes import cause, host_and_port

if TYPE_CHECKING:
    from redis import Redis

_PASSED_ON = ("db", "ssl", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
"""What the extra of Airflow's Redis connections may hold; all are redis-py's own names."""


class RedisServer:
    """A client that answers in bytes, and connects when it is first asked. Raises ConfigError.

    `said` is a connection's: a `url`, or `host`, `port`, `login`, `password`, …. `timeout` is in seconds.
    """

    def __init__(self, said: Mapping[str, JSON], *, timeout: float, extra: str) -> None:
        self._redis, self._place = optional("redis", extra), _place(said)
        retry = optional("redis.retry", extra).Retry(optional("redis.backoff", extra).NoBackoff(), 0)
        common: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
        cls = self._redis.Redis
        with _translated(self._redis, self._place):
            self._client = cls.from_url(said["url"], **common) if said.get("url") else cls(**_named(said), **common)

    @contextmanager
    def asked(self) -> Iterator[Redis]:
        """What goes wrong while the client is used is raised by its remedy."""
        with _translated(self._redis, self._place):
            yield self._client

    def close(self) -> None:
        self._client.close()


def _place(said: Mapping[str, JSON]) -> str:
    if said.get("url"):
        return host_and_port(str(said["url"]))
    return f"{said['host']}:{said.get('port', 6379)}" if said.get("host") else ""


def _named(said: Mapping[str, JSON]) -> dict[str, Any]:
    if not said.get("host"):
        raise ConfigError("nothing says where Redis is", do="give the connection a host, or set REDIS_URL")
    passed = {name: said[name] for name in _PASSED_ON if name in said}
    login = {"username": said.get("login"), "password": said.get("password")}
    return {"host": said["host"], "port": int(str(said.get("port", 6379))), **login, **passed}


@contextmanager
def _translated(redis: Any, place: str) -> Iterator[None]:
    """Names the error's class, and the code that Redis begins a refusal with: its text may quote what was sent."""
    errors = redis.exceptions
    try:
        yield
    except (errors.AuthenticationError, errors.NoPermissionError) as error:
        do = "check the connection's login and password, and the user's ACL"
        raise FatalSourceError("Redis refuses this user", got=type(error).__name__, do=do) from None
    except (errors.ConnectionError, errors.TimeoutError) as error:
        do = "see that it runs and can be reached, then run again"
        what = f"Redis{place and f' at {place}'} can't be reached or went away"
        raise TransientSourceError(what, got=cause(error), do=do) from None
    except errors.ResponseError as error:
        code = str(error).split(" ", 1)[0]
        got = code if code.isupper() else type(error).__name__
        raise FatalSourceError(
            "Redis refuses what it was asked", got=got, do="see whether the key is of another type"
        ) from None
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            "Redis's address can't be read", do="write redis://HOST:PORT/0, or rediss:// for TLS"
        ) from None
