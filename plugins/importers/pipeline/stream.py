"""stream: follow a source, and load what comes in micro-batches, each of them one transaction.

A batch is read, judged, treated and loaded in this process: nothing of it is staged. A run holds the batches of a few
minutes under one number; each of them counts, with its position, as soon as it is committed. While a large one is
loaded the next one is read, so that batches grow where rows come faster than the warehouse takes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

from importers.core.model import JSON, Batch, MicroBatch, Pace, Plan, Position, Receipt, RunKind, Window
from importers.exceptions import ConfigError, ImporterError
from importers.pipeline import treatments, whose, writers
from importers.pipeline.domains import settle
from importers.pipeline.job import Job
from importers.pipeline.plan import agreed, start
from importers.pipeline.segment import Segment

_log = logging.getLogger(__name__)
FEW = 1_000
"""Rows that are loaded before the next are read: two threads that take turns every few statements wait for each other
longer than either has work to do.
"""


@dataclass(frozen=True, slots=True)
class Beat:
    """What happened since the last one: a micro-batch that is committed, or nothing. `behind` is the whole stream's."""

    rows: int = 0
    """Read, with those that were no rows."""
    loaded: int = 0
    quarantined: int = 0
    suppressed: int = 0
    behind: int = 0
    """Records that are known to be unread."""

    def __add__(self, other: Beat) -> Beat:
        return Beat(
            self.rows + other.rows,
            self.loaded + other.loaded,
            self.quarantined + other.quarantined,
            self.suppressed + other.suppressed,
            other.behind,
        )


Watch: TypeAlias = Callable[[Beat], None]


def _silent(_: Beat) -> None:
    pass


def _never() -> bool:
    return False


def stream(job: Job, stopped: Callable[[], bool] = _never, watch: Watch = _silent, *, drain: bool = False) -> Beat:
    """Follow the job's source until somebody has `stopped` it; to `drain` it, until nothing is left for a moment.

    Ends between two transactions. Raises ConfigError for what can't be streamed, RunBusyError while another process
    has the stream, RunAbortedError when another one took it over, QualityError when too much is bad; and what the
    source, the policy and the warehouse raise. Whatever it raises, what was committed counts, and the next call goes
    on after it.
    """
    with job.at(), closing(job):
        check(job)
        job = treatments.told(agreed(job))
        requested = job.requested  # policy and rules, before a run is opened
        pace = Pace(job.spec.micro_batch.linger_ms / 1000, job.spec.micro_batch.max_rows)
        with (
            _session(job, watch) as session,
            closing(job.source.follow(requested, session.begins, pace)) as batches,
        ):
            for batch in batches:
                session.take(batch)
                nothing = not (batch.rows.num_rows or batch.rejects or batch.behind)
                if stopped() or (drain and nothing):
                    break
        return session.total


def check(job: Job) -> None:
    """Raises ConfigError for a source that can't be followed, and for a way to load that takes whole runs.

    A live run's rows are as new as its opening, and those of another pipeline's run that was opened since would win.
    """
    if not job.source.follows:
        raise ConfigError(f"{job.source.title} can't be followed", do="run the pipeline on a schedule")
    if job.stream.load_mode not in job.destination.live_modes:
        allowed = " or ".join(sorted(job.destination.live_modes)) or "none"
        raise ConfigError(
            f"load.mode {job.stream.load_mode} takes whole runs, and a stream has none", do=f"set load.mode: {allowed}"
        )
    if job.stream.keyed and job.stream.cursor is None and job.settings.load.shared:
        raise ConfigError(
            "which row is newer can't be told between a stream and another pipeline of its table",
            do="set load.cursor, or load the stream into a table of its own",
        )


@contextmanager
def _session(job: Job, watch: Watch) -> Iterator[_Session]:
    """Opened for this process alone. However it ends, its run is closed: what it loaded counts."""
    with ThreadPoolExecutor(1, "load") as loader:
        session = _Session(job, loader, watch)
        try:
            yield session
            session.settle()
            session.segment.close()
        except BaseException:
            with suppress(ImporterError):  # what went wrong first is what the reader needs
                session.give_up()
            raise


class _Session:
    """Puts batches through the steps, in their order, with at most one transaction under way."""

    def __init__(self, job: Job, loader: ThreadPoolExecutor, watch: Watch) -> None:
        self.total = Beat()
        self.position: Position = {}
        """As it is committed: what the next micro-batch moves."""
        self.begins: Position = {}
        """Where reading begins: of a table that is new to the stream that isn't committed yet."""
        self._job, self._loader, self._watch = job, loader, watch
        self._pending: tuple[Future[Receipt], Beat] | None = None
        self.segment = self._open()

    def take(self, batch: Batch) -> None:
        """Judge and treat it while the one before is loaded, then let it be loaded."""
        if self.segment.is_full:
            self.settle()
            self.segment.close()
            self.segment = self._open()
        to = {lane: at for lane, at in (batch.position or {}).items() if self.position.get(lane, self) != at}
        if not (batch.rows.num_rows or batch.rejects or to):
            self.settle()
            self._tell(Beat(behind=batch.behind))
            return
        if self.segment.is_new_to(batch.rows.schema):
            self.settle()  # the table changes
            self.segment.prepare(batch.rows.schema)
        since = {lane: self.position[lane] for lane in to if lane in self.position}
        made = self.segment.judged(batch, since, to)
        self.settle()
        self.position = {**self.position, **to}
        # Few rows too: a signal's handler that raises does so in this thread, and never amid a transaction.
        self._pending = self._loader.submit(self.segment.load, made), _seen(batch, made)
        if made.rows < FEW:
            self.settle()

    def settle(self) -> None:
        """Wait for the transaction that is under way. Raises what it raised."""
        if self._pending is not None:
            future, beat = self._pending
            before = self.segment.receipt
            after = future.result()  # who is interrupted here has it under way still
            self._pending, self.segment.receipt = None, after
            loaded, suppressed = after.loaded - before.loaded, after.suppressed - before.suppressed
            self._tell(Beat(beat.rows, loaded, beat.quarantined, suppressed, beat.behind))

    def give_up(self) -> None:
        """Close the run after an error; a transaction that is under way ends first, and counts if it was committed."""
        if self._pending is not None and self._pending[0].exception() is None:
            self.settle()
        self.segment.give_up()

    def _tell(self, beat: Beat) -> None:
        self.total += beat
        self._watch(beat)

    def _open(self) -> Segment:
        found: dict[str, JSON] = {}
        others = whose.changed(self._job)
        treatments.refuse_other_keys(self._job)
        notes = (*others, *treatments.changed(self._job))

        def sealed(position: Position) -> Plan:
            writers.check(self._job)
            found.update(position)
            self.begins, anew, _ = start(self._job, RunKind.INCREMENTAL, position)
            said = (*anew, *notes)
            for note in said:
                _log.warning("%s", note)
            settle(self._job.destination, self._job.policy.domains)
            return Plan([], stream=self._job.stream, live=True, notes=said)

        destination, (_, sealed_key) = self._job.destination, self._job.keys.new_run_key()
        run = destination.open(self._job.stream, uuid4().hex, RunKind.INCREMENTAL, Window(), sealed, sealed_key)
        self.position = self.position or found
        segment = Segment(self._job, run)
        segment.prepare(self._job.asked.schema)
        return segment


def _seen(batch: Batch, made: MicroBatch) -> Beat:
    quarantined = made.quarantined.rows if made.quarantined else 0
    return Beat(made.rows + len(batch.rejects), quarantined=quarantined, behind=batch.behind)
