"""A run's profile: made of each partition beside its verdict, added up at the gate, told to the ledger.

Of a run that is a stream's there is none, and nothing is held against a replay's: they are no deliveries.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add

import pyarrow as pa

from importers.core.destination import Mask
from importers.core.model import JSON, Run, Staged
from importers.keys.keyring import RunKey
from importers.pipeline.job import Job
from importers.pipeline.table import own
from importers.privacy.leaves import leaves
from importers.privacy.rules import is_data
from importers.quality.checker import living
from importers.quality.drift import Earlier
from importers.quality.profile import Profile
from importers.quality.profiler import Profiler
from importers.quality.told import told

PROFILE = "profile"


class Profiling:
    """Of one attempt at a partition."""

    def __init__(self, job: Job, run: Run, partition: int) -> None:
        self._job = job
        parts = len(run.plan.partitions)
        self._profiler = Profiler(job.policy.shown(), in_passing=True, seed=partition, parts=parts)

    def add(self, rows: pa.RecordBatch, bad: Mask) -> None:
        """The next rows, of which tombstones say nothing, and those that are bad only that they are there."""
        alive = living(rows)
        if alive is not None:
            rows, bad = rows.filter(pa.array(alive)), bad[alive]
        self._profiler.add(rows.select(own(rows.schema).names), bad)

    def finish(self, staged: Staged, key: RunKey) -> None:
        self._job.staging.put(staged, PROFILE, self._profiler.profile.to_bytes(), key)


def merged(job: Job, chosen: Iterable[Staged], key: RunKey) -> Profile:
    """The run's. Raises StagingError for an attempt that wasn't validated."""
    parts = (Profile.from_bytes(job.staging.get(staged, PROFILE, key)) for staged in chosen)
    return reduce(add, parts, Profiler(in_passing=True).profile)  # a run may have no partition


def earlier(job: Job, run: Run) -> list[Earlier]:
    """Of the stream's last committed runs, the newest first."""
    told = job.destination.judgements(before=run)
    return [Earlier(number, counts["profile"]) for number, counts in told.items() if "profile" in counts]


def said(job: Job, profile: Profile) -> dict[str, JSON]:
    """For the ledger. A key of an object that looks like a value is no name to write down.

    A column may have been profiled by a file that let its values be shown, and today's doesn't.
    """
    parts = [leaf for leaf in leaves(job.stream.schema) if not is_data(leaf)]
    named = {leaf.path for leaf in parts} | {leaf.column for leaf in parts}
    return told(profile, named, job.telling.shown, of_persons=job.telling.of_persons)
