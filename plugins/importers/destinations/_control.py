"""Runs and receipts as `_importers` has them, and the locks under which they, and a table's rows, move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from importers.core.model import (
    LoadMode,
    Plan,
    Receipt,
    Run,
    RunKind,
    RunState,
    Stream,
    Window,
)
from importers.core.names import StreamName
from importers.destinations import _streams as streams
from importers.exceptions import ContractError

Transaction = Callable[[str], AbstractContextManager[psycopg.Connection]]
"""Begins one of a destination's; what it does is told by an error."""

# The first half of our advisory locks' keys; the second is a hash of what is locked.
OPEN, ERASE, DDL, COMMIT, WRITE = 0x1A10, 0x1A11, 0x1A12, 0x1A14, 0x1A15

LOCK_TIMEOUT = "5s"
"""How long a swap waits for readers before it lets them through and tries again, and a new run for an abandoned one."""

RUN_COLUMNS = "id, stream, key, generation, kind, mode, table_name, version, state, plan, pins, sealed_key, notes"


def lock(connection: psycopg.Connection, what: int, name: str, *, shared: bool = False) -> None:
    """Take a lock that ends with the transaction. Two names may hash alike: then they merely wait for each other."""
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection.execute(f"select {function}(%s, hashtext(%s))", (what, name))


def warehouse_id(connection: psycopg.Connection) -> str:
    row = connection.execute("select id::text from _importers.warehouse").fetchone()
    if row is None:
        raise ContractError("the warehouse has lost its id", do="restore the row of _importers.warehouse")
    return str(row[0])


def run_from(row: Sequence[Any], receipts: Mapping[int, Receipt]) -> Run:
    id_, stream, key, generation, kind, mode, table, version, state, plan, pins, sealed, notes = row
    return Run(
        id=id_,
        stream=stream,
        key=key,
        generation=generation,
        kind=RunKind(kind),
        mode=LoadMode(mode),
        table=table,
        version=version,
        state=RunState(state),
        plan=_plan(plan),
        pins=pins,
        receipts=receipts,
        sealed_key=sealed,
        notes=tuple(notes),
    )


def _plan(stored: Mapping[str, Any]) -> Plan:
    covers = stored.get("covers")
    return Plan(
        stored["partitions"],
        stored["position"],
        tuple(covers) if covers else None,
        streams.of(stored["stream"]),
        stored.get("live", False),
        stored.get("complete", False),
        tuple(stored.get("notes", ())),
        stored.get("refresh", False),
        stored.get("resumed"),
        stored.get("dropped", False),
        settings=stored.get("settings", ""),
    )


def select_run(connection: psycopg.Connection, run: int, lock_clause: str = "") -> Run | None:
    """The run as it is now; `lock_clause` is `for share` (a fence) or `for update`."""
    row = connection.execute(
        f"select {RUN_COLUMNS} from _importers.run where id = %s {lock_clause}",
        (run,),
    ).fetchone()
    return run_from(row, receipts(connection, run)) if row else None


def latest(connection: psycopg.Connection, stream: str, key: str) -> Run | None:
    """The newest generation of the run that a key names; one that was never opened is none."""
    row = connection.execute(
        f"select {RUN_COLUMNS} from _importers.run where stream = %s and key = %s and state <> 'failed'"
        " order by generation desc limit 1",
        (stream, key),
    ).fetchone()
    return run_from(row, receipts(connection, row[0])) if row else None


def now(connection: psycopg.Connection) -> datetime:
    """By the server's clock, in UTC."""
    row = connection.execute("select clock_timestamp()").fetchone()
    if row is None or not isinstance(row[0], datetime):
        raise ContractError("the warehouse tells no time", do="report this")
    return row[0].astimezone(UTC)


WRITTEN = """(state in ('open', 'committed') or (state = 'aborted' and mode = 'merge'
    and exists (select from _importers.receipt where run = r.id and loaded > 0)))"""
