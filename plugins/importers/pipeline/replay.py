"""replay: rows in quarantine, read again as if the source had delivered them today.

A replay's partitions are quarantine files, which it claims when it is opened. What today's rules let through is loaded;
what they don't, and what still is no row, goes to quarantine again, and keeps the moment from which its retention
counts. Once the replay is committed the files that it read are deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.erasure import Erased
from importers.core.exact import exactly, lost
from importers.core.model import JSON, SUBJECT, VERSION, Batch, LoadMode, Plan, Reject, Run
from importers.core.names import many
from importers.core.places import named
from importers.core.quarantine import Held
from importers.core.settings import kept_in_quarantine
from importers.core.widening import joined
from importers.exceptions import ContractError, ImporterError
from importers.pipeline.job import Job
from importers.pipeline.stamp import stamped
from importers.pipeline.superseded import read_again
from importers.staging.manifest import joinable, widest
from importers.staging.quarantine import ABOUT, LOCATION, RAW, REASON, ROW


def held(job: Job) -> list[Held]:
    """What the stream has in quarantine for its table, and may still keep there: past its retention nobody reads it."""
    kept = kept_in_quarantine(job.tenant, job.pipeline, job.stream.name)
    files = job.destination.quarantine().held(job.stream, datetime.now(UTC) - kept.time)
    return [file for file in files if file.table == job.stream.target]


def rounds(job: Job) -> int:
    """How many replays it takes to read all that there is now: one, or one for each appended window.

    What another replay has claimed counts: it may be dead, and then the next one gets it. Raises ContractError if files
    that could be replayed aren't where they were put, and none is.
    """
    every = held(job)
    there, lost = _sought(job, every)
    if lost and not there:
        raise ContractError("quarantine isn't where it was put", got=_lost(lost), do=_LOOK)
    files = [*there, *(file for file in every if file.replayed_by is not None)]
    appends = job.stream.load_mode is LoadMode.APPEND
    return len({file.window for file in files}) if appends else min(1, len(files))


def plan_of(job: Job) -> Plan:
    """The quarantine files that a replay opened now would read, each with what its rows' past asks for.

    Appended windows are replayed one at a time, so that a window that is read again takes the place of its own rows.
    A file that isn't where it was put holds no other back: the plan's notes say so.
    """
    files, lost = _sought(job, held(job))
    if job.stream.load_mode is LoadMode.APPEND and files:
        files = [file for file in files if file.window == files[0].window]
    notes = (f"quarantine isn't where it was put: {_lost(lost)}; {_LOOK}",) if lost else ()
    return Plan([_partition(file) for file in files], stream=job.stream, notes=notes)


def columns(job: Job) -> pa.Schema:
    """What the rows have that replays may read, also those that another one has claimed: it may be dead."""
    found: dict[str, pa.Field] = {}
    files = [file for file in held(job) if file.current]
    there = job.quarantine.there([file.file.uri for file in files])
    for uri in sorted(there):
        for field in _columns(job, uri):
            known = found.get(field.name, field)
            try:
                found[field.name] = widest([pa.schema([known]), pa.schema([field])]).field(0)
            except ContractError:  # of another shape: such rows don't fit, and stay
                found[field.name] = known
    return pa.schema(list(found.values()))


def _columns(job: Job, uri: str) -> pa.Schema:
    """None of a file that can't be read: whoever reads its rows says so. Another replay may have deleted it by now."""
    try:
        return job.quarantine.columns(uri, job.keys.quarantine())
    except ImporterError:
        return pa.schema([])


def _sought(job: Job, files: Sequence[Held]) -> tuple[list[Held], list[Held]]:
    """Of those that may be replayed which are there, and which aren't."""
    files = [file for file in files if file.replayable]
    found = job.quarantine.there([file.file.uri for file in files])
    return [file for file in files if file.file.uri in found], [file for file in files if file.file.uri not in found]


