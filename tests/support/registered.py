"""A source that only tests have: it takes a connection, and its one row says which account that was.

`register()` adds it as `vault_api`; a scratch `sitecustomize.py` that calls it does so in every process of a test.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import ClassVar

import pyarrow as pa

from importers.core.model import JSON, Batch, Column, Health, LoadMode, Reads, Stream
from importers.core.registry import sources
from importers.core.source import Source, SourceConfig

NAME, MODULE = "vault_api", "importers.sources.apis.vault_api"


class VaultConfig(SourceConfig):
    shelf: str = "a"


class Vault(Source[VaultConfig]):
    config_model = VaultConfig
    title: ClassVar[str] = "A vault"
    connection_type = "spotify"
    environment: ClassVar[dict[str, str]] = {"login": "VAULT_ID", "password": "VAULT_SECRET"}

    def check(self) -> Health:
        return Health(self.connection is not None, f"{self.connection!r}", 0.0)

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


Vault.__module__ = MODULE


def register() -> None:
    module = ModuleType(MODULE)
    module.Vault = Vault  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    sources()[NAME] = "apis"


def unregister() -> None:
    sources().pop(NAME, None)
    sys.modules.pop(MODULE, None)
