"""`airflow importers …`: the commands of `importers`, in the deployment that Airflow's settings describe."""

from __future__ import annotations

import os
from argparse import REMAINDER
from typing import TYPE_CHECKING

from airflow.cli.cli_config import ActionCommand, Arg, lazy_load_command

if TYPE_CHECKING:
    from argparse import Namespace


def commands() -> list[ActionCommand]:
    """One command, which hands everything on: which others there are, and their options, is said in `importers.cli`."""
    return [
        ActionCommand(
            name="importers",
            help="Govern the imports of tenants",
            description="The commands of `importers`, with Airflow's tenants, warehouse and connections.",
            func=lazy_load_command("importers.airflow_commands.run"),
            args=(
                Arg(  # type: ignore[no-untyped-call]
                    ("arguments",),
                    nargs=REMAINDER,
                    metavar="COMMAND …",
                    help="`airflow importers` lists the commands, `airflow importers COMMAND --help` explains one",
                ),
            ),
        )
    ]


def run(args: Namespace) -> None:
    """Ends the process with the command's exit code."""
    # As Airflow's own commands do that read connections; without it those in its database aren't found.
    os.environ |= {"_AIRFLOW_PROCESS_CONTEXT": "server"}
    from importers.cli.main import main
    from importers.hooks.connections import resolve
    from importers.hooks.deployment import tenants_directory, warehouse
    from importers.pipeline.connection import RESOLVER
    from importers.pipeline.installation import WAREHOUSE

    RESOLVER.set(resolve)
    WAREHOUSE.set(warehouse)
    os.environ["IMPORTERS_TENANTS"] = str(tenants_directory())
    main(args.arguments, prog_name="airflow importers")
