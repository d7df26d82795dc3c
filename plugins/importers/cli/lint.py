"""`importers lint`: what is wrong with tenant files, a line each."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("lint")
@click.argument(
    "place", type=click.Path(path_type=Path), required=False, metavar="[DIR|FILE]", envvar="IMPORTERS_TENANTS"
)
def command(place: Path | None) -> None:
    """Check tenant files (default: include/tenants).

    Prints FILE:LINE: what is wrong, what was got, what is allowed. Touches no source system. Exits 1 if it found
    anything.
    """
    from importers.pipeline.lint import lint
    from importers.pipeline.tenants import DIRECTORY, tenant_files

    place = place or DIRECTORY
    findings = lint(place)
    for finding in findings:
        click.echo(" ".join(str(finding).split()))
    files = len(tenant_files(place)) if place.is_dir() else int(place.exists())
    checked = f"{files} file{'' if files == 1 else 's'} checked"
    if findings:
        click.echo(f"{checked}: {len(findings)} finding{'' if len(findings) == 1 else 's'}", err=True)
        raise SystemExit(1)
    click.echo(f"{checked}: nothing wrong" if files else f"no tenant file in {place}", err=True)
