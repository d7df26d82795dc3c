"""The registry of quarantine files: who put them there, who replays them, which were given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from importers.core.model import ExpiredFile, Held, LoadMode, QuarantineFile, Run, RunState
from importers.exceptions import ContractError

SUPERSEDED = """exists (select from _importers.run g where g.stream = o.stream and g.key = o.key
  and g.generation > o.generation and g.state = 'committed' and g.plan -> 'partitions' <> '[]')"""
"""Whether a later generation of the run `o` has read its window again; one that found nothing there hasn't."""


def register(connection: psycopg.Connection, run: int, files: Sequence[QuarantineFile]) -> None:
    connection.execute(
        "delete from _importers.quarantine where run = %s and replayed_by is null and expired_at is null", (run,)
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into _importers.quarantine (run, partition, uri, rows, reasons, at)
               values (%s, %s, %s, %s, %s, coalesce(%s, now())) on conflict do nothing""",
            [(run, file.partition, file.uri, file.rows, Jsonb(dict(file.reasons)), file.since) for file in files],
        )


def of_run(connection: psycopg.Connection, run: int, *, ended: bool) -> list[QuarantineFile]:
    rows = connection.execute(
        """select partition, uri, rows, reasons, at, 0, replayed_by, expired_at is not null from _importers.quarantine q
           where run = %s and (%s or discarded_at is null and not exists (
             select from _importers.run where id = q.replayed_by and state = 'committed')) order by partition, uri""",
        (run, ended),
    )
    return [QuarantineFile(*row) for row in rows.fetchall()]


def held(connection: psycopg.Connection, streams: str, since: datetime) -> list[Held]:
    """`streams` is a pattern of LIKE. What a replay has put back says in the replay's plan where it came from."""
    rows = connection.execute(
        """
        select q.run, r.stream, r.state, r.mode, q.replayed_by, o.id, case when o.kind = 'window' then o.key end,
          coalesce((from_.part ->> 'version')::bigint, o.version + q.partition), o.plan -> 'stream' ->> 'cursor',
          """
        + SUPERSEDED
        + """,
          (select coalesce(jsonb_agg(jsonb_build_array(lower(c.covers), upper(c.covers))), '[]') from _importers.run c
            where c.stream = o.stream and c.state = 'committed' and c.closed_at > o.closed_at and c.covers is not null),
          q.partition, q.uri, q.rows, q.reasons, q.at
        from _importers.quarantine q
          join _importers.run r on r.id = q.run
          left join lateral (select r.plan -> 'partitions' -> q.partition as part) from_ on r.kind = 'replay'
          join _importers.run o on o.id = coalesce((from_.part ->> 'root')::bigint, r.id)
          left join _importers.run b on b.id = q.replayed_by
        where r.stream like %s and q.at >= %s and q.rows > 0 and q.discarded_at is null and q.expired_at is null
          and (b.state is null or b.state <> 'committed')
        order by q.run, q.partition, q.uri
        """,
        (streams, since),
    )
    return [
        Held(
            run=run,
            stream=stream,
            state=RunState(state),
            mode=LoadMode(mode),
            file=QuarantineFile(*file),
            replayed_by=replayed_by,
            root=root,
            window=window,
            version=version,
            cursor=cursor,
            superseded=superseded,
            stale=tuple((low, high) for low, high in stale),
        )
        for run, stream, state, mode, replayed_by, root, window, version, cursor, superseded, stale, *file in rows
    ]


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
        """update _importers.quarantine set replayed_by = %s
           where uri = any(%s) and replayed_by is null and discarded_at is null and expired_at is null""",
        (run.id, uris),
    ).rowcount
    if claimed != len(uris):
        raise ContractError("quarantine changed while its replay was planned", do="replay again")


def give_back(connection: psycopg.Connection, run: int) -> None:
    """What a replay that is aborted had claimed may be replayed by another; what it put back is still in there too."""
    connection.execute("update _importers.quarantine set replayed_by = null where replayed_by = %s", (run,))
    connection.execute("delete from _importers.quarantine where run = %s", (run,))


def discard(connection: psycopg.Connection, streams: str, uris: Sequence[str]) -> list[QuarantineFile]:
    rows = connection.execute(
        """update _importers.quarantine q set discarded_at = now() from _importers.run r
           where r.id = q.run and r.stream like %s and uri = any(%s)
             and replayed_by is null and discarded_at is null and q.expired_at is null
           returning q.partition, q.uri, q.rows, q.reasons, q.at""",
        (streams, list(uris)),
    )
    return [QuarantineFile(*row) for row in rows.fetchall()]


def expire(connection: psycopg.Connection, streams: str, uri: str, kept_for: str) -> bool:
    """Whether it has expired now, or had before."""
    row = connection.execute(
        """update _importers.quarantine q
           set expired_at = coalesce(q.expired_at, now()), kept_for = coalesce(q.kept_for, %s) from _importers.run r
           where r.id = q.run and r.stream like %s and uri = %s and replayed_by is null and discarded_at is null
           returning q.run""",
        (kept_for, streams, uri),
    )
    return row.fetchone() is not None


def expired(connection: psycopg.Connection, streams: str) -> list[ExpiredFile]:
    rows = connection.execute(
        """select r.stream, q.run, q.rows, q.expired_at, q.kept_for
           from _importers.quarantine q join _importers.run r on r.id = q.run
           where r.stream like %s and q.rows > 0 and q.expired_at is not null order by q.run, q.partition, q.uri""",
        (streams,),
    )
    return [ExpiredFile(*row) for row in rows.fetchall()]
