"""Which columns a table got, from where and through what: a version is added when something changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.types.json import Jsonb

from importers.core.model import Leaf


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
