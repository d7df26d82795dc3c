"""For each source a small world that it can read: what the suite can't know by itself.

A source that is added without one fails `test_every_source_has_a_world`. Expected rows are written down here by hand,
and the files are made by other means than the source's own reader.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import psycopg
from psycopg.sql import SQL, Identifier

from importers.core.destination import Destination
from importers.destinations.postgresql import PostgresDestination
from tests.support.runs import blind

ROWS: list[dict[str, Any]] = [
    {"id": 1, "who": "ada@example.org", "what": 'a "quoted"\ntitle', "ms": 1000},
    {"id": 2, "who": "bob@example.org", "what": "ünï, cødé", "ms": None},
    {"id": 3, "who": "ada@example.org", "what": "plain", "ms": 0},
]
MORE: list[dict[str, Any]] = [{"id": 4, "who": "eve@example.org", "what": "later", "ms": 7}]
COLUMNS = ("id", "who", "what", "ms")


class World(ABC):
    """Serves `ROWS`; after `grow`, `MORE` as well."""

    several_partitions: ClassVar[dict[str, Any]] = {}
    """Settings under which even `ROWS` are cut into several partitions."""
    wrong: ClassVar[dict[str, Any]]
    """A setting with a value that it can't have."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The settings that reach it."""

    @abstractmethod
    def grow(self) -> None: ...

    @abstractmethod
    def vanish(self) -> None:
        """From now on it can't be reached."""


class _Files(World):
    suffix: ClassVar[str]
    wrong: ClassVar[dict[str, Any]] = {"path": 7}

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.write(directory / f"plays-1.{self.suffix}", ROWS)

    def config(self) -> dict[str, Any]:
        return {"path": str(self.directory / f"plays-*.{self.suffix}")}

    def grow(self) -> None:
        self.write(self.directory / f"plays-2.{self.suffix}", MORE)

    def vanish(self) -> None:
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()

    @abstractmethod
    def write(self, file: Path, rows: list[dict[str, Any]]) -> None: ...


class Csv(_Files):
    suffix = "csv"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


class JsonLines(_Files):
    suffix = "jsonl"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class Parquet(_Files):
    suffix = "parquet"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        schema = {"id": pl.Int64, "who": pl.String, "what": pl.String, "ms": pl.Int64}
        pl.DataFrame(rows, schema).write_parquet(file, row_group_size=1)


WORLDS: dict[str, type[World]] = {"csv": Csv, "jsonl": JsonLines, "parquet": Parquet}


class Warehouse(ABC):
    """A destination's server, with an analyst who looks at it by its own means."""

    @abstractmethod
    def open(self, tenant: str = "acme", key: str = "k1") -> Destination: ...

    @abstractmethod
    def rows(self, table: str, *columns: str, tenant: str = "acme") -> list[Any]:
        """What the analyst sees, in the columns' order."""


class PostgresWarehouse(Warehouse):
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, tenant: str = "acme", key: str = "k1") -> Destination:
        return PostgresDestination(self._url, tenant=tenant, pipeline="listening", blind=blind, key_fingerprint=key)

    def rows(self, table: str, *columns: str, tenant: str = "acme") -> list[Any]:
        names = SQL(", ").join(map(Identifier, columns))
        query = SQL("select {0} from {1} order by {0}").format(names, Identifier(tenant, table))
        with psycopg.connect(self._url) as connection:
            return connection.execute(query).fetchall()


WAREHOUSES: dict[str, type[PostgresWarehouse]] = {"postgresql": PostgresWarehouse}
