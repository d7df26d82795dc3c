"""Whether the policy treats columns otherwise than when the table's rows were loaded: those stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from importers.core.model import Leaf, LoadedAs, LoadMode, Reads, Stream, treated
from importers.core.tenant import Treat
from importers.exceptions import ContractError
from importers.pipeline.job import Job


def changed(job: Job) -> tuple[str, ...]:
    """A sentence for each leaf of which the table will hold values of two treatments after an incremental run, or that
    was dropped and is loaded now. A snapshot that replaces the table leaves none of the old rows.
    """
    if job.stream.load_mode is LoadMode.REPLACE or job.destination.is_new():
        return ()
    before = job.destination.loaded_as(job.stream)
    found = []
    for leaf in job.policy.lineage(job.stream.schema):
        was = before.get(leaf.source)
        if was is None or _said(was.leaf) == _said(leaf):
            continue
        ever = loaded(was)
        if ever and _said(ever[0].leaf) != _said(leaf):
            found.append(_told(job, ever, leaf))
        elif was.leaf.column is None:
            found.append(_told_of_nulls(job, was, leaf))
    return tuple(found)


def told(job: Job) -> Job:
    """The job as a plan fixes it: of what is dropped, what the policy names or the table may have values of."""
    stream = job.policy.told(
        job.stream, read=job.requested.schema.names, names=_in_the_table(job), parts=job.source.reads_parts()
    )
    return job if stream == job.stream else job.of(stream)


def _in_the_table(job: Job) -> frozenset[str]:
    if job.destination.is_new() or not any(pa.types.is_nested(column.type) for column in job.stream.columns):
        return frozenset()
    return frozenset(source for source, was in job.destination.loaded_as(job.stream).items() if loaded(was))


def refuse_unfit(job: Job) -> None:
    """Raises ContractError if a column of the table can't hold what comes, before any of it is read."""
    if job.destination.is_new():
        return
    misfits = job.destination.misfits(job.stream, job.policy.table(job.asked.schema))
    if not misfits:
        return
    before = job.destination.loaded_as(job.stream)
    name, (have, comes) = next(iter(misfits.items()))
    leaf = next((leaf for leaf in job.policy.lineage(job.stream.schema) if leaf.column == name), None)
    was = loaded(before[leaf.source]) if leaf and leaf.source in before else []
    table = f"{job.tenant.tenant}.{job.stream.target}"
    what = f"column '{name}' of {table} is {have} and can't hold {comes}"
    if leaf and was and _said(was[0].leaf) != _said(leaf):
        raise ContractError(what, got=f"{_said(leaf)}, before {_said(was[0].leaf)}", do=elsewhere(job))
    raise ContractError(what, do=f"mend the source; or, if the new type is right, {elsewhere(job)}")


def refuse_other_keys(job: Job) -> None:
    """Raises ContractError if the table's rows have their key under another treatment: each would be there twice."""
    if job.stream.keyed and not job.destination.is_new():
        job.destination.check_keys(job.stream, job.policy.lineage(job.stream.schema))


def loaded(was: LoadedAs) -> list[LoadedAs]:
    """How the leaf was loaded, each treatment once, the newest first."""
    found: dict[str, LoadedAs] = {}
    ever: LoadedAs | None = was
    while ever is not None:
        if ever.leaf.column:
            found.setdefault(_said(ever.leaf), ever)
        ever = ever.before
    return list(found.values())


def _told(job: Job, ever: Sequence[LoadedAs], leaf: Leaf) -> str:
    others = [was for was in reversed(ever) if _said(was.leaf) != _said(leaf)]
    then = " and ".join(f"since run {was.since} as {_said(was.leaf)}" for was in others)
    column = ever[0].leaf.column
    takes_out = removable(job.stream, column, leaf.treatment)
    return f"{_from_now_on(job, leaf, column)}, loaded {then}, stay so. {_remedy(job, takes_out=takes_out)}"


def _told_of_nulls(job: Job, was: LoadedAs, leaf: Leaf) -> str:
    dropped = f"loaded since run {was.since}, have null: it was dropped"
    return f"{_from_now_on(job, leaf, leaf.column)}, {dropped}. {_remedy(job, takes_out=False)}"


def _from_now_on(job: Job, leaf: Leaf, column: str | None) -> str:
    what = f"column {column}" if leaf.source == column else leaf.source
    return f"{job.tenant.tenant}.{job.stream.target}, {what}: {_said(leaf)} from this run on; rows that are there"


def _said(leaf: Leaf) -> str:
    return treated(leaf.treatment, leaf.key_version)


def removable(stream: Stream, column: str | None, now: str) -> bool:
    """Whether a full refresh takes values of another treatment than `now` out of the rows that it doesn't load anew.

    What is kept now forbids none; a key can't be without; and where only the domain of the subject's pseudonyms has
    changed, an erasure finds the row by the old one.
    """
    still_subject = column == stream.subject and now.startswith(Treat.PSEUDONYMISE)
    return stream.keyed and now != Treat.KEEP and column not in stream.primary_key and not still_subject


def _remedy(job: Job, *, takes_out: bool) -> str:
    if takes_out:
        return (
            "A full refresh (--full-refresh) loads those anew that are at the source, and good, and takes the values "
            "out of the others"
        )
    if job.stream.load_mode is LoadMode.MERGE:
        again = "Those that are at the source, and good, are loaded anew by --full-refresh, or intervals by a backfill"
        return f"{again}. To have all rows alike, {elsewhere(job)}"
    if job.stream.load_mode is LoadMode.APPEND and job.stream.reads is Reads.WINDOW:
        return "To have all rows alike, load their intervals again by a backfill"
    return f"To have all rows alike, {elsewhere(job)}"


def elsewhere(job: Job) -> str:
    """How everything gets into another table, which is read from the beginning; an interval has none."""
    how = (
        "the intervals there by a backfill"
        if job.stream.reads is Reads.WINDOW
        else "everything there with the next run"
    )
    return f"set load.table to a new name, and load {how}. Then drop this table"
