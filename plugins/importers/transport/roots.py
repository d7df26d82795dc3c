"""Where a tenant's files may lie: whoever runs importers says it, and no tenant file can."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from importers.exceptions import ConfigError
from importers.transport.s3 import SCHEME

VARIABLE = "IMPORTERS_FILES"


@dataclass(frozen=True, slots=True)
class Roots:
    """Directories of this machine and beginnings of buckets' keys, `s3://BUCKET/PREFIX`; None allows any."""

    tenant: str = ""
    allowed: tuple[str, ...] | None = None

    @classmethod
    def of(cls, tenant: str, environ: Mapping[str, str] = os.environ) -> Self:
        """As the environment says: `/data/{tenant},s3://lake/{tenant}`."""
        text = environ.get(VARIABLE, "").strip()
        said = [each.strip() for each in text.replace("{tenant}", tenant).split(",")]
        return cls(tenant, tuple(_real(each) for each in said if each) if text else None)

    def check(self, path: str) -> None:
        """Raises ConfigError for a path that leads elsewhere, by symbolic links too. What is there it doesn't tell."""
        if not self._allow(path):
            raise ConfigError(
                f"'{self._leading_away(path)}' isn't where files of the tenant '{self.tenant}' may lie, or a link there"
                " leads away",
                do=f"put the files below {' or '.join(self.allowed or ()) or 'nothing'}; "
                f"or have whoever runs importers extend {VARIABLE}",
            )

    def _allow(self, path: str) -> bool:
        if self.allowed is None:
            return True
        real = f"{_real(path)}/"
        return any(real.startswith(f"{each.rstrip('/')}/") for each in self.allowed)

    def _leading_away(self, path: str) -> str:
        """The link that is followed out of what is allowed; else the path itself."""
        at = path
        for above in map(str, Path(path).parents):
            if self._allow(above):
                return at
            at = above
        return path


ANYWHERE = Roots()


def _real(path: str) -> str:
    """Where the path leads, also if nothing is there; a bucket knows no links."""
    return path if path.startswith(SCHEME) else os.path.realpath(path)
