"""commit, clean and abort."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from importers.core.model import Position, Run, RunKind, RunState
from importers.exceptions import ImporterError
from importers.pipeline import replay
from importers.pipeline.job import Job
from importers.pipeline.remains import left
from importers.pipeline.superseded import forget, superseded

_log = logging.getLogger(__name__)


class Committed(NamedTuple):
    """How far the stream has come, and what the commit says of what it left."""

    position: Position
    notes: tuple[str, ...]


def commit(job: Job, run: Run) -> Committed:
    """Make the run count and move the position; then tell a broker. Again: a no-op.

    `run` is as it is stored once all of it is loaded: its receipts tell how many rows gave way to others.
    """
    with job.at():
        gone, notes = left(job, run)
        older = superseded(job, run)
        notes = (*notes, *older.notes)
        position = job.destination.commit(run, job.stream, older.ended, gone, notes)
        if run.kind is not RunKind.REPLAY:  # which has read nothing from it
            job.source.acknowledge(position)
        return Committed(position, notes or run.notes)


def lag(job: Job, run: Run, position: Position) -> Mapping[str, int]:
    """How much of each lane is unread after the run, as far as the source can say: a broker's partitions.

    Told for those who watch: what it fails at fails no run, whose rows are in.
    """
    if not job.stream.resumes(run.kind):
        return {}
    try:
        return job.source.lag(position)
    except ImporterError as error:
        _log.warning("how much is unread can't be told: %s", error.what)
        return {}


def fail(job: Job, run: Run, error: BaseException) -> None:
    """Say in the ledger what kind of error ended an attempt at the run. What fails here isn't what the reader needs."""
    with suppress(ImporterError):
        job.destination.failed(run, type(error).__name__)


def clean(job: Job, run: Run) -> bool:
    """After success nothing staged can be read, or is there; after a failure it waits for a repair. True: success.

    What waits stays encrypted, and `sweep` ends it when its time is over. The next run need not wait for this one.
    """
    with job.at():
        now = job.destination.find(run.id)
        if now.state is RunState.OPEN:
            job.destination.release(now)
            return False
        job.destination.destroy_key(now)  # first: what a crash leaves behind is noise
        job.staging.delete_run(job.place(now))
        if now.kind is RunKind.REPLAY and now.state is RunState.COMMITTED:
            replay.forget(job, now)
        forget(job, now)
        job.destination.release(now)
        return now.state is RunState.COMMITTED


def give_up(job: Job, run: Run) -> None:
    """After a failure that nobody will repair at once: a replay gives back what it has claimed, another run waits."""
    if run.kind is RunKind.REPLAY:
        abort(job, run)
    else:
        clean(job, run)


def abort(job: Job, run: Run) -> bool:
    """End a run for good: what it loaded is taken back, what it staged destroyed. False: it is committed, and stays."""
    with job.at():
        job.destination.abort(run, job.stream)
        return not clean(job, run)
