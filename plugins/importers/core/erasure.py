"""Who was erased, and what an erasure reaches of a warehouse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa


Blind: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]
"""Makes blinded tokens of tokens, as `TenantKeys.blind` does."""


class Erased:
    """A domain's erased subjects, by blinded tokens.

    Two lists of one `version` have the same subjects: it is the number of the last change.
    """

    def __init__(self, blinded: frozenset[bytes], blind: Blind, version: int) -> None:
        self._blinded, self._blind, self.version = blinded, blind, version

    def __len__(self) -> int:
        return len(self._blinded)

    def among(self, tokens: pa.Array) -> pa.BooleanArray:
        """Which tokens are theirs; false for a null. Only distinct ones are blinded."""
        import pyarrow as pa
        import pyarrow.compute as pc

        storage = tokens.storage if isinstance(tokens, pa.ExtensionArray) else tokens
        values: list[bytes] = storage.unique().drop_null().to_pylist() if self._blinded else []
        theirs = [v for v, blind in zip(values, self._blind(values), strict=True) if blind in self._blinded]
        return pc.is_in(storage, value_set=pa.array(theirs, storage.type))


class Outcome(StrEnum):
    """What an erasure may say of a place."""

    CLEAR = "clear"
    """Looked at: nothing of the subjects is left there."""
    STAYS = "stays"
    """Isn't reached by an erasure; the note says what ends it."""
    FAILED = "failed"
    """Couldn't be reached now: to be erased again."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of an erasure's receipt."""

    kind: str
    """`table`, `mention`, `quarantine`, `staging`, `cache`, `source` or `backup`."""
    name: str
    outcome: Outcome
    rows: int = 0
    """The subjects': deleted where it is clear, else known to be there."""
    unknown: int = 0
    """Rows and lines of which nobody knows whose they are."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last finished erasure of a subject who is still kept out."""

    subject: str
    """Blinded, as on a receipt."""
    erasure: int
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Readmission:
    """The receipt of letting in again who was erased: of the list alone, since their rows are gone."""

    id: int
    tenant: str
    domain: str
    subjects: tuple[str, ...]
    asked_by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure's receipt. `subjects` are blinded tokens, as hexadecimal digits: no value, and nothing that joins."""

    id: int | None
    """None: it was only tried out."""
    tenant: str
    domain: str
    subjects: tuple[str, ...]
    asked_by: str
    reason: str
    asked_at: datetime
    finished_at: datetime | None
    places: tuple[Place, ...]
    earlier: tuple[Earlier, ...] = ()
    case_sensitive: bool = False
    """Whether letters' case told the subjects from others, as their domain says."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A process at an erasure. Another may be at the same one, before, after or meanwhile."""

    erasure: int
    """The receipt's number."""
    since: datetime
    """By the warehouse's clock."""


@dataclass(frozen=True, slots=True)
class SubjectTable:
    """What a stream's rows are shown as; `subjects` are the columns that any run of it took the subject from."""

    name: str
    keyed: bool
    subjects: frozenset[str]


@dataclass(frozen=True, slots=True)
class Registered:
    """A quarantine file: of which stream, since when, and in which domain its rows say whose they are, where other runs
    of the stream named another; else None.
    """

    stream: str
    since: datetime
    domain: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open run, of whose rows something may be staged."""

    run: int
    stream: str


class Eraser(ABC):
    """A warehouse as an erasure sees it: all that one tenant has there, whichever pipeline brought it.

    `tokens` are subjects' tokens in a domain. Whoever is on the list of the erased isn't loaded again.
    """

    @abstractmethod
    def domains(self) -> frozenset[str]:
        """Those that runs have named. Raises ConfigError for another encryption key: its tokens would find nothing."""

    @abstractmethod
    def pipelines(self) -> Sequence[str]:
        """Those that have ever run, by name: of some no file may tell."""

    @abstractmethod
    def earlier(self, domain: str, tokens: Sequence[bytes]) -> Sequence[Earlier]:
        """Of those subjects who are on the list already, by which erasure."""

    @abstractmethod
    def readmit(self, domain: str, tokens: Sequence[bytes], asked_by: str, reason: str) -> Readmission:
        """Take the subjects off the list, with a receipt in the same transaction: what is read later is loaded.

        Raises ConfigError, and changes nothing, if one isn't on it, or is of an erasure that hasn't been finished.
        """

    @abstractmethod
    def begin(self, domain: str, tokens: Sequence[bytes], asked_by: str, reason: str) -> Attempt:
        """Put the subjects on the list, once loads under way have ended; from here on nothing of them comes in.

        At a new erasure, or at the same one if it hasn't been finished.
        """

    @abstractmethod
    def tables(self) -> Sequence[SubjectTable]:
        """Every table that a run of the tenant has written, by name."""

    @abstractmethod
    def strangers(self) -> Sequence[Place]:
        """What else holds rows in the tenant's schema: it isn't ours to touch."""

    @abstractmethod
    def look(self, table: SubjectTable, domain: str, tokens: Sequence[bytes]) -> Sequence[Place]:
        """What an erasure would do to the table, and to what open runs fill beside it."""

    @abstractmethod
    def erase(self, erasure: int, table: SubjectTable, domain: str, tokens: Sequence[bytes]) -> Sequence[Place]:
        """Delete their rows and see that none is left, in one transaction with the lines of the receipt.

        Raises ContractError if some are left, and ConfigError if one of them was let in again since the erasure began.
        """

    @abstractmethod
    def waiting(self) -> Sequence[Waiting]:
        """The tenant's open runs that stage rows."""

    @abstractmethod
    def registered(self) -> Mapping[str, Registered]:
        """By URI the tenant's quarantine files that nobody gave up or replayed."""

    @abstractmethod
    def alone(self, domain: str, tokens: Sequence[bytes]) -> AbstractContextManager[None]:
        """Nothing is loaded, registered, erased or let in meanwhile; what is noted here counts when it ends.

        Raises ConfigError if one of the subjects was let in again since the erasure began.
        """

    @abstractmethod
    def requarantined(self, uri: str, rows: int, reasons: Mapping[str, int]) -> None:
        """Say in the registry what a quarantine file holds now."""

    @abstractmethod
    def note(self, erasure: int, places: Sequence[Place]) -> None:
        """Add lines to the receipt. Of a place that is on it already and clear, what was deleted adds up."""

    @abstractmethod
    def finish(self, attempt: Attempt) -> Erasure:
        """The receipt; finished unless a place has failed.

        What stayed or failed before the attempt began goes from it, since the attempt has looked at all places anew;
        what another process has written since doesn't.
        """
