"""What is in quarantine, and the run that is about to commit has read again: loaded it, or put it there anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

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
    they were, it stays, and is told; of an appended table a replay leaves out what was (`read_again`).
    """
    if not _supersedes(run):
        return Superseded()
    whole, appends = _is_whole(run), run.mode is LoadMode.APPEND
    read = _read(job, run)
    find = cache(job.destination.find)
    ended, told = list[str](), dict[int, None]()
    for held in job.destination.quarantine().held(job.stream):
        is_older = held.root < run.id and held.table == run.table
        if held.state is RunState.COMMITTED and is_older and held.part is not None:
            then = _of_part(job, find(held.root), held.part)
            if whole if then is None else then.items() <= read.items():
                ended.append(held.file.uri)
            elif then and (appends or any(read.get(name) == was for name, was in then.items())):
                told[held.run] = None
    return Superseded(ended, tuple(_stays(job, number) for number in told))


def _stays(job: Job, run: int) -> str:
    return (
        f"of what run {run} put into quarantine the rows of files that have changed or are gone stay, for a replay to"
        " load; what others had, if anything, is there once more, and loaded once. If none of it is wanted any more:"
        f" importers quarantine discard {job.tenant.tenant}.{job.pipeline} --run {run}"
    )


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Of the `among` that rows in quarantine are of, the `files` that were read again as they were."""

    among: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()

    def of(self, locations: pa.StringArray) -> pa.BooleanArray:
        """Which places are in one of the files; none that nobody knows."""
        return pa.array([place is not None and self._file(place) in self.files for place in locations.to_pylist()])

    def _file(self, place: str) -> str | None:
        """A place begins with its file's name, which may itself have what ends one: the longest is meant."""
        ends = (end.start() for end in reversed([*_END_OF_NAME.finditer(place)]))
        return next((place[:end] for end in ends if place[:end] in self.among), None)


_END_OF_NAME = re.compile("[:!@]")


def read_again(job: Job, root: int, part: int | None, runs: Sequence[int]) -> ReadAgain:
    """What later `runs`, each of which has made the table anew, have read of a partition of the run `root`."""
    then = _of_part(job, job.destination.find(root), part) if runs and part is not None else None
    if not then:
        return ReadAgain()
    read = [_read(job, job.destination.find(run)) for run in runs]
    files = (name for name, was in then.items() if any(each.get(name) == was for each in read))
    return ReadAgain(frozenset(then), frozenset(files))


def _read(job: Job, run: Run) -> dict[str, JSON]:
    """What the run reads that is known not to have changed as long as that says the same."""
    parts = (_unchanging(job.source, partition) or {} for partition in run.plan.partitions)
    return {name: how for part in parts for name, how in part.items()}


def _of_part(job: Job, run: Run, part: int) -> Mapping[str, JSON] | None:
    parts = run.plan.partitions
    return _unchanging(job.source, parts[part]) if part < len(parts) else None


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
