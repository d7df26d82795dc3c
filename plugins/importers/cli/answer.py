"""Answers: a table for a person, JSON for a program."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from importers.core.names import many


def say_json(answer: Any) -> None:
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False, default=_json))


def _json(value: Any) -> str:
    """Bytes as base64 (RFC 4648), anything else as its text."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)


def say_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, counts: bool = True) -> None:
    """Numbers to the right; an empty cell for None, JSON for an object or a list. Nothing in a cell is markup, or a
    command to the terminal, as whoever made the data may have wished. `counts`: 1,234; data stays 1234.

    Lines break between words alone, so that paths and rules can be copied: a table may be wider than the terminal.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows, headings = list(rows), [_visible(heading) for heading in headings]
    cells = [[_cell(value, counts) for value in row] for row in rows]
    console = Console(width=None if sys.stdout.isatty() else 160)
    widths = _widths(list(zip(headings, *cells, strict=True)), console.width)
    console.width = max(console.width, sum(widths) + _BETWEEN * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0))
    for number, heading in enumerate(headings):
        numeric = bool(rows) and all(isinstance(row[number], int | float | None) for row in rows)
        justify: Literal["right", "left"] = "right" if numeric else "left"
        table.add_column(escape(heading), justify=justify, overflow="fold", width=widths[number])
    for row in cells:
        table.add_row(*map(escape, row))
    console.print(table)


def _widths(columns: Sequence[Sequence[str]], most: int) -> list[int]:
    """Of each column the longest word; what is left of the line goes to those first that need the least of it."""
    from rich.cells import cell_len

    whole = [max(cell_len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]
    words = [max(map(_longest_word, column)) for column in columns]
    widths = [max(word, min(line, _READABLE)) for word, line in zip(words, whole, strict=True)]
    left = most - sum(widths) - _BETWEEN * len(widths)
    for number in sorted(range(len(widths)), key=lambda number: whole[number] - widths[number]):
        more = max(0, min(left, whole[number] - widths[number]))
        widths[number], left = max(1, widths[number] + more), left - more
    return widths


_BETWEEN = 2
_READABLE = 32
"""Characters in which prose can still be read."""
_LONGEST = 200
"""Characters of a word that are kept together; what is longer is data."""


def _longest_word(text: str) -> int:
    from rich.cells import cell_len

    return min(max(map(cell_len, text.split()), default=0), _LONGEST)


def _cell(value: Any, counts: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):  # encrypted, or of no use to a reader
        return f"({many(len(value), 'byte')})"
    if isinstance(value, dict | list):
        return _visible(json.dumps(value, ensure_ascii=False, default=_json))
    if not counts or isinstance(value, bool) or not isinstance(value, int | float):
        return _visible(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _visible(text: str) -> str:
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, colour or hide what is told, or turn round the order in which it is read."""


def counted(reasons: dict[str, int]) -> str:
    """`5 × rule, 3 × reason`, the most first."""
    return ", ".join(f"{rows:,} × {reason}" for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]))
