"""Whether the policy treats columns otherwise than when the table's rows were loaded: those stay as they are."""

from __future__ import annotations

from importers.core.model import Leaf, LoadedAs, LoadMode, Reads
from importers.pipeline.job import Job


def changed(job: Job) -> tuple[str, ...]:
    """A sentence for each column of which the table will hold values of two treatments after an incremental run.

    What wasn't loaded before has no values there. A snapshot that replaces the table leaves none of the old ones.
    """
    if job.stream.load_mode is LoadMode.REPLACE or job.destination.is_new():
        return ()
    before = job.destination.loaded_as(job.stream)
    known = [(before[leaf.source], leaf) for leaf in job.policy.lineage(job.stream.schema) if leaf.source in before]
    new = [(was if was.leaf.column else was.before, leaf) for was, leaf in known if _said(was.leaf) != _said(leaf)]
    return tuple(_told(job, was, leaf) for was, leaf in new if was is not None and _said(was.leaf) != _said(leaf))


def _told(job: Job, was: LoadedAs, leaf: Leaf) -> str:
    return (
        f"{job.tenant.tenant}.{job.stream.target}, column {was.leaf.column}: {_said(leaf)} from this run on; rows that"
        f" are there, loaded since run {was.since} as {_said(was.leaf)}, stay so. {_remedy(job)}"
    )


def _said(leaf: Leaf) -> str:
    return leaf.treatment if leaf.key_version in (None, 1) else f"{leaf.treatment}, key version {leaf.key_version}"


def _remedy(job: Job) -> str:
    if job.stream.load_mode is LoadMode.MERGE:
        return "To have all rows alike, load them again: by --full-refresh, or intervals by a backfill"
    if job.stream.load_mode is LoadMode.APPEND and job.stream.reads is Reads.WINDOW:
        return "To have all rows alike, load their intervals again by a backfill"
    return "To have all rows alike, load everything into another load.table, and drop this one"
