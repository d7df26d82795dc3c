"""An erasure in the warehouse: the list, the tables, and the receipt, each step in a transaction with what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg.types.json import Jsonb

from importers.core.destination import Blind
from importers.core.erasure import (
    Attempt,
    Earlier,
    Eraser,
    Erasure,
    Outcome,
    Place,
    Readmission,
    Registered,
    SubjectTable,
    Waiting,
)
from importers.core.names import ROWS
from importers.destinations import _control as control
from importers.destinations import _erasure as erasure
from importers.destinations import _owners as owners
from importers.destinations._quarantine import THERE
from importers.destinations._subject_rows import SubjectRows
from importers.exceptions import ConfigError, ContractError


class PostgresEraser(Eraser):
    """By the connection of one destination. Deletes a table at a time, so that loads of the tenant wait no longer."""

    def __init__(
        self,
        tenant: str,
        transaction: control.Transaction,
        blind: Blind,
        check_key: Callable[[psycopg.Connection], None],
    ) -> None:
        self._tenant, self._transaction, self._blind, self._check_key = tenant, transaction, blind, check_key

    def domains(self) -> frozenset[str]:
        with self._transaction("asking whose rows there are") as connection:
            self._check_key(connection)
            rows = connection.execute(
                f"""select distinct {owners.DOMAIN} from _importers.run
                   where tenant = %s and plan -> 'stream' ->> 'subject' is not null""",
                (self._tenant,),
            )
            return frozenset(domain for (domain,) in rows.fetchall())

    def pipelines(self) -> Sequence[str]:
        with self._transaction("asking what has run") as connection:
            rows = connection.execute(
                "select distinct split_part(stream, '.', 2) from _importers.run where tenant = %s order by 1",
                (self._tenant,),
            )
            return [name for (name,) in rows.fetchall()]

    def earlier(self, domain: str, tokens: Sequence[bytes]) -> Sequence[Earlier]:
        with self._transaction("asking who was erased before") as connection:
            rows = connection.execute(
                """select distinct on (s.token) encode(s.token, 'hex'), e.id, e.finished_at
                   from _importers.suppression s join _importers.erasure e
                     on e.tenant = s.tenant and e.domain = s.domain and s.token = any(e.subjects)
                   where s.tenant = %s and s.domain = %s and s.token = any(%s) and s.lifted_at is null
                     and e.finished_at >= s.at order by s.token, e.id desc""",
                (self._tenant, domain, self._blind(tokens)),
            )
            return [Earlier(*row) for row in rows.fetchall()]

    def readmit(self, domain: str, tokens: Sequence[bytes], asked_by: str, reason: str) -> Readmission:
        blinded = sorted(self._blind(tokens))
        with self._transaction("letting in again who was erased") as connection:
            control.lock(connection, control.ERASE, self._tenant)
            self._check_key(connection)
            self._check_finished(connection, domain, blinded)
            strangers = erasure.strangers(connection, self._tenant, domain, blinded)
            if strangers:
                raise ConfigError(
                    "not all of these subjects are kept out: nothing was changed",
                    got=f"{len(strangers)} of {len(blinded)} aren't on the list of the erased in the domain '{domain}'",
                    do="spell each as when they were erased",
                    tenant=self._tenant,
                )
            erasure.lift(connection, self._tenant, domain, blinded)
            row = connection.execute(
                """insert into _importers.readmission (tenant, domain, subjects, asked_by, reason)
                   values (%s, %s, %s, %s, %s) returning id, at""",
                (self._tenant, domain, blinded, asked_by, reason),
            ).fetchone()
            if row is None:
                raise ContractError("a readmission has no receipt", do="report this")
        id_, at = row
        return Readmission(id_, self._tenant, domain, tuple(t.hex() for t in blinded), asked_by, reason, at)

    def _check_finished(self, connection: psycopg.Connection, domain: str, blinded: Sequence[bytes]) -> None:
        row = connection.execute(
            """select id from _importers.erasure
               where tenant = %s and domain = %s and subjects && %s and finished_at is null limit 1""",
            (self._tenant, domain, list(blinded)),
        ).fetchone()
        if row is not None:
            raise ConfigError(
                "an erasure of one of these subjects isn't finished",
                got=f"erasure no. {row[0]}",
                do="erase again until it is; then let them in",
                tenant=self._tenant,
            )

    def begin(self, domain: str, tokens: Sequence[bytes], asked_by: str, reason: str) -> Attempt:
        blinded = sorted(self._blind(tokens))
        with self._transaction("noting whom to erase") as connection:
            control.lock(connection, control.ERASE, self._tenant)
            self._check_key(connection)
            erasure.suppress(connection, self._tenant, domain, blinded)
            row = connection.execute(
                """insert into _importers.erasure (tenant, domain, subjects, asked_by, reason)
                   values (%s, %s, %s, %s, %s)
                   on conflict (tenant, domain, subjects) where finished_at is null
                   do update set domain = excluded.domain returning id, clock_timestamp()""",
                (self._tenant, domain, blinded, asked_by, reason),
            ).fetchone()
            if row is None:
                raise ContractError("an erasure has no receipt", do="report this")
        return Attempt(*row)

    def tables(self) -> Sequence[SubjectTable]:
        with self._transaction("looking for tables") as connection:
            rows = connection.execute(
                """select table_name, mode in ('merge', 'history'),
                          coalesce(array_agg(distinct plan -> 'stream' ->> 'subject')
                                   filter (where plan -> 'stream' ->> 'subject' is not null), '{}')
                   from _importers.run where tenant = %s group by 1, 2 order by 1, 2""",
                (self._tenant,),
            )
            return [SubjectTable(name, keyed, frozenset(subjects)) for name, keyed, subjects in rows.fetchall()]

    def strangers(self) -> Sequence[Place]:
        with self._transaction("looking for tables") as connection:
            rows = connection.execute(
                """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = %(tenant)s and c.relkind in ('r', 'p', 'm', 'f') and not c.relispartition
                     and not exists (select from _importers.run where tenant = %(tenant)s and c.relname in (
                       table_name, table_name || %(rows)s, '_r' || id)) order by 1""",
                {"tenant": self._tenant, "rows": ROWS},
            )
            note = "wasn't made by importers: see yourself whether it has copied rows"
            return [Place("table", f"{self._tenant}.{name}", Outcome.STAYS, note=note) for (name,) in rows.fetchall()]

    def look(self, table: SubjectTable, domain: str, tokens: Sequence[bytes]) -> Sequence[Place]:
        with self._transaction("counting whom an erasure would reach") as connection:
            return SubjectRows(connection, self._tenant, table, tokens).places(domain)

    def erase(self, erasure: int, table: SubjectTable, domain: str, tokens: Sequence[bytes]) -> Sequence[Place]:
        with self._transaction("erasing") as connection:
            control.lock(connection, control.ERASE, self._tenant)
            self._check_still_out(connection, domain, tokens)
            found = SubjectRows(connection, self._tenant, table, tokens)
            deleted, places = found.delete(), found.places(domain)
            left = sum(place.rows for place in places if place.outcome is Outcome.CLEAR)
            if left:
                raise ContractError(
                    "rows of an erased subject are still there after they were deleted: something puts them back",
                    got=f"{left} rows of {self._tenant}.{table.name}",
                    do="look for triggers, rules and row security on the table",
                )
            places = [
                Place(place.kind, place.name, place.outcome, deleted[place.name], place.unknown, place.note)
                if place.outcome is Outcome.CLEAR
                else place
                for place in places
            ]
            _note(connection, erasure, places)
        return places

    def waiting(self) -> Sequence[Waiting]:
        with self._transaction("looking for open runs") as connection:
            rows = connection.execute(
                """select id, stream from _importers.run
                   where tenant = %s and sealed_key is not null and plan -> 'live' is null order by id""",
                (self._tenant,),
            )
            return [Waiting(*row) for row in rows.fetchall()]

    def registered(self) -> Mapping[str, Registered]:
        with self._transaction("listing quarantine") as connection:
            rows = connection.execute(
                f"""select q.uri, r.stream, q.at, r.domain from _importers.quarantine q
                    join (select *, {owners.RENAMED} as domain from _importers.run where tenant = %(tenant)s) r
                      on r.id = q.run where {THERE}""",
                {"tenant": self._tenant},
            )
            return {uri: Registered(*said) for uri, *said in rows.fetchall()}

    @contextmanager
    def alone(self, domain: str, tokens: Sequence[bytes]) -> Iterator[None]:
        with self._transaction("erasing") as connection:
            control.lock(connection, control.ERASE, self._tenant)
            self._check_still_out(connection, domain, tokens)
            yield

    def _check_still_out(self, connection: psycopg.Connection, domain: str, tokens: Sequence[bytes]) -> None:
        """Another process may have finished this erasure, and then somebody has let them in: their rows are theirs."""
        if erasure.strangers(connection, self._tenant, domain, self._blind(tokens)):
            raise ConfigError(
                "one of these subjects was let in again while they were erased",
                do="erase again whoever is to go",
                tenant=self._tenant,
            )

    def requarantined(self, uri: str, rows: int, reasons: Mapping[str, int]) -> None:
        with self._transaction("registering quarantine") as connection:
            connection.execute(
                """update _importers.quarantine q set rows = %s, reasons = %s from _importers.run r
                   where r.id = q.run and r.tenant = %s and q.uri = %s""",
                (rows, Jsonb(dict(reasons)), self._tenant, uri),
            )

    def note(self, erasure: int, places: Sequence[Place]) -> None:
        with self._transaction("writing the receipt") as connection:
            _note(connection, erasure, places)

    def finish(self, attempt: Attempt) -> Erasure:
        with self._transaction("writing the receipt") as connection:
            connection.execute(
                "delete from _importers.erasure_place where erasure = %s and outcome <> %s and at < %s",
                (attempt.erasure, Outcome.CLEAR, attempt.since),
            )
            row = connection.execute(
                """update _importers.erasure e set finished_at = case when not exists (
                     select from _importers.erasure_place p where p.erasure = e.id and p.outcome = %s) then now() end
                   where id = %s and tenant = %s
                   returning id, tenant, domain, subjects, asked_by, reason, asked_at, finished_at""",
                (Outcome.FAILED, attempt.erasure, self._tenant),
            ).fetchone()
            if row is None:
                raise ContractError("an erasure has lost its receipt", do="erase again", tenant=self._tenant)
            places = connection.execute(
                """select kind, name, outcome, rows, unknown, note from _importers.erasure_place
                   where erasure = %s order by outcome, at, name""",
                (attempt.erasure,),
            ).fetchall()
        id_, tenant, domain, subjects, by, reason, asked_at, finished_at = row
        whom = tuple(bytes(token).hex() for token in subjects)
        found = tuple(Place(kind, name, Outcome(outcome), *counts) for kind, name, outcome, *counts in places)
        return Erasure(id_, tenant, domain, whom, by, reason, asked_at, finished_at, found)


def _note(connection: psycopg.Connection, erasure: int, places: Sequence[Place]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into _importers.erasure_place as p (erasure, kind, name, outcome, rows, unknown, note, at)
               values (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
               on conflict (erasure, kind, name) do update
               set rows = excluded.rows + case when p.outcome = 'clear' then p.rows else 0 end,
                   outcome = excluded.outcome, unknown = excluded.unknown, note = excluded.note, at = excluded.at""",
            [
                (erasure, place.kind, place.name, place.outcome, place.rows, place.unknown, place.note)
                for place in places
            ],
        )
