"""How the rows of a table were treated, by whichever of the tenant's streams they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import psycopg
from psycopg.sql import SQL, Identifier

from importers.core.model import Leaf, Lineage, PersonalData, Stream, treated
from importers.destinations import _control as control
from importers.destinations import _tables as tables
from importers.exceptions import ContractError

NOBODY = 0
"""No run has that number."""


def of_table(connection: psycopg.Connection, tenant: str, stream: Stream, but_of: int = NOBODY) -> Sequence[Lineage]:
    """Of each stream the last run that has rows in the stream's table, or may be loading some; the newest run first.

    Nothing of a table that is gone, and of one without a row only runs that are open. The run `but_of` isn't looked at.
    """
    rows_table = tables.rows_table(stream)
    if not tables.holds_rows(connection, tenant, rows_table):
        return ()
    any_row = SQL("select exists (select from {})").format(Identifier(tenant, rows_table))
    (has_rows,) = connection.execute(any_row).fetchone() or (False,)
    found = connection.execute(
        f"""with last as (
             select stream, id, version
             from (select distinct stream from _importers.lineage where table_name = %(full)s) writers
             cross join lateral (select id, coalesce(schema_version, (select max(v.version)
                 from _importers.schema_version v where v.stream = r.stream and v.first_run <= r.id)) as version
               from _importers.run r where stream = writers.stream and table_name = %(table)s and id <> %(but_of)s
                 and {control.WRITTEN} and case when state = 'open' then schema_version is not null
                   else %(has_rows)s and (select true from _importers.receipt where run = r.id and loaded > 0 limit 1)
                   end
               order by id desc limit 1) newest)
           select id, stream, source, personal, treatment, column_name, key_version
           from last join _importers.lineage using (stream, version) where table_name = %(full)s
           order by id desc""",
        {
            "table": stream.target,
            "full": f"{tenant}.{stream.target}",
            "but_of": but_of,
            "has_rows": has_rows,
        },
    ).fetchall()
    leaves = defaultdict[tuple[int, str], list[Leaf]](list)
    for run, name, source, personal, treatment, column, version in found:
        leaf = Leaf(source, PersonalData(personal) if personal else None, treatment, column, version)
        leaves[run, name].append(leaf)
    return tuple(Lineage(name, run, tuple(those)) for (run, name), those in leaves.items())


def check_keys(
    connection: psycopg.Connection, tenant: str, stream: Stream, leaves: Iterable[Leaf], but_of: int = NOBODY
) -> None:
    """Raises ContractError if the table has its key under another treatment than these `leaves` would: a row that is
    there and comes again would be two. What wrote last tells, as it has been asked the same.
    """
    if not stream.keyed:
        return
    now = _treatments(stream, leaves)
    for before in of_table(connection, tenant, stream, but_of)[:1]:
        then = _treatments(stream, before.leaves)
        for key in stream.primary_key:
            if key in now and key in then and now[key] != then[key]:
                raise ContractError(
                    f"'{key}', of the key of {tenant}.{stream.target}, would be treated otherwise than in the rows that"
                    " are there: each that comes again would be there twice",
                    got=f"{now[key]}; by run {before.run} of {before.stream} {then[key]}",
                    do="take the change back; or set load.table to a new name, load everything into it, and drop this"
                    " table",
                )


def _treatments(stream: Stream, leaves: Iterable[Leaf]) -> dict[str, str]:
    """How the columns of the key are treated."""
    keys = set(stream.primary_key)
    return {leaf.column: treated(leaf.treatment, leaf.key_version) for leaf in leaves if leaf.column in keys}