"""Runs that have rows in a table, or may come to have some: a merge keeps what an aborted one had loaded."""


def writers(
    connection: psycopg.Connection, tenant: str, stream: str, table: str, *, is_there: bool
) -> dict[str, bool | None]:
    """Other streams whose last run went into the table, and whether after the stream's own last one that did.

    Of a table that is gone only those that are writing it.
    """
    rows = connection.execute(
        f"""select stream, id > (select max(id) from _importers.run r
             where stream = %(stream)s and table_name = %(table)s and {WRITTEN})
           from (select distinct on (stream) stream, id, table_name, state from _importers.run r
             where tenant = %(tenant)s and stream <> %(stream)s and {WRITTEN} order by stream, id desc) last
           where table_name = %(table)s and (%(is_there)s or state = 'open') order by stream""",
        {"tenant": tenant, "stream": stream, "table": table, "is_there": is_there},
    )
    return dict(rows.fetchall())


def receipts(connection: psycopg.Connection, run: int) -> dict[int, Receipt]:
    rows = connection.execute(
        "select partition, digest, rows, loaded, suppressed, position, outdone from _importers.receipt where run = %s",
        (run,),
    )
    return {row[0]: Receipt(run, *row) for row in rows.fetchall()}


def insert_run(
    connection: psycopg.Connection,
    stream: Stream,
    name: str,
    key: str,
    kind: RunKind,
    window: Window,
    version: int,
    plan: Plan,
    sealed_key: bytes,
    lease: float,
) -> int:
    """A new generation of the run that `key` names; `lease` in seconds."""
    stored = {
        "partitions": plan.partitions,
        "position": plan.position,
        "covers": plan.covers,
        "stream": streams.stored(plan.stream),
        "complete": plan.complete,
        "notes": plan.notes,
        "resumed": plan.resumed,
        "settings": plan.settings,
    } | {said: True for said in ("live", "refresh", "dropped") if getattr(plan, said)}
    row = connection.execute(
        """
        insert into _importers.run
          (tenant, stream, key, generation, kind, mode, table_name, version, plan, covers, span, sealed_key, lease)
        values (%(tenant)s, %(stream)s, %(key)s,
          (select coalesce(max(generation), 0) + 1 from _importers.run where stream = %(stream)s and key = %(key)s),
          %(kind)s, %(mode)s, %(table)s, %(version)s, %(plan)s,
          case when %(lo)s::bigint is not null then int8range(%(lo)s, %(hi)s) end,
          case when %(bounded)s then tstzrange(%(start)s, %(end)s) end, %(sealed)s,
          clock_timestamp() + make_interval(secs => %(lease)s))  -- planning may have taken longer than the lease
        returning id
        """,
        {
            **_asked_for(stream, name, key, kind, window),
            "version": version,
            "plan": Jsonb(stored),
            "lo": plan.covers[0] if plan.covers else None,
            "hi": plan.covers[1] if plan.covers else None,
            "sealed": sealed_key,
            "lease": lease,
        },
    ).fetchone()
    if row is None:
        raise ContractError("the run that was opened has no number", do="report this")
    return int(row[0])


def _asked_for(stream: Stream, name: str, key: str, kind: RunKind, window: Window) -> dict[str, Any]:
    """What a run's row says of what was asked for, whether the run was opened or not."""
    return {
        "tenant": StreamName.of(name).tenant,
        "stream": name,
        "key": key,
        "kind": kind,
        "mode": stream.load_mode,
        "table": stream.target,
        "bounded": window.bounded,
        "start": window.start,
        "end": window.end,
    }


def insert_receipt(connection: psycopg.Connection, receipt: Receipt) -> bool:
    """False: a twin has loaded this partition. Waits for a twin that is loading it now."""
    row = connection.execute(
        """insert into _importers.receipt (run, partition, digest, rows, loaded, suppressed, position)
           values (%s, %s, %s, %s, 0, 0, %s) on conflict do nothing returning run""",
        (receipt.run, receipt.partition, receipt.digest, receipt.rows, Jsonb(dict(receipt.position))),
    ).fetchone()
    return row is not None


