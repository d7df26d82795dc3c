"""Which columns a table got, from where and through what: a version is added when something changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from importers.core.model import Leaf, LoadedAs, PersonalData, Run, Unlike, treated


def record(
    connection: psycopg.Connection,
    stream: str,
    run: int,
    table: str,
    columns: Mapping[str, str],
    leaves: Sequence[Leaf],
) -> int:
    """Add a schema version with its lineage if it differs from the stream's last; returns the version in force.

    `columns` is column → type in the destination's words. Call it inside the transaction that changes the table.
    """
    said = [[leaf.source, leaf.personal, leaf.treatment, leaf.column, leaf.key_version] for leaf in leaves]
    content = json.dumps([table, dict(columns), sorted(said, key=lambda leaf: str(leaf[0]))], sort_keys=True)
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    version, last = connection.execute(
        "select version, fingerprint from _importers.schema_version where stream = %s order by version desc limit 1",
        (stream,),
    ).fetchone() or (0, "")
    if last == fingerprint:
        return int(version)
    connection.execute(
        "insert into _importers.schema_version (stream, version, fingerprint, columns, first_run)"
        " values (%s, %s, %s, %s, %s)",
        (stream, version + 1, fingerprint, Jsonb(dict(columns)), run),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into _importers.lineage"
            " (stream, version, source, personal, treatment, key_version, table_name, column_name)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (stream, version + 1, leaf.source, leaf.personal, leaf.treatment, leaf.key_version, table, leaf.column)
                for leaf in leaves
            ],
        )
    return int(version) + 1


def in_force(connection: psycopg.Connection, stream: str, table: str) -> dict[str, LoadedAs]:
    """Source → how it was treated by the last committed run that loaded the stream into the table and had it.

    A version whose runs have all failed or are open has loaded nothing that stays.
    """
    rows = connection.execute(
        """select v.first_run, l.source, l.personal, l.treatment, l.column_name, l.key_version
           from _importers.lineage l
           join (select *, lead(first_run) over (order by version) as next from _importers.schema_version
                 where stream = %(stream)s) v using (stream, version)
           where l.table_name = %(table)s and exists (
             select from _importers.run r where r.stream = v.stream and r.state = 'committed' and r.id >= v.first_run
               and (v.next is null or r.id < v.next))
           order by l.version desc""",
        {"stream": stream, "table": table},
    ).fetchall()
    history: dict[str, list[LoadedAs]] = defaultdict(list)
    for first_run, source, personal, treatment, column, key_version in rows:
        leaf = Leaf(source, PersonalData(personal) if personal else None, treatment, column, key_version)
        history[source].append(LoadedAs(leaf, first_run))
    return {source: _newest(versions) for source, versions in history.items()}


def unlike(connection: psycopg.Connection, run: Run) -> list[Unlike]:
    """What the stream's other runs have put into the run's table under an earlier treatment of a leaf than the run's.

    Runs of all states: a merge keeps what an aborted one had loaded. Leaves that the run doesn't know are left out.
    Which treatment is earlier their gates say, not when they were opened: what a newer policy has let in since isn't
    this run's to judge.
    """
    rows = connection.execute(
        """with known as (
             select r.id, coalesce(r.schema_version, (select max(v.version) from _importers.schema_version v
               where v.stream = r.stream and v.first_run <= r.id)) as version
             from _importers.run r where r.stream = %(stream)s and r.table_name = %(table)s),
           made as (select version, array_agg(id order by id) as runs from known
             where version < (select version from known where id = %(run)s) group by version)
           select l.source, l.column_name, l.treatment, now.treatment,
             array_agg(distinct id order by id) as runs, coalesce(l.key_version, 1), coalesce(now.key_version, 1)
           from made cross join lateral unnest(made.runs) id
             join _importers.lineage l on l.stream = %(stream)s and l.version = made.version
             join _importers.lineage now on now.stream = l.stream and now.source = l.source
               and now.version = (select version from known where id = %(run)s)
           where l.column_name is not null
             and (l.treatment, coalesce(l.key_version, 1)) <> (now.treatment, coalesce(now.key_version, 1))
           group by 1, 2, 3, 4, 6, 7 order by 1, min(id)""",
        {"stream": run.stream, "table": run.table, "run": run.id},
    ).fetchall()
    return [
        Unlike(source, column, treated(then, was), treated(now, is_), tuple(runs), _within(source, column))
        for source, column, then, now, runs, was, is_ in rows
    ]


class Pseudonymised(NamedTuple):
    """A leaf that some version had under a pseudonym: its path as it is told, its column, and how it is reached there.

    `path` is empty for the column itself, and where it isn't told in full.
    """

    source: str
    column: str
    path: tuple[str | None, ...]


def pseudonymised(connection: psycopg.Connection, table: str, domain: str) -> list[Pseudonymised]:
    """What any version has put into the table as pseudonyms of the domain, by name."""
    rows = connection.execute(
        """select distinct source, column_name from _importers.lineage
           where table_name = %s and treatment = %s and column_name is not null order by 2, 1""",
        (table, f"pseudonymise({domain})"),
    ).fetchall()
    return [Pseudonymised(source, column, _within(source, column)) for source, column in rows]


def _within(source: str, column: str) -> tuple[str | None, ...]:
    """How a leaf is reached in its column; nothing for the column, and where its path isn't told in full."""
    rest = source.removeprefix(column)
    steps = _STEP.findall(rest)
    if not source.startswith(column) or "".join(steps) != rest:
        return ()
    return tuple(None if step == "[]" else step[1:] for step in steps)


_STEP = re.compile(r"\[\]|\.[A-Za-z_$][A-Za-z0-9_$-]*")


def _newest(versions: Sequence[LoadedAs]) -> LoadedAs:
    """The first of the versions, the newest first, with the run since which it is like that."""
    leaf = versions[0].leaf
    alike = list(takewhile(lambda one: _alike(one.leaf, leaf), versions))
    earlier = versions[len(alike) :]
    return LoadedAs(leaf, alike[-1].since, _newest(earlier) if earlier else None)


def _alike(one: Leaf, other: Leaf) -> bool:
    return (one.treatment, one.column, one.key_version) == (other.treatment, other.column, other.key_version)
