"""How rows meet a table, by load mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Composed, Identifier, Literal

from importers.core.ahead import ahead
from importers.core.model import DELETED, PARTITION, RUN, UNTIL, VERSION, LoadMode, Run, RunKind, Stream
from importers.core.names import StreamName
from importers.destinations import _history as history
from importers.destinations import _owners as owners
from importers.destinations import _tables as tables
from importers.destinations._quarantine import SUPERSEDED, has_quarantine
from importers.destinations._rows import binary_copy, send

_INCOMING = Identifier("pg_temp", "importers_incoming")
_KEYED = (LoadMode.MERGE, LoadMode.HISTORY)


def copy(
    connection: psycopg.Connection,
    schema: str,
    stream: Stream,
    run: Run,
    partition: int,
    batches: Iterable[pa.RecordBatch],
) -> int | None:
    """COPY a partition's batches to where the mode wants them. No batch: no statement.

    Where rows have keys, how many of them stand in the table then: of one key one, unless a newer is there.
    """
    into = tables.rows_table(stream)
    target = Identifier(schema, into)
    if run.mode is not LoadMode.REPLACE:  # whose shadow is its own; binary COPY takes bytes for what a column is now
        connection.execute(SQL("lock table {} in row exclusive mode").format(target))
    types = tables.existing(connection, schema, into)
    if run.mode is LoadMode.REPLACE:
        target = Identifier(schema, tables.shadow_table(run.id))
    elif run.mode in _KEYED:
        target = _INCOMING
        connection.execute(
            SQL(
                "create temp table importers_incoming (like {}, importers_ordinal bigint generated always as identity)"
                " on commit drop"
            ).format(Identifier(schema, into))
        )
    statement = SQL("copy {} ({}) from stdin (format binary)").format(target, tables.identifiers(list(types)))
    # The server takes longer than we do: rows are treated and encoded while it works on those before.
    with closing(ahead(binary_copy(batches, types, run.id, partition))) as data, connection.cursor() as cursor:
        if send(cursor, statement, data) and run.mode in _KEYED:
            cursor.execute(merge(Identifier(schema, into), stream, list(types), run.kind))
            return cursor.rowcount
    return None


def merge(
    table: Identifier, stream: Stream, columns: Sequence[str], kind: RunKind, incoming: Identifier = _INCOMING
) -> Composed:
    """One statement, sorted by key: several, or an unsorted one, deadlock with a neighbour's (and are slower).

    Of rows with one key and one version the last that was read wins: that of the later run, of the later partition,
    and there the later row, in whatever order partitions are loaded. What a replay brings gives way to whatever the
    table has of that version: that may have been read later. With history a version is part of the key: it stays
    beside the others, and keeps its place if it has one.
    """
    newer = "excluded.{version} > t.{version}"
    if kind is not RunKind.REPLAY:
        newer = "(excluded.{version}, excluded.{run}, excluded.{part}) >= (t.{version}, t.{run}, t.{part})"
    key = tables.key_columns(stream)
    new = SQL(", ").join(
        SQL("{0} = excluded.{0}").format(Identifier(c)) for c in columns if c not in key and c != UNTIL
    )
    values = [Literal(history.UNPLACED) if c == UNTIL else Identifier(c) for c in columns]
    return SQL(
        "insert into {table} as t ({every}) select distinct on ({key}) {values} from {incoming}"
        " order by {own}, {version} desc, importers_ordinal desc"
        " on conflict ({key}) do update set {new} where " + newer
    ).format(
        table=table,
        every=tables.identifiers(columns),
        key=tables.identifiers(key),
        own=tables.identifiers(stream.primary_key),
        values=SQL(", ").join(values),
        incoming=incoming,
        new=new,
        version=Identifier(VERSION),
        run=Identifier(RUN),
        part=Identifier(PARTITION),
    )


def make_it_count(connection: psycopg.Connection, schema: str, stream: Stream, run: Run) -> None:
    """What commit does to the table: show the snapshot, or take away what this run has loaded again."""
    if run.mode is LoadMode.REPLACE:
        if _is_newest(connection, run):
            tables.swap(connection, schema, stream, run.id)
        else:
            tables.drop_shadow(connection, schema, run.id)
    elif run.mode is LoadMode.HISTORY:
        table = Identifier(schema, tables.rows_table(stream))
        columns = tables.existing(connection, schema, tables.rows_table(stream))
        history.close_the_absent(connection, table, columns, stream, run)
        history.place(connection, table, stream, run)
    elif run.mode is LoadMode.MERGE and run.plan.complete and not has_quarantine(connection, run):
        _end_the_absent(connection, schema, stream, run)
    elif run.mode is LoadMode.APPEND and run.kind is RunKind.REPLAY:
        _take_back_what_was_read_again(connection, schema, stream, run)
    elif run.mode is LoadMode.APPEND:
        _delete_what_is_replaced(connection, schema, stream, run)


def _end_the_absent(connection: psycopg.Connection, schema: str, stream: Stream, run: Run) -> None:
    """What a complete run lacks is deleted: nothing stays of it but its key, and whose it was.

    Of a table that pipelines share, only what this stream's runs have loaded: the others' rows aren't its source's.
    """
    columns = tables.existing(connection, schema, tables.rows_table(stream))
    new = owners.ended(connection, "n", columns, stream, run) | {VERSION: Literal(run.version)}
    connection.execute(
        SQL(
            "update {t} n set {new} where {r} <> {run} and {v} <= {version} and not {deleted}"
            " and {r} in (select id from _importers.run where stream = {stream})"
        ).format(
            t=Identifier(schema, tables.rows_table(stream)),
            deleted=Identifier(DELETED),
            new=SQL(", ").join(SQL("{} = {}").format(Identifier(name), value) for name, value in new.items()),
            r=Identifier(RUN),
            v=Identifier(VERSION),
            run=run.id,
            stream=run.stream,
            version=run.version,
        )
    )


def _take_back_what_was_read_again(connection: psycopg.Connection, schema: str, stream: Stream, run: Run) -> None:
    """While the replay ran, its rows' window or range may have been read anew by a run that is committed now."""
    table = Identifier(schema, tables.rows_table(stream))
    if connection.execute(
        f"select from _importers.run o where o.id = %s and o.kind = 'window' and {SUPERSEDED}", (_root(run),)
    ).fetchone():
        connection.execute(SQL("delete from {} where {} = {}").format(table, Identifier(RUN), run.id))
    elif stream.versioned:
        connection.execute(
            SQL(
                "delete from {t} where {r} = {run} and exists (select from _importers.run c where c.stream = {stream}"
                " and c.state = 'committed' and c.covers @> {v}"
                " and c.closed_at > (select opened_at from _importers.run where id = {run}))"
            ).format(t=table, r=Identifier(RUN), run=run.id, stream=run.stream, v=Identifier(VERSION))
        )


