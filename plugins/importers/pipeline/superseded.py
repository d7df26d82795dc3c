"""What is in quarantine, and the run that is about to commit has read again: loaded it, or put it there anew."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from importers.core.model import JSON, LoadMode, Run, RunState
from importers.core.source import Source
from importers.pipeline.job import Job


def superseded(job: Job, run: Run) -> list[str]:
    """The URIs of older quarantine that the run's commit ends.

    What a file brought ends once the file, as it was, is read again: by a full refresh, or by a replacement, which
    reads everything. Of a file that has changed or gone since it stays. Where a source can't say what it reads, a full
    refresh ends nothing: nobody knows whether all rows were still there. But what a replaced table or a complete read
    lacks is gone from the table too, and nothing older has a place in it. In a history every read is a version.
    """
    if not _supersedes(run):
        return []
    whole = _is_whole(run)
    read: dict[str, JSON] = {}
    for partition in run.plan.partitions:
        read.update(_unchanging(job.source, partition) or {})
    find = cache(job.destination.find)
    ended = []
    for held in job.destination.quarantine().held(job.stream):
        is_older = held.root < run.id and held.table == run.table
        if held.state is RunState.COMMITTED and is_older and held.part is not None:
            parts = find(held.root).plan.partitions
            then = _unchanging(job.source, parts[held.part]) if held.part < len(parts) else None
            if whole if then is None else then.items() <= read.items():
                ended.append(held.file.uri)
    return ended


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
