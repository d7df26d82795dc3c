"""`importers run`: a pipeline without Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importers.pipeline.run import Result


@click.command("run")
@click.option("--key", help="Name of the run: the same key again continues it, or finds it done.")
@asked.reading
def command(reading: asked.Reading, key: str | None, as_json: bool) -> None:
    """Run a pipeline of a tenant file here and now, without Airflow.

    With --start or --end it is a backfill of that interval: what is there of it is replaced (mode append) or updated
    (merge), and where the next ordinary run goes on doesn't change.

    Prints rows read, loaded and quarantined by rule, and the seconds of each step by the clock, whatever ran at once.
    """
    from importers.api.bar import progress_bar
    from importers.api.runner import run_pipeline

    with progress_bar(None) as progress:
        results = run_pipeline(
            reading.tenant,
            reading.pipeline,
            streams=reading.streams or None,
            key=key,
            progress=progress,
            window=reading.window,
            full_refresh=reading.full_refresh,
        )
    tell(results, as_json=as_json)


def tell(results: Sequence[Result], *, as_json: bool) -> None:
    """What became of each stream."""
    from importers.cli.answer import say_json

    rows = [summary(result) for result in results]
    if as_json:
        say_json(rows)
    else:
        _show(rows)


def summary(result: Result) -> dict[str, Any]:
    """What may be told of a result: counts and seconds. A position stays inside, since a cursor may be personal."""
    return {
        "stream": result.stream,
        "table": result.table,
        "rows_read": result.rows_read,
        "rows_loaded": result.rows_loaded,
        "rows_quarantined": result.rows_quarantined,
        "rows_suppressed": result.rows_suppressed,
        "quarantined_by_rule": dict(result.rules),
        "lag": dict(result.lag),
        "notes": list(result.notes),
        "seconds": {step: round(seconds, 3) for step, seconds in result.timings.items()},
        "seconds_total": round(sum(result.timings.values()), 3),
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from importers.cli.answer import say_table
    from importers.core.names import many

    counts = ("read", "loaded", "quarantined", "suppressed")
    say_table(
        ("stream", "table", *counts, "seconds"),
        [
            (row["stream"], row["table"], *(row[f"rows_{count}"] for count in counts), row["seconds_total"])
            for row in rows
        ],
    )
    for row in rows:
        click.echo(f"\n{row['stream']}")
        for note in row["notes"]:
            click.echo(f"  {note}")
        for rule, count in row["quarantined_by_rule"].items():
            click.echo(f"  {count:,} quarantined by {rule}")
        if row["lag"]:
            lanes = ", ".join(f"{lane} {count:,}" for lane, count in row["lag"].items() if count)
            unread = sum(row["lag"].values())
            are = "is" if unread == 1 else "are"
            click.echo(f"  {many(unread, 'message')} {are} unread{': ' if lanes else ''}{lanes}")
        click.echo(f"  seconds: {', '.join(f'{step} {seconds:.2f}' for step, seconds in row['seconds'].items())}")
