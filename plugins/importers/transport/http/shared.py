"""What the workers of one tenant share about one account: in Redis, or in this process where there is none.

Keys begin with the tenant. What is kept in Redis is sealed under a key made from the connection's own secret: who can
read Redis and doesn't know that secret reads neither tokens nor answers.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from time import time
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from importers.core.connection import Connection
from importers.core.registry import optional
from importers.exceptions import ConfigError, TransientSourceError

LOCKED = 60.0  # seconds after which a lock's owner is taken for dead
NONCE = 12  # bytes, as GCM wants them


class Shared(Protocol):
    """Values by name, of one tenant and account."""

    tenant: str
    account: str
    lasting: bool
    """Whether others see it, and it outlives this process."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """For that long, and no longer: nothing that is shared has no end."""

    def lock(self, name: str) -> Any: ...

    def counters(self) -> Any:
        """A storage for `limits`."""

    def reached(self) -> AbstractContextManager[None]:
        """What goes wrong in here with the storage is told by its remedy."""

    def close(self) -> None:
        """End its connections."""


def account_of(connection: Connection) -> str:
    """Tells one account from another, and says nothing about it."""
    said = repr(sorted((name, str(connection[name])) for name in connection if name != "host"))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def shared(tenant: str, connection: Connection, environ: Mapping[str, str] = os.environ) -> Shared:
    """By REDIS_URL, if it is set."""
    account = account_of(connection)
    if not environ.get("REDIS_URL"):
        return Alone(tenant, account)
    secret = repr(sorted((name, str(connection[name])) for name in connection))
    return InRedis(environ["REDIS_URL"], tenant, account, secret.encode())


class Alone:
    """One client's own."""

    lasting = False

    def __init__(self, tenant: str, account: str) -> None:
        self.tenant, self.account = tenant, account
        self._values: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.RLock()

    def get(self, name: str) -> bytes | None:
        value, until = self._values.get(name, (None, 0.0))
        return None if until < time() else value

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._values[name] = (value, time() + seconds)

    def lock(self, name: str) -> Any:  # noqa: ARG002 - one for all is enough here
        return self._lock

    def counters(self) -> Any:
        return _in_process()

    def reached(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """It has none."""


@cache
def _in_process() -> Any:
    """Counts, by tenant and account: two streams of one account in one process have one budget."""
    return optional("limits.storage", "http").MemoryStorage()


class InRedis:
    """Raises TransientSourceError when Redis can't be reached: without it a budget can't be kept."""

    lasting = True

    def __init__(self, url: str, tenant: str, account: str, secret: bytes) -> None:
        self.tenant, self.account = tenant, account
        self._url, self._redis = url, optional("redis", "http")
        try:
            self._client = self._redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        except ValueError:
            raise ConfigError("REDIS_URL isn't the address of a Redis", do="write redis://host:6379/0") from None
        info = f"importers shared {tenant} {account}".encode()
        self._seal = AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(secret))

    def get(self, name: str) -> bytes | None:
        with self.reached():
            sealed = self._client.get(self._key(name))
        if sealed is None:
            return None
        try:
            return self._seal.decrypt(sealed[:NONCE], sealed[NONCE:], name.encode())
        except InvalidTag:  # not ours: as if there were nothing
            return None

    def put(self, name: str, value: bytes, seconds: float) -> None:
        nonce = os.urandom(NONCE)
        sealed = nonce + self._seal.encrypt(nonce, value, name.encode())
        with self.reached():
            self._client.set(self._key(name), sealed, px=max(1, int(seconds * 1000)))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        held = self._client.lock(self._key(f"{name}:lock"), timeout=LOCKED, blocking_timeout=LOCKED)
        with self.reached():
            if not held.acquire():
                raise TransientSourceError("another worker holds a lock for too long", do="try again later")
        try:
            yield
        finally:
            with self.reached():
                held.release()

    def counters(self) -> Any:
        pool = self._client.connection_pool  # else counting would have connections of its own, which nobody closes
        return optional("limits.storage", "http").RedisStorage(self._url, connection_pool=pool, key_prefix="importers")

    def close(self) -> None:
        self._client.close()

    def _key(self, name: str) -> str:
        return f"importers:{self.tenant}:http:{self.account}:{name}"

    @contextmanager
    def reached(self) -> Iterator[None]:
        try:
            yield
        except self._redis.RedisError as error:  # its text may quote an address
            raise TransientSourceError("Redis can't be used now", got=type(error).__name__) from None
