"""commit and clean."""

from __future__ import annotations

from importers.core.model import Position, Run, RunKind, RunState
from importers.pipeline import replay
from importers.pipeline.job import Job


def commit(job: Job, run: Run) -> Position:
    """Make the run count and move the position; then tell a broker. Again: a no-op."""
    with job.at():
        position = job.destination.commit(run, job.stream)
        if run.kind is not RunKind.REPLAY:  # which has read nothing from it
            job.source.acknowledge(position)
        return position


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
        job.destination.release(now)
        return now.state is RunState.COMMITTED
