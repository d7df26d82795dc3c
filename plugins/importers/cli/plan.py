"""`importers plan`: what a run would read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.pipeline.job import Job


@click.command("plan")
@asked.pipeline
@asked.tenants
@asked.streams
@asked.window
@asked.full_refresh
@asked.as_json
def command(
    job: tuple[str, str],
    tenants: Path | None,
    streams: tuple[str, ...],
    start: str | None,
    end: str | None,
    full_refresh: bool,
    as_json: bool,
) -> None:
    """Show what a run would read that started now. Opens no run and writes nothing.

    Names each stream's kind of run, where it starts, and its partitions with their sizes, as far as the source knows.
    """
    from importers.cli.answer import say_json
    from importers.core.model import Window
    from importers.pipeline.installation import Installation
    from importers.pipeline.job import jobs

    tenant = asked.tenant_file(tenants, *job)
    outlooks = []
    for one in jobs(Installation.from_environment(), tenant, job[1], streams):
        with closing(one):
            outlooks.append(_outlook(one, Window(start, end), full_refresh))
    if as_json:
        say_json(outlooks)
    else:
        _show(outlooks)


def _outlook(job: Job, window: Any, full_refresh: bool) -> dict[str, Any]:
    from importers.pipeline.plan import foresee, position_of

    lanes = len(position_of(job, window, full_refresh=full_refresh))
    plan = foresee(job, window, full_refresh=full_refresh)
    parts = [job.source.describe(partition) for partition in plan.partitions]
    return {
        "stream": ".".join(job.where.values()),
        "table": f"{job.tenant.tenant}.{job.stream.target}",
        "kind": "window" if window.bounded else "incremental",
        "mode": job.stream.load_mode.value,
        "start": window.start,
        "end": window.end,
        "position_lanes": lanes,
        "partitions": [{"number": n, "reads": reads, "bytes": size} for n, (reads, size) in enumerate(parts)],
    }


def _show(outlooks: list[dict[str, Any]]) -> None:
    from importers.cli.answer import say_table

    for outlook in outlooks:
        begins = f"from {outlook['start'] or 'the beginning'} to {outlook['end'] or 'now'}"
        if outlook["kind"] == "incremental":
            lanes = outlook["position_lanes"]
            begins = f"from its position ({lanes:,} lanes)" if lanes else "from the beginning"
        click.echo(f"{outlook['stream']} → {outlook['table']}: {outlook['kind']}, {outlook['mode']}, {begins}")
        if not outlook["partitions"]:
            click.echo("  nothing new to read")
            continue
        say_table(("  partition", "reads", "bytes"), [tuple(part.values()) for part in outlook["partitions"]])
