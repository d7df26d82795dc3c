"""`importers` as a person calls it, in this process."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from importers.cli.main import main


def call(*args: object, code: int = 0, says: str | None = None) -> Result:
    """`says` is what comes from standard input."""
    done = CliRunner().invoke(main, [str(arg) for arg in args], input=says)
    assert done.exit_code == code, done.output
    return done


def answer(*args: object, code: int = 0, says: str | None = None) -> Any:
    return json.loads(call(*args, "--json", code=code, says=says).stdout)
