"""`importers`: run a pipeline without Airflow, look at what it would do and at what it did, check tenant files.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from importers.cli import (
    connect,
    erase,
    init,
    keygen,
    lint,
    plan,
    preview,
    profile,
    quarantine,
    readmit,
    report,
    run,
    runs,
    schema,
    sources,
    sql,
    sweep,
)
from importers.cli.exits import INTERRUPTED, MEANING, code_of
from importers.exceptions import ImporterError


class Plainly(click.Group):
    """Tells errors of ours in a sentence instead of a traceback, and that it was interrupted as a shell expects it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ImporterError as error:
            click.ClickException(str(error)).show()
            raise SystemExit(code_of(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise SystemExit(INTERRUPTED) from None


@click.group(
    cls=Plainly,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Governed data import for many tenants: extract, validate, anonymise, load.\n\n{MEANING}",
)
@click.version_option(package_name="airflow-provider-importers", prog_name="importers")
def main() -> None:
    pass


_LOOKING, _DOING = (init, profile, lint, connect, plan, preview), (run, runs, report, quarantine, erase, readmit, sweep)
for module in (*_LOOKING, *_DOING, sources, schema, sql, keygen):
    main.add_command(module.command)
