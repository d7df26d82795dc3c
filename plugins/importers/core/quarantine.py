"""Quarantine as a warehouse remembers it: whose bad rows are kept, and what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from importers.core.model import LoadMode, QuarantineFile, Run, RunState, Stream


@dataclass(frozen=True, slots=True)
class Held:
    """A quarantine file whose rows are still there, and what says whether they may be loaded.

    `root` is the run that read the rows from the source: of what a replay put back, not the replay; `part` is which of
    its partitions, None where an older replay didn't say. `window` is that run's key if it read a window, `version`
    stamps its rows that have neither a version nor a cursor, `cursor` is what it took the others' from. `stale` are
    half-open ranges of `_version` that later runs have read again; `again` are later runs that made the appended table
    anew, of all that there was then. `table` is where the rows belong: another one reads them anew.
    """

    run: int
    stream: str
    table: str
    state: RunState
    mode: LoadMode
    file: QuarantineFile
    replayed_by: int | None
    root: int
    part: int | None
    window: str | None
    version: int
    cursor: str | None
    superseded: bool
    """Whether a later generation of the root's window has read all of it again."""
    stale: tuple[tuple[int, int], ...] = ()
    again: tuple[int, ...] = ()
    live: bool = False
    """Whether the root was a live run: it held no keys against each other."""

    @property
    def replayable(self) -> bool:
        return self.current and self.replayed_by is None

    @property
    def current(self) -> bool:
        """Only what a committed run left: any other's rows are read again by the next run. A snapshot is anyway."""
        read_again = self.superseded or self.mode is LoadMode.REPLACE
        return self.state is RunState.COMMITTED and not read_again


@dataclass(frozen=True, slots=True)
class ExpiredFile:
    """A quarantine file that a sweep has deleted, since the time of the setting `kept_for` was over."""

    stream: str
    run: int
    rows: int
    when: datetime
    kept_for: str


class QuarantineRegistry(ABC):
    """The quarantine files of one pipeline: which run put each there, and how it ended. The files are in staging.

    A file leaves quarantine once: replayed, discarded by a person, past its retention, or read again from the source.
    """

    @abstractmethod
    def register(self, run: Run, files: Sequence[QuarantineFile]) -> None:
        """Register the run's files; again: in place of what was registered, unless it was replayed."""

    @abstractmethod
    def of_run(self, run: int, *, ended: bool = True) -> Sequence[QuarantineFile]:
        """The run's registered files; with `ended` those too that no longer are in quarantine."""

    @abstractmethod
    def held(self, stream: Stream | None = None, since: datetime | None = None) -> Sequence[Held]:
        """What the pipeline, or one stream, has in quarantine, at most since a moment, the oldest first: with rows."""

    @abstractmethod
    def superseded_by(self, run: Run) -> Sequence[str]:
        """The URIs of the files that the run's commit has ended."""

    @abstractmethod
    def discard(self, uris: Sequence[str]) -> Sequence[QuarantineFile]:
        """Note that these files are given up; returns those that nobody has replayed or is replaying."""

    @abstractmethod
    def expire(self, uri: str, kept_for: str) -> bool:
        """Note that a file's time is over by this setting; false if a replay reads it.

        To be said before the file is deleted: nobody replays it or counts it as kept from then on.
        """

    @abstractmethod
    def expired(self) -> Sequence[ExpiredFile]:
        """What the pipeline had in quarantine until its time was over, the oldest first."""
