"""`importers`: run a pipeline without Airflow, check tenant files, look up what there is.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from importers.cli import keygen, lint, run, schema, sources, sql, sweep
from importers.exceptions import ImporterError


class Plainly(click.Group):
    """Tells errors of ours in a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ImporterError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Plainly, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="airflow-provider-importers", prog_name="importers")
def main() -> None:
    """Governed data import for many tenants: extract, validate, anonymise, load.

    Exit codes: 0 all is well, 1 the run failed or there are findings, 2 the command line is wrong.
    """


for module in (run, lint, sources, schema, sql, sweep, keygen):
    main.add_command(module.command)
