"""For each source a small world that it can read: what the suite can't know by itself.

A source that is added without one fails `test_every_source_has_a_world`. Expected rows are written down here by hand,
and the files are made by other means than the source's own reader.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import fastavro
import openpyxl
import polars as pl
import psycopg
from psycopg.sql import SQL, Identifier

from importers.core.destination import Destination
from importers.destinations.postgresql import PostgresDestination
from tests.support.runs import blind

from .world import MORE, ROWS, World
from .world_brokers import AvroTopic, EventHub, EventHubByAmqp, KafkaTopic, ProtobufTopic, RedisStream
from .world_lastfm import Lastfm
from .world_postgresql import Postgresql, PostgresqlChanges
from .world_rest import Rest
from .world_s3 import S3
from .world_spotify import Spotify

COLUMNS = ("id", "who", "what", "ms")


class _Files(World):
    suffix: ClassVar[str]
    wrong: ClassVar[dict[str, Any]] = {"path": 7}

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.write(directory / f"plays-1.{self.suffix}", ROWS)

    def config(self) -> dict[str, Any]:
        return {"path": str(self.directory / f"plays-*.{self.suffix}"), "stream": self.stream}

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


class CsvRemarks(_Files):
    """Comments before, between and behind the rows, and a footer."""

    suffix = "csv"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        """Several files at first, since one is read in one piece."""
        for number, row in enumerate(rows):
            with file.with_stem(f"{file.stem}-{number}").open("w", newline="", encoding="utf-8") as out:
                writer = csv.DictWriter(out, COLUMNS)
                out.write("# by hand\n")
                writer.writeheader()
                out.write('# 7" single, no row\n')
                writer.writerow(row)
                out.write("# the end\n1 row\n")

    def config(self) -> dict[str, Any]:
        return super().config() | {"comment": "#", "skip_footer": 1}


class JsonLines(_Files):
    suffix = "jsonl"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class Parquet(_Files):
    suffix = "parquet"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        schema = {"id": pl.Int64, "who": pl.String, "what": pl.String, "ms": pl.Int64}
        pl.DataFrame(rows, schema).write_parquet(file, row_group_size=1)


class ParquetWhere(Parquet):
    """Beside each wanted row stands one that isn't."""

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        super().write(file, [each for row in rows for each in (row | {"id": -1}, row)])

    def config(self) -> dict[str, Any]:
        return super().config() | {"where": {"id": {"ge": 0}}}


class Avro(_Files):
    suffix = "avro"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        types: dict[str, Any] = {"id": "long", "who": "string", "what": "string", "ms": ["null", "long"]}
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        schema = fastavro.parse_schema({"type": "record", "name": "Play", "fields": fields})
        with file.open("wb") as out:
            fastavro.writer(out, schema, rows, codec="deflate", sync_interval=1)


class Excel(_Files):
    suffix = "xlsx"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        """A sheet for each row, so that there are several batches."""
        book = openpyxl.Workbook()
        book.remove(book.active)
        for number, row in enumerate(rows):
            sheet = book.create_sheet(f"Part {number}")
            sheet.append(COLUMNS)
            sheet.append([row[name] for name in COLUMNS])
        book.save(file)

    def config(self) -> dict[str, Any]:
        return super().config() | {"sheets": "all"}


class JsonDocument(_Files):
    suffix = "json"

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        """Several files at first, since one is read in one block."""
        for number, row in enumerate(rows):
            part = file.with_stem(f"{file.stem}-{number}")
            part.write_text(json.dumps({"data": {"items": [row]}, "next": None}, indent=1), encoding="utf-8")

    def config(self) -> dict[str, Any]:
        return super().config() | {"records": "data.items"}


class JsonArrays(JsonDocument):
    """An object of arrays, each a stream; the other one comes first."""

    def write(self, file: Path, rows: list[dict[str, Any]]) -> None:
        for number, row in enumerate(rows):
            part = file.with_stem(f"{file.stem}-{number}")
            part.write_text(json.dumps({"others": [{"other": number}] * 9, "plays": [row]}), encoding="utf-8")

    def config(self) -> dict[str, Any]:
        return {name: said for name, said in super().config().items() if name != "stream"} | {"records": ["plays"]}


WORLDS: dict[str, type[World]] = {
    "avro": Avro,
    "azure_event_hubs": EventHub,
    "azure_event_hubs:amqp": EventHubByAmqp,
    "csv": Csv,
    "csv:remarks": CsvRemarks,
    "excel": Excel,
    "json": JsonDocument,
    "json:arrays": JsonArrays,
    "jsonl": JsonLines,
    "kafka": KafkaTopic,
    "kafka:avro": AvroTopic,
    "kafka:protobuf": ProtobufTopic,
    "lastfm_api": Lastfm,
    "parquet": Parquet,
    "parquet:where": ParquetWhere,
    "postgresql": Postgresql,
    "postgresql:cdc": PostgresqlChanges,
    "redis_streams": RedisStream,
    "s3": S3,
    "rest_api": Rest,
    "spotify_api": Spotify,
}
"""By the source's name; a second world of the same source is `NAME:WHAT`."""


class Warehouse(ABC):
    """A destination's server, with an analyst who looks at it by its own means."""

    @abstractmethod
    def open(self, tenant: str = "acme", key: str = "k1") -> Destination: ...

    @abstractmethod
    def rows(self, table: str, *columns: str, tenant: str = "acme") -> list[Any]:
        """What the analyst sees, in the columns' order."""

    @abstractmethod
    def drop(self, table: str) -> None:
        """As an administrator of acme's may."""

    @abstractmethod
    def rename(self, table: str, to: str) -> None: ...

    @abstractmethod
    def plan_of(self, run: int, without: Sequence[str]) -> None:
        """Its stored plan as a version had it that didn't know of `without`, a path."""


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

    def drop(self, table: str) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(SQL("drop table {} cascade").format(Identifier("acme", table)))

    def rename(self, table: str, to: str) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(SQL("alter table {} rename to {}").format(Identifier("acme", table), Identifier(to)))

    def plan_of(self, run: int, without: Sequence[str]) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute("update _importers.run set plan = plan #- %s where id = %s", (list(without), run))


WAREHOUSES: dict[str, type[PostgresWarehouse]] = {"postgresql": PostgresWarehouse}
