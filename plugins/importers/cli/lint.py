"""`importers lint`: what is wrong with tenant files, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked
from importers.cli.exits import FOUND

if TYPE_CHECKING:
    from importers.exceptions import ConfigError


@click.command("lint")
@click.argument(
    "place", type=click.Path(path_type=Path), required=False, metavar="[DIR|FILE]", envvar="IMPORTERS_TENANTS"
)
@asked.as_json
def command(place: Path | None, as_json: bool) -> None:
    """Check tenant files (default: include/tenants).

    Prints FILE:LINE: what is wrong, what was got, what is allowed. Touches no source system. Exits 1 if it found
    anything.
    """
    from importers.cli.answer import many, say_json
    from importers.pipeline.lint import lint
    from importers.pipeline.tenants import DIRECTORY, tenant_files

    place = place or DIRECTORY
    findings = lint(place)
    if as_json:
        say_json([entry(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(" ".join(str(finding).split()))
    files = len(tenant_files(place)) if place.is_dir() else int(place.exists())
    checked = f"{many(files, 'file')} checked"
    if findings:
        click.echo(f"{checked}: {many(len(findings), 'finding')}", err=True)
        raise SystemExit(FOUND)
    click.echo(f"{checked}: nothing wrong" if files else f"no tenant file in {place}", err=True)


def entry(finding: ConfigError) -> dict[str, Any]:
    """A finding as JSON."""
    where = finding.where
    return {"file": where.get("file"), "line": where.get("line"), "what": finding.what} | {
        "got": finding.got,
        "do": finding.do,
    }
