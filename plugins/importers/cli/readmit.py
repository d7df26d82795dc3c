"""`importers readmit`: a person who was erased by mistake is kept out no longer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from importers.cli import asked
from importers.cli.erase import confirm, named_in, who, whom


@click.command("readmit")
@whom
@asked.tenants
@asked.as_json
def command(
    tenant: str,
    subjects: tuple[str, ...],
    file: TextIO | None,
    domain: str | None,
    reason: str,
    yes: bool,
    tenants: Path | None,
    as_json: bool,
) -> None:
    """Keep persons out no longer who were erased by mistake. Brings no row back.

    SUBJECT is spelt as it was for `erase`. What was erased is gone: only what is read of the person from now on is
    loaded, so what lies at the source comes with a full refresh, or when it is delivered again.

    All of them, or nobody if one isn't kept out. Answers with a receipt, which is kept in _importers.readmission.
    """
    from importers.cli.answer import say_json
    from importers.core.names import many
    from importers.pipeline.erase import Request, readmit
    from importers.pipeline.installation import Installation

    named = named_in(subjects, file)
    described = asked.described_or_loaded(tenants, tenant)
    if not yes:
        confirm(f"Let {many(len(named), 'subject')} of {tenant} in again?", file)
    receipt = readmit(Installation.from_environment(), described, Request(named, who(), domain, reason))
    if as_json:
        say_json(asdict(receipt))
        return
    click.echo(f"readmission no. {receipt.id}, of {many(len(receipt.subjects), 'subject')}: kept out no longer")
    click.echo("no row came back: what is read of them from now on is loaded", err=True)
