"""anonymise and load: the policy leaf by leaf, then one transaction of the destination.

In one process the two are fused, so that rows are staged once; a scheduler runs them as two tasks, and then what
anonymise made is staged beside the partition as it was read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.model import Receipt, Run, RunState, Staged
from importers.keys.keyring import RunKey
from importers.pipeline.extract import run_key
from importers.pipeline.gate import excluded, pinned
from importers.pipeline.job import Job
from importers.staging.place import Made, Place

_OF = "of"


def anonymise(job: Job, run: Run, partition: int) -> Staged:
    """Stage a pinned partition as it will stand in the table. Raises PrivacyError for a leaf that no policy covers."""
    with job.at(partition):
        key = job.keys.open_run_key(run_key(run))
        raw = pinned(job, run, partition)
        with job.staging.writer(_treated_place(job, run, partition), key) as writer:
            for batch in _treated(job, run, raw):
                writer.write(batch)
            return writer.finish({_OF: _origin(job, raw, key)})


def load(job: Job, run: Run, partition: int) -> Receipt:
    """Load a partition once: anonymised before if somebody did, else on the way."""
    with job.at(partition):
        receipt = run.receipts.get(partition)
        if receipt or run.state is RunState.COMMITTED:
            return receipt or job.destination.find(run.id).receipts[partition]
        raw = pinned(job, run, partition)
        return job.destination.load(run, job.stream, raw, _anonymised(job, run, raw) or _treated(job, run, raw))


def _origin(job: Job, raw: Staged, key: RunKey) -> str:
    """Names all that a treated partition depends on: raw rows, which of them are left out, policy and rules."""
    said = f"{raw.digest} {job.fingerprint} ".encode()
    return hashlib.sha256(said + excluded(job, raw, key).tobytes()).hexdigest()


def _treated_place(job: Job, run: Run, partition: int) -> Place:
    return job.place(run).partition(partition, Made.TREATED)


def _anonymised(job: Job, run: Run, raw: Staged) -> Iterator[pa.RecordBatch] | None:
    """What an anonymise step made of just this attempt, under what holds now."""
    key = job.keys.open_run_key(run_key(run))
    attempts = job.staging.attempts(_treated_place(job, run, raw.partition), key)
    origin = _origin(job, raw, key) if attempts else ""
    for staged in reversed(attempts):
        if staged.position.get(_OF) == origin:
            return job.staging.read(staged, key)
    return None


def _treated(job: Job, run: Run, raw: Staged) -> Iterator[pa.RecordBatch]:
    """The good rows under the policy, each with its subject's token."""
    key = job.keys.open_run_key(run_key(run))
    bad = excluded(job, raw, key)
    start = 0
    for batch in job.staging.read(raw, key):
        first, last = np.searchsorted(bad, np.array([start, start + batch.num_rows], np.uint64))
        here = (bad[first:last] - np.uint64(start)).astype(np.int64)
        start += batch.num_rows
        rows = _without(batch, here) if len(here) else batch
        if rows.num_rows:
            yield job.policy.apply(job.fitted(rows))


def _without(batch: pa.RecordBatch, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
    good = np.ones(batch.num_rows, dtype=np.bool_)
    good[places] = False
    return batch.filter(pa.array(good))
