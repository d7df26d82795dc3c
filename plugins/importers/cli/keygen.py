"""`importers keygen`: a fresh ENCRYPTION_KEY."""

from __future__ import annotations

import base64
import secrets

import click


@click.command("keygen")
def command() -> None:
    """Print a fresh ENCRYPTION_KEY: 32 random bytes as base64. Keep it in a secrets backend."""
    click.echo(base64.b64encode(secrets.token_bytes(32)).decode())
