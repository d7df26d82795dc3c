"""What is new in a PostgreSQL table, view or query, sealed so that no row that commits late is missed.

A table's rows say which transaction wrote them. A plan takes the oldest transaction that still runs: all before it are
over, and what they wrote is read; the next run begins there. So a row is read when its transaction is over, whatever
its cursor says and however late it commits, and once for each time it was written. A view or query has no transactions
to tell: there the cursor decides, and who commits late with an earlier value is found by a lookback alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from importers.core.model import JSON, LoadMode, Plan, Position, Stream, Window
from importers.exceptions import ConfigError, ContractError, TransientSourceError
from importers.sources.databases._pg_catalogue import TIMELINE, Relation, ask, raw
from importers.sources.databases._pg_query import written_before, xid

_LANE = ""
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_CURSORS = frozenset({"int2", "int4", "int8"}) | _MOMENTS
_XIDS_APART = 2**31
"""Transactions' numbers are compared modulo 2³² (postgresql.org/docs/18/routine-vacuuming.html, 24.1.5)."""
_TOO_LONG_AGO = "the last run is too many transactions ago: what is new can't be told"
_AGAIN = "load everything again: with a full refresh into a merged table, else into a new table"


class Parts(NamedTuple):
    """At most `most`, of `blocks` blocks at least."""

    most: int
    blocks: int


