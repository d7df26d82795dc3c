"""`importers runs`: what was run, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
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
    """List runs, the last first.

    Their state, kind, window, rows, seconds, whether the position moved, and what else there is to know. All that the
    ledger has: of pipelines too that no tenant file describes, or no longer.
    """
    from importers.cli.answer import say_json, say_table
    from importers.ledger import history
    from importers.pipeline.installation import Installation

    described = _described(tenants, target)
    installation = Installation.from_environment()
    past: list[PastRun] = []
    with history.reading(installation.warehouse) as connection:
        begun = history.begun(connection)
        if begun and not target:
            described |= {tenant: set() for tenant in history.tenants(connection) if tenant not in described}
        for tenant in described if begun else ():
            past += history.runs(connection, tenant, (target[1] if target else "") or None, limit=limit)
        latest = sorted(past, key=lambda run: run.id, reverse=True)[:limit]
        judged = history.judgements(connection, [run.id for run in latest]) if latest else {}
    if not latest and target:
        asked.matching(tenants, target)  # raises for what was never run and isn't described
    rows = [
        entry(run) | {"described": _is_described(run, described), "drift": drift(judged.get(run.id, {}))}
        for run in latest
    ]
    if as_json:
        say_json(rows)
    elif rows:
        headings = ["run", "stream", "state", "kind", "window", "opened", "s", "loaded", "quarantined", "lanes moved"]
        headings += ["drift"] if any(row["drift"] is not None for row in rows) else []
        say_table(headings, [_cells(row, run)[: len(headings)] for row, run in zip(rows, latest, strict=True)])
        for run in latest:
            for note in run.notes:
                click.echo(f"run {run.id}: {note}")
    else:
        click.echo("nothing was run yet", err=True)


def _described(directory: Path | None, target: tuple[str, str] | None) -> dict[str, set[str] | None]:
    """By tenant the pipelines of its file, None if that can't be read, which is told: of every tenant that has one, or
    of the target's. Raises ConfigError if a directory is named and isn't there.
    """
    from importers.pipeline.tenants import DIRECTORY, read_tenants, tenant_files

    place = directory or DIRECTORY
    if directory is None and not place.is_dir():  # whoever imports from Python alone needs none
        return {target[0]: set()} if target else {}
    stems = {file.stem for file in tenant_files(place)}
    wanted = stems if target is None else {target[0]}
    found: dict[str, set[str] | None] = {name: None if name in stems else set() for name in wanted}
    files, errors = read_tenants(place, wanted.__contains__)
    for file in files:
        found[file.tenant.tenant] = set(file.tenant.pipelines)
    for error in errors:
        click.echo(str(error), err=True)
    return found


def _is_described(run: PastRun, described: Mapping[str, set[str] | None]) -> bool | None:
    from importers.core.names import StreamName

    tenant, pipeline, _ = StreamName.of(run.stream)
    pipelines = described[tenant]
    return None if pipelines is None else pipeline in pipelines


def entry(run: PastRun) -> dict[str, Any]:
    """A run as JSON. The position stays inside, since a cursor may be personal: only how many lanes moved."""
    return {
        "run": run.id,
        "stream": run.name,
        "key": run.key,
        "kind": run.kind.value,
        "mode": run.mode.value,
        "full_refresh": run.refresh,
        "state": run.condition,
        "failure": run.failure,
        "notes": list(run.notes),
        "window_start": run.window.start,
        "window_end": run.window.end,
        "opened_at": run.opened.isoformat(timespec="seconds"),
        "closed_at": run.closed.isoformat(timespec="seconds") if run.closed else None,
        "seconds": None if run.lasted is None else round(run.lasted, 3),
        "partitions": run.partitions,
        "rows_loaded": run.loaded,
        "rows_quarantined": run.quarantined,
        "rows_suppressed": run.suppressed,
        "position_lanes_moved": run.lanes,
    }


def drift(judgement: Mapping[str, Any]) -> float | None:
    """The greatest index of the run's rules on drift."""
    found = [one["index"] for one in judgement.get("drifts", {}).values() if one["index"] is not None]
    return round(max(found), 3) if found else None


def _cells(row: dict[str, Any], run: PastRun) -> tuple[Any, ...]:
    bounded = row["window_start"] or row["window_end"]
    window = f"{row['window_start'] or '…'} – {row['window_end'] or '…'}" if bounded else ""
    counts = (row["rows_loaded"], row["rows_quarantined"], row["position_lanes_moved"])
    stream = f"{run.name} (in no tenant file)" if row["described"] is False else run.name
    about = (row["run"], stream, run.outcome, run.reads, window, row["opened_at"])
    return *about, "–" if row["seconds"] is None else row["seconds"], *counts, row["drift"]
