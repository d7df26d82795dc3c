"""Whose a row of a table is: `_subject` says so, else the column that was the subject's for the run that brought it.

In other runs' rows the same column may name somebody else than the subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from importers.core.model import DELETED, OURS, RUN, SUBJECT, Run, Stream
from importers.core.names import StreamName
from importers.destinations._types import UUID, sql_type

TOKEN = sql_type(UUID)
"""What a column is that says whose a row is."""


def theirs(whose: Sequence[str]) -> Composed:
    """Which rows are those of the subjects whose `tokens` the statement is given; `whose` are columns of tokens."""
    return _by_owner(whose, SQL("{} = any(%(tokens)s)"))


def somebody_s(whose: Sequence[str]) -> Composed:
    """Of which rows anybody knows whose they are."""
    return _by_owner(whose, SQL("{} is not null"))


DOMAIN = "coalesce(plan -> 'stream' ->> 'subject_domain', 'default')"
"""In which domain the rows of a run say whose they are, if they concern somebody."""
RENAMED = f"""case when stream in (
  select stream from _importers.run where tenant = %(tenant)s and plan -> 'stream' ->> 'subject' is not null
  group by stream having count(distinct {DOMAIN}) > 1
) and plan -> 'stream' ->> 'subject' is not null then {DOMAIN} end"""
"""That domain of a run of a stream whose runs have named several; else null. A statement's that is given `tenant`."""


def of_another(whose: Sequence[str]) -> Composed:
    """Which rows are somebody's in another domain than the `domain` that the statement is given, of streams that had
    several. In a table whose subjects were always of one other nobody is looked for in vain.
    """
    runs = SQL("{} in (select id from _importers.run where tenant = %(tenant)s and {} <> %(domain)s)")
    return SQL("({} and {})").format(somebody_s(whose), runs.format(Identifier(RUN), SQL(RENAMED)))


def _by_owner(whose: Sequence[str], says: SQL) -> Composed:
    """A condition of a statement that is given `tenant`."""
    runs = SQL(
        "{} in (select id from _importers.run where tenant = %(tenant)s and plan -> 'stream' ->> 'subject' = {})"
    )
    other = SQL(" and {} is null").format(Identifier(SUBJECT)) if SUBJECT in whose else SQL("")
    said = (
        says.format(Identifier(name))
        if name == SUBJECT
        else SQL("({} and {}{})").format(
            says.format(Identifier(name)), runs.format(Identifier(RUN), Literal(name)), other
        )
        for name in whose
    )
    return SQL("({})").format(SQL(" or ").join(said))


def earlier(connection: psycopg.Connection, tenant: str, stream: Stream) -> frozenset[str]:
    """Columns that runs have taken the table's subject from, if another than `stream` does is among them; else none."""
    rows = connection.execute(
        """select distinct plan -> 'stream' ->> 'subject' from _importers.run
           where tenant = %s and table_name = %s and plan -> 'stream' ->> 'subject' is not null""",
        (tenant, stream.target),
    )
    columns = frozenset(name for (name,) in rows.fetchall())
    return columns if columns - {stream.subject} else frozenset()


def ended(
    connection: psycopg.Connection, row: str, columns: Mapping[str, str], stream: Stream, run: Run
) -> dict[str, Composable]:
    """What becomes of a row, called `row`, that `run` ends as its own: nothing stays but its key, and whose it was."""
    kept = {*stream.primary_key, stream.subject, *OURS}
    gone: dict[str, Composable] = {name: SQL("null") for name in columns if name not in kept}
    return gone | {DELETED: Literal(True), RUN: Literal(run.id)} | _taken_over(connection, row, columns, stream, run)


def _taken_over(
    connection: psycopg.Connection, row: str, columns: Mapping[str, str], stream: Stream, run: Run
) -> dict[str, Composable]:
    """`_subject` keeps whose the row was; a table without it has had the same column for its subject in all runs."""
    tenant = StreamName.of(run.stream).tenant
    if SUBJECT not in columns:
        return {}
    subjects = earlier(connection, tenant, stream) | ({stream.subject} if stream.subject else frozenset())
    said = [
        SQL(
            "case when {run} in (select id from _importers.run"
            " where tenant = {tenant} and plan -> 'stream' ->> 'subject' = {name}) then {value} end"
        ).format(run=Identifier(row, RUN), tenant=tenant, name=name, value=Identifier(row, name))
        for name in sorted(subjects)
        if columns.get(name) == TOKEN
    ]
    whose: dict[str, Composable] = {
        SUBJECT: SQL("coalesce({})").format(SQL(", ").join([Identifier(row, SUBJECT), *said]))
    }
    # Of a row that was nobody's the run's own subject column would say that it is somebody's.
    if stream.subject is not None and stream.subject in columns and stream.subject not in stream.primary_key:
        whose[stream.subject] = SQL("null")
    return whose
