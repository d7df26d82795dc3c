"""`importers plan`: what a run would read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.pipeline.job import Job


@click.command("plan")
@asked.reading
def command(reading: asked.Reading, as_json: bool) -> None:
    """Show what a run would read that started now. Opens no run and writes nothing.

    Names each stream's kind of run, where it starts, and its partitions with their sizes, as far as the source knows.
    """
    from importers.cli.answer import say_json

    outlooks = []
    for job in reading.jobs():
        with closing(job):
            outlooks.append(_outlook(job, reading.window, reading.full_refresh))
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
        "notes": list(plan.notes),
    }


def _show(outlooks: list[dict[str, Any]]) -> None:
    from importers.cli.answer import say_table
    from importers.core.names import many

    for outlook in outlooks:
        begins = f"from {outlook['start'] or 'the beginning'} to {outlook['end'] or 'now'}"
        if outlook["kind"] == "incremental":
            lanes = outlook["position_lanes"]
            begins = f"from its position ({many(lanes, 'lane')})" if lanes else "from the beginning"
        click.echo(f"{outlook['stream']} → {outlook['table']}: {outlook['kind']}, {outlook['mode']}, {begins}")
        for note in outlook["notes"]:
            click.echo(f"  {note}")
        if not outlook["partitions"]:
            click.echo("  nothing new to read")
            continue
        say_table(("  partition", "reads", "bytes"), [tuple(part.values()) for part in outlook["partitions"]])
