"""`importers quarantine`: what was bad, loading it once it is right, or giving it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from importers.cli import asked
from importers.cli.exits import AGAIN, FOUND

if TYPE_CHECKING:
    from importers.core.model import QuarantineFile
    from importers.core.quarantine import ExpiredFile, Held
    from importers.core.tenant import Tenant
    from importers.pipeline.held import Contents, Shown

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("quarantine")
def command() -> None:
    """Look at rows that were kept out, load or discard them."""


def _runs(command: Command) -> Command:
    return click.option(
        "--run", "runs", type=int, multiple=True, help="Only what this run put there; may be given several times."
    )(command)


@command.command("list")
@asked.target
@asked.tenants
@asked.as_json
def list_(target: tuple[str, str] | None, tenants: Path | None, as_json: bool) -> None:
    """List what is in quarantine.

    Whose, how many rows by rule, how old, how long it is kept, and whether it can be replayed. Of pipelines too that no
    tenant file describes, as Python imported them.
    """
    from importers.cli.answer import counted, say_json, say_table
    from importers.core.durations import spelled
    from importers.pipeline.held import contents
    from importers.pipeline.installation import Installation

    installation = Installation.from_environment()
    found: list[Contents] = []
    entries: list[dict[str, Any]] = []
    for tenant, pipeline in asked.with_quarantine(installation, tenants, target):
        with asked.destination_of(installation, tenant, pipeline) as destination:
            if destination is not None:
                found.append(contents(destination, tenant))
                entries += [entry(held, tenant) for held in found[-1].held]
    if as_json:
        say_json(entries)
        return
    _tell_gone(found, nothing=not entries)
    if not entries:
        return
    now = datetime.now(UTC)
    say_table(
        ("stream", "run", "partition", "rows", "why", "age", "kept until", "replay"),
        [
            (
                *(e[name] for name in ("stream", "run", "partition", "rows")),
                counted(e["reasons"]),
                spelled(now - datetime.fromisoformat(e["since"])),
                e["kept_until"][:10],
                e["not_replayable"] or "possible",
            )
            for e in entries
        ],
    )


def _tell_gone(found: Sequence[Contents], *, nothing: bool) -> None:
    """What isn't to be seen, and why."""
    late = [held for one in found for held in one.overdue]
    _tell_expired([file for one in found for file in one.expired])
    _tell_overdue(late)
    if nothing:
        click.echo("nothing else is in quarantine" if late else "nothing is in quarantine", err=True)


def _tell_expired(files: Sequence[ExpiredFile]) -> None:
    """What was in quarantine, so that whoever looks for it knows; a line for each stream and reason."""
    from importers.core.names import many

    for stream, kept_for in dict.fromkeys((file.stream, file.kept_for) for file in files):
        those = [file for file in files if (file.stream, file.kept_for) == (stream, kept_for)]
        when = max(file.when for file in those).date()
        rows = many(sum(file.rows for file in those), "row")
        click.echo(f"{stream}: {rows} deleted from quarantine up to {when}, by {kept_for}", err=True)


def _tell_overdue(files: Sequence[Held]) -> None:
    """What is still there though its time is over."""
    from importers.core.names import many

    for stream in dict.fromkeys(file.stream for file in files):
        rows = many(sum(file.file.rows for file in files if file.stream == stream), "row")
        click.echo(f"{stream}: {rows} kept longer than retention allows: `importers sweep` deletes", err=True)


def entry(held: Held, tenant: Tenant) -> dict[str, Any]:
    """A quarantine file as JSON; the tenant's file says how long it is kept."""
    from importers.pipeline.held import kept_until, why_not

    since = held.file.since or datetime.now(UTC)
    return {
        "stream": held.stream,
        "run": held.run,
        "run_state": held.state.value,
        "partition": held.file.partition,
        "rows": held.file.rows,
        "reasons": dict(held.file.reasons),
        "since": since.isoformat(timespec="seconds"),
        "kept_until": kept_until(tenant, held).isoformat(timespec="seconds"),
        "replayable": not (reason := why_not(held, tenant)),
        "not_replayable": reason,
    }


