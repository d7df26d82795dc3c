"""How long a warehouse keeps rows, and what has gone because that time was over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from importers.core.erasure import Waiting


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table in which ended runs of a stream may have rows: `stream` in full, `table` within the tenant's schema."""

    stream: str
    table: str


@dataclass(frozen=True, slots=True)
class Expired:
    """A line of the ledger: rows that a stream's runs had loaded into a table until `before`, and that are deleted.

    `retention` as the tenant's file said it. What a sweep that died had deleted is counted in the line of the next.
    """

    stream: str
    table: str
    retention: str
    before: datetime
    rows: int


class Expirer(ABC):
    """A warehouse as retention sees it: all that one tenant has there, whichever pipeline brought it.

    A row is as old as the run that wrote it last: the time since that run ended, or since it last loaded anything if it
    was left, or loaded micro-batches.
    """

    @abstractmethod
    def unfinished(self) -> Sequence[Waiting]:
        """The tenant's open runs: what those have loaded isn't due before they have ended."""

    @abstractmethod
    def loaded(self) -> Sequence[Loaded]:
        """Where rows may be, by stream and table; also of streams that no file describes any more."""

    @abstractmethod
    def expire(self, loaded: Loaded, retention: str, before: datetime) -> Expired:
        """Delete the rows of the stream's runs that ended before a moment, a part of the table at a time.

        Each part is one transaction with its count in the ledger, in which nothing of the tenant is loaded or erased;
        so a sweep that died is gone on with by the next. Raises ContractError if rows come back as they are deleted.
        """
