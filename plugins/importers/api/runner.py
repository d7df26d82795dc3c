"""Run a tenant's pipeline, stream after stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from uuid import uuid4

from importers.core.connection import Connection
from importers.core.model import RunKind, Window
from importers.core.tenant import Tenant
from importers.pipeline import replay
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Progress, Result, run
from importers.pipeline.unopened import Attempt


def _silent(_: Progress) -> None:
    pass


def run_pipeline(
    tenant: Tenant,
    pipeline: str,
    streams: Sequence[str] | None = None,
    key: str | None = None,
    progress: Callable[[Progress], None] = _silent,
    *,
    window: Window | None = None,
    full_refresh: bool = False,
    installation: Installation | None = None,
    connection: Connection | None = None,
) -> list[Result]:
    """Import the pipeline's streams, or those named. A window makes it a backfill, which leaves the position alone.

    The first stream that fails ends it: what was loaded before stays, and the same `key` again goes on from there.
    Raises ImporterError.
    """
    kind = RunKind.WINDOW if window and window.bounded else RunKind.INCREMENTAL
    key = key or uuid4().hex
    installation = installation or Installation.from_environment()
    results = []
    with Attempt(installation, tenant, pipeline, streams or (), key, kind, window or Window()).listed():
        found = jobs(installation, tenant, pipeline, streams or (), connection)
    for job in found:
        with closing(job):
            results.append(run(job, key, kind, window, full_refresh=full_refresh, watch=progress))
    return results


def replay_pipeline(
    tenant: Tenant,
    pipeline: str,
    streams: Sequence[str] | None = None,
    key: str | None = None,
    progress: Callable[[Progress], None] = _silent,
    *,
    installation: Installation | None = None,
    connection: Connection | None = None,
) -> list[Result]:
    """Load what is in quarantine and is right by today's rules; what isn't stays there.

    A result for each replay: appended windows take one each. A stream whose quarantine is empty has none. Raises
    ImporterError.
    """
    installation = installation or Installation.from_environment()
    results = []
    with Attempt(installation, tenant, pipeline, streams or (), key or uuid4().hex, RunKind.REPLAY).listed():
        found = jobs(installation, tenant, pipeline, streams or (), connection, replay=True)
    for job in found:
        with closing(job):
            left = 0 if job.destination.is_new() else replay.rounds(job)
            number = 0
            while left > 0 or (key and number == 0):  # a key that is done says what it did
                named = f"{key}/{number}" if key else None
                results.append(run(job, named, RunKind.REPLAY, watch=progress))
                left -= "gate" in results[-1].timings  # a round that was committed before takes nothing from the rest
                number += 1
    return results
