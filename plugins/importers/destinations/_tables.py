"""The tables of a tenant's schema, by load mode, and what of them is there.

append   `t`, plain.
replace  `t` partitioned by `_run`: a run fills a table beside it, and commit attaches that in place of the old one.
merge    `t` is a view that hides tombstones; the rows are in `t__rows`, with the primary key.
history  `t` is a view that says from when to when each version held; `t__rows` has them, by the key and `_version`.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from importers.core.model import DELETED, PARTITION, RUN, UNTIL, VERSION, LoadMode, Stream
from importers.core.names import ROWS


def rows_table(stream: Stream) -> str:
    """The table that holds the rows of what `stream.target` shows."""
    return stream.target + ROWS if stream.keyed else stream.target


def key_columns(stream: Stream) -> tuple[str, ...]:
    """What is unique in the table that holds the rows, if anything is."""
    version = (VERSION,) if stream.load_mode is LoadMode.HISTORY else ()
    return stream.primary_key + version if stream.keyed else ()


def shadow_table(run: int) -> str:
    """Where a REPLACE run loads, beside the table."""
    return f"_r{run}"


def our_columns(stream: Stream) -> dict[str, str]:
    """The columns that the mode adds to a table."""
    ours = {RUN: "bigint"}
    if stream.versioned:
        ours |= {VERSION: "bigint"}
    if stream.keyed:
        ours |= {DELETED: "boolean", PARTITION: "integer"}
    if stream.load_mode is LoadMode.HISTORY:
        ours |= {UNTIL: "bigint"}
    return ours


def identifiers(names: Iterable[str]) -> Composed:
    """In a statement, with commas in between."""
    return SQL(", ").join(map(Identifier, names))


def kind_of(connection: psycopg.Connection, schema: str, name: str) -> str:
    """PostgreSQL's letter for what has that name: r a table, p a partitioned one, v a view; empty if nothing has."""
    asked = "select relkind::text from pg_class where oid = to_regclass(format('%%I.%%I', %s::text, %s::text))"
    (kind,) = connection.execute(asked, (schema, name)).fetchone() or ("",)
    return str(kind)


def holds_rows(connection: psycopg.Connection, schema: str, name: str) -> bool:
    """Whether there is a table of that name, and not a view on one."""
    return kind_of(connection, schema, name) in ("r", "p")


def existing(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """Column → type of a table, in order; empty if there is none."""
    return dict(columns_of(connection, schema, table).fetchall())


def columns_of(connection: psycopg.Connection, schema: str, table: str) -> psycopg.Cursor:
    """The answer of which `existing` makes a dictionary."""
    return connection.execute(
        """
        select attname, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and attnum > 0 and not attisdropped
        order by attnum
        """,
        (schema, table),
    )


def holding(connection: psycopg.Connection, schema: str, table: str) -> dict[str, int]:
    """The tables in which rows of `table` are, with their sizes in pages; not what open runs fill beside it."""
    rows = connection.execute(
        """
        select c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        left join pg_inherits i on i.inhrelid = c.oid left join pg_class p on p.oid = i.inhparent
        where n.nspname = %(schema)s and c.relkind = 'r'
          and (c.relname in (%(table)s::text, %(rows)s) or p.relname = %(table)s::text)
          and exists (select from pg_attribute where attrelid = c.oid and attname = %(run)s::text)
        """,
        {"schema": schema, "table": table, "rows": table + ROWS, "run": RUN},
    )
    return dict(rows.fetchall())


def create_shadow(connection: psycopg.Connection, schema: str, stream: Stream, run: int) -> None:
    """The table beside the table, that REPLACE fills; its CHECK lets attach skip the scan."""
    shadow, parent = Identifier(schema, shadow_table(run)), Identifier(schema, stream.target)
    connection.execute(
        SQL("create table if not exists {} (like {} including defaults including indexes, check ({} = {}))").format(
            shadow, parent, Identifier(RUN), run
        )
    )


def drop_shadow(connection: psycopg.Connection, schema: str, run: int) -> None:
    connection.execute(SQL("drop table if exists {}").format(Identifier(schema, shadow_table(run))))


def swap(connection: psycopg.Connection, schema: str, stream: Stream, run: int) -> None:
    """Show the shadow in place of what is shown; views and grants on the table stay."""
    parent, shadow = Identifier(schema, stream.target), Identifier(schema, shadow_table(run))
    for old in _attached(connection, schema, stream):
        connection.execute(SQL("alter table {} detach partition {}").format(parent, Identifier(schema, old)))
        connection.execute(SQL("drop table {}").format(Identifier(schema, old)))
    connection.execute(SQL("alter table {} attach partition {} for values in ({})").format(parent, shadow, run))


def _attached(connection: psycopg.Connection, schema: str, stream: Stream) -> list[str]:
    """The partitions that a REPLACE table shows now: one, or none before the first commit."""
    rows = connection.execute(
        """
        select p.relname from pg_inherits i join pg_class p on p.oid = i.inhrelid
        join pg_class c on c.oid = i.inhparent join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %s and c.relname = %s
        """,
        (schema, stream.target),
    )
    return [name for (name,) in rows.fetchall()]
