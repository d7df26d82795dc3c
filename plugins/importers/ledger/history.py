"""What has happened, for people to look at: runs, tables, quarantine. Counts and names; never a row, never a position.

Reads only, and keeps no lock: a swap of a table doesn't wait for somebody who looks at a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege, QueryCanceled
from psycopg.rows import class_row, kwargs_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from importers.core.model import Leaf, LoadMode, PersonalData, RunKind, RunState, Window
from importers.core.names import ROWS, StreamName
from importers.ledger.schema import ALIVE, revision
from importers.transport.postgres import connect, translated

PATIENCE = 2000
"""Milliseconds for one question. Counting a table that takes longer is given up for the server's estimate."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of a stream. `seconds` is the work by step, whatever ran at once, in the order of the steps.

    It `lasted` (seconds) from opening to commit or, while somebody works on it, to now; else to its last sign of life
    in the ledger, None if there is none. `lanes` of the position were moved by it. `alive` while somebody works on it;
    `refresh` if it was asked to read everything again; `failure` is the class of the error that ended the last attempt.
    """

    id: int
    stream: str
    key: str
    generation: int
    kind: RunKind
    mode: LoadMode
    table: str
    state: RunState
    opened: datetime
    closed: datetime | None
    partitions: int
    loaded: int
    suppressed: int
    quarantined: int
    seconds: Mapping[str, float]
    window: Window = field(default_factory=Window)
    lasted: float | None = None
    lanes: int = 0
    alive: bool = False
    failure: str | None = None
    refresh: bool = False
    notes: Sequence[str] = ()
    """Of its plan and its commit."""

    @property
    def name(self) -> str:
        """The stream; of a run that failed before its streams were known the pipeline."""
        return self.stream.rstrip(".")

    @property
    def reads(self) -> str:
        """What was asked for: the kind; of one that reads everything `full refresh`, or `replace` by its mode."""
        if self.refresh:
            return "full refresh"
        replaces = self.mode is LoadMode.REPLACE and self.kind is RunKind.INCREMENTAL
        return (self.mode if replaces else self.kind).value

    @property
    def condition(self) -> str:
        """The state; of an open run that nobody works on `failed`, or `abandoned` if it died without a word."""
        if self.state is not RunState.OPEN or self.alive:
            return self.state.value
        return "failed" if self.failure else "abandoned"

    @property
    def outcome(self) -> str:
        """The condition, and what the last attempt failed with: `failed: QualityError`."""
        return f"{self.condition}: {self.failure}" if self.failure else self.condition

    @property
    def read(self) -> int | None:
        """Known once all of it has gone somewhere."""
        return self.loaded + self.suppressed + self.quarantined if self.state is RunState.COMMITTED else None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A quarantine file: how many rows each rule or reason put there.

    `replayed_by` is the run that loaded them, `superseded_by` the one that read them again, `discarded` when a person
    gave them up, `expired` when a sweep deleted them, since the time of the setting `kept_for` was over.
    """

    run: int
    stream: str
    partition: int
    uri: str
    rows: int
    reasons: Mapping[str, int]
    since: datetime
    replayed_by: int | None
    discarded: datetime | None = None
    expired: datetime | None = None
    kept_for: str | None = None
    superseded_by: int | None = None


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A stream's table as its newest schema version has it: columns with their types, and where each leaf went."""

    stream: str
    name: str
    version: int
    since: datetime
    columns: Mapping[str, str]
    lineage: Sequence[Leaf]

    @property
    def added(self) -> Mapping[str, str]:
        """Columns that come from no leaf of the source: ours."""
        theirs = {leaf.column for leaf in self.lineage}
        return {name: kind for name, kind in self.columns.items() if name not in theirs}


@dataclass(frozen=True, slots=True)
class RowCount:
    """`exact` is false for the server's estimate; `rows` None if it has none yet."""

    rows: int | None
    exact: bool


@contextmanager
def reading(url: str) -> Iterator[psycopg.Connection]:
    """A connection that can't write, each statement for itself. Raises as `connect` does, and ContractError."""
    with connect(url, "importers history") as connection, translated("reading what has happened"):
        connection.execute(SQL("set statement_timeout = {}").format(Literal(PATIENCE)))
        connection.execute("set default_transaction_read_only = on")
        yield connection


def begun(connection: psycopg.Connection) -> bool:
    """Whether anything was ever imported into this warehouse. The other questions need it."""
    return revision(connection) is not None


def runs(connection: psycopg.Connection, tenant: str, pipeline: str | None = None, *, limit: int = 50) -> list[PastRun]:
    """The newest runs of a tenant, or of one pipeline; newest first."""
    return _runs(connection, SQL("where {} order by id desc limit {}").format(_of(tenant, pipeline), Literal(limit)))


def tenants(connection: psycopg.Connection) -> set[str]:
    """All that ever had a run."""
    return {tenant for (tenant,) in connection.execute("select distinct tenant from _importers.run").fetchall()}


