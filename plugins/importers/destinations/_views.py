"""What analysts select from where rows have keys: a view on the table that holds them; and others' views on either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from importers.core.model import DELETED, SUBJECT, LoadMode, Stream
from importers.destinations import _history as history
from importers.destinations._tables import existing, our_columns, rows_table


def show(connection: psycopg.Connection, schema: str, stream: Stream) -> None:
    """(Re)make the view on a table with keys: every column but ours, no row that was deleted.
    With history, when each version held comes first: PostgreSQL lets a view grow at its end alone.
    """
    ours = our_columns(stream)
    columns = [c for c in existing(connection, schema, rows_table(stream)) if c not in ours and c != SUBJECT]
    said = history.SHOWN if stream.load_mode is LoadMode.HISTORY else {}
    if list(existing(connection, schema, stream.target)) == [*said, *columns]:
        return
    moments = [SQL("{} as {}").format(expression, Identifier(name)) for name, expression in said.items()]
    connection.execute(
        SQL("create or replace view {} as select {} from {} where not {}{}").format(
            Identifier(schema, stream.target),
            SQL(", ").join([*moments, *map(Identifier, columns)]),
            Identifier(schema, rows_table(stream)),
            Identifier(DELETED),
            history.COUNTS if said else SQL(""),
        )
    )


@contextmanager
def hidden(connection: psycopg.Connection, schema: str, stream: Stream) -> Iterator[None]:
    """Without the view on a table with keys, which is made anew then, for whom it was granted to."""
    if not stream.keyed:
        yield
        return
    grants = _grants(connection, schema, stream.target)
    connection.execute(SQL("drop view if exists {}").format(Identifier(schema, stream.target)))
    yield
    show(connection, schema, stream)
    for grant in grants:
        connection.execute(grant)


def _grants(connection: psycopg.Connection, schema: str, view: str) -> list[Composed]:
    rows = connection.execute(
        """
        select coalesce(r.rolname, 'public'), a.privilege_type
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where n.nspname = %s and c.relname = %s and a.grantee <> c.relowner
        """,
        (schema, view),
    )
    return [
        SQL("grant {} on {} to {}").format(
            SQL(privilege), Identifier(schema, view), SQL("public") if role == "public" else Identifier(role)
        )
        for role, privilege in rows.fetchall()
    ]


def others_on(connection: psycopg.Connection, schema: str, stream: Stream, column: str = "") -> list[str]:
    """Others' views that show the column of the table that holds the rows, if one is named, or anything of our view."""
    rows = connection.execute(
        """
        select distinct v.oid::regclass::text
        from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class
        join pg_class c on c.oid = d.refobjid join pg_namespace n on n.oid = c.relnamespace
        left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
        where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and v.oid <> c.oid
          and n.nspname = %(schema)s and ((c.relname = %(rows)s and a.attname = %(column)s
            and v.oid is distinct from to_regclass(format('%%I.%%I', n.nspname, %(view)s::text)))
            or (c.relname = %(view)s and c.relkind = 'v'))
        order by 1
        """,
        {"schema": schema, "rows": rows_table(stream), "view": stream.target, "column": column},
    )
    return [name for (name,) in rows.fetchall()]
