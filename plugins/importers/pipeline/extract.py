"""extract and validate: a partition's rows at rest, encrypted, and a verdict on them.

In one process tree the two are one pass (`stage`); a scheduler runs them as two tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from importers.core.coded import without_views
from importers.core.model import JSON, Batch, Position, Run, RunKind, RunState, Staged
from importers.exceptions import ConfigError, ContractError, RunAbortedError
from importers.pipeline import replay
from importers.pipeline.job import Job
from importers.pipeline.stamp import stamped
from importers.pipeline.verdicts import Validation, keep_places, read_places

RENEW_EVERY = 30.0  # seconds between two signs of life


def stage(job: Job, run: Run, partition: int, lease: float | None = None) -> Staged:
    """Extract and validate in one pass over the rows."""
    return _extract(job, run, partition, lease, validate=True)


def extract(job: Job, run: Run, partition: int, lease: float | None = None) -> Staged:
    """Read a partition into a place of this attempt's own. Raises what the source and the staging raise."""
    return _extract(job, run, partition, lease, validate=False)


def validate(job: Job, run: Run, partition: int) -> Staged:
    """Judge the newest complete attempt at a partition."""
    with job.at(partition):
        key = job.keys.open_run_key(run_key(run))
        staged = newest(job, run, partition)
        with Validation(job, run, partition, staged.attempt) as validation:
            places, first = read_places(job, staged, key), 0
            for rows in job.staging.read(staged, key):
                validation.check(rows, places, first)
                first += rows.num_rows
            validation.finish(staged, key)
        return staged


def newest(job: Job, run: Run, partition: int) -> Staged:
    """The attempt that was finished last. Raises ContractError if there is none."""
    attempts = job.staging.attempts(job.place(run).partition(partition), job.keys.open_run_key(run_key(run)))
    if not attempts:
        raise ContractError("nothing of this partition is staged", do="run extract again", run=run.id)
    return attempts[-1]


def run_key(run: Run) -> bytes:
    """The run's sealed key. Raises RunAbortedError if another run took over, ContractError if it was destroyed."""
    if run.state is RunState.ABORTED:
        raise RunAbortedError("this run was aborted: a newer one took over", do="start a new run", run=run.id)
    if run.sealed_key is None:
        raise ContractError(
            "what this run staged was destroyed", got=f"a run that is {run.state}", do="start a new run"
        )
    return run.sealed_key


def settings_hold(job: Job, run: Run) -> bool:
    """Whether the source's settings are those by which the run was planned, as far as its plan says them."""
    return run.plan.settings in ("", job.source.config.fingerprint)


def _extract(job: Job, run: Run, partition: int, lease: float | None, *, validate: bool) -> Staged:
    with job.at(partition):
        key = job.keys.open_run_key(run_key(run))
        if not settings_hold(job, run):
            raise ConfigError(
                "the importer's settings have changed since this run was planned: of its partitions some would be read"
                " by those of then",
                do="run it again from its plan on, or start a new run: then it is planned anew",
                run=run.id,
            )
        position: Position = {}
        # Where one process tree does all steps, it reads again after a power cut: nothing need wait for the disk.
        with (
            job.staging.writer(job.place(run).partition(partition), key, lasting=not validate) as writer,
            Validation(job, run, partition, writer.attempt) as validation,
        ):
            version = run.version + partition
            announced = pa.RecordBatch.from_pylist([], job.asked.schema)
            writer.write(stamped(job.stream, announced, version))
            places: list[tuple[pa.RecordBatch | None, int]] = []
            for batch in _batches(job, run, partition, lease):
                came = stamped(job.stream, batch.rows, version)
                rows = without_views(came)
                writer.write(rows)
                writer.reject(batch.rejects)
                places.append((batch.places, rows.num_rows))
                if validate:
                    validation.check(rows, batch.places, came=came)
                position = position if batch.position is None else batch.position
            staged = writer.finish(position)
            keep_places(job, staged, places, key)
            if validate:
                validation.finish(staged, key)
        return staged


def read(job: Job, partition: JSON) -> Iterator[Batch]:
    """The source's batches, whole. Raises ContractError for a partition that it doesn't know."""
    if not job.source.knows(partition):
        raise ContractError(
            "what this run was to read was planned by another version of the importer, or by another importer",
            do="run it again from its plan on: then it is planned anew",
        )
    for batch in job.source.read(job.requested, partition):
        yield replace(batch, rows=job.whole(batch.rows)) if job.stream.absent else batch


def _batches(job: Job, run: Run, partition: int, lease: float | None) -> Iterator[Batch]:
    """The source's batches; says now and then that we are alive."""
    renewed = time.monotonic()
    planned = run.plan.partitions[partition]
    for batch in replay.read(job, planned) if run.kind is RunKind.REPLAY else read(job, planned):
        yield batch
        if time.monotonic() - renewed > RENEW_EVERY:
            job.destination.renew(run, lease)
            renewed = time.monotonic()
