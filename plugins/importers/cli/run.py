"""`importers run`: a pipeline without Airflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importers.pipeline.run import Result


@click.command("run")
@click.argument("job", metavar="TENANT.PIPELINE")
@click.option(
    "--tenants",
    type=click.Path(path_type=Path),
    envvar="IMPORTERS_TENANTS",
    help="Directory of tenant files.  [default: include/tenants]",
)
@click.option("--stream", "streams", multiple=True, help="Only this stream; may be given several times.")
@click.option("--key", help="Name of the run: the same key again continues it, or finds it done.")
@click.option("--full-refresh", is_flag=True, help="Read everything again, not only what is new.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    job: str, tenants: Path | None, streams: tuple[str, ...], key: str | None, full_refresh: bool, as_json: bool
) -> None:
    """Run a pipeline of a tenant file here and now, without Airflow.

    Prints rows read, loaded and quarantined by rule, and the seconds of each step.
    """
    tenant, _, pipeline = job.partition(".")
    if not tenant or not pipeline:
        raise click.UsageError("name the pipeline as TENANT.PIPELINE, such as acme.listening")
    from importers.api.bar import progress_bar
    from importers.api.runner import run_pipeline
    from importers.core.settings import pipeline_of
    from importers.pipeline.lint import check
    from importers.pipeline.tenants import DIRECTORY, find_tenant, read_tenant

    file = read_tenant(find_tenant(tenants or DIRECTORY, tenant))
    pipeline_of(file.tenant, pipeline)
    for finding in check(file):  # knows the line, which the run itself doesn't
        raise finding
    with progress_bar(None) as progress:
        results = run_pipeline(
            file.tenant, pipeline, streams=streams or None, key=key, progress=progress, full_refresh=full_refresh
        )
    rows = [summary(result) for result in results]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
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
        "seconds": {step: round(seconds, 3) for step, seconds in result.timings.items()},
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("stream", "table", box=None, pad_edge=False)
    counts = ("read", "loaded", "quarantined", "suppressed")
    for heading in (*counts, "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [f"{row[f'rows_{count}']:,}" for count in counts]
        table.add_row(row["stream"], row["table"], *numbers, f"{sum(row['seconds'].values()):.2f}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for row in rows:
        console.print(f"\n{row['stream']}", markup=False)
        for rule, count in row["quarantined_by_rule"].items():
            console.print(f"  {count:,} quarantined by {rule}", markup=False)
        steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in row["seconds"].items())
        console.print(f"  seconds: {steps}", markup=False)