@command.command("show")
@asked.pipeline
@_runs
@click.option("--rows", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most rows of a file.")
@click.option("--unmasked", is_flag=True, help="As they were read: personal data, on your screen.")
@asked.tenants
@asked.as_json
def show(
    job: tuple[str, str], runs: tuple[int, ...], rows: int, unmasked: bool, tenants: Path | None, as_json: bool
) -> None:
    """Show the rows in quarantine, under today's policy.

    With the rules that each row broke, and where it stood.
    """
    from importers.cli.answer import say_json
    from importers.pipeline.held import Contents, contents
    from importers.pipeline.held import show as look
    from importers.pipeline.installation import Installation

    tenant = _described(tenants, job)
    installation = Installation.from_environment()
    with asked.destination_of(installation, tenant, job[1]) as destination:
        found = contents(destination, tenant) if destination else Contents()
    files = _of_runs(found, runs)
    seen = [look(installation, tenant, job[1], held, rows, unmasked=unmasked) for held in files]
    if as_json:
        say_json([_opened(one) for one in seen])
        return
    for one in seen:
        _show(one)
    if not seen:
        _tell_gone([found], nothing=True)


def _described(tenants: Path | None, job: tuple[str, str]) -> Tenant:
    """The tenant whose file has the pipeline. Raises ConfigError, also where rows are there that Python imported."""
    from importers.exceptions import ConfigError
    from importers.pipeline.installation import Installation

    try:
        return asked.tenant_file(tenants, *job)
    except ConfigError as error:
        if "file" in error.where or not asked.with_quarantine(Installation.from_environment(), tenants, job):
            raise
    raise ConfigError(
        f"no tenant file describes {'.'.join(job)}, and so none has its rules and its policy",
        do="replay where it is imported, by `Importer.replay_quarantine`; or describe it in a tenant file",
    )


def _of_runs(found: Contents, runs: Sequence[int]) -> Sequence[Held]:
    """What these runs put there; all, if none is named. Raises ConfigError for a run that has nothing there."""
    from importers.exceptions import ConfigError

    having = sorted({held.run for held in found.held})
    lacking = [run for run in runs if run not in having]
    if lacking:
        do = f"there is of run {', '.join(map(str, having))}" if having else "leave --run out: there is of no run"
        gone = {
            file.run: f"run {file.run}'s deleted on {file.when:%Y-%m-%d}, by {file.kept_for}" for file in found.expired
        }
        got = "; ".join(gone[run] for run in lacking if run in gone)
        raise ConfigError(f"nothing is in quarantine of run {', '.join(map(str, lacking))}", got=got, do=do)
    return [held for held in found.held if not runs or held.run in runs]


def _opened(seen: Shown) -> dict[str, Any]:
    about = {"stream": seen.held.stream, "run": seen.held.run, "partition": seen.held.file.partition}
    return about | {"rows": seen.rows.to_pylist(), "rejects": seen.rejects.to_pylist()}


def _show(seen: Shown) -> None:
    from importers.cli.answer import counted, say_table
    from importers.staging.quarantine import RULES

    held = seen.held
    click.echo(f"{held.stream} run {held.run} partition {held.file.partition}: {counted(dict(held.file.reasons))}")
    for table in (seen.rows, seen.rejects):
        if table.num_rows:
            rows = [row | ({RULES: ", ".join(row[RULES])} if RULES in row else {}) for row in table.to_pylist()]
            headings = [name.removeprefix("_") for name in table.column_names]
            say_table(headings, [tuple(row.values()) for row in rows], counts=False)
    click.echo()


@command.command("replay")
@asked.pipeline
@asked.tenants
@asked.streams
@click.option("--key", help="Name of the replay: the same key again goes on where it was.")
@asked.as_json
def replay(
    job: tuple[str, str], tenants: Path | None, streams: tuple[str, ...], key: str | None, as_json: bool
) -> None:
    """Load what is right by today's rules, once.

    What is still bad stays in quarantine.

    Reads quarantine, not the source: mend the rules or the policy first. Exits 1 if something is still bad.
    """
    from importers.api.bar import progress_bar
    from importers.api.runner import replay_pipeline
    from importers.cli.run import tell
    from importers.pipeline.installation import Installation

    tenant = _described(tenants, job)
    with progress_bar(None) as progress:
        results = replay_pipeline(tenant, job[1], streams or None, key, progress)
    if results or as_json:
        tell(results, as_json=as_json)
    else:
        with asked.destination_of(Installation.from_environment(), tenant, job[1]) as destination:
            _tell_expired(destination.quarantine().expired() if destination else ())
        click.echo("nothing is there to replay; `importers quarantine list` says why", err=True)
    if any(result.rows_quarantined for result in results):
        raise SystemExit(FOUND)


@command.command("discard")
@asked.pipeline
@_runs
@click.option("--all", "everything", is_flag=True, help="All that the pipeline has in quarantine.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@asked.tenants
@asked.as_json
def discard(
    job: tuple[str, str], runs: tuple[int, ...], everything: bool, yes: bool, tenants: Path | None, as_json: bool
) -> None:
    """Delete quarantine for good.

    The ledger keeps that it was there, why, and when it was given up. Exits 3 if a run is at work on something of it.
    """
    from importers.cli.answer import say_json
    from importers.core.names import many
    from importers.pipeline.held import contents
    from importers.pipeline.held import discard as give_up
    from importers.pipeline.installation import Installation
    from importers.staging.quarantine import Quarantine

    if bool(runs) == everything:
        raise click.UsageError("say which: --run NUMBER, or --all")
    installation = Installation.from_environment()
    ((tenant, _),) = asked.with_quarantine(installation, tenants, job)
    with asked.destination_of(installation, tenant, job[1]) as destination:
        files = contents(destination, tenant).held if destination else ()
        files = [held for held in files if everything or held.run in runs]
        rows = sum(held.file.rows for held in files)
        if files and not yes:
            click.confirm(f"Delete {many(rows, 'quarantined row')} of {'.'.join(job)} for good?", abort=True, err=True)
        gone: Sequence[QuarantineFile] = ()
        if destination and files:
            gone = give_up(destination, Quarantine(installation.quarantine, destination.warehouse_id()), files)
    answer = {"files": len(gone), "rows": sum(file.rows for file in gone), "files_kept": len(files) - len(gone)}
    if as_json:
        say_json(answer)
    else:
        click.echo(f"{many(answer['rows'], 'row')} in {many(answer['files'], 'file')} discarded")
        if answer["files_kept"]:
            click.echo(f"a run is at work on {many(answer['files_kept'], 'file')} more, which stay", err=True)
    if answer["files_kept"]:
        raise SystemExit(AGAIN)
