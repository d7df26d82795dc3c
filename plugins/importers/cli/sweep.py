"""`importers sweep`: end what failed or crashed runs have left."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sweep")
@click.option(
    "--tenants",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="IMPORTERS_TENANTS",
    help="Directory of tenant files.  [default: include/tenants]",
)
def command(tenants: Path | None) -> None:
    """Delete what runs left that nobody took up in time, and quarantine past its retention.

    What no file describes any more is kept as long as the defaults say; what a broken file describes, for now.
    """
    from importers.pipeline.installation import Installation
    from importers.pipeline.sweep import sweep
    from importers.pipeline.tenants import DIRECTORY, read_tenants

    files, broken = read_tenants(tenants or DIRECTORY)
    for error in broken:
        click.echo(str(error), err=True)
    if not all("file" in error.where for error in broken):
        raise click.ClickException("nothing is swept: without the tenants' files nobody knows how long to keep what")
    spare = [Path(error.where["file"]).stem for error in broken]
    known = {file.tenant.tenant: file.tenant for file in files}
    swept = sweep(Installation.from_environment(), known, spare=spare)
    for name, report in (("staging", swept.staging), ("quarantine", swept.quarantine)):
        click.echo(f"{name}: {report.deleted:,} files deleted ({report.bytes:,} bytes), {report.kept:,} kept")
    failed = [*swept.staging.failed, *swept.quarantine.failed]
    if failed:
        raise click.ClickException(f"not swept now: {', '.join(place.path for place in failed)}")
