"""The registry of quarantine files: who put them there, who replays them, which were given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from importers.core.model import LoadMode, QuarantineFile, Run, RunKind, RunState, Stream
from importers.core.quarantine import ExpiredFile, Held, QuarantineRegistry
from importers.destinations import _control as control
from importers.exceptions import ContractError

SUPERSEDED = """exists (select from _importers.run g where g.stream = o.stream and g.key = o.key
  and g.generation > o.generation and g.state = 'committed' and g.plan -> 'partitions' <> '[]')"""
"""Whether a later generation of the run `o` has read its window again; one that found nothing there hasn't."""

ENDED = "(q.discarded_at is not null or q.expired_at is not null or q.superseded_by is not null)"
"""Of a file `q`: whether a person has given it up, its time is over, or another run has read its rows again."""
FREE = f"(q.replayed_by is null and not {ENDED})"
"""Whether it may be claimed or ended. By its own row alone: whoever waits for another's update sees what came of it."""
THERE = f"""(not {ENDED} and not exists (
  select from _importers.run b where b.id = q.replayed_by and b.state = 'committed'))"""
"""Whether it is still in quarantine: a replay that has claimed it hasn't loaded it yet."""

_AGAIN = """c.stream = o.stream and c.table_name = o.table_name and c.id > o.id and c.state = 'committed'
  and c.mode = 'append' and c.plan -> 'dropped' = 'true'"""
"""Whether a later run `c` has made the appended table of the run `o` anew: it read what `o` had, if it was there."""

_HELD = f"""
  select q.run, r.stream, o.table_name as table, r.state, r.mode, q.replayed_by, o.id as root,
    case when r.kind = 'replay' then (from_.part ->> 'part')::int else q.partition end as part,
    case when o.kind = 'window' then o.key end as window,
    coalesce((from_.part ->> 'version')::bigint, o.version + q.partition) as version,
    o.plan -> 'stream' ->> 'cursor' as cursor, {SUPERSEDED} as superseded, o.plan -> 'live' is not null as live,
    (select coalesce(jsonb_agg(jsonb_build_array(lower(c.covers), upper(c.covers))), '[]') from _importers.run c
      where c.stream = o.stream and c.state = 'committed' and c.closed_at > o.closed_at and c.covers is not null)
      as stale,
    (select coalesce(jsonb_agg(c.id order by c.id), '[]') from _importers.run c where {_AGAIN}) as again,
    q.partition, q.uri, q.rows, q.reasons, q.at
  from _importers.quarantine q
    join _importers.run r on r.id = q.run
    left join lateral (select r.plan -> 'partitions' -> q.partition as part) from_ on r.kind = 'replay'
    join _importers.run o on o.id = coalesce((from_.part ->> 'root')::bigint, r.id)
  where r.stream like %s and q.at >= coalesce(%s::timestamptz, '-infinity') and q.rows > 0 and {THERE}
  order by q.run, q.partition, q.uri
"""
"""Of streams by a pattern, since a moment, or ever. What a replay has put back says in its plan where it came from."""


def uris_of(run: Run) -> list[str]:
    """The quarantine files that a replay's plan names."""
    return [str(part["uri"]) for part in run.plan.partitions if isinstance(part, dict)]


def has_quarantine(connection: psycopg.Connection, run: Run) -> bool:
    """Whether rows of the run are there: then what it has loaded isn't all that its source has."""
    found = connection.execute("select from _importers.quarantine where run = %s and rows > 0 limit 1", (run.id,))
    return found.fetchone() is not None


def claim(connection: psycopg.Connection, run: Run) -> None:
    """Make the files this replay's. Raises ContractError if somebody else has one: its rows would be loaded twice."""
    uris = uris_of(run)
    claimed = connection.execute(
        f"update _importers.quarantine q set replayed_by = %s where uri = any(%s) and {FREE}",
        (run.id, uris),
    ).rowcount
    if claimed != len(uris):
        raise ContractError("quarantine changed while its replay was planned", do="replay again")


def give_back(connection: psycopg.Connection, run: int) -> None:
    """What a replay that is aborted had claimed may be replayed by another; what it put back is still in there too."""
    connection.execute("update _importers.quarantine set replayed_by = null where replayed_by = %s", (run,))
    connection.execute("delete from _importers.quarantine where run = %s", (run,))


def supersede(connection: psycopg.Connection, run: Run, uris: Sequence[str]) -> None:
    """End what the run has read again. What a replay holds stays its own: its older rows give way to the run's.

    Appended, they wouldn't: the replay doesn't count then.
    """
    which = THERE if run.mode is LoadMode.APPEND else FREE
    if uris:
        connection.execute(
            f"update _importers.quarantine q set superseded_by = %s where uri = any(%s) and {which}",
            (run.id, list(uris)),
        )


