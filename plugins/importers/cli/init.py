"""`importers init`: a tenant file from a sample of the data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.exceptions import ConfigError


@click.command("init")
@click.argument("file")
@click.option("--tenant", help="Name of the tenant and of its file.  [default: from FILE]")
@click.option("--pipeline", help="Name of the pipeline.  [default: the stream's]")
@asked.settings
@asked.tenants
@asked.as_json
def command(
    file: str, tenant: str | None, pipeline: str | None, said: dict[str, Any], tenants: Path | None, as_json: bool
) -> None:
    """Write a tenant file that imports FILE.

    FILE may be a pattern, such as 'data/orders-*.csv', or in a bucket: s3://bucket/key.

    It suggests a treatment for each column, and says why.

    Nothing that is there is overwritten. What can't be inferred is a TODO, which `importers lint` refuses until it is
    decided: what for, on what ground, and whose rows these are.
    """
    from importers.cli.answer import say_json
    from importers.cli.lint import entry
    from importers.core.names import as_name
    from importers.pipeline.draft import draft
    from importers.pipeline.lint import lint
    from importers.pipeline.tenants import DIRECTORY

    stem = re.split(r"[.*?\[]", Path(file).name, maxsplit=1)[0].strip("_- ")
    name = as_name(tenant or stem or "tenant")
    written = draft(file, name, as_name(pipeline) if pipeline else None, said)
    place = (tenants or DIRECTORY) / f"{name}.yaml"
    write(place, written.text)
    findings = lint(place)
    if as_json:
        say_json(
            {"file": str(place), "tenant": name, "importer": written.importer, "stream": written.stream}
            | {"notes": list(written.notes)}
            | {"findings": [entry(finding) for finding in findings]}
        )
    else:
        _show(place, findings, f"{name}.{pipeline or written.stream}")
    for note in written.notes:
        click.echo(note, err=True)


def write(place: Path, text: str) -> None:
    """Raises ConfigError if something has the name already."""
    from importers.exceptions import ConfigError

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{place} is there already, and is left alone", do="give another --tenant") from None
    except OSError as error:
        raise ConfigError(f"{place} can't be written", got=str(error.strerror)) from None


def _show(place: Path, findings: list[ConfigError], job: str) -> None:
    from importers.core.names import many

    left = f"; {many(len(findings), 'thing')} in it {'is' if len(findings) == 1 else 'are'} left for you to decide:"
    click.echo(f"wrote {place}{left if findings else ''}")
    for finding in findings:
        click.echo(" ".join(str(finding).split()))
    then = "Decide what it names, then" if findings else "Then"
    click.echo(f"{then}: importers preview {job}; importers run {job}", err=True)