def plan_table(
    connection: psycopg.Connection, relation: Relation, stream: Stream, position: Position, parts: Parts
) -> Plan:
    """What transactions that are over by now wrote since the position. Raises ContractError if that can't be told."""
    if stream.cursor is not None:
        _check_cursor(relation, stream)
    row = connection.execute(
        "select pg_snapshot_xmin(pg_current_snapshot())::text,"
        " (select system_identifier::text from pg_control_system()),"
        f" {TIMELINE},"
        " pg_relation_filenode(%(oid)s::bigint::oid)::bigint, pg_relation_size(%(oid)s::bigint::oid) / 8192",
        {"oid": relation.oid},
    ).fetchone()
    until, system, timeline, file, blocks = row or ("0", "", None, None, 0)
    here: dict[str, JSON] = {"until": until, "system": system, "timeline": timeline}
    here |= {"oid": relation.oid, "file": file}
    before = cast("Mapping[str, Any]", position.get(_LANE) or {})
    if before:
        here["timeline"] = timeline or before.get("timeline")
        _check_same(here, before, stream)
        if here["oid"] != before["oid"]:
            before = {}  # another table has the name now: its rows may be older than the last run
        elif before["until"] == until:
            return Plan([])
    part: dict[str, JSON] = {"oid": relation.oid, "since": before.get("until"), "until": until}
    if stream.cursor is not None and stream.lookback:
        over = written_before(until)  # a later row isn't read now: what is older than it may be, next time
        here["seen"] = _greatest(connection, relation, stream.cursor, over) or before.get("seen")
        part["after"] = _back(connection, relation, stream, before.get("seen"))
    pieces = min(parts.most, max(1, int(blocks) // parts.blocks)) if relation.has_blocks else 1
    return Plan([part | {"blocks": cut} for cut in _cuts(int(blocks), pieces)], {_LANE: here})


def check_reached(cursor: Any, stream: Stream, part: Mapping[str, Any]) -> None:
    """That the snapshot of an ADBC cursor's transaction holds all that a part of a table is to read.

    A replica, or a reader behind the planner's address, may not have come so far yet; after a crash a server may give
    numbers again that nothing durable had. Raises TransientSourceError then, and ContractError where the part's
    transactions are so long ago that `age` has gone round.
    """
    first = int(part["since"] or part["until"])
    cursor.execute(
        "select pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint,"
        f" age('{xid(first)}'::xid) from pg_current_snapshot() s"
    )
    oldest, newest, age = cursor.fetchone()
    if oldest < int(part["until"]):
        raise behind(stream)
    if age < 0 or newest - first >= _XIDS_APART:
        raise ContractError(_TOO_LONG_AGO, do=_AGAIN, stream=stream.name)


def behind(stream: Stream) -> TransientSourceError:
    """What to raise where another server is asked than before, which lacks what that one had."""
    what = "this server hasn't come as far as the one that was asked before"
    return TransientSourceError(what, do="see how far the replica lags, then run again", stream=stream.name)


def plan_by_cursor(connection: psycopg.Connection, relation: Relation, stream: Stream, position: Position) -> Plan:
    """What has a greater cursor than the last that was seen, less the lookback. Raises ContractError without one."""
    if stream.cursor is None:
        raise ConfigError(f"'{stream.name}' isn't a table: it is read incrementally by a cursor", do="set `cursor`")
    _check_cursor(relation, stream)
    nulls = SQL("select exists (select from {} as t where ({}) is not true)").format(
        raw(relation.source), _finite(relation, stream.cursor)
    )
    if ask(connection, nulls).fetchone() == (True,):
        do = "fill it, leave these rows out in a query, or read everything with `read: full`"
        raise ContractError(
            f"rows have no '{stream.cursor}', or an infinite one: an incremental read would never see them", do=do
        )
    before = cast("Mapping[str, Any]", position.get(_LANE) or {})
    last = _greatest(connection, relation, stream.cursor, SQL("true").format())
    if last is None or (last == before.get("seen") and not stream.lookback):
        return Plan([])
    after = _back(connection, relation, stream, before.get("seen"))
    return Plan([{"oid": relation.oid, "after": after, "last": last}], {_LANE: {"seen": last}})


def plan_window(relation: Relation, stream: Stream, window: Window) -> Plan:
    """What has a cursor in the window, in one snapshot. Raises ConfigError without a cursor that is a moment."""
    kind = relation.columns[stream.cursor].name if stream.cursor is not None else ""
    if kind not in _MOMENTS:
        what = f"an interval of '{stream.name}' is one of its cursor, which must be a date or a timestamp"
        raise ConfigError(what, got=kind or "no cursor", do="set `cursor`, or run it without an interval")
    return Plan([{"oid": relation.oid, "start": _utc(window.start), "end": _utc(window.end)}])


def _utc(moment: str | None) -> str | None:
    """As a timestamp without a zone takes it, too."""
    return datetime.fromisoformat(moment).astimezone(UTC).isoformat() if moment is not None else None


def _check_cursor(relation: Relation, stream: Stream) -> None:
    kind = relation.columns[str(stream.cursor)].name
    if kind not in _CURSORS:
        what = f"the cursor '{stream.cursor}' must be an integer, a date or a timestamp"
        raise ConfigError(what, got=kind, do="choose another column")


def _check_same(here: Mapping[str, Any], before: Mapping[str, Any], stream: Stream) -> None:
    """Transactions' numbers mean something in one server, and rows keep theirs as long as the table isn't rewritten."""
    if here["system"] != before["system"]:
        raise ContractError("this is another server than the last run's: what is new can't be told", do=_AGAIN)
    if here["timeline"] != (before.get("timeline") or here["timeline"]):
        what = "the server was restored or took another's place since the last run, and may give numbers again"
        raise ContractError(f"{what}: what is new can't be told", do=_AGAIN)
    if int(here["until"]) < int(before["until"]):
        raise behind(stream)
    if int(here["until"]) - int(before["until"]) >= _XIDS_APART:
        raise ContractError(_TOO_LONG_AGO, do=_AGAIN)
    rewritten = (here["oid"], here["file"]) != (before["oid"], before["file"])
    if rewritten and stream.load_mode is LoadMode.APPEND:  # else what is read again meets its own rows
        what = f"the table '{stream.name}' was rewritten, emptied or made anew: what is new in it can't be told"
        raise ContractError(what, do=_AGAIN)


def _greatest(connection: psycopg.Connection, relation: Relation, cursor: str, among: Composed) -> str | None:
    """An infinite moment is nobody's last: nothing would come after it."""
    finite = _finite(relation, cursor)
    query = SQL("select max(t.{})::text from {} as t where {} and {}").format(
        Identifier(cursor), raw(relation.source), finite, among
    )
    row = ask(connection, query).fetchone()
    return str(row[0]) if row and row[0] is not None else None


def _finite(relation: Relation, cursor: str) -> Composed:
    """True of a cursor's finite values, null where it is null."""
    test = "isfinite(t.{})" if relation.columns[cursor].name in _MOMENTS else "t.{} is not null"
    return SQL(test).format(Identifier(cursor))


def _back(connection: psycopg.Connection, relation: Relation, stream: Stream, seen: str | None) -> str | None:
    """The last cursor that was seen, less the lookback: a number, or microseconds of a moment."""
    if seen is None or not stream.lookback:
        return seen
    kind = relation.columns[str(stream.cursor)].name
    less: Composable = Literal(stream.lookback)
    if kind in _MOMENTS:
        less = SQL("{} * interval '1 microsecond'").format(less)
        kind = "timestamp" if kind == "date" else kind
    query = SQL("select ({}::{} - {})::text").format(Literal(seen), Identifier("pg_catalog", kind), less)
    row = connection.execute(query).fetchone()
    return str(row[0]) if row else None


def _cuts(blocks: int, pieces: int) -> list[list[int | None] | None]:
    """`[first block, block after the last]`; the last piece is open, for a table that grows. None: not cut."""
    if pieces == 1:
        return [None]
    bounds = [blocks * piece // pieces for piece in range(pieces)]
    return [[first, end] for first, end in zip(bounds, [*bounds[1:], None], strict=True)]
