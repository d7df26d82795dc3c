"""`importers profile`: what a file's columns hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    from importers.pipeline.profiling import FileProfile
    from importers.quality.profile import ColumnProfile


@click.command("profile")
@click.argument("file")
@asked.settings
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with plots to this file.")
@asked.as_json
def command(file: str, said: dict[str, Any], html: Path | None, as_json: bool) -> None:
    """Show what each column of FILE holds.

    FILE may be a pattern, such as 'data/orders-*.csv', or in a bucket: s3://bucket/key.

    Its type, nulls, distinct values, quantiles, and whether it may concern a person.

    Reads all of it and writes nothing but the page that --html asks for. Values are shown of columns that don't seem
    to be personal; whether they are is a guess by names and shapes.
    """
    from importers.cli.answer import say_json
    from importers.pipeline.profiling import profile_file

    found = profile_file(file, said)
    if html:
        from importers.pages.page import write_page

        write_page(html, "profile.html", file=Path(file).name, found=found)
    if as_json:
        say_json(summary(file, found))
    else:
        _show(found)
    for note in found.notes:
        click.echo(note, err=True)


def summary(file: str, found: FileProfile) -> dict[str, Any]:
    """A profile as JSON."""
    return {
        "file": file,
        "importer": found.importer,
        "rows": found.rows,
        "rejects": found.rejects,
        "rejects_by_reason": dict(found.reasons),
        "notes": list(found.notes),
        "columns": [_entry(column, found) for column in found.columns],
    }


def _entry(column: ColumnProfile, found: FileProfile) -> dict[str, Any]:
    guess = found.personal.get(column.path)
    return {
        "name": column.path,
        "type": column.type,
        "nulls": column.nulls,
        "distinct": column.distinct,
        "distinct_exact": column.distinct_exact,
        "mean": column.mean,
        "deciles": column.deciles,
        "frequent": [{"value": value, "share": share} for value, share in column.frequent.items()],
        "personal": guess.personal.value if guess else None,
        "why": guess.why if guess else None,
        "suggested": guess.treatment if guess else None,
    }


def _show(found: FileProfile) -> None:
    from importers.cli.answer import counted, say_table

    headings = ("column", "type", "nulls", "distinct", "least", "median", "greatest", "frequent", "may be personal")
    say_table(headings, [_cells(column, found) for column in found.columns], counts=False)
    unreadable = f", and {found.rejects:,} that are no rows: {counted(dict(found.reasons))}" if found.rejects else ""
    click.echo(f"{found.rows:,} rows{unreadable}", err=True)


def _cells(column: ColumnProfile, found: FileProfile) -> tuple[Any, ...]:
    guess = found.personal.get(column.path)
    share = f"{column.nulls / column.rows:.1%}" if column.rows and column.nulls else ""
    about = "" if column.distinct_exact else "≈ "
    distinct = "" if column.distinct is None else f"{about}{column.distinct:,}"
    least, median, greatest = (column.deciles[place] for place in (0, 5, 10)) if column.deciles else ("", "", "")
    frequent = ", ".join(f"{value} {share:.0%}" for value, share in list(column.frequent.items())[:2])
    return column.path, column.type, share, distinct, least, median, greatest, frequent, guess.why if guess else ""
