"""`importers lint`: what is wrong with tenant files, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from importers.cli import asked
from importers.cli.exits import FOUND
from importers.exceptions import ConfigError


@click.command("lint")
@click.argument(
    "place", type=click.Path(path_type=Path), required=False, metavar="[DIR|FILE]", envvar="IMPORTERS_TENANTS"
)
@asked.as_json
def command(place: Path | None, as_json: bool) -> None:
    """Check tenant files (default: include/tenants).

    Prints FILE:LINE: what is wrong, what was got, what is allowed. A note says what is allowed and perhaps not meant.
    Touches no source system. Exits 1 if anything is wrong.
    """
    from importers.cli.answer import say_json
    from importers.core.names import many
    from importers.pipeline.lint import findings
    from importers.pipeline.lint_notes import notes
    from importers.pipeline.tenants import DIRECTORY, examine_all, tenant_files

    place = place or DIRECTORY
    wrong, noted = list[ConfigError](), list[ConfigError]()
    for reading in examine_all(place):
        wrong += findings(reading)
        noted += notes(reading.whole) if reading.whole else []
    if as_json:
        say_json([entry(finding) for finding in wrong] + [entry(note) | {"level": "note"} for note in noted])
    else:
        for finding in wrong:
            click.echo(" ".join(str(finding).split()))
        for note in noted:
            click.echo(f"{note.place()}: note: {note.what}. {note.do[0].upper()}{note.do[1:]}")
    files = len(tenant_files(place)) if place.is_dir() else int(place.exists())
    checked = f"{many(files, 'file')} checked"
    besides = f", {many(len(noted), 'note')}" if noted else ""
    if wrong:
        click.echo(f"{checked}: {many(len(wrong), 'finding')}{besides}", err=True)
        raise SystemExit(FOUND)
    click.echo(f"{checked}: nothing wrong{besides}" if files else f"no tenant file in {place}", err=True)


def entry(finding: ConfigError) -> dict[str, Any]:
    """A finding as JSON."""
    where = finding.where
    return {"level": "error", "file": where.get("file"), "line": where.get("line"), "what": finding.what} | {
        "got": finding.got,
        "do": finding.do,
    }
