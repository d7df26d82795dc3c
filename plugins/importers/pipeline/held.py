"""What is in quarantine, for the person who has to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.destination import Destination
from importers.core.model import OURS, QuarantineFile, RunKind, RunState
from importers.core.names import StreamName
from importers.core.quarantine import ExpiredFile, Held
from importers.core.settings import effective, kept_in_quarantine
from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import resume
from importers.pipeline.replay import as_today
from importers.staging.quarantine import LOCATION, RAW, REASON, ROW, RULES, Quarantine

HIDDEN = "not shown"
"""In place of a value in a column that the schema contract keeps out: no policy has seen it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The first rows and rejects of a quarantine file, each with what is wrong and where it stood."""

    held: Held
    rows: pa.Table = field(repr=False)
    rejects: pa.Table = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contents:
    """Of a pipeline's quarantine what is `held` within its retention, what is past it and waits for the next sweep, and
    what a sweep has deleted.
    """

    held: Sequence[Held] = ()
    overdue: Sequence[Held] = ()
    expired: Sequence[ExpiredFile] = ()


def contents(destination: Destination, tenant: Tenant) -> Contents:
    """What there is and was. What is past its retention nobody reads any more.

    What a replay has put back counts once that is committed: until then the rows are told of where it has them from.
    """
    now = datetime.now(UTC)
    held, overdue = list[Held](), list[Held]()
    registry = destination.quarantine()
    for file in registry.held():
        if file.state is RunState.OPEN and file.root != file.run:
            continue
        (held if kept_until(tenant, file) >= now else overdue).append(file)
    return Contents(held, overdue, registry.expired())


def kept_until(tenant: Tenant, held: Held) -> datetime:
    """When a file's retention is over."""
    _, pipeline, stream = StreamName.of(held.stream)
    return (held.file.since or datetime.now(UTC)) + kept_in_quarantine(tenant, pipeline, stream).time


def why_not(held: Held, tenant: Tenant) -> str:
    """Why a file can't be replayed; empty if it can."""
    _, pipeline, stream = StreamName.of(held.stream)
    if pipeline not in tenant.pipelines:
        return "no tenant file describes it: `Importer.replay_quarantine` does, from where it was imported"
    if held.table != (effective(tenant, pipeline, stream).load.table or stream):
        return f"its rows belong into {tenant.tenant}.{held.table}, and load.table names another"
    if held.replayed_by is not None:
        return f"run {held.replayed_by} replays it; if that has failed, the next replay takes it over"
    if held.state is RunState.OPEN:
        return "its run isn't committed"
    return "" if held.replayable else "its rows are read again by another run"


def show(
    installation: Installation, tenant: Tenant, pipeline: str, held: Held, rows: int, *, unmasked: bool = False
) -> Shown:
    """Open a file: rows under today's policy, or as they are if somebody says so. Asks no source.

    A reject has no columns that a policy could treat: its bytes are only in what is `unmasked`. Raises PrivacyError,
    StagingError, ContractError.
    """
    job, _ = resume(installation, tenant, pipeline, held.run)
    with closing(job), job.at(held.file.partition):
        table = job.quarantine.read(held.file.uri, job.keys.quarantine())
        is_row = pc.is_valid(table[ROW])
        bad, rejects = table.filter(is_row)[:rows], table.filter(pc.invert(is_row))[:rows]
        about = [LOCATION, REASON, *([RAW] if unmasked else [])]
        return Shown(held, _readable(job, bad, unmasked=unmasked), _legible(rejects.select(about)))


def _readable(job: Job, bad: pa.Table, *, unmasked: bool) -> pa.Table:
    batches = bad.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], bad.schema)]
    raw = as_today(job, batches[0])
    rows = raw if unmasked else job.policy.apply(job.fitted(raw))
    shown = {name: rows[name] for name in rows.schema.names if name not in OURS}
    beyond = [column.name for column in job.stream.beyond if column.name in raw.schema.names]
    hidden = {name: pc.if_else(pc.is_valid(raw[name]), HIDDEN, None) for name in beyond}
    about = [ROW, RULES] if batches[0][LOCATION].null_count else [LOCATION, RULES]
    return pa.table({name: batches[0][name] for name in about} | hidden | shown)


def _legible(table: pa.Table) -> pa.Table:
    """Bytes as the text that they mostly are; what is none by its hexadecimal digits."""
    texts = [
        pa.array([raw and raw.decode(errors="backslashreplace") for raw in column.to_pylist()], pa.string())
        if pa.types.is_binary(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(texts, names=table.column_names)


def discard(destination: Destination, quarantine: Quarantine, files: Sequence[Held]) -> Sequence[QuarantineFile]:
    """Give files up: noted in the ledger, then deleted. What a crash leaves in between, the sweeper deletes.

    A file that a replay is reading stays; one that was killed gives it back. Raises StagingError.
    """
    for run in {held.replayed_by for held in files} - {None}:
        _end_abandoned(destination, cast("int", run))
    given_up = destination.quarantine().discard([held.file.uri for held in files if held.state is not RunState.OPEN])
    for file in given_up:
        quarantine.delete(file.uri)
    return given_up


def _end_abandoned(destination: Destination, number: int) -> None:
    run = destination.find(number)
    if run.kind is RunKind.REPLAY and run.state is RunState.OPEN and run.plan.stream and destination.idle(run):
        destination.abort(run, run.plan.stream)
