"""Tables are made, widened and extended in `prepare`, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import psycopg
from psycopg.sql import SQL, Identifier

from importers.core.model import DELETED, PARTITION, RUN, SUBJECT, UNTIL, VERSION, LoadMode, Stream, TableColumn
from importers.core.names import ROWS, few, is_behind
from importers.destinations import _history as history
from importers.destinations import _owners as owners
from importers.destinations import _views as views
from importers.destinations._tables import existing, holds_rows, identifiers, key_columns, our_columns, rows_table
from importers.destinations._types import sql_types, wider
from importers.exceptions import ConfigError, ContractError

MAX_NAME = 63  # bytes; PostgreSQL cuts longer names without a word
MAX_COLUMNS = 1600
_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_KIND = {LoadMode.APPEND: "r", LoadMode.MERGE: "r", LoadMode.HISTORY: "r", LoadMode.REPLACE: "p"}


def ensure(
    connection: psycopg.Connection, schema: str, stream: Stream, columns: Sequence[TableColumn], *, frozen: bool = False
) -> bool:
    """Create the table (True), or widen and extend it so that `columns` fit.

    Raises ContractError if they can't, and for a `frozen` table unless they are what it has.
    """
    check(schema, stream, columns)
    connection.execute(SQL("create schema if not exists {}").format(Identifier(schema)))
    wanted = sql_types(columns) | our_columns(stream)
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
        on_it = views.others_on(connection, schema, stream) if stream.keyed else []
        if on_it:
            raise ContractError(
                f'"{schema}"."{stream.target}" shows a table that was renamed or moved, and has to be made anew;'
                " PostgreSQL lets no view stay on it meanwhile",
                got=f"shown by {few(on_it)}",
                do=f'give the table its name "{rows_table(stream)}" back; or drop these views, run, make them again',
            )
        with views.hidden(connection, schema, stream):  # a view that is there may show one that was renamed
            _create(connection, schema, stream, wanted)
    if stream.keyed:
        views.show(connection, schema, stream)
    return not have


def misfits(have: Mapping[str, str], columns: Sequence[TableColumn]) -> dict[str, tuple[str, str]]:
    """Of the columns that are there those that no type can hold together with what comes: both types, by name."""
    comes = sql_types([column for column in columns if column.name in have])
    return {name: (have[name], kind) for name, kind in comes.items() if wider(have[name], kind) is None}


def check_number(schema: str, stream: Stream, names: AbstractSet[str]) -> None:
    """Raise ContractError for more columns than PostgreSQL's tables have, with those that the mode adds."""
    ours = our_columns(stream).keys()
    most = MAX_COLUMNS - len(ours)
    if len(names - ours) > most:
        raise ContractError(
            f'"{schema}"."{stream.target}" would have more columns than a table of PostgreSQL can have',
            got=f"{len(names - ours):,}; {most:,} are taken, beside {few(ours)}",
            do="`drop` in `privacy.columns` what nobody needs; or load parts by pipelines of their own, a table each",
        )


def check(schema: str, stream: Stream, columns: Sequence[TableColumn]) -> None:
    """Raise ConfigError or ContractError for more columns than PostgreSQL's tables have, for types that it lacks, and
    for names that it would cut, refuse or confuse with its own.
    """
    sql_types(columns)
    for name in (schema, rows_table(stream)):
        if len(name.encode()) > MAX_NAME:
            raise ConfigError(f"the table name '{name}' is longer than {MAX_NAME} bytes", do="set load.table")
    if is_behind(stream.target):
        raise ConfigError(
            f"a table can't be called '{stream.target}': such names are made for tables behind a table",
            do=f"set load.table to a name that neither ends in {ROWS} nor is _r and a number",
        )
    check_number(schema, stream, {column.name for column in columns})
    kept = {RUN, PARTITION, VERSION, DELETED, UNTIL}
    if stream.load_mode is LoadMode.HISTORY:
        kept |= history.SHOWN.keys()
    for column in columns:
        if not column.name or "\0" in column.name or len(column.name.encode()) > MAX_NAME:
            problem = f"must be 1 to {MAX_NAME} bytes without NUL"
        elif column.name in kept or column.name in _SYSTEM:
            problem = "is a name that the database or this package keeps for itself"
        else:
            continue
        raise ContractError(f"column '{column.name[:80]}' {problem}", do="rename it at the source, or `drop` it")


def _create(connection: psycopg.Connection, schema: str, stream: Stream, wanted: Mapping[str, str]) -> None:
    parts = [SQL("{} {}").format(Identifier(name), SQL(kind)) for name, kind in wanted.items()]
    if stream.keyed:
        parts.append(SQL("primary key ({})").format(identifiers(key_columns(stream))))
    statement = SQL("create table {} ({})").format(Identifier(schema, rows_table(stream)), SQL(", ").join(parts))
    if stream.load_mode is LoadMode.REPLACE:
        statement += SQL(" partition by list ({})").format(Identifier(RUN))
    connection.execute(statement)
    if SUBJECT in wanted:
        connection.execute(
            SQL("create index on {} ({})").format(Identifier(schema, rows_table(stream)), Identifier(SUBJECT))
        )


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
    on_it = views.others_on(connection, schema, stream, name)
    if on_it:
        raise ContractError(
            f'column \'{name}\' of "{schema}"."{stream.target}" has to become {width}, and PostgreSQL lets no view'
            " stay on it meanwhile",
            got=f"{have}, shown by {few(on_it)}",
            do="drop these views, run, and make them again",
        )
    with views.hidden(connection, schema, stream):  # the view's column would change under it
        connection.execute(SQL("alter table {} alter column {} type {}").format(table, column, SQL(width)))
