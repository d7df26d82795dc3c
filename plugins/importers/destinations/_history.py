"""What the ledger tells of runs that were."""

from __future__ import annotations

import psycopg

from importers.core.model import LoadMode, PastRun, RunKind, RunState, Window


def history(connection: psycopg.Connection, streams: str, limit: int) -> list[PastRun]:
    """The last runs of streams (a pattern of LIKE), the last first."""
    rows = connection.execute(
        """
        select r.id, r.stream, r.key, r.kind, r.mode, r.state, lower(r.span), upper(r.span), r.opened_at, r.closed_at,
          extract(epoch from coalesce(r.closed_at, now()) - r.opened_at)::float,
          jsonb_array_length(r.plan -> 'partitions'),
          (select coalesce(sum(loaded), 0)::bigint from _importers.receipt where run = r.id),
          (select coalesce(sum(suppressed), 0)::bigint from _importers.receipt where run = r.id),
          (select coalesce(sum(rows), 0)::bigint from _importers.quarantine where run = r.id),
          case when r.kind = 'incremental' and r.state = 'committed' and r.mode <> 'replace' then
            (select count(*) from jsonb_object_keys(r.plan -> 'position'))
            + (select count(*) from _importers.receipt c, jsonb_object_keys(c.position) where c.run = r.id) else 0 end
        from _importers.run r where r.stream like %s order by r.id desc limit %s
        """,
        (streams, limit),
    ).fetchall()
    return [
        PastRun(
            id_,
            stream,
            key,
            RunKind(kind),
            LoadMode(mode),
            RunState(state),
            Window(start and start.isoformat(), end and end.isoformat()),
            *rest,
        )
        for id_, stream, key, kind, mode, state, start, end, *rest in rows
    ]