def last_runs(connection: psycopg.Connection, tenants: Sequence[str]) -> dict[str, list[PastRun]]:
    """The newest run of each stream of these tenants, by `tenant.pipeline`; of each pipeline the newest first."""
    newest = SQL(
        "where id in (select max(id) from _importers.run where tenant = any({}) group by tenant, stream)"
    ).format(Literal(list(tenants)))
    found: dict[str, list[PastRun]] = {}
    for run in _runs(connection, newest):
        found.setdefault(run.stream.rpartition(".")[0], []).append(run)
    return {pipeline: newest_of_each(past) for pipeline, past in found.items()}


def newest_of_each(past: Sequence[PastRun]) -> list[PastRun]:
    """Of a pipeline's runs, the newest first, the newest of each stream. One of none is told until another runs."""
    found: dict[str, PastRun] = {}
    for run in past:
        if run is past[0] or run.name == run.stream:
            found.setdefault(run.stream, run)
    return list(found.values())


def _runs(connection: psycopg.Connection, which: Composed) -> list[PastRun]:
    query = SQL(
        """
        select r.id, r.stream, r.key, r.generation, r.kind, r.mode, r.tenant || '.' || r.table_name as table, r.state,
          r.opened_at as opened, r.closed_at as closed, jsonb_array_length(r.plan -> 'partitions') as partitions,
          received.loaded, received.suppressed, kept.quarantined, worked.seconds,
          lower(r.span) as starts, upper(r.span) as ends,
          extract(epoch from case when r.state = 'committed' then r.closed_at when living.alive then now()
            else greatest(received.last, worked.last, {failed_at}) end - r.opened_at)::float as lasted,
          case when r.kind = 'incremental' and r.state = 'committed' and r.mode <> 'replace' then
            (select count(*) from jsonb_object_keys(r.plan -> 'position'))
            + (select count(*) from _importers.receipt c, jsonb_object_keys(c.position) where c.run = r.id)
          else 0 end as lanes,
          living.alive, coalesce((r.plan ->> 'refresh')::boolean, false) as refresh,
          coalesce(r.plan -> 'notes', '[]'::jsonb) || coalesce({notes}::jsonb, '[]'::jsonb) as notes,
          {failure} as failure
        from (select * from _importers.run {which}) r
        cross join lateral (
          select r.state = 'open' and (r.lease > now() or exists (
            select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
            where l.locktype = 'advisory' and l.classid = {alive} and l.objid::bigint = r.id)) as alive) living
        cross join lateral (
          select coalesce(sum(loaded), 0)::bigint as loaded, coalesce(sum(suppressed), 0)::bigint as suppressed,
            max(at) as last
          from _importers.receipt where run = r.id) received
        cross join lateral (
          select coalesce(sum(rows), 0)::bigint as quarantined from _importers.quarantine where run = r.id) kept
        cross join lateral (
          select coalesce(json_object_agg(step, seconds order by first), '{{}}') as seconds, max(last) as last from (
            select step, sum(seconds) as seconds, min(at) as first, max(at) as last
            from _importers.step where run = r.id group by step) steps) worked
        order by r.id desc
        """
    ).format(which=which, alive=Literal(ALIVE), **_columns(connection, "failure", "failed_at", "notes"))
    with connection.cursor(row_factory=kwargs_row(_past_run)) as cursor:
        return cursor.execute(query).fetchall()


def _columns(connection: psycopg.Connection, *names: str) -> dict[str, Composed | SQL]:
    """Columns of a run that an older ledger may lack."""
    asked = "select attname from pg_attribute where attrelid = '_importers.run'::regclass and attname = any(%s)"
    there = {name for (name,) in connection.execute(asked, (list(names),)).fetchall()}
    return {name: SQL("r.{}").format(Identifier(name)) if name in there else SQL("null") for name in names}


def _past_run(
    *, kind: str, mode: str, state: str, starts: datetime | None, ends: datetime | None, **said: Any
) -> PastRun:
    window = Window(starts.isoformat() if starts else None, ends.isoformat() if ends else None)
    return PastRun(kind=RunKind(kind), mode=LoadMode(mode), state=RunState(state), window=window, **said)


def kept_files(
    connection: psycopg.Connection, tenant: str, pipeline: str | None = None, *, limit: int = 500
) -> list[KeptFile]:
    """The registered quarantine files of a tenant, or of one pipeline; those of the newest run first."""
    query = SQL(
        "select q.run, r.stream, q.partition, q.uri, q.rows, q.reasons, q.at as since, q.replayed_by,"
        " (to_jsonb(q) ->> 'discarded_at')::timestamptz as discarded,"  # columns that an older ledger lacks
        " (to_jsonb(q) ->> 'expired_at')::timestamptz as expired, to_jsonb(q) ->> 'kept_for' as kept_for,"
        " (to_jsonb(q) ->> 'superseded_by')::bigint as superseded_by"
        " from _importers.quarantine q join (select id, stream, tenant from _importers.run) r on r.id = q.run"
        " where {} order by q.run desc, q.partition, q.uri limit {}"
    ).format(_of(tenant, pipeline), Literal(limit))
    with connection.cursor(row_factory=class_row(KeptFile)) as cursor:
        return cursor.execute(query).fetchall()