_LOOK = "look whether IMPORTERS_QUARANTINE is right, or give them up by `importers quarantine discard`"


def _lost(files: Sequence[Held]) -> str:
    rows = sum(file.file.rows for file in files)
    runs = ", ".join(str(run) for run in sorted({file.run for file in files}))
    return f"no file for {many(rows, 'row')} of run {runs}"


def _partition(held: Held) -> JSON:
    return {
        "uri": held.file.uri,
        "root": held.root,
        "part": held.part,
        "version": held.version,
        "cursor": held.cursor,
        "stale": held.stale,
        "again": held.again,
        "live": held.live,
        "since": held.file.since.isoformat() if held.file.since else None,
    }


def since(run: Run, partition: int) -> datetime:
    """When the rows of a replay's partition came into quarantine."""
    return datetime.fromisoformat(cast(Mapping[str, Any], run.plan.partitions[partition])["since"])


def deliveries(run: Run) -> dict[int, int | None]:
    """Of each of a replay's partitions the run that read its rows: they are judged beside those that they came with.

    None where that was a live run: in a stream that is followed a key may come again.
    """
    parts = (cast(Mapping[str, Any], part) for part in run.plan.partitions)
    return {number: None if part.get("live") else int(part["root"]) for number, part in enumerate(parts)}


def read(job: Job, partition: JSON) -> Iterator[Batch]:
    """A quarantine file as the stream's batches, with `_version` as it was stamped; without erased subjects' rows, and
    without those that a run which made the table anew has read again.
    """
    planned = cast(Mapping[str, Any], partition)
    erased, anew = job.erased, read_again(job, planned["root"], planned["part"], planned.get("again", ()))
    for held in job.quarantine.batches(planned["uri"], job.keys.quarantine()):
        batch = held.filter(pc.invert(anew.of(held[LOCATION]))) if anew.files else held
        is_row = pc.is_valid(batch[ROW])
        kept = batch.filter(is_row)
        rows = _versioned(job, planned, kept, as_today(job, kept))
        stays = pa.array(_current(rows, planned["stale"]) & ~_erased(job, kept, rows, erased))
        rejects, again = _read_again(job, planned, list(_rejects(batch.filter(pc.invert(is_row)))))
        yield Batch(rows.filter(stays), tuple(rejects), places=named(kept[LOCATION].filter(stays)))
        if again is not None:
            yield again


def _read_again(
    job: Job, planned: Mapping[str, Any], rejects: Sequence[Reject]
) -> tuple[Sequence[Reject], Batch | None]:
    """What still is no row, and what is one by the settings of today, as far as the source can read it again.

    Such rows are as new to the chain as any that a source delivers: it leaves out erased subjects' as it does theirs.
    """
    parts = origin(job, planned) if rejects else ()
    found = [row for partition in parts for row in job.source.reread(job.requested, partition, rejects)]
    rows = [_completed(job, row) for row in found if row is not None]
    if not rows:
        return rejects, None
    table = pa.concat_tables([pa.Table.from_batches([row]) for row in rows], promote_options="permissive")
    whole = stamped(job.stream, table.combine_chunks().to_batches()[0], planned["version"])
    pairs = list(zip(rejects, found, strict=True))
    at = pa.array([reject.location for reject, row in pairs if row is not None], pa.string())
    kept = pa.array(_current(whole, planned["stale"]))
    return [reject for reject, row in pairs if row is None], Batch(whole.filter(kept), places=named(at.filter(kept)))


def origin(job: Job, planned: Mapping[str, Any]) -> Sequence[JSON]:
    """The partition that a quarantine file's records were read from; none that the source doesn't know any more, and
    where an older replay didn't say.
    """
    part = planned["part"]
    parts = () if part is None else job.destination.find(planned["root"]).plan.partitions[part : part + 1]
    return [partition for partition in parts if job.source.knows(partition)]


