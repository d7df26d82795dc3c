"""What a run that is about to commit leaves as it was in a merged table, or one with history, and what is said of it.

A merge keeps what it has of a key until a good version comes, and what the source no longer delivers. So a full refresh
alone wouldn't make a stricter policy hold for all that is there: what is left of an older treatment is removed, unless
the leaf is kept now, which forbids nothing (see decision 0021).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.model import LoadMode, QuarantineFile, Remains, Run, RunKind, RunState, Unlike
from importers.core.names import few, many
from importers.core.tenant import Treat
from importers.exceptions import ImporterError
from importers.pipeline.job import Job
from importers.pipeline.replay import as_today
from importers.pipeline.treatments import elsewhere, removable
from importers.privacy.leaves import Part
from importers.staging.quarantine import ROW

_log = logging.getLogger(__name__)


def left(job: Job, run: Run) -> tuple[Sequence[Unlike], tuple[str, ...]]:
    """What the commit is to remove, and the sentences that it leaves in the ledger.

    Nothing of a run that is committed already: it has said so. Raises what the warehouse raises.
    """
    if run.mode not in (LoadMode.MERGE, LoadMode.HISTORY) or run.state is RunState.COMMITTED:
        return (), ()
    files = job.destination.quarantine().of_run(run.id, ended=False) if run.mode is LoadMode.MERGE else ()
    kept_out = [file for file in files if file.rows]
    outdone = _outdone(job, run)
    if not (kept_out or run.plan.again):
        return (), outdone
    unlike = job.destination.unlike(run)
    found = _remains(job, run, unlike, kept_out)
    held = [(one, rows) for one, rows in zip(unlike, found.unlike, strict=True) if rows]
    going = [one for one, _ in held if run.plan.again and removable(job.stream, one.column, one.now)]
    untouched = _untouched(job, run, found)
    return going, (*outdone, *untouched, *(_treated(job, one, rows, gone=one in going) for one, rows in held))


def _outdone(job: Job, run: Run) -> tuple[str, ...]:
    """Of the rows that are told as loaded those that the table hasn't, as it has another of their key."""
    receipts = run.receipts.values()
    loaded, outdone = (sum(getattr(receipt, name) for receipt in receipts) for name in ("loaded", "outdone"))
    table = f"{job.tenant.tenant}.{job.stream.target}"
    gave = f"{outdone:,} gave way to another of the same key, newer or read later{_folded(job)}"
    return (f"{table}: of {many(loaded, 'row')} loaded {gave}",) if outdone else ()


def _folded(job: Job) -> str:
    """What may have made one key of several."""
    types = {column.name: column.type for column in job.stream.columns}
    keys = [name for name in job.stream.primary_key if job.policy.folds(Part(name, types[name]))]
    if not keys:
        return ""
    return f"; in pseudonyms of {few(keys)} upper and lower case don't count (`domains` in the tenant's file)"


def _remains(job: Job, run: Run, unlike: Sequence[Unlike], kept_out: Sequence[QuarantineFile]) -> Remains:
    """What is in quarantine fails no run here: rows that can't be read aren't looked for in the table then."""
    look = partial(job.destination.remains, run, job.stream, unlike=unlike, whole=run.plan.again)
    if not kept_out:
        return look(iter(()))
    try:
        return look(_keys(job, kept_out))
    except ImporterError as error:
        _log.warning("what the table has of rows in quarantine can't be told: %s", error.what)
        return look(iter(()))


def _keys(job: Job, files: Sequence[QuarantineFile]) -> Iterator[pa.RecordBatch]:
    """The keys of the rows in the run's quarantine files, as they would stand in the table."""
    key = list(job.stream.primary_key)
    stored = [name for name in key if not job.policy.pseudonymises(name)]
    for file in files:
        for batch in job.quarantine.batches(file.uri, job.keys.quarantine()):
            rows = job.fitted(as_today(job, batch.filter(pc.is_valid(batch[ROW])))).select(key)
            treated = job.policy.keys(rows)
            good = np.ones(rows.num_rows, dtype=np.bool_)
            for bad in job.destination.unfit(rows, stored).values():
                good &= ~bad
            for name in key:
                good &= pc.is_valid(treated[name]).to_numpy(zero_copy_only=False)
            yield treated.filter(pa.array(good))


def _untouched(job: Job, run: Run, found: Remains) -> list[str]:
    """How many rows there are that the run has left alone, and why."""
    table = f"{job.tenant.tenant}.{job.stream.target}"
    if run.mode is LoadMode.HISTORY or not (found.withheld or found.rows):
        return []
    withheld = many(found.withheld, "row")
    if found.rows is None and run.kind is not RunKind.INCREMENTAL:  # which may bring rows older than the table's
        return [f"{table}: {withheld} of the keys of rows that are in quarantine, newer or older ones"]
    if found.rows is None:
        return [f"{table}: {withheld} in an older version, as the newer is in quarantine"]
    why = [f"{found.withheld:,} with a newer version in quarantine"] if found.withheld else []
    others = found.rows - found.withheld
    why += [f"{others:,} that the source didn't deliver, or not as new"] if others else []
    return [f"{table}: {many(found.rows, 'row')} that this refresh hasn't loaded anew: {' and '.join(why)}"]


def _treated(job: Job, one: Unlike, rows: int, *, gone: bool) -> str:
    """What becomes of values of another treatment in those rows."""
    among = f"of {many(rows, 'row')} among those, loaded"
    what = f"{job.tenant.tenant}.{job.stream.target}, {one.source}: {one.now} now; {among}"
    if gone:
        return f"{what} as {one.treatment}, the values were removed"
    stays = f"{what} as {one.treatment}, the values stay so"
    if one.now == Treat.KEEP:
        return stays
    takes_out = removable(job.stream, one.column, one.now)
    return f"{stays}. {'A full refresh takes them out' if takes_out else f'To have none of them, {elsewhere(job)}'}"
