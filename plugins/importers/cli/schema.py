"""`importers schema`: the JSON schema of tenant files."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON schema of tenant files, for editors.

    importers schema > include/tenants/tenant.schema.json, and as the first line of a tenant file:
    # yaml-language-server: $schema=tenant.schema.json
    """
    from importers.pipeline.schema import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