def subjects(job: Job, planned: Mapping[str, Any]) -> dict[tuple[bytes, str], bytes]:
    """Whose the records of a quarantine file are that were no rows, as far as was known when they came."""
    known: dict[tuple[bytes, str], bytes] = {}
    for batch in job.quarantine.batches(planned["uri"], job.keys.quarantine()):
        said = batch.filter(pc.and_(pc.is_null(batch[ROW]), pc.is_valid(batch[SUBJECT])))
        for raw, location, token in zip(*(said[name].to_pylist() for name in (RAW, LOCATION, SUBJECT)), strict=True):
            known[raw, location] = token
    return known


def _completed(job: Job, row: pa.RecordBatch) -> pa.RecordBatch:
    """A row with the columns that the stream has today; those that its file lacks are null."""
    for column in job.asked.columns:
        if column.name not in row.schema.names:
            row = row.append_column(column.name, pa.nulls(1, column.type))
    return row.select([*job.asked.schema.names, *([VERSION] if VERSION in row.schema.names else [])])


def forget(job: Job, run: Run) -> None:
    """Delete what a committed replay has read: its rows are in the table, or in quarantine as the replay's own."""
    for number in range(len(run.plan.partitions)):
        job.quarantine.delete(cast(Mapping[str, Any], run.plan.partitions[number])["uri"])


def as_today(job: Job, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns and types that the stream has today; what wasn't read then is null, as in a table that grew.

    A column that doesn't fit its type of today keeps its own, as if the source had widened it. One that isn't the
    stream's today is still there, so that it isn't lost in silence: what a replay has read is deleted.
    """
    arrays = []
    beyond = [field for field in batch.schema if field.name not in {*ABOUT.names, *job.stream.schema.names}]
    schema = pa.schema([*job.asked.schema, *beyond])
    for field in schema:
        if field.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        arrays.append(_narrowed(batch[field.name], field.type))
    return pa.RecordBatch.from_arrays(arrays, names=schema.names)


def _narrowed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if t.is_nested(array.type) and t.is_nested(kind) and not joinable(kind, array.type):
        # all of the file alike, though some may fit, as a verdict says: an attempt has no two shapes of a column
        return exactly(array, joined(array.type, kind), grown=True)
    narrow = exactly(array, kind, grown=True)
    return array if lost(array, narrow).any() else narrow


def _versioned(job: Job, planned: Mapping[str, Any], then: pa.RecordBatch, rows: pa.RecordBatch) -> pa.RecordBatch:
    now = stamped(job.stream, rows, planned["version"])
    if VERSION not in now.schema.names or VERSION not in then.schema.names or planned["cursor"] != job.stream.cursor:
        return now
    place = now.schema.get_field_index(VERSION)
    return now.set_column(place, VERSION, pc.coalesce(then[VERSION], now[VERSION]))


def _current(rows: pa.RecordBatch, stale: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Which rows no later run has read again."""
    current = np.ones(rows.num_rows, dtype=np.bool_)
    if stale and VERSION in rows.schema.names:
        version = rows[VERSION].to_numpy(zero_copy_only=False)
        for low, high in stale:
            current &= (version < low) | (version >= high)
    return current


def _erased(job: Job, then: pa.RecordBatch, rows: pa.RecordBatch, erased: Erased) -> npt.NDArray[np.bool_]:
    """Which rows are an erased subject's, by the token of then or of today: neither may come back into quarantine."""
    gone = np.zeros(rows.num_rows, dtype=np.bool_)
    if erased:
        for tokens in (then[SUBJECT], job.tokens(rows)):
            if tokens is not None:
                gone |= erased.among(tokens).to_numpy(zero_copy_only=False)
    return gone


def _rejects(batch: pa.RecordBatch) -> Iterator[Reject]:
    for raw, location, reason in zip(*(batch[name].to_pylist() for name in (RAW, LOCATION, REASON)), strict=True):
        yield Reject(raw, location, reason)
