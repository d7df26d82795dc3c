"""What is in quarantine, and the run that is about to commit has read again: loaded it, or put it there anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from importers.core.model import JSON, LoadMode, Run, RunState
from importers.core.source import Source
from importers.pipeline.job import Job


class Superseded(NamedTuple):
    """The URIs of older quarantine that a run's commit ends, and what is to be said of what it doesn't."""

    ended: Sequence[str] = ()
    notes: tuple[str, ...] = ()


def superseded(job: Job, run: Run) -> Superseded:
    """What of older quarantine the run has read again.

    What a file brought ends once the file, as it was, is read again: by a full refresh, or by a replacement, which
    reads everything. Of a file that has changed or gone since it stays. Where a source can't say what it reads, a full
    refresh ends nothing: nobody knows whether all rows were still there. But what a replaced table or a complete read
    lacks is gone from the table too, and nothing older has a place in it. In a history every read is a version.

    A partition's quarantine is one file, whichever files its rows are of: where only some of those are read again as
    they were, it stays, and is told.
    """
    if not _supersedes(run):
        return Superseded()
    whole = _is_whole(run)
    read: dict[str, JSON] = {}
    for partition in run.plan.partitions:
        read.update(_unchanging(job.source, partition) or {})
    find = cache(job.destination.find)
    ended, mixed = list[str](), dict[int, None]()
    for held in job.destination.quarantine().held(job.stream):
        is_older = held.root < run.id and held.table == run.table
        if held.state is RunState.COMMITTED and is_older and held.part is not None:
            parts = find(held.root).plan.partitions
            then = _unchanging(job.source, parts[held.part]) if held.part < len(parts) else None
            if whole if then is None else then.items() <= read.items():
                ended.append(held.file.uri)
            elif then is not None and any(read.get(name) == was for name, was in then.items()):
                mixed[held.run] = None
    return Superseded(ended, tuple(_twice(job, number) for number in mixed))


def _twice(job: Job, run: int) -> str:
    both = ", and a replay would append both" if job.stream.load_mode is LoadMode.APPEND else ""
    return (
        f"what run {run} put into quarantine stays, as some of the files that it is of have changed or are gone; bad"
        f" rows of the others may be there twice now{both}. If nothing of it is wanted any more:"
        f" importers quarantine discard {job.tenant.tenant}.{job.pipeline} --run {run}"
    )


def _unchanging(source: Source[Any], partition: JSON) -> Mapping[str, JSON] | None:
    """Of what another version planned, or another importer that had the pipeline's name, nothing can be said."""
    return source.unchanging(partition) if source.knows(partition) else None


def forget(job: Job, run: Run) -> None:
    """Delete what the committed run has superseded."""
    if not _supersedes(run):
        return
    for uri in job.destination.quarantine().superseded_by(run):
        job.quarantine.delete(uri)


def _supersedes(run: Run) -> bool:
    """Whether it may end anything: the ledger isn't asked for what most runs can't have."""
    return run.mode is not LoadMode.HISTORY and (_is_whole(run) or run.plan.again)


def _is_whole(run: Run) -> bool:
    """Whether the table holds nothing but what it has read."""
    return run.mode is LoadMode.REPLACE or run.plan.complete
