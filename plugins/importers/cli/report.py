"""`importers report`: a page on a run, to keep or to send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.ledger.history import PastRun

PAST = 30
"""Runs in the plot."""
LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Reported:
    """A run, what the gate said (None: it never came so far), rows in quarantine by reason, and the runs before it."""

    run: PastRun
    judgement: Mapping[str, Any] | None
    reasons: Mapping[str, int]
    past: Sequence[PastRun]
    """The stream's last runs up to this one, the oldest first."""


@click.command("report")
@asked.pipeline
@click.option("--run", "number", type=click.IntRange(min=1), help="Of this run.  [default: each stream's last]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: TENANT.PIPELINE.html]")
@asked.tenants
def command(job: tuple[str, str], number: int | None, out: Path | None, tenants: Path | None) -> None:
    """Write a page on a run.

    Every rule with its counts, what was kept out and why, and the runs before.

    One file with plots, no script, nothing from another host. Counts and names of columns only, never a row's value.
    """
    from importers.cli.page import write_page
    from importers.exceptions import ConfigError
    from importers.ledger import history
    from importers.pipeline.installation import Installation

    tenant = asked.tenant_file(tenants, *job)
    name, found = ".".join(job), []
    with history.reading(Installation.from_environment().warehouse) as connection:
        past = history.runs(connection, tenant.tenant, job[1], limit=LOOKED_AT) if history.begun(connection) else []
        wanted = _wanted(past, number)
        said = history.judgements(connection, [run.id for run in wanted]) if wanted else {}
        files = history.kept_files(connection, tenant.tenant, job[1], limit=10 * LOOKED_AT) if wanted else []
    if not wanted:
        what = f"{name} has no run {number}" if number else f"{name} was never run"
        raise ConfigError(what, do="`importers runs` lists the runs that there are")
    for run in wanted:
        reasons = sum((Counter(file.reasons) for file in files if file.run == run.id), Counter[str]())
        before = [one for one in past if one.stream == run.stream and one.id <= run.id][:PAST]
        found.append(Reported(run, said.get(run.id), dict(reasons.most_common()), before[::-1]))
    place = out or Path(f"{name}.html")
    write_page(place, "report.html", pipeline=name, reports=found)
    click.echo(f"wrote {place}")


def _wanted(past: Sequence[PastRun], number: int | None) -> list[PastRun]:
    """The run that was asked for, or the newest of each stream."""
    if number is not None:
        return [run for run in past if run.id == number]
    newest: dict[str, PastRun] = {}
    for run in past:
        newest.setdefault(run.stream, run)
    return [newest[stream] for stream in sorted(newest)]
