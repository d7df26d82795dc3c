"""`importers runs`: what was run, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.ledger.history import PastRun


@click.command("runs")
@asked.target
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The last so many runs.")
@asked.tenants
@asked.as_json
def command(target: tuple[str, str] | None, limit: int, tenants: Path | None, as_json: bool) -> None:
    """List runs, the last first: state, kind, window, rows, seconds, and whether the position moved."""
    from importers.cli.answer import say_json, say_table
    from importers.ledger import history
    from importers.pipeline.installation import Installation

    installation = Installation.from_environment()
    past: list[PastRun] = []
    pipelines = asked.matching(tenants, target)
    with history.reading(installation.warehouse) as connection:
        for tenant, pipeline in pipelines if history.begun(connection) else ():
            past += history.runs(connection, tenant.tenant, pipeline, limit=limit)
    rows = [entry(run) for run in sorted(past, key=lambda run: run.id, reverse=True)[:limit]]
    if as_json:
        say_json(rows)
    elif rows:
        headings = ("run", "stream", "state", "kind", "window", "opened", "s", "loaded", "quarantined", "lanes moved")
        say_table(headings, [_cells(row) for row in rows])
    else:
        click.echo("nothing was run yet", err=True)


def entry(run: PastRun) -> dict[str, Any]:
    """A run as JSON. The position stays inside, since a cursor may be personal: only how many lanes moved."""
    return {
        "run": run.id,
        "stream": run.stream,
        "key": run.key,
        "kind": run.kind.value,
        "mode": run.mode.value,
        "state": run.state.value,
        "window_start": run.window.start,
        "window_end": run.window.end,
        "opened_at": run.opened.isoformat(timespec="seconds"),
        "closed_at": run.closed.isoformat(timespec="seconds") if run.closed else None,
        "seconds": round(run.lasted, 3),
        "partitions": run.partitions,
        "rows_loaded": run.loaded,
        "rows_quarantined": run.quarantined,
        "rows_suppressed": run.suppressed,
        "position_lanes_moved": run.lanes,
    }


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    bounded = row["window_start"] or row["window_end"]
    window = f"{row['window_start'] or '…'} – {row['window_end'] or '…'}" if bounded else ""
    counts = (row["rows_loaded"], row["rows_quarantined"], row["position_lanes_moved"])
    about = (row["run"], row["stream"], row["state"], row["kind"], window, row["opened_at"])
    return *about, row["seconds"], *counts
