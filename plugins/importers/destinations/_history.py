"""History: every version of a row stays, with when it began to hold and when another took its place.

A version is a number of microseconds since 1970: the cursor's, else the moment at which the run was opened. `_until` is
the next version of the same key. Rows are loaded without a place in the history, unseen; a commit, or an abort, gives
them theirs, whatever order runs come in: a version that arrives late is put between its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from importers.core.model import DELETED, PARTITION, RUN, UNTIL, VERSION, Reads, Run, RunKind, Stream
from importers.destinations import _owners as owners
from importers.destinations._quarantine import has_quarantine
from importers.destinations._tables import identifiers

UNPLACED = -(2**63)
"""`_until` of a version that no commit has given a place yet."""


def _moment(column: str) -> Composed:
    """A version as a moment. Of a row without a cursor nobody knows since when it holds: null, since few clients can
    read PostgreSQL's `-infinity`.
    """
    return SQL(
        "case when {0} > {1} then timestamptz '1970-01-01 00:00:00+00' + {0} * interval '1 microsecond' end"
    ).format(Identifier(column), UNPLACED)


SHOWN: Mapping[str, Composable] = {"valid_from": _moment(VERSION), "valid_to": _moment(UNTIL)}
"""What the view says of each version: half-open; the one that holds now has no `valid_to`."""
COUNTS = SQL(" and {} is distinct from {}").format(Identifier(UNTIL), UNPLACED)


_NEWEST = "(select distinct on ({key}) * from {table} order by {key}, {version} desc)"
_ABSENT = (
    "from "
    + _NEWEST
    + """ n where not n.{deleted}
    and not exists (select from {table} r where {same} and r.{run} = {id})"""
)
_BACK = (
    "from {table} r join "
    + _NEWEST
    + """ n on {same}
    where r.{run} = {id} and not r.{deleted} and n.{deleted} and n.{version} > r.{version}"""
)
_UNSEEN = "delete from {table} where {run} = {id} and {until} = {unplaced}"
_PLACE = """
    update {table} n set {until} = r.next
    from (select {key}, {version}, lead({version}) over (partition by {key} order by {version}) as next from {table}
          where ({key}) in (select {key} from {table} where {run} = {id})
            and ({until} is distinct from {unplaced} or {run} = {id})) r
    where {same} and n.{version} = r.{version} and n.{until} is distinct from r.next
"""


def close_the_absent(
    connection: psycopg.Connection, table: Identifier, columns: Mapping[str, str], stream: Stream, run: Run
) -> None:
    """What a complete snapshot lacks is deleted; what it has again, unchanged since before it was deleted, holds anew.

    A snapshot of which rows are in quarantine isn't complete: those keys aren't absent. It closes nothing.
    A tombstone is a row of this run: values of the row which it ends would count as treated like the run's, and their
    subject may be another column.
    """
    snapshot = run.plan.complete or stream.reads is Reads.SNAPSHOT
    if not snapshot or run.kind is not RunKind.INCREMENTAL or has_quarantine(connection, run):
        return
    # Later than what it follows, also where a cursor is ahead of the moment at which the run was opened.
    later: dict[str, Composable] = {
        VERSION: SQL("greatest({}, n.{} + 1)").format(run.version, Identifier(VERSION)),
        PARTITION: Literal(0),
        UNTIL: Literal(UNPLACED),
    }
    ended = owners.ended(connection, "n", columns, stream, run)
    for which, row, new in ((_ABSENT, "n", ended | later), (_BACK, "r", {DELETED: Literal(False)} | later)):
        values = [new.get(name, Identifier(row, name)) for name in columns]
        statement = "insert into {table} ({columns}) select {values} " + which
        connection.execute(
            _filled(statement, table, stream, run, columns=identifiers(list(columns)), values=SQL(", ").join(values))
        )


def place(connection: psycopg.Connection, table: Identifier, stream: Stream, run: Run) -> None:
    """Tell each version of the keys that the run has touched which one follows; the run's are seen from now on.

    What another open run has loaded stays unseen: its own commit places it.
    """
    connection.execute(_filled(_PLACE, table, stream, run))


def take_back(connection: psycopg.Connection, table: Identifier, stream: Stream, run: Run) -> None:
    """What abort does: the next incremental run reads all again, and would tell the same anew under its own version.

    By a cursor it would be the same version; and what a backfill has read nobody need read again. Both stay, as true.
    """
    if stream.cursor is None and run.kind is RunKind.INCREMENTAL:
        connection.execute(_filled(_UNSEEN, table, stream, run))
    place(connection, table, stream, run)


def _filled(template: str, table: Identifier, stream: Stream, run: Run, **more: Composable) -> Composed:
    names = {"version": VERSION, "deleted": DELETED, "run": RUN, "until": UNTIL}
    return _template(template).format(
        table=table,
        key=identifiers(stream.primary_key),
        same=SQL(" and ").join(SQL("n.{0} = r.{0}").format(Identifier(name)) for name in stream.primary_key),
        id=run.id,
        unplaced=UNPLACED,
        **{name: Identifier(column) for name, column in names.items()},
        **more,
    )


def _template(text: Any) -> SQL:
    """One of ours, put together of parts."""
    return SQL(text)