def complete_receipt(connection: psycopg.Connection, receipt: Receipt) -> None:
    connection.execute(
        "update _importers.receipt set loaded = %s, suppressed = %s, outdone = %s where run = %s and partition = %s",
        (receipt.loaded, receipt.suppressed, receipt.outdone, receipt.run, receipt.partition),
    )


def close_run(connection: psycopg.Connection, run: int, state: RunState, notes: Sequence[str] = ()) -> None:
    """The key goes in the same transaction: from the end of a run on, nobody can read what it staged."""
    # Not now(), the beginning of a commit that may have waited: a replay opened meanwhile hasn't seen it.
    connection.execute(
        "update _importers.run set state = %s, closed_at = clock_timestamp(), sealed_key = null,"
        " failure = case when %s then null else failure end, notes = %s where id = %s",
        (state, state is RunState.COMMITTED, Jsonb(list(notes)), run),
    )


def note_failure(connection: psycopg.Connection, run: int, kind: str | None) -> None:
    connection.execute(
        "update _importers.run set failure = %s, failed_at = case when %s then clock_timestamp() end"
        " where id = %s and state = 'open'",
        (kind, kind is not None, run),
    )


def forget_unopened(connection: psycopg.Connection, stream: str, key: str) -> None:
    """Of the stream, and of its pipeline as a whole, where no stream was known yet."""
    connection.execute(
        "delete from _importers.run where stream = any(%s) and key = %s and state = 'failed'",
        ([stream, stream[: stream.rindex(".") + 1]], key),
    )


def forget_earlier_unopened(connection: psycopg.Connection, stream: str) -> None:
    """Of attempts at one thing, each by a new key, the last is enough, and so is the last before a run was opened."""
    connection.execute(
        """delete from _importers.run f where stream = %(stream)s and state = 'failed'
           and exists (select from _importers.run n where n.stream = f.stream and n.state = 'failed' and n.id > f.id
             and n.kind = f.kind and n.span is not distinct from f.span
             and not exists (select from _importers.run o where o.stream = f.stream and o.state <> 'failed'
               and o.id between f.id and n.id))""",
        {"stream": stream},
    )


def insert_unopened(
    connection: psycopg.Connection,
    stream: Stream,
    name: str,
    key: str,
    kind: RunKind,
    window: Window,
    failure: str,
    began: datetime,
) -> None:
    """Unless the run is open; two processes at once note it once. Its version is older than every row's."""
    connection.execute(
        """
        insert into _importers.run (tenant, stream, key, generation, kind, mode, table_name, version, state, plan, span,
          opened_at, closed_at, failure, failed_at)
        select %(tenant)s, %(stream)s, %(key)s, coalesce(max(generation), 0) + 1, %(kind)s, %(mode)s, %(table)s, 0,
          'failed', %(plan)s, case when %(bounded)s then tstzrange(%(start)s, %(end)s) end,
          %(began)s, clock_timestamp(), %(failure)s, clock_timestamp()
        from _importers.run where stream = %(stream)s and key = %(key)s having bool_or(state = 'open') is not true
        on conflict (stream, key, generation) do nothing
        """,
        {
            **_asked_for(stream, name, key, kind, window),
            "plan": Jsonb({"partitions": [], "position": {}, "stream": None}),
            "began": began,
            "failure": failure,
        },
    )


def check_key(connection: psycopg.Connection, tenant: str, fingerprint: str) -> bool:
    """Remember which encryption key the tenant's data is written with; False if it was another."""
    connection.execute(
        "insert into _importers.key_check (tenant, fingerprint) values (%s, %s) on conflict do nothing",
        (tenant, fingerprint),
    )
    row = connection.execute("select fingerprint from _importers.key_check where tenant = %s", (tenant,)).fetchone()
    return row == (fingerprint,)
