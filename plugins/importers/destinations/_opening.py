"""What must hold before a run is opened: who is in its way, what it may read again, and how new its rows are."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from importers.core.model import RUN, LoadMode, Plan, Position, Reads, Run, RunKind, Stream, Window
from importers.core.names import StreamName
from importers.destinations import _control as control
from importers.destinations import _owner as owner
from importers.destinations import _positions as positions
from importers.destinations import _tables as tables
from importers.exceptions import ContractError, RunBusyError


def clear_the_way(
    connection: psycopg.Connection, stream: Stream, name: str, kind: RunKind, abort: Callable[[Run], None]
) -> None:
    """Abort what is in the way and was left by its owner. Raises RunBusyError for a run that is alive."""
    if kind is RunKind.WINDOW and stream.load_mode is not LoadMode.REPLACE:
        return
    where = StreamName.of(name)._asdict()
    connection.execute(f"set local lock_timeout = '{control.LOCK_TIMEOUT}'")
    try:
        found = _in_the_way(connection, where["tenant"], name, stream, kind)
        if kind is RunKind.REPLAY:  # its plan says what was read again: by a commit that has begun, too
            connection.execute("set local lock_timeout = 0")  # which may take long, and ends
            control.lock(connection, control.COMMIT, name)  # after the runs' rows, as a commit does
    except LockNotAvailable:  # a process that sleeps or was orphaned holds it; it may never wake
        raise RunBusyError(
            "a transaction of another run of this stream is still under way",
            do="wait for it to end; if it never does, end the session that holds it",
            retry_after=5.0,
            **where,
        ) from None
    for run, seconds_left in found:
        if seconds_left <= 0 and owner.is_gone(connection, run):
            abort(run)
        elif run.kind is not RunKind.REPLAY:  # a replay beside another takes what that one hasn't claimed
            raise RunBusyError(
                "another run of this stream, or of its table, is open",
                got=f"run {run.id} of {run.stream}, key {run.key}",
                do="wait for it to end",
                retry_after=max(seconds_left, 5.0),
                **where,
            )


def _in_the_way(
    connection: psycopg.Connection, tenant: str, name: str, stream: Stream, kind: RunKind
) -> list[tuple[Run, float]]:
    """Open runs that can't be beside this one, and how many seconds each one's lease still has (negative: none).

    An incremental run of the same stream, and whoever replaces the same table, whatever pipeline it belongs to; for a
    replay, another replay of the stream: it holds what this one may want.
    """
    rows = connection.execute(
        f"""select {control.RUN_COLUMNS}, extract(epoch from lease - now())::float from _importers.run
            where state = 'open' and ((stream = %s and kind = %s)
              or (%s and tenant = %s and table_name = %s and mode = 'replace'))
            order by id for update""",
        (
            name,
            RunKind.REPLAY if kind is RunKind.REPLAY else RunKind.INCREMENTAL,
            stream.load_mode is LoadMode.REPLACE,
            tenant,
            stream.target,
        ),
    ).fetchall()
    return [(control.run_from(row[:-1], control.receipts(connection, row[0])), row[-1]) for row in rows]


def next_version(connection: psycopg.Connection, tenant: str, stream: Stream, window: Window) -> int:
    """What stamps rows without a cursor: microseconds since 1970 by the server's clock, never less than before.

    Of a source that is read by windows a row is as new as its window: an older one that is read later stays older.
    """
    moment = window.end if stream.reads is Reads.WINDOW else None
    row = connection.execute(
        """select (extract(epoch from coalesce(%s::timestamptz, greatest(clock_timestamp(), (
             select to_timestamp(max(version) / 1e6) + interval '1 second' from _importers.run
             where tenant = %s and table_name = %s)))) * 1e6)::bigint""",
        (moment, tenant, stream.target),
    ).fetchone()
    if row is None:
        raise ContractError("the warehouse tells no time", do="report this")
    return int(row[0])


def check_what_is_newer(connection: psycopg.Connection, tenant: str, stream: Stream) -> None:
    """A table's versions are of one kind: another cursor's can't be compared with those that are there."""
    if not stream.keyed:
        return
    row = connection.execute(
        """select plan -> 'stream' ->> 'cursor' from _importers.run r
           where tenant = %s and table_name = %s and mode in ('merge', 'history') and plan -> 'stream' <> 'null'
             and exists (select from _importers.receipt where run = r.id and loaded > 0)
           order by id desc limit 1""",
        (tenant, stream.target),
    ).fetchone()
    if row is not None and row[0] != stream.cursor:
        raise ContractError(
            f"the table '{stream.target}' was loaded by another cursor: which row is newer can't be told",
            got=f"cursor {stream.cursor or 'none'}, before {row[0] or 'none'}",
            do="keep the cursor, or load into a new table with load.table",
        )


