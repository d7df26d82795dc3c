"""Which DAG file makes whose DAGs: `tenant_imports.py` all tenants', `tenant_imports_2_of_4.py` a quarter's.

Airflow reads a file in one process: one file for a thousand tenants is read by one core, and its first DAG waits for
the last. A file for each tenant costs a process each. So a large deployment renames the one file to a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from importers.exceptions import ConfigError

_NAME = re.compile(r"(.+)_(\d{1,4})_of_(\d{1,4})")


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """The tenants of one of `of` files; the first has `number` 1."""

    of: int = 1
    number: int = 1

    def has(self, tenant: str) -> bool:
        """The same in every process and for ever, so that a DAG keeps its file."""
        return crc32(tenant.encode()) % max(self.of, 1) == self.number - 1


def share_of(file: str | Path) -> Share:
    """What a DAG file's name says."""
    said = _NAME.fullmatch(Path(file).stem)
    return Share(of=int(said[3]), number=int(said[2])) if said else Share()


def check_shares(directory: Path) -> Iterator[ConfigError]:
    """Whether each tenant is in just one file, as far as names tell."""
    files = sorted(directory.glob("*.py")) if directory.is_dir() else []
    named = {file: said for file in files if (said := _NAME.fullmatch(file.stem))}
    for name in sorted({said[1] for said in named.values()}):
        shares = sorted(share_of(file) for file, said in named.items() if said[1] == name)
        of = shares[-1].of
        there = [f"{name}.py"] * (directory / f"{name}.py").exists() + [f"{s.number}_of_{s.of}" for s in shares]
        if there != [f"{number}_of_{of}" for number in range(1, of + 1)]:
            yield ConfigError(
                "the DAG files don't have each tenant just once",
                got=", ".join(there),
                do=f"have {name}_1_of_{of}.py to {name}_{of}_of_{of}.py and no other, or {name}.py alone",
                file=str(directory),
            )
