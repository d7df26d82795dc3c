"""`importers erase`: a person's rows, everywhere that a tenant has some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from importers.cli import asked
from importers.cli.exits import AGAIN

if TYPE_CHECKING:
    from importers.core.erasure import Erasure, Place


Command = TypeVar("Command", bound=Callable[..., Any])


def whom(command: Command) -> Command:
    """Whose tenant, which persons, and why."""
    said = (
        click.argument("tenant"),
        click.argument("subjects", metavar="[SUBJECT]...", nargs=-1),
        click.option(
            "--from",
            "file",
            type=click.File(encoding="utf-8"),
            help="Subjects from a file, one a line; `-` reads standard input. A shell remembers what it was told "
            "otherwise.",
        ),
        click.option(
            "--domain", help="What kind of person, as `privacy.subject` says; needed where the tenant has several."
        ),
        click.option("--reason", default="", help="Kept in the receipt: a ticket's number, and nobody's name."),
        click.option("--yes", is_flag=True, help="Don't ask."),
    )
    for option in reversed(said):
        command = option(command)
    return command


@click.command("erase")
@whom
@click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing.")
@asked.tenants
@asked.as_json
def command(
    tenant: str,
    subjects: tuple[str, ...],
    file: TextIO | None,
    domain: str | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    tenants: Path | None,
    as_json: bool,
) -> None:
    """Erase persons from all that a tenant has, and keep them out.

    SUBJECT is the value that identifies the person at the source, as in the column that `privacy.subject` names. Upper
    and lower case and white space around it don't count: whoever is called `ANN` there goes with `ann`. In a domain
    that is case-sensitive (`domains` in the tenant's file) case does count.

    Answers with a receipt: each place that was looked at, how many rows went, and what stays and until when. The
    receipt is kept in _importers.erasure, and names the person by a token that joins with nothing. Exits 3 if a place
    couldn't be reached: erase again. Whom it keeps out by mistake `importers readmit` lets in again.
    """
    from importers.cli.answer import say_json
    from importers.core.names import many
    from importers.pipeline.erase import Request, erase
    from importers.pipeline.installation import Installation

    named = named_in(subjects, file)
    described = asked.described_or_loaded(tenants, tenant)
    if not (yes or dry_run):
        confirm(f"Erase {many(len(named), 'subject')} of {tenant} for good?", file)
    request = Request(named, who(), domain, reason, dry_run)
    receipt = erase(Installation.from_environment(), described, request)
    if as_json:
        say_json(_entry(receipt))
    else:
        _tell(receipt)
    if any(place.outcome == "failed" for place in receipt.places):
        raise SystemExit(AGAIN)


def confirm(question: str, file: TextIO | None) -> None:
    if file is not None and file.name == "<stdin>":
        raise click.UsageError("standard input is read already: say --yes")
    click.confirm(question, abort=True, err=True)


def named_in(subjects: tuple[str, ...], file: TextIO | None) -> list[str]:
    lines = [line.strip() for line in file] if file is not None else []
    return [*subjects, *(line for line in lines if line)]


def who() -> str:
    """The operating system's user."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _entry(receipt: Erasure) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(receipt)


def _tell(receipt: Erasure) -> None:
    from importers.cli.answer import say_table
    from importers.core.names import many

    say_table(
        ("place", "", "outcome", "rows", "nobody's", "what stays, and until when"),
        [_line(place) for place in receipt.places],
    )
    looked_at = [place for place in receipt.places if place.outcome == "clear"]
    rows = sum(place.rows for place in looked_at)
    subjects = many(len(receipt.subjects), "subject")
    if receipt.id is None:
        click.echo(f"tried out: {many(rows, 'row')} of {subjects} would go")
    else:
        done = "finished" if receipt.finished_at else "not finished: erase again"
        click.echo(f"erasure no. {receipt.id}, of {subjects}: {many(rows, 'row')} went, {done}")
    if receipt.case_sensitive:
        click.echo(f"as it is written: in the domain '{receipt.domain}' upper and lower case count", err=True)
    else:
        click.echo("however it is written: upper and lower case and white space around a subject don't count", err=True)
    if not rows:
        click.echo(_nothing(receipt, looked_at), err=True)


def _nothing(receipt: Erasure, looked_at: Sequence[Place]) -> str:
    """Why nothing went: they were erased before, or are spelt otherwise."""
    from importers.core.names import many

    kinds = Counter(place.kind for place in looked_at)
    where = f"{many(kinds['table'], 'table')} and {many(kinds['quarantine'], 'quarantine file')}"
    before, every = len(receipt.earlier), len(receipt.subjects)
    whom = "this subject" if every == 1 else "these subjects"
    if not before:
        return f"nothing of {whom} was found in {where}: is it spelt as at the source?"
    when = {earlier.erasure: f"no. {earlier.erasure} on {earlier.finished_at:%Y-%m-%d}" for earlier in receipt.earlier}
    told = f"by erasure {', '.join(when.values())}; 0 rows are left in {where}"
    if before == every:
        return f"{whom} {'was' if every == 1 else 'were'} erased already, {told}"
    return f"{before} of {every} subjects were erased already, {told}; are the others spelt as at the source?"


def _line(place: Place) -> tuple[Any, ...]:
    return place.kind, _shown(place), place.outcome.value, place.rows, place.unknown, place.note


def _shown(place: Place) -> str:
    """A quarantine file by what it is of: its URI, which is on the receipt, would leave the other columns no room."""
    from importers.staging.place import Made, is_quarantined, split_quarantined

    path = "/".join(place.name.split("/")[-5:])
    if place.kind != "quarantine" or not is_quarantined(path):
        return place.name
    of, _ = split_quarantined(path)
    made = "" if of.made is Made.READ else f" ({of.made})"
    return f"{of.run.tenant}.{of.run.pipeline}.{of.run.stream} run {of.run.run} partition {of.number}{made}"
