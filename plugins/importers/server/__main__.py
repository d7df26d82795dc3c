"""`python -m importers.server [TENANT.PIPELINE …]`"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from threading import Event
from types import FrameType

import click

from importers.exceptions import ImporterError
from importers.pipeline.installation import Installation
from importers.pipeline.tenants import DIRECTORY
from importers.server.health import health_server
from importers.server.streams import Streams, found

_log = logging.getLogger("importers.server")


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[TENANT.PIPELINE]…")
@click.option(
    "--tenants",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="IMPORTERS_TENANTS",
    default=DIRECTORY,
    show_default=True,
    help="Directory of tenant files.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where /healthz and /metrics are.")
@click.option("--port", default=8790, show_default=True, help="Their port; 0 for any that is free, -1 for none.")
def main(pipelines: tuple[str, ...], tenants: Path, host: str, port: int) -> None:
    """Follow streams until SIGTERM or SIGINT, which let the transaction under way end.

    Without a name: all pipelines of the tenants that are scheduled @continuous and whose source can be followed.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    stop = Event()

    def end(number: int, _: FrameType | None) -> None:
        _log.info("%s: ending after the transactions that are under way", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        streams = Streams(Installation.from_environment(), tenants, found(tenants, pipelines), stop)
        with health_server(streams, host, port):
            streams.run()
    except ImporterError as error:
        _log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
