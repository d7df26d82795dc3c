"""The tables of a tenant's schema: made and evolved in `prepare`, and nowhere else.

append   `t`, plain.
replace  `t` partitioned by `_run`: a run fills a table beside it, and commit attaches that in place of the old one.
merge    `t` is a view that hides tombstones; the rows are in `t__rows`, with the primary key.
history  `t` is a view that says from when to when each version held; `t__rows` has them, by the key and `_version`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.sql import SQL, Composed, Identifier

from importers.core.model import DELETED, PARTITION, RUN, SUBJECT, UNTIL, VERSION, LoadMode, Stream, TableColumn
from importers.core.names import ROWS, few
from importers.destinations import _history as history
from importers.destinations import _owners as owners
from importers.destinations._types import sql_type, wider
from importers.exceptions import ConfigError, ContractError

MAX_NAME = 63  # bytes; PostgreSQL cuts longer names without a word
MAX_COLUMNS = 1600
_DERIVED = re.compile(rf"{ROWS}$|^_r[0-9]+$")
_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


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


def check_names(schema: str, stream: Stream, columns: Sequence[TableColumn]) -> None:
    """Raise ConfigError or ContractError for names that PostgreSQL would cut, refuse or confuse with its own."""
    for name in (schema, rows_table(stream)):
        if len(name.encode()) > MAX_NAME:
            raise ConfigError(f"the table name '{name}' is longer than {MAX_NAME} bytes", do="set load.table")
    if _DERIVED.search(stream.target):
        raise ConfigError(
            f"a table can't be called '{stream.target}': such names are made for tables behind a table",
            do=f"set load.table to a name that neither ends in {ROWS} nor is _r and a number",
        )
    if len(columns) + len(our_columns(stream)) > MAX_COLUMNS:
        raise ContractError(
            f"PostgreSQL's tables have at most {MAX_COLUMNS} columns", got=str(len(columns)), do="`drop` some of them"
        )
    ours = {RUN, PARTITION, VERSION, DELETED, UNTIL}
    if stream.load_mode is LoadMode.HISTORY:
        ours |= history.SHOWN.keys()
    for column in columns:
        if not column.name or "\0" in column.name or len(column.name.encode()) > MAX_NAME:
            problem = f"must be 1 to {MAX_NAME} bytes without NUL"
        elif column.name in ours or (column.name in _SYSTEM):
            problem = "is a name that the database or this package keeps for itself"
        else:
            continue
        raise ContractError(f"column '{column.name[:80]}' {problem}", do="rename it at the source, or `drop` it")


def holds_rows(connection: psycopg.Connection, schema: str, name: str) -> bool:
    """Whether there is a table of that name, and not a view on one."""
    return _kind_of(connection, schema, name) in _KIND.values()


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


def ensure(
    connection: psycopg.Connection, schema: str, stream: Stream, columns: Sequence[TableColumn], *, frozen: bool = False
) -> bool:
    """Create the table (True), or widen and extend it so that `columns` fit.

    Raises ContractError if they can't, and for a `frozen` table unless they are what it has.
    """
    check_names(schema, stream, columns)
    connection.execute(SQL("create schema if not exists {}").format(Identifier(schema)))
    wanted = {column.name: sql_type(column.type) for column in columns} | our_columns(stream)
    if stream.keyed and owners.earlier(connection, schema, stream):
        wanted[SUBJECT] = owners.TOKEN  # where a run that ends another's rows says whose they were
    have = existing(connection, schema, rows_table(stream))
    if have:
        _check_layout(connection, schema, stream)
        if frozen:
            _check_frozen(schema, stream, have, wanted)
        _evolve(connection, schema, stream, have, wanted)
    else:
        if stream.keyed and holds_rows(connection, schema, stream.target):
            raise _of_another_mode(schema, stream)  # where the view would be, there is a table
        with _hidden(connection, schema, stream):  # a view that is there may show one that was renamed
            _create(connection, schema, stream, wanted)
    if stream.keyed:
        _show(connection, schema, stream)
    return not have


def misfits(have: Mapping[str, str], columns: Sequence[TableColumn]) -> dict[str, tuple[str, str]]:
    """Of the columns that are there those that no type can hold together with what comes: both types, by name."""
    comes = {column.name: sql_type(column.type) for column in columns if column.name in have}
    return {name: (have[name], kind) for name, kind in comes.items() if wider(have[name], kind) is None}


def _create(connection: psycopg.Connection, schema: str, stream: Stream, wanted: Mapping[str, str]) -> None:
    parts = [SQL("{} {}").format(Identifier(name), SQL(kind)) for name, kind in wanted.items()]
    if stream.keyed:
        parts.append(SQL("primary key ({})").format(_names(key_columns(stream))))
    statement = SQL("create table {} ({})").format(Identifier(schema, rows_table(stream)), SQL(", ").join(parts))
    if stream.load_mode is LoadMode.REPLACE:
        statement += SQL(" partition by list ({})").format(Identifier(RUN))
    connection.execute(statement)
    if SUBJECT in wanted:
        connection.execute(
            SQL("create index on {} ({})").format(Identifier(schema, rows_table(stream)), Identifier(SUBJECT))
        )


_KIND = {LoadMode.APPEND: "r", LoadMode.MERGE: "r", LoadMode.HISTORY: "r", LoadMode.REPLACE: "p"}


def _check_layout(connection: psycopg.Connection, schema: str, stream: Stream) -> None:
    """A table that another mode or another key made isn't reinterpreted."""
    kind, key = connection.execute(
        """
        select c.relkind::text,
               coalesce((select array_agg(a.attname::text order by k.n)
                         from pg_index i cross join unnest(i.indkey) with ordinality k(att, n)
                         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.att
                         where i.indrelid = c.oid and i.indisprimary), '{}')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %s and c.relname = %s
        """,
        (schema, rows_table(stream)),
    ).fetchone() or ("", [])
    wants_key = list(key_columns(stream))
    if kind != _KIND[stream.load_mode] or (wants_key and key != wants_key):
        raise _of_another_mode(schema, stream)


