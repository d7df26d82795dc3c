"""Sources that only tests have. One takes a connection, and its one row says which account that was; the other says,
the first time that a stream is read, when to come back.

`register()` adds them as `vault_api` and `quota_api`; a scratch `sitecustomize.py` that calls it does so in every
process of a test.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pyarrow as pa

from importers.core.model import JSON, Batch, Column, LoadMode, Reads, Stream
from importers.core.registry import sources
from importers.core.source import Source, SourceConfig
from importers.exceptions import TransientSourceError


class VaultConfig(SourceConfig):
    shelf: str = "a"


class Vault(Source[VaultConfig]):
    config_model = VaultConfig
    title: ClassVar[str] = "A vault"
    connection_type = "spotify"
    environment: ClassVar[dict[str, str]] = {"login": "VAULT_ID", "password": "VAULT_SECRET"}

    def reach(self) -> str:
        return f"{self.connection!r}"

    def streams(self) -> Sequence[Stream]:
        assert self.connection, "streams are asked for with the connection"
        columns = (Column("shelf", pa.string(), None), Column("account", pa.string(), None))
        return [Stream("things", columns, Reads.SNAPSHOT, load_mode=LoadMode.REPLACE)]

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        assert self.connection
        logging.getLogger("vault").warning("careless: %s %s", self.connection, dict(self.connection))
        yield Batch(
            pa.RecordBatch.from_pylist([{"shelf": self.config.shelf, "account": account(self.connection["password"])}])
        )


def account(password: object) -> str:
    """What a table may say of the credentials that its rows were read with."""
    return hashlib.sha256(str(password).encode()).hexdigest()[:12]


class QuotaConfig(SourceConfig):
    said: str
    """A file that gets a line each time that a stream is read."""
    wait: float = 0
    """Seconds."""


class Quota(Source[QuotaConfig]):
    config_model = QuotaConfig
    title: ClassVar[str] = "An API with a quota"

    def reach(self) -> str:
        return ""

    def streams(self) -> Sequence[Stream]:
        columns = (Column("id", pa.int64(), None),)
        return [Stream(name, columns, Reads.SNAPSHOT, load_mode=LoadMode.REPLACE) for name in ("likes", "skips")]

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        said = Path(self.config.said)
        asked = said.read_text().splitlines() if said.exists() else []
        with said.open("a") as file:
            file.write(f"{stream.name}\n")
        if stream.name not in asked:
            raise TransientSourceError("the quota is used up", retry_after=self.config.wait)
        yield Batch(pa.RecordBatch.from_pydict({"id": [1, 2, 3]}))


SOURCES = {"vault_api": Vault, "quota_api": Quota}


def register() -> None:
    for name, source in SOURCES.items():
        source.__module__ = f"importers.sources.apis.{name}"
        module = ModuleType(source.__module__)
        setattr(module, source.__name__, source)
        sys.modules[source.__module__] = module
        sources()[name] = "apis"


def unregister() -> None:
    for name, source in SOURCES.items():
        sources().pop(name, None)
        sys.modules.pop(source.__module__, None)