def _root(run: Run) -> int | None:
    """The run that first read what a replay loads: one of them, but all are of one window if any is of a window."""
    part = run.plan.partitions[0] if run.plan.partitions else None
    return int(str(part["root"])) if isinstance(part, Mapping) else None


def _delete_what_is_replaced(connection: psycopg.Connection, schema: str, stream: Stream, run: Run) -> None:
    table = Identifier(schema, tables.rows_table(stream))
    others = SQL("select id from _importers.run where stream = {} and id <> {} and state = 'committed'").format(
        run.stream, run.id
    )
    # The same window again takes the place of its earlier generations, unless what it read is gone by now.
    if run.generation > 1 and run.plan.partitions:
        again = others + SQL(
            " and (key = {key} or kind = 'replay' and (plan -> 'partitions' -> 0 ->> 'root')::bigint in"
            " (select id from _importers.run where stream = {stream} and key = {key}))"
        ).format(key=run.key, stream=run.stream)
        connection.execute(SQL("delete from {} where {} in ({})").format(table, Identifier(RUN), again))
    if run.plan.covers:  # a range that was re-read whole takes the place of whoever loaded it before
        connection.execute(
            SQL("delete from {t} where {v} >= {lo} and {v} < {hi} and {r} in ({others})").format(
                t=table,
                v=Identifier(VERSION),
                lo=run.plan.covers[0],
                hi=run.plan.covers[1],
                r=Identifier(RUN),
                others=others,
            )
        )


def take_back(connection: psycopg.Connection, schema: str, stream: Stream, run: Run) -> None:
    """What abort does to the table, if it is there.

    MERGE keeps its rows: each is a true observation, and a later one overwrites it.
    """
    if run.mode is LoadMode.REPLACE:
        tables.drop_shadow(connection, schema, run.id)
    elif not run.receipts or not tables.holds_rows(connection, schema, tables.rows_table(stream)):
        return
    elif run.mode is LoadMode.APPEND:
        table = Identifier(schema, tables.rows_table(stream))
        connection.execute(SQL("delete from {} where {} = {}").format(table, Identifier(RUN), run.id))
    elif run.mode is LoadMode.HISTORY:
        history.take_back(connection, Identifier(schema, tables.rows_table(stream)), stream, run)


def _is_newest(connection: psycopg.Connection, run: Run) -> bool:
    """Whether no committed snapshot of the table is younger."""
    row = connection.execute(
        """select coalesce(max(version), 0) from _importers.run
           where tenant = %s and table_name = %s and mode = 'replace' and state = 'committed'""",
        (StreamName.of(run.stream).tenant, run.table),
    ).fetchone()
    return row is None or run.version >= row[0]
