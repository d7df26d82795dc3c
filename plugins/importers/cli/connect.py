"""`importers connect`: a person's consent, asked for once, for a source that reads what is theirs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from importers.cli import asked


@click.command("connect")
@asked.pipeline
@asked.tenants
@click.option(
    "--to",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=False),
    help="The file that the refresh token is written to, for its owner only. There must be none yet.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="Where the browser comes back to: http://127.0.0.1:PORT/callback.  [default: any free one]",
)
@click.option(
    "--wait", type=click.IntRange(1, 3600), default=300, show_default=True, help="Seconds to wait for consent."
)
def command(job: tuple[str, str], tenants: Path | None, file: Path, port: int, wait: int) -> None:
    """Get the refresh token of the person who agrees in their browser.

    Prints an address; whoever opens it on this machine and agrees lets the pipeline read what is theirs. The token
    goes to a file and is shown nowhere: put it into the connection as `refresh_token`, and delete the file.
    """
    from importers.exceptions import ConfigError
    from importers.pipeline.connection import RESOLVER, connection_ids
    from importers.pipeline.job import open_source
    from importers.sources._api import ApiSource
    from importers.transport.http.consent import refresh_token

    tenant, pipeline = asked.tenant_file(tenants, *job), job[1]
    source = open_source(tenant, pipeline, RESOLVER.get()(tenant, pipeline))
    wanted = source.consent() if isinstance(source, ApiSource) else None
    if wanted is None:
        raise ConfigError(f"{source.title} asks nobody for consent", do="fill in the connection by hand")
    try:  # before anybody is asked
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        what = f"the token can't be written to '{file}'"
        raise ConfigError(what, got=os.strerror(error.errno or 0), do="name a file that isn't there yet") from None
    try:
        with os.fdopen(opened, "w") as out:
            out.write(refresh_token(wanted, _tell, port, float(wait)))
    except BaseException:
        file.unlink()
        raise
    variable = source.environment_besides.get("refresh_token")
    own = connection_ids(tenant, pipeline).own
    other = f", or set {variable} to it" if variable else ""
    click.echo(f"The refresh token is in {file}: put it into the connection '{own}' as `refresh_token`{other}.")


def _tell(address: str) -> None:
    click.echo(f"Open this on this machine, and agree:\n{address}")
