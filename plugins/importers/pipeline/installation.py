"""Where one installation keeps things: its warehouse, its staging, its quarantine and its keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from importers.core.destination import Destination
from importers.core.model import Health
from importers.core.registry import SCHEMES, destination_class
from importers.exceptions import ConfigError
from importers.keys.keyring import Keyring, TenantKeys

WAREHOUSE: ContextVar[Callable[[], str | None]] = ContextVar("warehouse", default=lambda: None)
"""Where its URL stands beside `POSTGRES_URL`: `airflow importers …` looks among Airflow's connections."""


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """`IMPORTERS_HOME`, by default `.importers` where the process was started."""
    return Path(environ.get("IMPORTERS_HOME") or ".importers").expanduser().resolve()


def _tell_on_stderr(text: str) -> None:
    """Say something to the person who runs this."""
    print(text, file=sys.stderr)  # noqa: T201 - that is what it is for


@dataclass(frozen=True, slots=True)
class Installation:
    """Picklable, so that another process finds the same places; it makes its own keyring from its environment."""

    home: Path
    warehouse: str = field(repr=False)
    """URL of the warehouse; may hold a password."""
    embedded: bool
    staging: str
    quarantine: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, warehouse: str | None = None) -> Self:
        """`POSTGRES_URL`, else the embedded PostgreSQL under `IMPORTERS_HOME` (default `.importers`), which is started.

        `IMPORTERS_STAGING` and `IMPORTERS_QUARANTINE` may name other disks or buckets. Raises ConfigError.
        """
        place = home(environ)
        url = warehouse or environ.get("POSTGRES_URL") or WAREHOUSE.get()()
        embedded = not url
        if not url:
            from importers.transport.embedded import start_postgres

            url = start_postgres(place, keep_running=environ.get("IMPORTERS_EMBEDDED_KEEP", "") == "1")
        return cls(
            place,
            url,
            embedded,
            environ.get("IMPORTERS_STAGING") or str(place / "staging"),
            environ.get("IMPORTERS_QUARANTINE") or str(place / "quarantine"),
        )

    def keyring(self) -> Keyring:
        """The keys of the environment. Raises ConfigError if there are none, except with the embedded warehouse."""
        return Keyring.from_environment(self.home, self.embedded, tell=_tell_on_stderr)

    def open_destination(self, pipeline: str, keys: TenantKeys) -> Destination:
        """The warehouse, for one tenant's pipeline. Raises ConfigError if nothing serves its URL."""
        cls = destination_class(SCHEMES[self._scheme()])
        return cls(
            self.warehouse, tenant=keys.tenant, pipeline=pipeline, blind=keys.blind, key_fingerprint=keys.fingerprint
        )

    def _scheme(self) -> str:
        """Of the URL; libpq's `host=… dbname=…` has none. The error quotes nothing: it may be a password."""
        scheme, separator, _ = self.warehouse.partition("://")
        if not separator and "=" in self.warehouse:
            return "postgresql"
        if not separator or scheme not in SCHEMES:
            begins = " or ".join(f"{name}://" for name in SCHEMES)
            raise ConfigError("no destination serves what POSTGRES_URL says", do=f"begin it with {begins}")
        return scheme

    def health(self, tenant: str, pipeline: str) -> Health:
        """Whether the warehouse answers."""
        with closing(self.open_destination(pipeline, self.keyring().tenant(tenant))) as destination:
            return destination.check()