def _kind_of(connection: psycopg.Connection, schema: str, name: str) -> str:
    """PostgreSQL's letter for what has that name: r a table, p a partitioned one, v a view; empty if nothing has."""
    asked = "select relkind::text from pg_class where oid = to_regclass(format('%%I.%%I', %s::text, %s::text))"
    (kind,) = connection.execute(asked, (schema, name)).fetchone() or ("",)
    return str(kind)


def _of_another_mode(schema: str, stream: Stream) -> ContractError:
    return ContractError(
        f'the table "{schema}"."{stream.target}" was made for another load mode or primary key',
        got=f"mode {stream.load_mode}, primary key {list(key_columns(stream)) or 'none'}",
        do="set load.table to a new name: it is read from the beginning",
    )


def _evolve(
    connection: psycopg.Connection, schema: str, stream: Stream, have: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    table = Identifier(schema, rows_table(stream))
    for name, kind in wanted.items():
        if name not in have:
            connection.execute(SQL("alter table {} add column {} {}").format(table, Identifier(name), SQL(kind)))
            continue
        width = wider(have[name], kind)
        if width is None:
            raise ContractError(
                f'column \'{name}\' of "{schema}"."{stream.target}" is {have[name]} and can\'t hold {kind}',
                do="mend the source; or, if the new type is right, load all into another load.table",
            )
        if width != have[name]:
            _widen(connection, schema, stream, name, have[name], width)


def _check_frozen(schema: str, stream: Stream, have: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """A narrower type than the table's is no change: it holds it already."""
    wide = {name: wider(have[name], kind) if name in have else kind for name, kind in wanted.items()}
    if {**wide, SUBJECT: ""} != {**have, SUBJECT: ""}:  # `_subject` is nothing that arrives
        ours = our_columns(stream)
        table, delivered = (
            ", ".join(f"{name} {kind}" for name, kind in columns.items() if name not in ours)
            for columns in (have, wanted)
        )
        raise ContractError(
            f'the columns of "{schema}"."{stream.target}" are frozen, and others arrive',
            got=f"delivered: {delivered}; in the table: {table}",
            do="mend the source; or set load.schema_change: evolve for a run, if the change is right",
        )


def _widen(connection: psycopg.Connection, schema: str, stream: Stream, name: str, have: str, width: str) -> None:
    table, column = Identifier(schema, rows_table(stream)), Identifier(name)
    if width == "double precision" and have == "bigint":
        exact = SQL("select not exists (select from {} where abs({}::numeric) > 9007199254740992)")
        if connection.execute(exact.format(table, column)).fetchone() == (False,):
            raise ContractError(
                f"column '{name}' holds integers that double precision can't, and fractions arrive",
                do="say `integer` of it in `types`, and fractions go to quarantine; or `decimal`, and give load.table "
                "a new name",
            )
    on_it = _views_on(connection, schema, stream, name)
    if on_it:
        raise ContractError(
            f'column \'{name}\' of "{schema}"."{stream.target}" has to become {width}, and PostgreSQL lets no view'
            " stay on it meanwhile",
            got=f"{have}, shown by {few(on_it)}",
            do="drop these views, run, and make them again",
        )
    with _hidden(connection, schema, stream):  # the view's column would change under it
        connection.execute(SQL("alter table {} alter column {} type {}").format(table, column, SQL(width)))


@contextmanager
def _hidden(connection: psycopg.Connection, schema: str, stream: Stream) -> Iterator[None]:
    """Without the view on a table with keys, which is made anew then, for whom it was granted to."""
    if not stream.keyed:
        yield
        return
    grants = _grants(connection, schema, stream.target)
    connection.execute(SQL("drop view if exists {}").format(Identifier(schema, stream.target)))
    yield
    _show(connection, schema, stream)
    for grant in grants:
        connection.execute(grant)


def _views_on(connection: psycopg.Connection, schema: str, stream: Stream, column: str) -> list[str]:
    """Others' views that show the column of the table that holds the rows, or anything of our view on it."""
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


def _show(connection: psycopg.Connection, schema: str, stream: Stream) -> None:
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


def _names(names: Sequence[str]) -> sql.Composed:
    return SQL(", ").join(map(Identifier, names))


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


def attached(connection: psycopg.Connection, schema: str, stream: Stream) -> list[str]:
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


def swap(connection: psycopg.Connection, schema: str, stream: Stream, run: int) -> None:
    """Show the shadow in place of what is shown; views and grants on the table stay."""
    parent, shadow = Identifier(schema, stream.target), Identifier(schema, shadow_table(run))
    for old in attached(connection, schema, stream):
        connection.execute(SQL("alter table {} detach partition {}").format(parent, Identifier(schema, old)))
        connection.execute(SQL("drop table {}").format(Identifier(schema, old)))
    connection.execute(SQL("alter table {} attach partition {} for values in ({})").format(parent, shadow, run))
