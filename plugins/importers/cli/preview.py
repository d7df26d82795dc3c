"""`importers preview`: the first rows as they would be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked
from importers.cli.exits import FOUND

if TYPE_CHECKING:
    from importers.pipeline.preview import Preview


@click.command("preview")
@click.option("--rows", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Good rows to show.")
@asked.reading
def command(reading: asked.Reading, rows: int, as_json: bool) -> None:
    """Show the first rows as a run would load them.

    They are under the policy; what a run would quarantine is counted by rule.

    Writes nothing: no run, no staging, no quarantine, no table. Exits 1 if all was read and the run would fail.
    """
    from importers.cli.answer import say_json
    from importers.pipeline.preview import preview

    found = [preview(job, rows, reading.window, full_refresh=reading.full_refresh) for job in reading.jobs()]
    if as_json:
        say_json([summary(one) for one in found])
    else:
        for one in found:
            _show(one)
    if any(one.failures for one in found):
        raise SystemExit(FOUND)


def summary(seen: Preview) -> dict[str, Any]:
    """A preview as JSON; values that JSON lacks are text."""
    return {
        "stream": seen.stream,
        "table": seen.target,
        "read": seen.read,
        "bad": seen.bad,
        "rejected": seen.rejected,
        "suppressed": seen.suppressed,
        "complete": seen.complete,
        "quarantined_by_rule": {**seen.rules, **seen.reasons},
        "would_fail": list(seen.failures),
        "notes": list(seen.notes),
        "columns": [
            {"source": leaf.source, "class": leaf.personal, "treatment": leaf.treatment, "column": leaf.column}
            for leaf in seen.columns
        ],
        "rows": seen.table.to_pylist(),
    }


def _show(seen: Preview) -> None:
    from importers.cli.answer import counted, say_table
    from importers.core.names import many

    click.echo(f"{seen.stream} → {seen.target}")
    said = [(leaf.source, leaf.personal or "", leaf.treatment, leaf.column or "not loaded") for leaf in seen.columns]
    say_table(("source", "class", "treatment", "column"), said)
    click.echo()
    say_table(seen.table.column_names, [tuple(row.values()) for row in seen.table.to_pylist()], counts=False)
    what = "all that a run would read" if seen.complete else "the first that a run would read"
    click.echo(f"\n{many(seen.read, 'record')}, {what}: {seen.bad:,} bad, {seen.rejected:,} unreadable", err=True)
    if seen.suppressed:
        click.echo(f"{many(seen.suppressed, 'row')} of erased subjects would be left out", err=True)
    if seen.rules or seen.reasons:
        click.echo(f"to quarantine: {counted({**seen.rules, **seen.reasons})}", err=True)
    if not seen.read:
        click.echo(
            "nothing new to read; --full-refresh shows what was loaded before, where the mode allows it", err=True
        )
    for note in seen.notes:
        click.echo(note, err=True)
    for failure in seen.failures:
        click.echo(f"the run would fail: {failure}", err=True)
