"""Answers: a table for a person, JSON for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def say_json(answer: Any) -> None:
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False, default=str))


def say_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, counts: bool = True) -> None:
    """Numbers to the right; an empty cell for None. Nothing in a cell is markup. `counts`: 1,234; data stays 1234."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = list(rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        numeric = bool(rows) and all(isinstance(row[number], int | float | None) for row in rows)
        table.add_column(escape(heading), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value, counts)) for value in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(value: Any, counts: bool) -> str:
    if value is None:
        return ""
    if not counts or isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def many(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def counted(reasons: dict[str, int]) -> str:
    """`5 × rule, 3 × reason`, the most first."""
    return ", ".join(f"{rows:,} × {reason}" for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]))
