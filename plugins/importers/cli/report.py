"""`importers report`: a page on a run, to keep or to send."""

from __future__ import annotations

from pathlib import Path

import click

from importers.cli import asked


@click.command("report")
@asked.pipeline
@click.option("--run", "number", type=click.IntRange(min=1), help="Of this run.  [default: each stream's last]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: TENANT.PIPELINE.html]")
@asked.tenants
def command(job: tuple[str, str], number: int | None, out: Path | None, tenants: Path | None) -> None:
    """Write a page on a run.

    Every rule with what it wants, its counts or what it saw, what was kept out and why, and the runs before.

    One file with plots, no script, nothing from another host. Counts and names of columns; values only of columns that
    are kept and seem to concern nobody, as quantiles, as what a rule saw and as what one value in a hundred is.
    """
    from importers.exceptions import ConfigError
    from importers.ledger import history
    from importers.ledger.report import reported
    from importers.pages.page import write_page
    from importers.pipeline.installation import Installation

    tenant = asked.tenant_file(tenants, *job)
    name = ".".join(job)
    with history.reading(Installation.from_environment().warehouse) as connection:
        found = reported(connection, tenant.tenant, job[1], number)
    if not found:
        what = f"{name} has no run {number}" if number else f"{name} was never run"
        raise ConfigError(what, do="`importers runs` lists the runs that there are")
    place = out or Path(f"{name}.html")
    write_page(place, "report.html", pipeline=name, reports=found, back=None)
    click.echo(f"wrote {place}")
