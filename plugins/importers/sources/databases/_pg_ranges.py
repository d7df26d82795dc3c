"""A table that is read in full, cut by ranges of its key: parts for many tasks, each of a moment of its own.

A snapshot ends with the session that exported it, and a part's task is a process of its own, tried again hours later
maybe: parts can't share one. By blocks they couldn't be cut, since an update puts a row into another block. A row's
key stays. So each key is in one range, whatever is written meanwhile, and what a part says of its keys was true at the
moment of its read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from importers.core.model import Plan, Stream
from importers.exceptions import ConfigError
from importers.sources.databases._pg_catalogue import Relation, ask, raw
from importers.sources.databases._pg_incremental import Parts, behind
from importers.sources.databases._pg_query import TEXTS, ordered

PRIMARY_KEY = "primary key"
SAMPLED = 1024
"""Blocks that are looked at for where to cut: a few thousand rows of any table."""
_KINDS = frozenset({"int2", "int4", "int8", "date", "timestamp", "timestamptz", "uuid", *TEXTS})
"""What can be cut."""
_SHOWN = {
    "uuid": "overlay(_at::text placing '-0000-0000-0000-000000000000' from 9)",
    **dict.fromkeys(
        TEXTS,
        "(select left(_at, n) from generate_series(1, length(_at)) as n"
        " where left(_at, n) > (select max(_at) from sampled where _at < ranked._at) order by n limit 1)",
    ),
}
"""How the plan says a value of a sample: no more of it than parts it from the others. Of a random UUID that is the
beginning; of a text, the shortest beginning that comes after the text before. What is first has none before.
"""


def cut_by(relation: Relation, column: str | None) -> str | None:
    """The column of the relation by whose ranges it is cut, if any is."""
    by = (relation.key[0] if relation.key else None) if column == PRIMARY_KEY else column
    return by if by is not None and by in relation.columns and relation.columns[by].name in _KINDS else None


def plan_ranges(
    connection: psycopg.Connection, relation: Relation, stream: Stream, column: str | None, parts: Parts
) -> Plan:
    """All rows. One part where nothing is to be cut, or nothing can be. Raises ConfigError for a column of such a type.

    How the rows lie is told by a sample: a bad one makes parts unlike in size, and nothing worse.
    """
    whole, by = {"oid": relation.oid}, cut_by(relation, column)
    if by is None:
        return Plan([whole], notes=_uncut(relation, stream, column))
    blocks, reached = _state(connection, relation)
    pieces = min(parts.most, blocks // parts.blocks)
    bounds = _bounds(connection, relation, by, pieces, blocks) if pieces > 1 else []
    if not bounds:
        return Plan([whole])
    part = whole | {"by": by, "reached": reached}
    return Plan(
        [part | {"from": begin, "to": end} for begin, end in zip([None, *bounds], [*bounds, None], strict=True)]
    )


def _uncut(relation: Relation, stream: Stream, column: str | None) -> tuple[str, ...]:
    """What people should know of a table that isn't cut though it was meant to be."""
    if column == PRIMARY_KEY and relation.key:
        kind = relation.columns[relation.key[0]].name
        return (f"'{stream.name}' is read in one part: its primary key begins with a {kind}",)
    if column is not None and column in relation.columns:
        what = f"'{stream.name}' can't be cut by '{column}', only by an integer, a date, a timestamp, a UUID or text"
        raise ConfigError(what, got=relation.columns[column].name, do="choose another column for `partition_by`")
    return ()


def check_reached(cursor: Any, stream: Stream, part: Mapping[str, Any]) -> None:
    """That the snapshot of an ADBC cursor's transaction has what was over before the oldest transaction began that ran
    when the parts were planned.

    Raises TransientSourceError where a replica answers that hasn't come so far.
    """
    cursor.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    (oldest,) = cursor.fetchone()
    if oldest < int(part["reached"]):
        raise behind(stream)


def _state(connection: psycopg.Connection, relation: Relation) -> tuple[int, str]:
    """How many blocks it has, its partitions' included, and which transactions are over."""
    row = connection.execute(
        "select greatest(pg_relation_size(%(oid)s::bigint::oid),"
        " (select sum(pg_relation_size(relid)) from pg_partition_tree(%(oid)s::bigint::oid)))::bigint / 8192,"
        " pg_snapshot_xmin(pg_current_snapshot())::text",
        {"oid": relation.oid},
    ).fetchone()
    blocks, reached = row or (None, "0")
    return blocks or 0, reached


def _bounds(connection: psycopg.Connection, relation: Relation, by: str, pieces: int, blocks: int) -> list[str]:
    """Where each part but the first begins, in order, as text."""
    query = SQL(
        "with sampled as (select {at} as _at from {source} as t tablesample system ({percent})"
        " where t.{by} is not null),"
        " ranked as (select _at, row_number() over (order by _at) as _n, count(*) over () as _of from sampled)"
        " select {shown} from ranked"
        " where _n > 1 and (_n - 1) * {pieces} / _of <> (_n - 2) * {pieces} / _of order by _n"
    ).format(
        at=ordered(relation, by),
        by=Identifier(by),
        shown=raw(_SHOWN.get(relation.columns[by].name, "_at::text")),
        source=raw(relation.source),
        percent=Literal(min(100.0, 100 * SAMPLED / blocks)),
        pieces=Literal(pieces),
    )
    return list(dict.fromkeys(value for (value,) in ask(connection, query) if value is not None))
