"""The contract of where data goes. docs/how-it-stays-exact.md gives the reasons behind each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from importers.core.erasure import Erased, Eraser
from importers.core.model import (
    JSON,
    Health,
    Leaf,
    Lineage,
    LoadedAs,
    LoadMode,
    MicroBatch,
    Plan,
    Position,
    Receipt,
    Remains,
    Run,
    RunKind,
    Staged,
    Stream,
    TableColumn,
    Unlike,
    Window,
)
from importers.core.quarantine import QuarantineRegistry
from importers.core.retention import Expirer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Mask: TypeAlias = "npt.NDArray[np.bool_]"
"""A flag for each row of a batch."""

Blind: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]
"""Re-keys subjects' tokens, so that the list of erased subjects can't be joined with the tables."""


class Destination(ABC):
    """One warehouse, for one tenant's pipeline. A row and the record that it was loaded commit together.

    `key_fingerprint` names the encryption key that pseudonyms hang on: a warehouse refuses another one's.
    """

    title: ClassVar[str]
    modes: ClassVar[frozenset[LoadMode]]
    live_modes: ClassVar[frozenset[LoadMode]] = frozenset()
    """Those in which it takes micro-batches."""

    def __init__(self, url: str, *, tenant: str, pipeline: str, blind: Blind, key_fingerprint: str) -> None:
        self.tenant, self.pipeline = tenant, pipeline
        self._url, self._blind, self._fingerprint = url, blind, key_fingerprint

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.tenant}.{self.pipeline}>"

    @abstractmethod
    def check(self) -> Health:
        """Whether the warehouse can be reached. Never raises for an unhealthy one."""

    @abstractmethod
    def is_new(self) -> bool:
        """Whether nothing was ever run here. To ask anything else makes the tables that remember runs."""

    @abstractmethod
    def warehouse_id(self) -> str:
        """Tells this warehouse from every other, for whose runs have the same numbers; safe as a directory's name."""

    @abstractmethod
    def now(self) -> datetime:
        """By the warehouse's clock, which all that it remembers of runs goes by."""

    @abstractmethod
    def open(
        self,
        stream: Stream,
        key: str,
        kind: RunKind,
        window: Window,
        plan: Callable[[Position], Plan],
        sealed_key: bytes,
        lease: float | None = None,
    ) -> Run:
        """Open the run that `key` names, or return it as it is stored: then `plan` isn't called.

        An incremental run is alone: one that is open and alive raises RunBusyError, one whose owner is gone is
        aborted first. A committed incremental run is returned as it is; a committed window run opens a new
        generation, an aborted run too. A replay's plan names quarantine files by `uri`, which it claims: no other run
        gets them unless it is aborted. The run's owner is alive for `lease` seconds from each call, or, if that is
        None, until this process ends or closes the destination.
        """

    @abstractmethod
    def find(self, run: int) -> Run:
        """The run as it is stored now, with its receipts. Raises RunAbortedError if it isn't this pipeline's."""

    @abstractmethod
    def remembered(self) -> Sequence[Stream]:
        """The pipeline's streams, each as the plan of its last committed run has it; with the columns of other such
        runs that it wasn't held to, nor any later one.
        """

    @abstractmethod
    def subjects(self, stream: Stream) -> Mapping[str, tuple[str, str]]:
        """Whose rows the last committed runs brought, of the stream itself and of others into its table: by stream, by
        its full name, the subject and its domain. Nothing of those whose rows concern nobody.
        """

    @abstractmethod
    def writers(self, stream: Stream) -> Mapping[str, bool | None]:
        """The tenant's other streams, by their full names, whose last run went into the stream's table: and whether it
        was opened after the stream's own last one that did; None if there is none. A run that failed to open, or was
        aborted and has left nothing, is none.

        Asked while a run of the table is opened, it waits for whoever opens another, and misses none.
        """

    @abstractmethod
    def loaded_as(self, stream: Stream) -> Mapping[str, LoadedAs]:
        """How the last committed run that loaded the stream into its table of today, and had a leaf, treated it: by
        source.
        """

    @abstractmethod
    def lineages(self, stream: Stream) -> Sequence[Lineage]:
        """Of each of the tenant's streams, by their full names, how the last run treated its leaves that has rows in
        the stream's table, or has prepared it and is open; the newest run first. Nothing of a table that is gone.
        """

    @abstractmethod
    def check_keys(self, stream: Stream, leaves: Sequence[Leaf]) -> None:
        """Asked before anything is read, and again by `prepare`. Raises ContractError if rows of the stream's table
        have its primary key under another treatment than it would get, whoever has loaded them.
        """

    @abstractmethod
    def position(self, stream: Stream) -> Position:
        """The committed position: how far the stream has come in its table of today; nothing where that is gone."""

    @abstractmethod
    def former(self, stream: Stream) -> tuple[str, Position] | None:
        """Of the other tables that the stream has come into the last one, and its position; None if it is the first.

        Where today's was dropped it is that one. Another that was dropped has no name.
        """

    @abstractmethod
    def renew(self, run: Run, lease: float | None) -> None:
        """Say that the run's owner is alive, for `lease` more seconds. Raises RunAbortedError if it was taken over."""

    @abstractmethod
    def release(self, run: Run) -> None:
        """Say that the run's owner has stopped: the next incremental run need not wait for the lease."""

    @abstractmethod
    def prepare(
        self,
        run: Run,
        stream: Stream,
        columns: Sequence[TableColumn],
        lineage: Sequence[Leaf],
        pins: Mapping[str, JSON],
        *,
        frozen: bool = False,
    ) -> Run:
        """Create or evolve the table: the only DDL of a run. Fix what may be loaded: `pins` is JSON by partition
        number, and holds its `digest`. Records the schema and its lineage. A committed run is returned as it is.

        Raises ContractError if the columns don't fit the table, or if it is `frozen` and has to change or gets no
        value for one of its columns; also if a loaded partition isn't what is pinned now, and what `check_keys` does.
        """

    @abstractmethod
    def suits(self, stream: Stream, columns: Sequence[TableColumn]) -> None:
        """Asked before anything is read. Raises ConfigError for a table's name, ContractError for
        columns, that no table of the warehouse can have: too many, of such types, or called so.
        """

    @abstractmethod
    def misfits(self, stream: Stream, columns: Sequence[TableColumn]) -> Mapping[str, tuple[str, str]]:
        """Columns that the stream's table has with a type that can't be widened to what comes: both types by name.

        Raises ContractError if it can't have so many columns beside those that it has.
        """

    @abstractmethod
    def unfit(self, rows: pa.RecordBatch, key: Sequence[str] = ()) -> Mapping[str, Mask]:
        """Which rows the warehouse has no way to hold, whatever the table, by why.

        `key` are the columns of the table's primary key that stand in it as they are, or encrypted.
        """

    @abstractmethod
    def load(self, run: Run, stream: Stream, staged: Staged, batches: Iterable[pa.RecordBatch]) -> Receipt:
        """Load one partition in one transaction, once: a receipted partition's rows aren't even read."""

    def load_live(self, run: Run, stream: Stream, batch: MicroBatch) -> Receipt:
        """Load one micro-batch of a live run in one transaction with the position; returns the run's receipt: sums.

        Raises RunAbortedError if the run isn't open any more, or the position isn't the batch's `since`: somebody else
        has loaded it.
        """
        raise NotImplementedError

    @abstractmethod
    def unlike(self, run: Run) -> Sequence[Unlike]:
        """What the stream's other runs have put into the run's table under another treatment than the run's."""

    @abstractmethod
    def remains(
        self, run: Run, stream: Stream, withheld: Iterable[pa.RecordBatch], unlike: Sequence[Unlike], *, whole: bool
    ) -> Remains:
        """Count rows of a table with keys that the run hasn't written: all, or those whose key is among `withheld`."""

    @abstractmethod
    def commit(
        self,
        run: Run,
        stream: Stream,
        superseded: Sequence[str] = (),
        gone: Sequence[Unlike] = (),
        notes: Sequence[str] = (),
    ) -> Position:
        """All receipts are there: make the run count and move the position, in one transaction. Again: a no-op.

        Of the `superseded` quarantine files those end with it that nobody replays: the run has read their rows again.
        What is `gone` is taken out of the rows of a table with keys. `notes` become the run's.
        """

    @abstractmethod
    def abort(self, run: Run, stream: Stream) -> None:
        """Take back what the mode lets one take back, and fence whoever still works on the run. A live run is closed:
        what it loaded counts.
        """

    @abstractmethod
    def note(self, run: Run, step: str, seconds: float, rows: int | None = None, partition: int | None = None) -> None:
        """Remember in the ledger how long a step took."""

    @abstractmethod
    def failed(self, run: Run, kind: str | None) -> None:
        """Remember what kind of error ended an attempt at a run that is still open. None, as it is tried again, forgets
        it; to open or to commit the run does, too.
        """

    @abstractmethod
    def unopened(self, stream: Stream, key: str, kind: RunKind, window: Window, failure: str, began: datetime) -> None:
        """Remember what kind of error kept a run from being opened, in place of what was remembered so of its key, and
        of the same kind and window since a run of the stream was opened. To open it forgets that. If the run is open
        already, it is `failed`.
        """

    @abstractmethod
    def judged(self, run: Run, counts: Mapping[str, JSON]) -> None:
        """Remember in the ledger what the gate said of the run, in counts; again: in place of what it said before."""

    @abstractmethod
    def judgements(self, before: Run, limit: int = 30) -> Mapping[int, Mapping[str, Any]]:
        """What was `judged` of the last committed runs of a run's stream, without replays: by run, the newest first."""

    @abstractmethod
    def domains(self) -> Mapping[str, bool]:
        """Those in which pseudonyms may have been made for the tenant, and whether letters' case counts there."""

    @abstractmethod
    def remember_domains(self, domains: Mapping[str, bool]) -> None:
        """From now on these are among the `domains`. One that is there already stays as it is."""

    @abstractmethod
    def erased(self, domain: str | None) -> Erased:
        """A domain's erased subjects; nobody where rows concern nobody."""

    @abstractmethod
    def no_erasure(self, domain: str | None) -> AbstractContextManager[Erased]:
        """The same, and nobody else is erased before the context ends: it is one transaction."""

    @abstractmethod
    def idle(self, run: Run) -> timedelta:
        """For how long nobody has worked on the run; zero while somebody does."""

    @abstractmethod
    def destroy_key(self, run: Run) -> None:
        """Forget the run's key: nothing that it staged can be read any more."""

    @abstractmethod
    def quarantine(self) -> QuarantineRegistry:
        """What is remembered of the pipeline's quarantine, by this object's connection."""

    @abstractmethod
    def eraser(self) -> Eraser:
        """What an erasure asks of the warehouse, by this object's connection: for all of the tenant's pipelines."""

    @abstractmethod
    def expirer(self) -> Expirer:
        """What retention asks of the warehouse, by this object's connection: for all of the tenant's pipelines."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
