"""The table that a run's rows go into: made to fit before the first of them is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from importers.core.model import JSON, OURS, Run, RunKind
from importers.core.names import few
from importers.core.parts import undated
from importers.exceptions import ContractError
from importers.pipeline import nested, treatments
from importers.pipeline.job import Job


def own(schema: pa.Schema) -> pa.Schema:
    """The source's columns: without those that we add."""
    return pa.schema([field for field in schema if field.name not in OURS])


def prepare(job: Job, run: Run, read: Iterable[pa.Schema], pins: Mapping[str, JSON]) -> Run:
    """Make the table fit what was read, and pin what may be loaded. The run as it is pinned.

    Raises PrivacyError for a leaf that no policy covers, ContractError.
    """
    schema = job.table_schema(map(own, read))
    columns, lineage = job.policy.table(schema), job.policy.lineage(schema)
    frozen = job.settings.load.schema_change == "freeze"
    try:
        if frozen:
            _refuse_more_within(job, run, schema)
        return job.destination.prepare(run, job.stream, columns, lineage, pins, frozen=frozen)
    except ContractError as error:
        if frozen and run.kind is not RunKind.REPLAY:
            read = few((job.source.describe(partition)[0] for partition in run.plan.partitions), 3)
            error.got = f"{error.got}; read from {read}" if read else error.got
            error.got += _brought(job, run, schema)
        raise


def _brought(job: Job, run: Run, schema: pa.Schema) -> str:
    """Where what is new came first, of a source that tells its parts by their columns."""
    known = {column.name for stream in job.destination.remembered() for column in stream.columns}
    planned = run.plan.stream.columns if run.plan.stream else ()
    since = {column.name: undated(column.since) for column in planned if column.since and column.name not in known}
    return "".join(f"; {name} first in {part}" for name, part in since.items() if name in schema.names)


def _refuse_more_within(job: Job, run: Run, schema: pa.Schema) -> None:
    """Raises ContractError for what is new within a column; not of a table that is new, or was dropped."""
    for known in () if run.plan.dropped else job.destination.remembered():
        if (known.name, known.target) == (job.stream.name, job.stream.target):
            before = job.destination.loaded_as(job.stream)
            dropped = {source for source, was in before.items() if not treatments.loaded(was)}
            nested.refuse_more(known, job.policy.loaded(schema), dropped)