def quarantined(connection: psycopg.Connection, tenant: str | None = None) -> list[tuple[str, str]]:
    """The pipelines, as tenant and name, in order, that ever put rows into quarantine: of all tenants, or of one."""
    which = SQL("") if tenant is None else SQL("where r.tenant = {}").format(Literal(tenant))
    query = SQL("select distinct r.stream from _importers.quarantine q join _importers.run r on r.id = q.run {}")
    streams = [StreamName.of(stream) for (stream,) in connection.execute(query.format(which)).fetchall()]
    return sorted({(stream.tenant, stream.pipeline) for stream in streams})


def judgements(connection: psycopg.Connection, runs: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """What the gate said of these runs: `rows`, `rejects`, `bad`, `rules` (rule → `evaluated`, `unexpected`,
    `wanted`, `observed`), `failures` (`rule`, `what`, `wanted`, `got`) and `beyond` (columns that the schema contract
    kept out). `of_values` says of a rule or failure that what was observed is more than counts. Runs that never came to
    the gate are left out, and those of an older ledger.
    """
    there = connection.execute("select to_regclass('_importers.judgement')").fetchone()
    if there is None or there[0] is None:
        return {}
    found = connection.execute("select run, counts from _importers.judgement where run = any(%s)", (list(runs),))
    return dict(found.fetchall())


def tables(connection: psycopg.Connection, tenant: str, pipeline: str) -> list[KnownTable]:
    """What a pipeline has made, by stream."""
    versions = connection.execute(
        SQL(
            "select distinct on (stream) stream, version, v.at, v.columns"
            " from _importers.schema_version v join (select distinct tenant, stream from _importers.run) r"
            " using (stream) where {} order by stream, version desc"
        ).format(_of(tenant, pipeline))
    ).fetchall()
    return [_table(connection, *version) for version in versions]


def _table(
    connection: psycopg.Connection, stream: str, version: int, since: datetime, columns: Mapping[str, str]
) -> KnownTable:
    rows = connection.execute(
        "select source, personal, treatment, column_name, key_version, table_name from _importers.lineage"
        " where stream = %s and version = %s order by source",
        (stream, version),
    ).fetchall()
    leaves = [Leaf(source, PersonalData(c) if c else None, treated, to, key) for source, c, treated, to, key, _ in rows]
    name = rows[0][-1] if rows else ""
    order = _order(connection, name)
    leaves.sort(key=lambda leaf: order.get(leaf.column or "", len(order)))
    in_order = {column: columns[column] for column in sorted(columns, key=lambda column: order.get(column, len(order)))}
    return KnownTable(stream, name, version, since, in_order, leaves)


def _order(connection: psycopg.Connection, table: str) -> dict[str, int]:
    """The places of a table's columns: the ledger's JSON has forgotten them."""
    rows = connection.execute(
        "select attname, attnum from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
        (_quoted(table),),
    )
    return dict(rows.fetchall())


def count(connection: psycopg.Connection, table: str) -> RowCount | None:
    """The rows that a reader of `schema.table` sees; None if there is no such table.

    Whoever may not read rows, as the role of the web pages, gets the server's estimate.
    """
    there = connection.execute("select to_regclass(%s)", (_quoted(table),)).fetchone()
    if there is None or there[0] is None:
        return None
    try:
        row = connection.execute(SQL("select count(*) from {}").format(Identifier(*table.split(".", 1)))).fetchone()
    except (QueryCanceled, InsufficientPrivilege):
        return RowCount(_estimate(connection, table), exact=False)
    return RowCount(row[0] if row else 0, exact=True)


def _estimate(connection: psycopg.Connection, table: str) -> int | None:
    """What the server believes since it last analysed the table, or the one behind a merged table's view.

    None before it has done so for the first time.
    """
    row = connection.execute(
        "with named as (select coalesce(to_regclass(%s), to_regclass(%s))::oid as oid)"
        " select sum(reltuples) filter (where relkind = 'r' and reltuples >= 0)::bigint from pg_class"
        " where oid in (select oid from named"
        " union select inhrelid from pg_inherits join named on inhparent = oid)",
        (_quoted(table + ROWS), _quoted(table)),
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _quoted(table: str) -> str:
    return Identifier(*table.split(".", 1)).as_string()


def _of(tenant: str, pipeline: str | None) -> Composed:
    """Not LIKE: the underscores of a name would stand for any character, of another tenant's name too."""
    if pipeline is None:
        return SQL("tenant = {}").format(Literal(tenant))
    return SQL("tenant = {} and starts_with(stream, {})").format(Literal(tenant), Literal(f"{tenant}.{pipeline}."))
