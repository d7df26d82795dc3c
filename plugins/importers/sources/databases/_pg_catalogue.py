"""What a PostgreSQL database has to read: tables, views, or what a query gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from importers.exceptions import ConfigError, FatalSourceError
from importers.sources.databases._pg_types import Kind, kinds

TIMELINE = (
    "case when not pg_is_in_recovery() then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end"
)
"""Which history a primary server's log is of: a restore, or a replica that takes its place, begins another. Null of a
replica. The control file says it late."""


class Relation(NamedTuple):
    """Something that rows are selected from. `oid` is 0 for a query."""

    name: str
    source: str
    """What stands behind FROM, quoted."""
    oid: int
    columns: Mapping[str, Kind]
    key: tuple[str, ...] = ()
    has_transactions: bool = False
    """Whether a row says which transaction wrote it: a table's do, a view's or a query's don't."""
    has_blocks: bool = False
    """Whether it can be cut by blocks: one table on disk."""
    generated: frozenset[str] = frozenset()
    """Columns that the server computes from others."""


_RELATIONS = """
select c.oid::bigint, c.relname::text, c.relkind::text, has_any_column_privilege(c.oid, 'select'),
       (select coalesce(array_agg(a.attname::text order by k.n), '{}')
        from pg_index i cross join unnest(i.indkey::smallint[]) with ordinality k(att, n)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.att
        where i.indrelid = c.oid and i.indisprimary),
       columns.names, columns.types, columns.typmods, columns.generated
from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join lateral (
    select array_agg(a.attname::text order by a.attnum) as names,
           array_agg(a.atttypid::bigint order by a.attnum) as types,
           array_agg(a.atttypmod order by a.attnum) as typmods,
           array_agg(a.attname::text) filter (where a.attgenerated <> '') as generated
    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) columns
where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and (%(tables)s::text[] is null or c.relname = any(%(tables)s))
order by c.relname
"""


def relations(connection: psycopg.Connection, schema: str, tables: Sequence[str] | None) -> list[Relation]:
    """The named tables and views of a schema, or all of them but partitions of others and those without columns.

    Raises ConfigError for one that there isn't, FatalSourceError for one of which nothing may be read.
    """
    names = list(tables) if tables is not None else None
    found = connection.execute(_RELATIONS, {"schema": schema, "tables": names}).fetchall()
    missing = sorted(set(names or ()) - {row[1] for row in found})
    if missing or not found:
        what = (
            f"the schema '{schema}' has no table '{missing[0]}'" if missing else f"the schema '{schema}' has no table"
        )
        raise ConfigError(what, do="correct `tables` or `table_schema`; the case of letters counts")
    result = []
    for oid, name, relkind, readable, key, columns, types, typmods, generated in found:
        if not readable and names is not None:
            raise FatalSourceError(f"this role may not read '{name}'", do=f'grant select on "{schema}"."{name}"')
        if readable and columns:
            typed = kinds(connection, zip(columns, types, typmods, strict=True))
            source = Identifier(schema, name).as_string(None)
            stored = relkind in ("r", "p")
            computed = frozenset(generated or ())
            result.append(Relation(name, source, oid, typed, tuple(key), stored, relkind == "r", computed))
    return result


def of_query(connection: psycopg.Connection, query: str, name: str) -> Relation:
    """What a query gives. Raises ConfigError for columns without a name of their own."""
    source = f"({query.strip().rstrip(';')}\n)"  # a comment in its last line ends there
    cursor = ask(connection, SQL("select * from {} as q limit 0").format(raw(source)))
    columns = [column.name for column in cursor.description or ()]
    twice = sorted(
        {column for column in columns if columns.count(column) > 1} | {c for c in columns if c == "?column?"}
    )
    if twice or not columns:
        got = ", ".join(repr(column) for column in twice) or "no column"
        raise ConfigError("each column of the query needs a name of its own", got=got, do="write `… as name`")
    result = cursor.pgresult
    typmods = [result.fmod(n) if result is not None else -1 for n in range(len(columns))]
    oids = [column.type_code for column in cursor.description or ()]
    return Relation(name, source, 0, kinds(connection, zip(columns, oids, typmods, strict=True)))


def ask(connection: psycopg.Connection, statement: Composed) -> psycopg.Cursor:
    """Execute what holds a relation's source: one statement, or the server refuses it.

    A tenant's query may hold anything, also a `;` and a COMMIT, after which the transaction isn't read-only any more.
    Without parameters psycopg sends a text in which several statements are executed (PostgreSQL's simple protocol),
    unless values are to come back binary: then it is parsed first, and more than one statement is an error.
    """
    return connection.execute(statement, binary=True)


def raw(text: Any) -> SQL:
    """Text that is SQL already: our own, quoted names, or the tenant's query."""
    return SQL(text)
