"""Retention in the warehouse: rows go by the run that wrote them last, a stretch of the table at a time.

A run that has ended writes no more, so that whoever has seen its rows gone needn't look again: the run says so. A
version of a history goes by its own run, and so does a deleted row's tombstone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from importers.core.erasure import Waiting
from importers.core.model import RUN
from importers.core.retention import Expired, Expirer, Loaded
from importers.destinations import _control as control
from importers.destinations import _tables as tables
from importers.exceptions import ContractError

STRETCH = 16_384
"""Pages that one transaction looks through: 128 MB, a second's work of a disk, for which loads wait."""
ROUNDS = 5
"""How often a table is gone through. An update in between may move a row to where the search has been."""

_DUE = """select id from _importers.run r where stream = %(stream)s and table_name = %(table)s
    and state in ('committed', 'aborted') and expired_at is null and closed_at is not null
    and case when state = 'committed' and plan -> 'live' is null then closed_at
        else coalesce((select max(at) from _importers.receipt where run = r.id), closed_at) end < %(before)s"""
"""What was left may have been closed long after: it is as old as what it loaded last."""


class PostgresExpirer(Expirer):
    """By the connection of one destination."""

    def __init__(self, tenant: str, transaction: control.Transaction) -> None:
        self._tenant, self._transaction = tenant, transaction

    def unfinished(self) -> Sequence[Waiting]:
        with self._transaction("looking for open runs") as connection:
            rows = connection.execute(
                "select id, stream from _importers.run where tenant = %s and state = 'open' order by id",
                (self._tenant,),
            )
            return [Waiting(*row) for row in rows.fetchall()]

    def loaded(self) -> Sequence[Loaded]:
        with self._transaction("looking for tables") as connection:
            rows = connection.execute(
                """select distinct stream, table_name from _importers.run
                   where tenant = %s and state in ('committed', 'aborted') and expired_at is null order by 1, 2""",
                (self._tenant,),
            )
            return [Loaded(*row) for row in rows.fetchall()]

    def expire(self, loaded: Loaded, retention: str, before: datetime) -> Expired:
        line = Expired(loaded.stream, loaded.table, retention, before, 0)
        with self._transaction("looking for old runs") as connection:
            due = [run for (run,) in connection.execute(_DUE, self._said(line)).fetchall()]
        if not due:
            return line
        for _ in range(ROUNDS):
            for name in self._tables(line):
                self._go_through(line, name, due)
            rows = self._finish(line, due)
            if rows is not None:
                return replace(line, rows=rows)
        raise ContractError(
            "rows past their retention are still there after they were deleted: something puts them back",
            got=f"rows of {self._tenant}.{loaded.table}",
            do="look for triggers, rules and row security on the table",
        )

    def _tables(self, line: Expired) -> list[str]:
        with self._transaction("looking for tables") as connection:
            return list(tables.holding(connection, self._tenant, line.table))

    def _go_through(self, line: Expired, name: str, due: Sequence[int]) -> None:
        """One table, a stretch at a time; one that a commit has meanwhile put another in the place of has ended."""
        page, pages = 0, 1
        while page < pages:
            with self._alone() as connection:
                pages = tables.holding(connection, self._tenant, line.table).get(name, 0)
                if page < pages:
                    self._note(connection, line, self._delete(connection, name, page, due))
            page += STRETCH

    def _delete(self, connection: psycopg.Connection, name: str, page: int, due: Sequence[int]) -> int:
        statement = SQL("delete from {} where ctid >= %s::tid and ctid < %s::tid and {} = any(%s)").format(
            Identifier(self._tenant, name), Identifier(RUN)
        )
        return connection.execute(statement, (f"({page},0)", f"({page + STRETCH},0)", list(due))).rowcount

    def _finish(self, line: Expired, due: Sequence[int]) -> int | None:
        """How many rows have gone; None if some are still there."""
        with self._alone() as connection:
            for name in tables.holding(connection, self._tenant, line.table):
                left = SQL("select exists (select from {} where {} = any(%s))").format(
                    Identifier(self._tenant, name), Identifier(RUN)
                )
                if connection.execute(left, (list(due),)).fetchone() == (True,):
                    return None
            connection.execute("update _importers.run set expired_at = now() where id = any(%s)", (list(due),))
            row = connection.execute(
                """update _importers.expiry set finished_at = now()
                   where stream = %(stream)s and table_name = %(table)s and finished_at is null returning rows""",
                self._said(line),
            ).fetchone()
        return row[0] if row else 0

    def _note(self, connection: psycopg.Connection, line: Expired, rows: int) -> None:
        if rows:
            connection.execute(
                """insert into _importers.expiry as e (tenant, stream, table_name, retention, before, rows)
                   values (%(tenant)s, %(stream)s, %(table)s, %(retention)s, %(before)s, %(rows)s)
                   on conflict (stream, table_name) where finished_at is null do update
                   set rows = e.rows + excluded.rows, retention = excluded.retention, before = excluded.before""",
                {**self._said(line), "rows": rows},
            )

    def _said(self, line: Expired) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "stream": line.stream,
            "table": line.table,
            "retention": line.retention,
            "before": line.before,
        }

    @contextmanager
    def _alone(self) -> Iterator[psycopg.Connection]:
        with self._transaction("deleting what is past its retention") as connection:
            control.lock(connection, control.ERASE, self._tenant)
            yield connection
