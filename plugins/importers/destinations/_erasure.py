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

    def outdone(self, stand: int | None) -> int:
        """How many of them gave way at once, if so many `stand` in the table; none where rows have no keys."""
        return 0 if stand is None else self.loaded - stand


def suppressed(connection: psycopg.Connection, tenant: str, domain: str | None) -> Known:
    """Who of the domain is erased."""
    known = Known()
    if domain is not None:
        known.learn(known.ask(connection, tenant, domain))
    return known


class Known:
    """The blinded tokens of a domain's erased subjects, as far as they were read, and the number of the last change.

    Exact under the tenant's erasure lock, shared: no change comes later whose number is smaller than one that was read.
    """

    def __init__(self) -> None:
        self.tokens: frozenset[bytes] = frozenset()
        self.version = 0

    def ask(self, connection: psycopg.Connection, tenant: str, domain: str) -> psycopg.Cursor:
        """Ask what has changed since; the answer is to `learn` from."""
        return connection.execute(
            """select number, token, lifted_at is null from _importers.suppression
               where tenant = %s and domain = %s and number > %s order by number""",
            (tenant, domain, self.version),
        )

    def learn(self, answer: psycopg.Cursor) -> None:
        if changed := answer.fetchall():
            self.version = changed[-1][0]
            self.tokens -= frozenset(bytes(token) for _, token, listed in changed if not listed)
            self.tokens |= frozenset(bytes(token) for _, token, listed in changed if listed)


def suppress(connection: psycopg.Connection, tenant: str, domain: str, blinded: Sequence[bytes]) -> None:
    """Add to the list what keeps a subject from being loaded again."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into _importers.suppression as s (tenant, domain, token) values (%s, %s, %s)
               on conflict (tenant, domain, token) do update set lifted_at = null, at = now(), number = default
               where s.lifted_at is not null""",
            [(tenant, domain, token) for token in blinded],
        )


def strangers(connection: psycopg.Connection, tenant: str, domain: str, blinded: Sequence[bytes]) -> list[bytes]:
    """Who of them isn't on the list."""
    rows = connection.execute(
        """select token from _importers.suppression
           where tenant = %s and domain = %s and token = any(%s) and lifted_at is null""",
        (tenant, domain, list(blinded)),
    )
    listed = {bytes(token) for (token,) in rows.fetchall()}
    return [token for token in blinded if token not in listed]


def lift(connection: psycopg.Connection, tenant: str, domain: str, blinded: Sequence[bytes]) -> None:
    """Take off the list."""
    connection.execute(
        """update _importers.suppression set lifted_at = now(), number = default
           where tenant = %s and domain = %s and token = any(%s) and lifted_at is null""",
        (tenant, domain, list(blinded)),
    )
