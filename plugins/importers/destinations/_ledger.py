"""What `_importers` and the tables tell a destination, and what it notes there: each in a transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from importers.core.destination import Destination
from importers.core.erasure import Erased
from importers.core.model import (
    JSON,
    Health,
    Leaf,
    Lineage,
    LoadedAs,
    Position,
    Run,
    RunKind,
    Stream,
    TableColumn,
    Unlike,
    Window,
)
from importers.core.names import ROWS
from importers.destinations import _control as control
from importers.destinations import _erasure as erasure
from importers.destinations import _evolving as evolving
from importers.destinations import _lineages as lineages
from importers.destinations import _owner as owner
from importers.destinations import _owners as owners
from importers.destinations import _positions as positions
from importers.destinations import _streams as streams
from importers.destinations import _tables as tables
from importers.destinations._session import Session
from importers.exceptions import ImporterError, RunAbortedError
from importers.ledger import lineage as ledger_lineage
from importers.transport.postgres import safe_url


class PostgresLedger(Destination):
    """Nothing here moves a run or a row."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session = Session(self._url, f"importers {self.tenant}.{self.pipeline}")
        self._transaction = self._session.transaction

    def _name(self, stream: Stream) -> str:
        return f"{self.tenant}.{self.pipeline}.{stream.name}"

    def check(self) -> Health:
        started = time.perf_counter()
        try:
            with self._transaction("checking") as connection:
                connection.execute("select 1")
            return Health(True, f"PostgreSQL {connection.info.server_version // 10000}", _since(started))
        except ImporterError as error:
            return Health(False, f"{safe_url(self._url)}: {error}", _since(started))

    def warehouse_id(self) -> str:
        with self._transaction("asking which warehouse this is") as connection:
            return control.warehouse_id(connection)

    def now(self) -> datetime:
        with self._transaction("asking the time") as connection:
            return control.now(connection)

    # -- of runs and streams

    def find(self, run: int) -> Run:
        with self._transaction("looking a run up") as connection:
            found = control.select_run(connection, run)
        if found is None or not found.stream.startswith(f"{self.tenant}.{self.pipeline}."):
            raise RunAbortedError(f"there is no run {run} of {self.tenant}.{self.pipeline}", do="start a new run")
        return found

    def is_new(self) -> bool:
        return self._session.is_new()

    def remembered(self) -> Sequence[Stream]:
        with self._transaction("looking up which streams there were") as connection:
            return streams.remembered(connection, f"{self.tenant}.{self.pipeline}")

    def position(self, stream: Stream) -> Position:
        with self._transaction("reading the position") as connection:
            is_there = self._is_there(connection, stream)
            return positions.read(connection, self._name(stream), stream.target) if is_there else {}

    def former(self, stream: Stream) -> tuple[str, Position] | None:
        with self._transaction("reading the position of another table") as connection:
            is_there = self._is_there(connection, stream)
            return positions.former(connection, self._name(stream), stream.target, is_there=is_there)

    def _is_there(self, connection: psycopg.Connection, stream: Stream) -> bool:
        """Whether there is a table of its name, of whatever mode: another's is refused, and not made anew."""
        names = (stream.target, stream.target + ROWS)
        return any(tables.holds_rows(connection, self.tenant, name) for name in names)

    def subjects(self, stream: Stream) -> Mapping[str, tuple[str, str]]:
        with self._transaction("looking whose rows there are") as connection:
            rows = connection.execute(
                f"""select stream, subject, domain from (
                      select distinct on (stream) stream, plan -> 'stream' ->> 'subject' as subject,
                        {owners.DOMAIN} as domain
                      from _importers.run where tenant = %s and (stream = %s or table_name = %s) and state = 'committed'
                      order by stream, id desc) last
                    where subject is not null""",
                (self.tenant, self._name(stream), stream.target),
            )
            return {name: (subject, domain) for name, subject, domain in rows.fetchall()}

    def writers(self, stream: Stream) -> Mapping[str, bool | None]:
        with self._transaction("looking up who writes the table") as connection:
            control.lock(connection, control.WRITE, f"{self.tenant}.{stream.target}")
            is_there = self._is_there(connection, stream)
            return control.writers(connection, self.tenant, self._name(stream), stream.target, is_there=is_there)

    def idle(self, run: Run) -> timedelta:
        with self._transaction("looking for the run's owner") as connection:
            return owner.idle(connection, run)

    # -- of what was loaded

    def loaded_as(self, stream: Stream) -> Mapping[str, LoadedAs]:
        with self._transaction("looking up how rows were treated") as connection:
            return ledger_lineage.in_force(connection, self._name(stream), f"{self.tenant}.{stream.target}")

    def unlike(self, run: Run) -> Sequence[Unlike]:
        with self._transaction("looking up how rows were treated") as connection:
            return ledger_lineage.unlike(connection, run)

    def lineages(self, stream: Stream) -> Sequence[Lineage]:
        with self._transaction("looking up how rows were treated") as connection:
            return lineages.of_table(connection, self.tenant, stream)

    def check_keys(self, stream: Stream, leaves: Sequence[Leaf]) -> None:
        with self._transaction("looking up how keys were treated") as connection:
            lineages.check_keys(connection, self.tenant, stream, leaves)

    def suits(self, stream: Stream, columns: Sequence[TableColumn]) -> None:
        evolving.check(self.tenant, stream, columns)

    def misfits(self, stream: Stream, columns: Sequence[TableColumn]) -> Mapping[str, tuple[str, str]]:
        with self._transaction("looking at the table") as connection:
            have = tables.existing(connection, self.tenant, tables.rows_table(stream))
        evolving.check_number(self.tenant, stream, {*have, *(column.name for column in columns)})
        return evolving.misfits(have, columns)

    def domains(self) -> Mapping[str, bool]:
        with self._transaction("looking up how pseudonyms were made") as connection:
            rows = connection.execute(
                "select name, case_sensitive from _importers.domain where tenant = %s", (self.tenant,)
            )
            return dict(rows.fetchall())

    def remember_domains(self, domains: Mapping[str, bool]) -> None:
        with self._transaction("remembering how pseudonyms are made") as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into _importers.domain (tenant, name, case_sensitive) values (%s, %s, %s)"
                " on conflict do nothing",
                [(self.tenant, name, case_sensitive) for name, case_sensitive in sorted(domains.items())],
            )

    def erased(self, domain: str | None) -> Erased:
        with self._transaction("asking who was erased") as connection:
            return self._erased(connection, domain)

    def _erased(self, connection: psycopg.Connection, domain: str | None) -> Erased:
        known = erasure.suppressed(connection, self.tenant, domain)
        return Erased(known.tokens, self._blind, known.version)

    @contextmanager
    def no_erasure(self, domain: str | None) -> Iterator[Erased]:
        with self._transaction("asking who was erased") as connection:
            control.lock(connection, control.ERASE, self.tenant, shared=True)
            yield self._erased(connection, domain)

    # -- noted

    def note(self, run: Run, step: str, seconds: float, rows: int | None = None, partition: int | None = None) -> None:
        with self._transaction("noting a step") as connection:
            connection.execute(
                "insert into _importers.step (run, step, partition, rows, seconds) values (%s, %s, %s, %s, %s)",
                (run.id, step, partition, rows, seconds),
            )

    def failed(self, run: Run, kind: str | None) -> None:
        with self._transaction("noting why the run failed") as connection:
            control.note_failure(connection, run.id, kind)

    def unopened(self, stream: Stream, key: str, kind: RunKind, window: Window, failure: str, began: datetime) -> None:
        name = self._name(stream)
        with self._transaction("noting why no run was opened") as connection:
            control.forget_unopened(connection, name, key)
            control.insert_unopened(connection, stream, name, key, kind, window, failure, began)
            control.forget_earlier_unopened(connection, name)
            found = control.latest(connection, name, key)
            if found is not None:
                control.note_failure(connection, found.id, failure)

    def judged(self, run: Run, counts: Mapping[str, JSON]) -> None:
        with self._transaction("noting what the gate said") as connection:
            connection.execute(
                "insert into _importers.judgement (run, counts) values (%s, %s)"
                " on conflict (run) do update set counts = excluded.counts, at = now()",
                (run.id, Jsonb(dict(counts))),
            )

    def judgements(self, before: Run, limit: int = 30) -> Mapping[int, Mapping[str, Any]]:
        with self._transaction("asking what the gate said of earlier runs") as connection:
            found = connection.execute(
                "select run, counts from _importers.judgement join _importers.run r on r.id = run"
                " where r.stream = %s and r.state = 'committed' and r.kind <> 'replay' and r.id < %s"
                " order by run desc limit %s",
                (before.stream, before.id, limit),
            )
            return dict(found.fetchall())

    def destroy_key(self, run: Run) -> None:
        with self._transaction("destroying the run's key") as connection:
            connection.execute("update _importers.run set sealed_key = null where id = %s", (run.id,))


def _since(started: float) -> float:
    return time.perf_counter() - started
