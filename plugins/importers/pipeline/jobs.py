"""Which jobs a pipeline has: a stream each, as its source offers it and the tenant's file refines it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa

from importers.core.connection import Connection
from importers.core.model import LoadMode, Run, Stream
from importers.core.names import did_you_mean, shown_type, told
from importers.core.settings import StreamSettings, effective, pipeline_of
from importers.core.source import Source
from importers.core.tenant import Subject, Tenant
from importers.exceptions import ConfigError, ContractError, EmptySourceError, ImporterError
from importers.pipeline import contract
from importers.pipeline.connection import RESOLVER
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job, open_source
from importers.privacy.rules import domain_of


def jobs(
    installation: Installation,
    tenant: Tenant,
    pipeline: str,
    streams: Sequence[str] = (),
    connection: Connection | None = None,
    *,
    replay: bool = False,
) -> list[Job]:
    """A job for each stream of the pipeline, or for those named. Asks the source what it has.

    Without a `connection` it is looked for if the source needs one. A source that was read empty is taken to have what
    it had; for a `replay` every source is, also one that can't be read now. A stream that it doesn't offer any more is
    replayed if it is named. Raises ConfigError for a stream that the source lacks, and whatever the source raises.
    """
    try:
        connection = RESOLVER.get()(tenant, pipeline) if connection is None else connection
        with closing(open_source(tenant, pipeline, connection)) as source:
            named = list(streams) or list(pipeline_of(tenant, pipeline).streams)
            past = (installation, tenant, pipeline)
            offered = _to_replay(source, named, *past) if replay else _offered(source, *past)
        wanted = named or list(offered)
        for name in wanted:
            if name not in offered:
                do = source.withheld.get(name) or did_you_mean(name, offered)
                raise ConfigError(f"the source has no stream '{name}'", do=do)
        refined = [refine(offered[name], effective(tenant, pipeline, name)) for name in wanted]
    except ImporterError as error:
        error.at(tenant=tenant.tenant, pipeline=pipeline)
        raise
    return [Job(installation, tenant, pipeline, stream, connection) for stream in refined]


def _offered(source: Source[Any], installation: Installation, tenant: Tenant, pipeline: str) -> dict[str, Stream]:
    """The source's streams by name; of one that was read empty, as its last run knew it."""
    try:
        return {stream.name: stream for stream in source.streams()}
    except EmptySourceError as error:
        known = _remembered(installation, tenant, pipeline)
        offered = {name: stream for name, stream in known.items() if name == error.where.get("stream")}
        if not offered:
            raise
        return offered


def _to_replay(
    source: Source[Any], named: Collection[str], installation: Installation, tenant: Tenant, pipeline: str
) -> dict[str, Stream]:
    """The streams that a replay may be of: offered, or named and had once; all that there were if nobody can say."""
    known = _remembered(installation, tenant, pipeline)
    try:
        offered = _offered(source, installation, tenant, pipeline)
    except ImporterError:
        if not known:
            raise
        offered = known
    there = {name: stream for name, stream in known.items() if name in offered or name in named}
    return offered | {
        name: contract.replayed(offered.get(name, stream), stream, effective(tenant, pipeline, name))
        for name, stream in there.items()
    }


def resume(
    installation: Installation,
    tenant: Tenant,
    pipeline: str,
    run_id: int,
    connection: Connection | None = None,
) -> tuple[Job, Run]:
    """A run that was planned, and its job as the plan fixed it: for a step in another process. Asks no source.

    Raises ConfigError, and RunAbortedError for a run that isn't this pipeline's.
    """
    pipeline_of(tenant, pipeline)
    keys = installation.keyring().tenant(tenant.tenant)
    with closing(installation.open_destination(pipeline, keys)) as destination:
        run = destination.find(run_id)
    if run.plan.stream is None:
        raise ContractError("the run's plan doesn't say what it reads", do="start a new run", run=run_id)
    return Job(installation, tenant, pipeline, run.plan.stream, connection), run


def _remembered(installation: Installation, tenant: Tenant, pipeline: str) -> dict[str, Stream]:
    """The pipeline's streams by name, as their last committed runs knew them."""
    keys = installation.keyring().tenant(tenant.tenant)
    with closing(installation.open_destination(pipeline, keys)) as destination:
        streams = () if destination.is_new() else destination.remembered()
    return {stream.name: replace(stream, absent=(), beyond=()) for stream in streams}


def _which(name: str, safe: Sequence[str], many: int) -> str:
    if safe:
        return did_you_mean(name, safe)
    return (
        f"look whether the header is there: none of its {many} columns, which aren't shown, is named in the tenant file"
    )


def refine(stream: Stream, settings: StreamSettings) -> Stream:
    """The stream as the tenant's file wants it loaded. Raises ConfigError for a key or cursor that it lacks."""
    load = settings.load
    key = load.primary_key or stream.primary_key
    subject = settings.privacy.subject
    whose = subject.column if isinstance(subject, Subject) else None if subject else stream.subject
    refined = replace(
        stream,
        primary_key=tuple(key),
        cursor=load.cursor or stream.cursor,
        lookback=stream.lookback if load.lookback is None else load.lookback,
        load_mode=load.mode or stream.load_mode,
        table=load.table or stream.table or stream.name,
        subject=whose,
        subject_domain=None if whose is None else domain_of(settings.privacy, stream),
    )
    names = [column.name for column in stream.columns]
    said = {*settings.privacy.columns, *load.optional, *refined.primary_key, refined.cursor or ""}
    said |= {column.name for column in stream.columns if column.personal is not None}  # the source documents them
    safe = [name for name, as_told in told(names, said).items() if name == as_told]
    for what, name in [("primary key", k) for k in refined.primary_key] + [("cursor", refined.cursor)]:
        if name is not None and name not in names:
            raise ConfigError(f"the {what} '{name}' isn't a column of {stream.name}", do=_which(name, safe, len(names)))
    if refined.keyed and not refined.primary_key:
        raise ConfigError(f"load.mode {refined.load_mode} needs a primary key", do="set load.primary_key")
    if refined.lookback and not refined.keyed:
        raise ConfigError("a lookback reads rows again, which only merge can tell apart", do="set load.mode: merge")
    if refined.load_mode is LoadMode.HISTORY and refined.cursor is not None:
        kind = next(column.type for column in stream.columns if column.name == refined.cursor)
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            what = f"history says from when to when a row held, and the cursor '{refined.cursor}' tells no time"
            raise ConfigError(what, got=shown_type(kind), do="choose a date or a timestamp, or leave the cursor out")
    return refined
