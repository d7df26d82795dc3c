"""Who was erased: keeps them out of loads, and takes them out of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL, Identifier

from importers.core.destination import Blind
from importers.core.model import SUBJECT, Stream
from importers.destinations import _tables as tables
from importers.exceptions import ContractError


class Shown:
    """Batches without erased subjects' rows, counted as they pass. Reads `_subject` if anybody was erased."""

    def __init__(self, batches: Iterable[pa.RecordBatch], erased: frozenset[bytes], blind: Blind) -> None:
        self._batches, self._erased, self._blind = batches, erased, blind
        self.loaded = self.suppressed = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            shown = self._without_erased(batch) if self._erased else batch
            self.suppressed += batch.num_rows - shown.num_rows
            self.loaded += shown.num_rows
            if shown.num_rows:
                yield shown

    def _without_erased(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        tokens = batch.column(SUBJECT)
        tokens = tokens.storage if isinstance(tokens, pa.ExtensionArray) else tokens
        distinct = tokens.unique().drop_null()
        values: list[bytes] = distinct.to_pylist()
        gone = [v for v, blind in zip(values, self._blind(values), strict=True) if blind in self._erased]
        return batch.filter(pc.invert(pc.is_in(tokens, value_set=pa.array(gone, tokens.type))))


def suppressed(connection: psycopg.Connection, tenant: str, domain: str | None) -> frozenset[bytes]:
    """The blinded tokens of the domain's erased subjects."""
    if domain is None:
        return frozenset()
    rows = connection.execute(
        "select token from _importers.suppression where tenant = %s and domain = %s", (tenant, domain)
    )
    return frozenset(bytes(token) for (token,) in rows.fetchall())


def suppress(connection: psycopg.Connection, tenant: str, domain: str, blinded: Sequence[bytes]) -> None:
    """Add to the list what keeps a subject from being loaded again."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into _importers.suppression (tenant, domain, token) values (%s, %s, %s) on conflict do nothing",
            [(tenant, domain, token) for token in blinded],
        )


def places(connection: psycopg.Connection, schema: str, stream: Stream) -> list[str]:
    """Every table that holds rows of the stream: the shown one, and what open REPLACE runs fill beside it."""
    shadows = connection.execute(
        "select id from _importers.run where tenant = %s and table_name = %s and mode = 'replace' and state = 'open'",
        (schema, stream.target),
    )
    return [tables.rows_table(stream), *(tables.shadow_table(run) for (run,) in shadows.fetchall())]


def delete_rows(
    connection: psycopg.Connection, schema: str, table: str, stream: Stream, tokens: Sequence[bytes]
) -> int:
    """Delete the subjects' rows; returns how many. Raises ContractError if the table doesn't say whose rows it has."""
    columns = tables.existing(connection, schema, table)
    if not columns:
        return 0
    # Both, where there are both: the subject's treatment may have changed, and older rows keep what they had.
    whose = [name for name in (SUBJECT, stream.subject) if name is not None and columns.get(name) == "uuid"]
    if not whose:
        raise ContractError(f"the table {table} doesn't say whose its rows are", do="name the subject and load anew")
    found = SQL(" or ").join(SQL("{} = any(%(tokens)s)").format(Identifier(name)) for name in whose)
    statement = SQL("delete from {} where {}").format(Identifier(schema, table), found)
    return connection.execute(statement, {"tokens": [UUID(bytes=token) for token in tokens]}).rowcount
