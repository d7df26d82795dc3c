"""What a run leaves as it was in a table whose rows have keys is counted; what its policy wouldn't load is removed.

Rows are told by the run that wrote them last. Of a table that pipelines share, only this stream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from importers.core.model import DELETED, RUN, SUBJECT, Remains, Run, Stream, Unlike
from importers.destinations import _owners as owners
from importers.destinations import _tables as tables
from importers.destinations._rows import binary_copy, send
from importers.destinations._types import JSONB

_WITHHELD = Identifier("pg_temp", "importers_withheld")


def count(
    connection: psycopg.Connection,
    schema: str,
    stream: Stream,
    run: Run,
    withheld: Iterable[pa.RecordBatch],
    unlike: Sequence[Unlike],
    *,
    whole: bool,
) -> Remains:
    """Rows that are there and that the run hasn't written: all of them, or those whose key is among `withheld`."""
    rows = tables.rows_table(stream)
    columns = tables.existing(connection, schema, rows)
    _put(connection, Identifier(schema, rows), stream, columns, run, withheld)
    held = [SQL("{} and {} = any({})").format(_holds(columns, one), _run(), list(one.runs)) for one in unlike]
    found = connection.execute(
        SQL(
            "select count(*) filter (where w.there), count(*){sums} from {t} t {left} join"
            " (select distinct {key}, true as there from {withheld}) w on {same}"
            " where not t.{deleted} and {r} <> {run} and {r} in (select id from _importers.run where stream = {stream})"
        ).format(
            sums=SQL("").join(SQL(", count(*) filter (where {})").format(one) for one in held),
            t=Identifier(schema, rows),
            left=SQL("left" if whole else "inner"),
            key=tables.identifiers(stream.primary_key),
            withheld=_WITHHELD,
            same=SQL(" and ").join(SQL("t.{0} = w.{0}").format(Identifier(name)) for name in stream.primary_key),
            deleted=Identifier(DELETED),
            r=_run(),
            run=run.id,
            stream=run.stream,
        )
    ).fetchone() or (0, 0)
    connection.execute(SQL("drop table {}").format(_WITHHELD))
    return Remains(found[0], found[1] if whole else None, tuple(found[2:]))


def _put(
    connection: psycopg.Connection,
    table: Identifier,
    stream: Stream,
    columns: Mapping[str, str],
    run: Run,
    withheld: Iterable[pa.RecordBatch],
) -> None:
    """The keys of what is in quarantine, where the table can be joined with them."""
    key = tables.identifiers(stream.primary_key)
    connection.execute(
        SQL("create temp table importers_withheld on commit drop as select {} from {} limit 0").format(key, table)
    )
    types = {name: columns[name] for name in stream.primary_key}
    statement = SQL("copy {} ({}) from stdin (format binary)").format(_WITHHELD, key)
    with connection.cursor() as cursor:
        send(cursor, statement, binary_copy(withheld, types, run.id, 0))


def remove(connection: psycopg.Connection, schema: str, stream: Stream, unlike: Iterable[Unlike]) -> None:
    """Take out of the table what it holds of these; whose a row is stays known."""
    rows = tables.rows_table(stream)
    columns = tables.existing(connection, schema, rows)
    for one in (one for one in unlike if one.column in columns):
        new: dict[str, Composable] = {one.column: _without(columns, one)}
        if SUBJECT in columns and columns[one.column] == owners.TOKEN and not one.path:
            new[SUBJECT] = SQL(
                "coalesce({subject}, case when {r} in (select id from _importers.run where tenant = {tenant}"
                " and plan -> 'stream' ->> 'subject' = {name}) then {column} end)"
            ).format(
                subject=Identifier("t", SUBJECT),
                r=_run(),
                tenant=schema,
                name=one.column,
                column=Identifier("t", one.column),
            )
        connection.execute(
            SQL("update {t} t set {new} where {r} = any({runs}) and {holds}").format(
                t=Identifier(schema, rows),
                new=SQL(", ").join(SQL("{} = {}").format(Identifier(name), value) for name, value in new.items()),
                r=_run(),
                runs=list(one.runs),
                holds=_holds(columns, one),
            )
        )


def _run() -> Identifier:
    return Identifier("t", RUN)


def _holds(columns: Mapping[str, str], one: Unlike) -> Composed:
    """Whether a row has something of it: none where the column is gone, or the table was made anew without it."""
    if one.column not in columns:
        return SQL("false").format()
    return SQL("({} is distinct from {})").format(Identifier("t", one.column), _without(columns, one))


def _without(columns: Mapping[str, str], one: Unlike) -> Composable:
    """The column's value without the leaf: null, unless there are others beside it that can be told from it."""
    if not one.path or columns[one.column] != JSONB:
        return SQL("null")
    return _pruned(Identifier("t", one.column), one.path)


def _pruned(value: Composable, path: Sequence[str | None], depth: int = 0) -> Composed:
    """JSON without what the path leads to: a key with its value, or all items of a list."""
    step, rest = path[0], path[1:]
    if step is None:
        item, items = Identifier(f"i{depth}", "item"), SQL("'[]'::jsonb").format()
        if rest:
            items = SQL(
                "(select coalesce(jsonb_agg({new} order by {alias}.n), '[]') from jsonb_array_elements({value})"
                " with ordinality {alias} (item, n))"
            ).format(new=_pruned(item, rest, depth + 1), alias=Identifier(f"i{depth}"), value=value)
        return SQL("case when jsonb_typeof({0}) = 'array' then {1} else {0} end").format(value, items)
    inner = SQL("{} -> {}").format(value, Literal(step))
    new = SQL("{} - {}::text").format(value, Literal(step))
    if rest:
        new = SQL("case when {v} ? {k} then jsonb_set({v}, array[{k}], {new}) else {v} end").format(
            v=value, k=Literal(step), new=_pruned(SQL("({})").format(inner), rest, depth + 1)
        )
    return SQL("case when jsonb_typeof({0}) = 'object' then {1} else {0} end").format(value, new)