def check_not_read_again(connection: psycopg.Connection, run: Run) -> None:
    """What a replay appends mustn't have been read again, with all that its table had, since it was planned."""
    if run.kind is not RunKind.REPLAY or run.mode is not LoadMode.APPEND:
        return
    found = connection.execute(
        f"""select c.id from _importers.run r
              cross join lateral jsonb_array_elements(r.plan -> 'partitions') part
              join _importers.run o on o.id = (part ->> 'root')::bigint
              join _importers.run c on {_AGAIN}
            where r.id = %s and not coalesce(part -> 'again', '[]') @> to_jsonb(c.id) limit 1""",
        (run.id,),
    ).fetchone()
    if found is not None:
        raise ContractError(
            "rows of this replay were read again from the source: they would be there twice",
            got=f"run {found[0]}",
            do="replay again: what is still in quarantine is taken",
            run=run.id,
        )


class PostgresQuarantine(QuarantineRegistry):
    """By the connection of one destination."""

    def __init__(self, tenant: str, pipeline: str, transaction: control.Transaction) -> None:
        self._pipeline, self._transaction = f"{tenant}.{pipeline}", transaction

    def _like(self, stream: Stream | None) -> str:
        """A pattern of LIKE; in names only `_` means something there."""
        return f"{self._pipeline}.{stream.name if stream else '%'}".replace("_", "\\_")

    def register(self, run: Run, files: Sequence[QuarantineFile]) -> None:
        with self._transaction("registering quarantine") as connection:
            connection.execute(
                "delete from _importers.quarantine q where run = %s and q.replayed_by is null and q.expired_at is null",
                (run.id,),
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    """insert into _importers.quarantine (run, partition, uri, rows, reasons, at)
                       values (%s, %s, %s, %s, %s, coalesce(%s, now())) on conflict do nothing""",
                    [
                        (run.id, file.partition, file.uri, file.rows, Jsonb(dict(file.reasons)), file.since)
                        for file in files
                    ],
                )

    def of_run(self, run: int, *, ended: bool = True) -> Sequence[QuarantineFile]:
        with self._transaction("listing quarantine") as connection:
            rows = connection.execute(
                f"""select partition, uri, rows, reasons, at, 0, replayed_by, expired_at is not null
                    from _importers.quarantine q
                    where run = %s and (%s or expired_at is not null or {THERE}) order by partition, uri""",
                (run, ended),
            )
            return [QuarantineFile(*row) for row in rows.fetchall()]

    def held(self, stream: Stream | None = None, since: datetime | None = None) -> Sequence[Held]:
        with (
            self._transaction("listing quarantine") as connection,
            connection.cursor(row_factory=kwargs_row(_held)) as cursor,
        ):
            return cursor.execute(_HELD, (self._like(stream), since)).fetchall()

    def superseded_by(self, run: Run) -> Sequence[str]:
        with self._transaction("listing quarantine") as connection:
            rows = connection.execute(
                "select uri from _importers.quarantine where superseded_by = %s order by uri", (run.id,)
            )
            return [uri for (uri,) in rows.fetchall()]

    def discard(self, uris: Sequence[str]) -> Sequence[QuarantineFile]:
        with self._transaction("discarding quarantine") as connection:
            rows = connection.execute(
                f"""update _importers.quarantine q set discarded_at = now() from _importers.run r
                    where r.id = q.run and r.stream like %s and uri = any(%s) and {FREE}
                    returning q.partition, q.uri, q.rows, q.reasons, q.at""",
                (self._like(None), list(uris)),
            )
            return [QuarantineFile(*row) for row in rows.fetchall()]

    def expire(self, uri: str, kept_for: str) -> bool:
        with self._transaction("noting what is past its retention") as connection:
            row = connection.execute(
                f"""update _importers.quarantine q
                    set expired_at = coalesce(q.expired_at, now()), kept_for = coalesce(q.kept_for, %s)
                    from _importers.run r
                    where r.id = q.run and r.stream like %s and uri = %s and (q.expired_at is not null or {FREE})
                    returning q.run""",
                (kept_for, self._like(None), uri),
            )
            return row.fetchone() is not None

    def expired(self) -> Sequence[ExpiredFile]:
        with self._transaction("listing quarantine") as connection:
            rows = connection.execute(
                """select r.stream, q.run, q.rows, q.expired_at, q.kept_for
                   from _importers.quarantine q join _importers.run r on r.id = q.run
                   where r.stream like %s and q.rows > 0 and q.expired_at is not null
                   order by q.run, q.partition, q.uri""",
                (self._like(None),),
            )
            return [ExpiredFile(*row) for row in rows.fetchall()]


def _held(
    *,
    state: str,
    mode: str,
    stale: Sequence[tuple[int, int]],
    again: Sequence[int],
    partition: int,
    uri: str,
    rows: int,
    reasons: Mapping[str, int],
    at: datetime,
    **said: Any,
) -> Held:
    file = QuarantineFile(partition, uri, rows, reasons, at)
    ranges = tuple((low, high) for low, high in stale)
    return Held(state=RunState(state), mode=LoadMode(mode), file=file, stale=ranges, again=tuple(again), **said)