def check_not_renamed(connection: psycopg.Connection, tenant: str, name: str, stream: Stream, *, known: bool) -> None:
    """A table isn't read into that has the stream's rows, by another name, already.

    One that the stream has loaded before is `known`: all of its rows would be others' then, so that its first one
    tells, and the table isn't read at every run.
    """
    if stream.load_mode is not LoadMode.APPEND or RUN not in tables.existing(connection, tenant, stream.target):
        return
    theirs = SQL("any(array(select distinct {run} from {table}))")
    if known:
        theirs = SQL(
            "(select {run} from {table} limit 1) and not exists (select from {table} t"
            " join _importers.run o on o.id = t.{run} where o.stream = r.stream and o.table_name = {target})"
        )
    found = connection.execute(
        SQL(
            "select r.table_name from _importers.run r where r.stream = {stream} and r.table_name <> {target}"
            " and r.id = {theirs} limit 1"
        ).format(
            stream=name,
            target=stream.target,
            theirs=theirs.format(run=Identifier(RUN), table=Identifier(tenant, stream.target), target=stream.target),
        )
    ).fetchone()
    if found is not None:
        raise ContractError(
            f"the table '{stream.target}' has rows that were appended to '{found[0]}', and would have them twice",
            do="give the table its name back, and load.table too; or set load.table to a name that no table has",
        )


def check_not_dropped(connection: psycopg.Connection, tenant: str, stream: Stream) -> None:
    """What a dropped table had is read again, and so is its quarantine: appended, that would be there twice."""
    if stream.load_mode is not LoadMode.APPEND or stream.reads is Reads.WINDOW:
        return
    if not tables.existing(connection, tenant, stream.target):
        raise ContractError(
            f"the table '{stream.target}' isn't there any more: the next run reads everything again, rows in "
            "quarantine too",
            do="run the pipeline, then replay what is in quarantine",
        )


def check_goes_on(connection: psycopg.Connection, run: Run, position: Position, *, anew: bool = False) -> None:
    """A run that goes on from a position of the table that has been dropped since would load only what is new; one that
    found no table would load again what the table has that got its name back since.

    Whoever makes the table anew sets the position aside: the stream has none there now. What the run itself had loaded
    is gone with the table, too, if it is made `anew`.
    """
    loaded = anew and run.receipts and run.mode is not LoadMode.REPLACE  # a snapshot is loaded beside its table
    if loaded or (run.kind is RunKind.REPLAY and run.plan.resumed and not position):
        raise _dropped(run)
    if run.kind is not RunKind.INCREMENTAL or run.mode is LoadMode.REPLACE or run.plan.refresh:
        return
    resumed = run.plan.resumed
    if resumed is None:  # by what was set aside, perhaps long before: a new run costs less than rows that are missing
        resumed = bool(position) or positions.was_dropped(connection, run.stream, run.table)
    if position and not resumed and not run.plan.live:  # a live run has moved it itself
        raise ContractError(
            f"the table '{run.table}' wasn't there when this run was planned, and has rows of this stream now",
            do="start a new run: it goes on where the table is",
            run=run.id,
        )
    if resumed and not position:
        raise _dropped(run)


def _dropped(run: Run) -> ContractError:
    return ContractError(
        f"the table '{run.table}' was dropped after this run was planned: what it had would be missing",
        do="start a new run: it reads from the beginning",
        run=run.id,
    )


def check_not_expired(connection: psycopg.Connection, name: str, kind: RunKind, stream: Stream, window: Window) -> None:
    """What retention has deleted isn't read again by a window. Raises ContractError.

    What was read again since is there, and may be read once more. A run without a window may have loaded whatever there
    was before it ended.
    """
    if kind is not RunKind.WINDOW:
        return
    row = connection.execute(
        """select max(case when span is null then closed_at else upper(span) end) from _importers.run r
           where stream = %(stream)s and table_name = %(table)s and expired_at is not null and kind <> 'replay'
             and case when span is null then coalesce(%(start)s::timestamptz, '-infinity') < closed_at
                 else span && tstzrange(%(start)s, %(end)s) end
             and not exists (select from _importers.run n where n.stream = r.stream and n.table_name = r.table_name
               and n.state = 'committed' and n.expired_at is null and n.closed_at > r.closed_at
               and n.span @> r.span)""",
        {"stream": name, "table": stream.target, "start": window.start, "end": window.end},
    ).fetchone()
    if row and row[0] is not None:
        raise ContractError(
            "the window holds rows that were loaded before, and deleted as their retention was over",
            got=f"window {window.start or 'from the beginning'} to {window.end or 'now'}",
            do=f"let it begin at {row[0].isoformat(timespec='seconds')} or later",
        )


def check_overlap(
    connection: psycopg.Connection, name: str, key: str, kind: RunKind, stream: Stream, window: Window, plan: Plan
) -> None:
    """Ranges that two runs would append twice. Raises RunBusyError or ContractError."""
    if plan.covers is not None:
        row = connection.execute(
            "select id from _importers.run"
            " where stream = %s and state = 'open' and covers && int8range(%s, %s) limit 1",
            (name, *plan.covers),
        ).fetchone()
        if row:
            raise RunBusyError("an open run re-reads a part of the same range", got=f"run {row[0]}", do="wait for it")
    elif kind is RunKind.WINDOW and stream.load_mode is LoadMode.APPEND and plan.partitions:
        row = connection.execute(
            "select key from _importers.run where stream = %s and table_name = %s and key <> %s"
            " and state in ('open', 'committed') and span && tstzrange(%s, %s) limit 1",
            (name, stream.target, key, window.start, window.end),
        ).fetchone()
        if row:
            raise ContractError(
                "the window overlaps one that was appended, and its rows would be there twice",
                got=f"the window of run key {row[0]}",
                do="run that one again, or set load.mode: merge",
            )
