"""The small import of `import_site` as changes of a table: updates, other keys, deletes, rows that come and go."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from import_site import FIRST, PIPELINE, STREAM, Inspector, Row, Site, listeners, must

from importers.core.connection import Connection
from importers.core.model import LoadMode
from importers.core.tenant import Tenant

TABLE = f"source.{STREAM}"
LATE: Row = (99, 99, "listener 4", "begun before the kill, committed after it", 1)
NEW: list[Row] = [(n, n, listeners(n), f"second {n}", n) for n in range(9, 21)]
TRANSACTIONS = (
    ("update {t} set track = 'changed ' || id where id <= 4",),
    ("delete from {t} where id = 5",),
    tuple(f"insert into {{t}} values {row}" for row in NEW),
    ("update {t} set id = 30 where id = 6",),
    ("update {t} set track = 'x' where id = 1", "update {t} set track = 'y' where id = 1"),
    ("insert into {t} values (40, 40, 'listener 1', 'gone', 0)", "delete from {t} where id = 40"),
)
ENDED = [(id_, f"first {id_}") for id_ in range(1, 7)] + [(1, "changed 1")]
"""Versions that a history has and that hold no more. Of two changes in one transaction the last is one."""


@dataclass(frozen=True)
class CdcSite(Site):
    source: str = ""
    """The database that has the table."""

    @property
    def definition(self) -> Tenant:
        said = super().definition.model_dump(exclude_unset=True, mode="json")
        config = {"tables": [STREAM], "table_schema": "source", "read": "cdc", "create_replication": True}
        said["pipelines"][PIPELINE] |= {"importer": "postgresql", "config": config | {"batch_rows": 4}, "expect": []}
        return Tenant.model_validate(said)

    @property
    def connection(self) -> Connection:
        return Connection({"url": self.source})

    def first(self) -> None:
        columns = "play int, id int primary key, listener text, track text, score int"
        self.execute(f"create schema source; create table {TABLE} ({columns})")
        self.execute(f"alter table {TABLE} replica identity full")
        self.execute(*(f"insert into {TABLE} values {row}" for row in FIRST))

    def second(self) -> None:
        for statements in TRANSACTIONS:
            self.execute(*(statement.format(t=TABLE) for statement in statements))

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.source) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    @property
    def there(self) -> list[Row]:
        """What the source has now."""
        with psycopg.connect(self.source) as connection:
            return connection.execute(f"select * from {TABLE} order by play").fetchall()  # type: ignore[arg-type]


def finished(site: CdcSite, sql: psycopg.Connection) -> None:
    """The warehouse has what the source has; of a history the versions that ended, too. Sweeps once."""
    look = Inspector(site, sql)
    if site.mode is LoadMode.HISTORY:
        query = f"select id, track, valid_to is null from {site.tenant}.{STREAM} order by id, track"
        current = [(row[1], row[3], True) for row in site.there]
        must(look.ask(query) == sorted(current + [(*version, False) for version in ENDED]), "wrong versions")
    else:
        look.table_is(site.there)
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left")
