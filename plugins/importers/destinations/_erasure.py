"""Who was erased: keeps them out of loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.erasure import Erased
from importers.core.model import SUBJECT


class Shown:
    """Batches without erased subjects' rows, counted as they pass. Reads `_subject` if anybody was erased."""

    def __init__(self, batches: Iterable[pa.RecordBatch], erased: Erased) -> None:
        self._batches, self._erased = batches, erased
        self.loaded = self.suppressed = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            shown = batch.filter(pc.invert(self._erased.among(batch.column(SUBJECT)))) if self._erased else batch
            self.suppressed += batch.num_rows - shown.num_rows
            self.loaded += shown.num_rows
            if shown.num_rows:
                yield shown


def suppressed(connection: psycopg.Connection, tenant: str, domain: str | None) -> frozenset[bytes]:
    """The blinded tokens of the domain's erased subjects."""
    known = Known()
    if domain is not None:
        known.learn(known.ask(connection, tenant, domain))
    return known.tokens


class Known:
    """The blinded tokens of a domain's erased subjects, as far as they were read: the list only grows.

    Exact under the tenant's erasure lock, shared: nobody whose number is smaller than one that was read comes later.
    """

    def __init__(self) -> None:
        self.tokens: frozenset[bytes] = frozenset()
        self._last = 0

    def ask(self, connection: psycopg.Connection, tenant: str, domain: str) -> psycopg.Cursor:
        """Ask who was added since; the answer is to `learn` from."""
        return connection.execute(
            """select number, token from _importers.suppression
               where tenant = %s and domain = %s and number > %s order by number""",
            (tenant, domain, self._last),
        )

    def learn(self, answer: psycopg.Cursor) -> None:
        if added := answer.fetchall():
            self._last = added[-1][0]
            self.tokens |= frozenset(bytes(token) for _, token in added)


def suppress(connection: psycopg.Connection, tenant: str, domain: str, blinded: Sequence[bytes]) -> None:
    """Add to the list what keeps a subject from being loaded again."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into _importers.suppression (tenant, domain, token) values (%s, %s, %s) on conflict do nothing",
            [(tenant, domain, token) for token in blinded],
        )
