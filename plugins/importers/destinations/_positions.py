"""Positions: how far a stream has come in a table. What is read and moved of them is here, and nowhere else."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from importers.core.model import Position, Run
from importers.exceptions import ContractError

_DROPPED = " (dropped)"
"""Behind the name of a table that is gone, beside a position."""


def read(connection: psycopg.Connection, stream: str, table: str) -> dict[str, Any]:
    """How far the stream has come in a table; another one is read from the beginning."""
    rows = connection.execute(
        "select lane, value from _importers.position where stream = %s and table_name = %s", (stream, table)
    )
    return dict(rows.fetchall())


def former(
    connection: psycopg.Connection, stream: str, table: str, *, is_there: bool
) -> tuple[str, dict[str, Any]] | None:
    """Of the stream's tables the one that was loaded last, and how far: of those that aren't there, `table` first."""
    row = connection.execute(
        """select table_name from _importers.position
           where stream = %(stream)s and (table_name <> %(table)s or not %(is_there)s)
           order by table_name = %(table)s desc, table_name = %(dropped)s desc, run desc limit 1""",
        {"stream": stream, "table": table, "dropped": table + _DROPPED, "is_there": is_there},
    ).fetchone()
    if row is None:
        return None
    (found,) = row
    name = table if found == table + _DROPPED else "" if found.endswith(_DROPPED) else found
    return name, read(connection, stream, found)


def was_dropped(connection: psycopg.Connection, stream: str, table: str) -> bool:
    """Whether a position of the stream was set aside."""
    return bool(read(connection, stream, table + _DROPPED))


def set_aside(connection: psycopg.Connection, tenant: str, table: str) -> None:
    """A table that is made now has nothing up to any position: those under its name are of one that was dropped.

    They say no more than from where on a source that begins with what is new has more.
    """
    names = {"table": table, "tenant": f"{tenant}.", "dropped": table + _DROPPED}
    connection.execute(
        """delete from _importers.position p where table_name = %(dropped)s and starts_with(stream, %(tenant)s)
           and exists (select from _importers.position where stream = p.stream and table_name = %(table)s)""",
        names,
    )
    connection.execute(
        "update _importers.position set table_name = %(dropped)s"
        " where table_name = %(table)s and starts_with(stream, %(tenant)s)",
        names,
    )


def store(connection: psycopg.Connection, run: Run) -> None:
    """Move the lanes that the run has read."""
    lanes = _merged(run)
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into _importers.position (stream, table_name, lane, value, run) values (%s, %s, %s, %s, %s)
               on conflict (stream, table_name, lane) do update set value = excluded.value, run = excluded.run""",
            [(run.stream, run.table, lane, Jsonb(value), run.id) for lane, value in lanes.items()],
        )


def compare_and_set(connection: psycopg.Connection, run: Run, since: Position, to: Position) -> list[psycopg.Cursor]:
    """Compare and set, lane by lane: as many rows are changed as lanes are where this process has left them."""
    known = [(lane, Jsonb(since[lane]), Jsonb(at)) for lane, at in to.items() if lane in since]
    new = [(lane, Jsonb(at)) for lane, at in to.items() if lane not in since]
    moved = []
    if known:
        changed = connection.execute(
            """update _importers.position p set value = m.after, run = %s
               from unnest(%s::text[], %s::jsonb[], %s::jsonb[]) as m(lane, before, after)
               where p.stream = %s and p.table_name = %s and p.lane = m.lane and p.value = m.before""",
            (run.id, *map(list, zip(*known, strict=True)), run.stream, run.table),
        )
        moved.append(changed)
    if new:
        inserted = connection.execute(
            """insert into _importers.position (stream, table_name, lane, value, run)
               select %s, %s, lane, value, %s from unnest(%s::text[], %s::jsonb[]) as m(lane, value)
               on conflict do nothing""",
            (run.stream, run.table, run.id, *map(list, zip(*new, strict=True))),
        )
        moved.append(inserted)
    return moved


def _merged(run: Run) -> dict[str, Any]:
    """The plan's lanes and the receipts', which are disjoint. Raises ContractError for a lane that two of them give."""
    merged: dict[str, Any] = dict(run.plan.position)
    for receipt in run.receipts.values():
        twice = merged.keys() & receipt.position.keys()
        if twice:
            raise ContractError("two partitions gave one lane of the position", do="report this: the source is wrong")
        merged |= receipt.position
    return merged
