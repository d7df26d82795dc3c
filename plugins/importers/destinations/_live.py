"""Micro-batches: rows, position, receipt and quarantine's registry in one transaction, a few statements long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
import pyarrow as pa
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from importers.core.erasure import Blind, Erased
from importers.core.model import MicroBatch, Receipt, Run, RunKind, RunState, Stream
from importers.core.names import StreamName
from importers.destinations import _control as control
from importers.destinations import _erasure as erasure
from importers.destinations import _loading as loading
from importers.destinations import _positions as positions
from importers.destinations import _tables as tables
from importers.destinations._rows import binary_copy, send
from importers.exceptions import ContractError, RunAbortedError

DIGEST = "live"
"""In place of what a receipt says of staged rows: these never were."""
_INCOMING = "importers_live"


class LiveTable:
    """Where micro-batches go, made anew when another run has changed the table: binary COPY takes bytes for its types.

    Where rows have keys they come into a temporary table first, which lasts as long as the connection: one made anew
    each time would leave the catalogue full of dead rows. It knows who is erased, as far as it has read that.
    """

    def __init__(self, connection: psycopg.Connection, schema: str, stream: Stream) -> None:
        self.connection = connection
        self.began = False
        """Whether the server has answered anything of the last transaction."""
        self._schema, self._stream = schema, stream
        self._table = Identifier(schema, tables.rows_table(stream))
        self._lock = SQL("lock table {} in row exclusive mode").format(self._table).as_bytes(connection)
        self._types: dict[str, str] = {}
        self._erased = erasure.Known()

    def take(self, run: Run, batch: MicroBatch, blind: Blind) -> Receipt:
        """The batch's transaction, in three parts, each sent at once: what comes before its rows, they, and its end.

        One that has begun already isn't ended here. Raises RunAbortedError if the run isn't ours any more, or the
        position.
        """
        connection = self.connection
        whole = connection.info.transaction_status is TransactionStatus.IDLE
        self.began = not whole
        try:
            types = self.begin(run, batch, whole=whole)
            shown = erasure.Shown(
                [batch.treated] if types else [], Erased(self._erased.tokens, blind, self._erased.version)
            )
            stand = self.load(run, shown, types) if types else None
            with connection.pipeline():
                suppressed = batch.suppressed + shown.suppressed
                written = add_to_receipt(connection, run, batch.rows, shown.loaded, suppressed, shown.outdone(stand))
                if whole:
                    commit(connection)
            return _receipt(run, written)
        except BaseException:
            if whole and not connection.closed:
                connection.rollback()
                self._types = {}  # a temporary table that was made in it is gone
            raise

    def begin(self, run: Run, batch: MicroBatch, *, whole: bool) -> dict[str, str]:
        """What comes before the rows, done in this order. Returns the table's columns; none where no row is to come."""
        connection, domain = self.connection, self._stream.subject_domain
        tenant = StreamName.of(run.stream).tenant
        erased = types = None
        with connection.pipeline():
            if whole:
                connection.execute("begin")
            control.lock(connection, control.ERASE, tenant, shared=True)
            fence = _fence(connection, run)
            moved = positions.compare_and_set(connection, run, batch.since, batch.position)
            _register(connection, run, batch)
            if batch.treated is not None:
                erased = self._erased.ask(connection, tenant, domain) if domain is not None else None
                # As COPY itself does, but first: from here on no other run widens a column.
                connection.execute(self._lock)
                types = tables.columns_of(connection, self._schema, tables.rows_table(self._stream))
        self.began = True
        _check_ours(run, batch, fence, moved)
        if erased:
            self._erased.learn(erased)
        return dict(types.fetchall()) if types else {}

    def _make(self, types: dict[str, str]) -> None:
        connection, stream, self._types = self.connection, self._stream, types
        target = Identifier("pg_temp", _INCOMING) if stream.keyed else self._table
        if stream.keyed:
            connection.execute(SQL("drop table if exists {}").format(target))
            connection.execute(
                SQL(
                    "create temp table {} (like {}, importers_ordinal bigint generated always as identity)"
                    " on commit delete rows"
                ).format(Identifier(_INCOMING), self._table)
            )
        names = tables.identifiers(types)
        self._copy = SQL("copy {} ({}) from stdin (format binary)").format(target, names).as_bytes(connection)
        self._merge = loading.merge(self._table, stream, list(types), RunKind.INCREMENTAL, target).as_bytes(connection)

    def load(self, run: Run, batches: Iterable[pa.RecordBatch], types: dict[str, str]) -> int | None:
        """COPY the batches, and merge them where rows have keys: then, how many stand in the table."""
        if types != self._types:
            self._make(types)
        with self.connection.cursor() as cursor:
            if send(cursor, self._copy, binary_copy(batches, types, run.id, 0)) and self._stream.keyed:
                cursor.execute(self._merge)
                return cursor.rowcount
        return None


def _check_ours(run: Run, batch: MicroBatch, fence: psycopg.Cursor, moved: Sequence[psycopg.Cursor]) -> None:
    if fence.fetchone() != (RunState.OPEN,):
        raise RunAbortedError("this stream was taken over by another process", do="leave it to that one", run=run.id)
    lanes = sum(each.rowcount for each in moved)
    if lanes != len(batch.position):
        raise RunAbortedError(
            "the stream's position isn't where this process left it: another one has moved it",
            got=f"{lanes} of {len(batch.position)} lanes",
            do="leave it to that one",
            run=run.id,
        )


def _fence(connection: psycopg.Connection, run: Run) -> psycopg.Cursor:
    """Hold the run against whoever would close it."""
    return connection.execute("select state from _importers.run where id = %s for no key update", (run.id,))


def add_to_receipt(
    connection: psycopg.Connection, run: Run, rows: int, loaded: int, suppressed: int, outdone: int
) -> psycopg.Cursor:
    """The run's only receipt: it sums what its micro-batches did. Returns the sums."""
    return connection.execute(
        """insert into _importers.receipt as r (run, partition, digest, rows, loaded, suppressed, outdone)
           values (%s, 0, %s, %s, %s, %s, %s) on conflict (run, partition) do update
           set rows = r.rows + excluded.rows, loaded = r.loaded + excluded.loaded,
               suppressed = r.suppressed + excluded.suppressed, outdone = r.outdone + excluded.outdone, at = now()
           returning rows, loaded, suppressed""",
        (run.id, DIGEST, rows, loaded, suppressed, outdone),
    )


def commit(connection: psycopg.Connection) -> None:
    """Sent with what was sent before it: whether it was done is known when that is answered."""
    connection.execute("commit")


def _receipt(run: Run, written: psycopg.Cursor) -> Receipt:
    row = written.fetchone()
    if row is None:
        raise ContractError("a micro-batch has no receipt", do="report this", run=run.id)
    return Receipt(run.id, 0, DIGEST, *row)


def _register(connection: psycopg.Connection, run: Run, batch: MicroBatch) -> None:
    """The file that holds the batch's bad rows, beside those of earlier batches."""
    file = batch.quarantined
    if file is not None:
        connection.execute(
            "insert into _importers.quarantine (run, partition, uri, rows, reasons) values (%s, %s, %s, %s, %s)",
            (run.id, file.partition, file.uri, file.rows, Jsonb(dict(file.reasons))),
        )
