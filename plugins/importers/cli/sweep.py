"""`importers sweep`: end what failed or crashed runs have left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked
from importers.cli.exits import AGAIN, FOUND, code_of

if TYPE_CHECKING:
    from importers.core.retention import Expired
    from importers.staging.sweeper import SweepReport


@click.command("sweep")
@asked.tenants
@asked.as_json
def command(tenants: Path | None, as_json: bool) -> None:
    """Delete what failed runs left, and what is past its retention.

    That is what nobody took up in time, quarantine and, where `privacy.retention` is said, rows.

    What no file describes any more is kept as long as the defaults say; what a broken file describes, for now: then
    it exits 1, and 3 if a place is out of reach.
    """
    from importers.cli.answer import say_json
    from importers.exceptions import ConfigError
    from importers.pipeline.installation import Installation
    from importers.pipeline.sweep import sweep
    from importers.pipeline.tenants import DIRECTORY, read_tenants

    files, broken = read_tenants(tenants or DIRECTORY)
    for error in broken:
        click.echo(str(error), err=True)
    if not all("file" in error.where for error in broken):
        raise ConfigError("nothing is swept: without the tenants' files nobody knows how long to keep what")
    spare = [Path(error.where["file"]).stem for error in broken]
    known = {file.tenant.tenant: file.tenant for file in files}
    swept = sweep(Installation.from_environment(), known, spare=spare)
    reports = {"staging": swept.staging, "quarantine": swept.quarantine}
    if as_json:
        said: dict[str, Any] = {name: _entry(report) for name, report in reports.items()}
        say_json(said | {"rows": [_line(expired) for expired in swept.rows]})
    else:
        for name, report in reports.items():
            click.echo(f"{name}: {report.deleted:,} files deleted ({report.bytes:,} bytes), {report.kept:,} kept")
        for line in swept.rows:
            click.echo(f"rows: {line.rows:,} of {line.stream} deleted from {line.table}, kept for {line.retention}")
    failed = [place for report in reports.values() for place in report.failed]
    if failed:
        click.echo(f"not swept now: {', '.join(place.path for place in failed)}", err=True)
    for stays in swept.failed:
        click.echo(f"rows past their retention are still there: {stays}", err=True)
    codes = {*(code_of(error) for error in swept.failed), *([AGAIN] if failed else []), *([FOUND] if broken else [])}
    if codes:
        raise SystemExit(max(codes))


def _line(expired: Expired) -> dict[str, Any]:
    return {
        "stream": expired.stream,
        "table": expired.table,
        "retention": expired.retention,
        "before": expired.before.isoformat(timespec="seconds"),
        "rows": expired.rows,
    }


def _entry(report: SweepReport) -> dict[str, Any]:
    failed = [place.path for place in report.failed]
    return {"deleted": report.deleted, "bytes": report.bytes, "kept": report.kept, "not_swept": failed}
