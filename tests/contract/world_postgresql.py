"""A PostgreSQL database for the source `postgresql` to read, on the embedded server."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import psycopg

from importers.core.model import LoadMode

from .world import MORE, ROWS, World


class Postgresql(World):
    """A database of its own on the embedded server, a role that may read one table, and each row in another block."""

    service = "postgres"
    wrong: ClassVar[dict[str, Any]] = {"tables": ["plays"], "query": "select 1 as one"}
    secrets: ClassVar[tuple[str, ...]] = ("s3cr3t-of-the-reader",)
    _numbers = itertools.count()

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.name = f"world_{next(self._numbers)}"
        self._admin(f"create database {self.name}", f"create role {self.name} login password '{self.secrets[0]}'")
        self.sql = psycopg.connect(self._url(), autocommit=True)
        self.sql.execute("create table plays (id bigint primary key, who text, what text, ms bigint)")
        self.mend()
        for row in ROWS:
            self._insert(row)
            self.sql.execute("insert into plays select g, repeat('x', 60) from generate_series(1000, 1100) g")
            self.sql.execute("delete from plays where id >= 1000")
        self._waiting: psycopg.Connection | None = None

    def _url(self) -> str:
        return urlunsplit(urlsplit(self.server)._replace(path=f"/{self.name}"))

    def _admin(self, *statements: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def _insert(self, row: dict[str, Any]) -> None:
        self.sql.execute("insert into plays values (%(id)s, %(who)s, %(what)s, %(ms)s)", row)

    def config(self) -> dict[str, Any]:
        return {"tables": ["plays"], "read": "incremental", "cursor": "id", "batch_rows": 2} | self.patience()

    def patience(self) -> dict[str, Any]:
        return {"lock_timeout": 1 if self.hurried else 120}

    def connection(self) -> dict[str, Any]:
        return {"url": self._url(), "login": self.name, "password": self.secrets[0]}

    def grow(self) -> None:
        for row in MORE:
            self._insert(row)

    def vanish(self) -> None:
        self._admin(f"drop database {self.name} with (force)")

    def deny(self) -> None:
        self.sql.execute(f"revoke select on plays from {self.name}")  # type: ignore[arg-type]

    def die(self) -> None:
        self._admin(
            f"alter database {self.name} allow_connections false",
            f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{self.name}'",
        )

    def stall(self) -> None:
        if self._waiting is None:  # it gets its lock once the reader lets go, and whoever reads later waits for it
            self._waiting = psycopg.connect(self._url())
            self._waiting.pgconn.send_query(b"begin; lock table plays in access exclusive mode")

    def mend(self) -> None:
        if waiting := self.__dict__.pop("_waiting", None):
            waiting.close()
        self._waiting = None
        self._admin(f"alter database {self.name} allow_connections true")
        self.sql.execute(f"grant select on plays to {self.name}")  # type: ignore[arg-type]

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
        self.sql.close()
        self._admin(f"drop database if exists {self.name} with (force)", f"drop role {self.name}")


class PostgresqlChanges(Postgresql):
    """Its role has made a publication of its own table, and a slot; `grow` changes rows in each way that there is."""

    service = "logical_postgres"
    stall = World.stall  # all is read in one transaction, which nobody's lock holds up once it has begun
    wrong: ClassVar[dict[str, Any]] = {"read": "cdc", "cursor": "id"}

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server.url)
        self._admin(f"alter role {self.name} replication", f"grant create on database {self.name} to {self.name}")
        self.sql.execute(f"alter table plays owner to {self.name}")  # type: ignore[arg-type]
        self.sql.execute("alter table plays replica identity full")
        self.sql.execute("create publication of_plays for table plays")

    @classmethod
    def modes(cls) -> list[LoadMode]:
        return [LoadMode.MERGE, LoadMode.HISTORY]

    def config(self) -> dict[str, Any]:
        made = {"create_replication": True, "publication": "of_plays", "slot_prefix": self.name}
        return {"tables": ["plays"], "read": "cdc", "batch_rows": 2} | self.patience() | made

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
        slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
        self._admin(f"{slots} where database = '{self.name}' and not active")
        super().close()
