"""A table has one writer: a stream, or several of which each says `load.shared: true` and adds to what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importers.core.model import LoadMode
from importers.core.names import StreamName
from importers.core.settings import effective
from importers.core.tenant import Load
from importers.exceptions import ConfigError
from importers.pipeline.connection import unconnected

if TYPE_CHECKING:
    from importers.pipeline.job import Job

SEVERAL = "the table '{}' has several writers"
OF_ITS_OWN = "give it a table of its own by load.table, or `load.shared: true` on each"


def fault(load: Load, mode: LoadMode | None, got: str) -> tuple[str, str] | None:
    """What was got and what to do, if a stream that is loaded so can't be one of a table's several writers."""
    if not load.shared:
        return got, OF_ITS_OWN
    if mode in (LoadMode.REPLACE, LoadMode.HISTORY):
        return f"mode {mode}", "a shared table allows: append, merge"
    return None


def check(job: Job) -> None:
    """Raises ConfigError if another stream writes the job's table, and not both of them share it.

    Lint says so where the settings tell the streams' names; here whatever the source calls them. Who is no more in the
    file writes no more, and whoever comes by its table for the first time takes it over: by key. What was appended
    would be there twice if the pipeline has only got another name. A pipeline of no file knows no other, and would take
    turns with it: what has written since we did isn't taken over again.
    """
    from importers.pipeline import alike  # brings pyarrow, which lint does without

    stream = job.stream
    others = job.destination.writers(stream)
    shares = bool(others) and job.settings.load.shared
    lineages = {each.stream: each for each in job.destination.lineages(stream)} if shares else {}
    for name, since in others.items():
        other, ours = StreamName.of(name), job.settings.load
        got = f"pipeline {other.pipeline}, stream {other.stream}"
        table = f"{other.tenant}.{stream.target}"
        if _is_in_the_file(job, other):
            theirs = effective(job.tenant, other.pipeline, other.stream).load
            if theirs.table not in (None, stream.target):
                continue  # from its next run on
            wrong = fault(ours, stream.load_mode, got)
            wrong = wrong or fault(theirs, theirs.mode, f"`load.shared` isn't said by pipeline {other.pipeline}")
            if wrong is not None:
                raise ConfigError(SEVERAL.format(table), got=wrong[0], do=wrong[1])
            if name in lineages:
                policy = effective(job.tenant, other.pipeline, other.stream).privacy
                alike.check(job, lineages[name], other.pipeline, policy)
        elif since and (wrong := fault(ours, stream.load_mode, got)):
            raise ConfigError(
                f"the table '{table}' was written, after this pipeline's last run, by what the tenant's file hasn't",
                got=wrong[0],
                do=wrong[1] if ours.shared else f"{wrong[1]}; on this one, for a run, if the other is gone for good",
            )
        elif stream.load_mode is LoadMode.APPEND and not ours.shared and since is None:
            raise ConfigError(
                f"the table '{table}' has rows that were appended by what the tenant's file has no more",
                got=got,
                do="give it its name back, if this is the same; else set `load.table` to a new name, or `load.shared`",
            )
        elif since is not False and name in lineages:  # else it may be gone, and brings nothing any more
            alike.check(job, lineages[name], other.pipeline, None)


def _is_in_the_file(job: Job, other: StreamName) -> bool:
    spec = job.tenant.pipelines.get(other.pipeline)
    if spec is None:
        return False
    source = unconnected(job.tenant, other.pipeline)
    known = spec.streams or (source.named() if source else ())
    return not known or other.stream in known
