"""`importers sql`: look at what was loaded, without a client of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from importers.cli import asked

if TYPE_CHECKING:
    import psycopg


@click.command("sql")
@click.argument("query")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most rows to print.")
@asked.as_json
def command(query: str, limit: int, as_json: bool) -> None:
    """Print what one SELECT of the warehouse gives.

    In a read-only transaction.

    The warehouse is POSTGRES_URL, else the embedded PostgreSQL. Tables stand in their tenant's schema:

    importers sql "select count(*) from acme.plays"
    """
    from importers.cli.answer import say_json, say_table
    from importers.pipeline.installation import Installation

    columns, rows = _ask(Installation.from_environment().warehouse, query, limit)
    if as_json:
        say_json([dict(zip(columns, row, strict=True)) for row in rows[:limit]])
    else:
        say_table(columns, rows[:limit], counts=False)
    if len(rows) > limit:
        click.echo(f"only the first {limit} rows; --limit prints more", err=True)


def _show_any_time(connection: psycopg.Connection) -> None:
    """As the server's text where Python has no such time: the year 10000, 44 BC, infinity."""
    from psycopg import DataError
    from psycopg.types import datetime as times

    class OrText:
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)  # type: ignore[misc]
            except DataError:
                return bytes(data).decode()

    for name, loader in (
        ("date", times.DateLoader),
        ("time", times.TimeLoader),
        ("timestamp", times.TimestampLoader),
        ("timestamptz", times.TimestamptzLoader),
        ("interval", times.IntervalLoader),
    ):
        connection.adapters.register_loader(name, type(loader.__name__, (OrText, loader), {}))


def _ask(url: str, query: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns, and one row more than `limit` if there are more. Raises ConfigError for SQL that is wrong."""
    from psycopg import ProgrammingError, sql
    from psycopg.errors import ReadOnlySqlTransaction

    from importers.exceptions import ConfigError
    from importers.transport.postgres import connect, translated

    with connect(url, "importers sql") as connection, translated("running your query"):
        _show_any_time(connection)
        connection.read_only = True  # against slips: who wants to write has the URL
        with connection.transaction(), connection.cursor() as cursor:
            try:
                # prepared, so that it is one statement: a second could end the transaction
                cursor.execute(sql.SQL(query), prepare=True)
            except ReadOnlySqlTransaction:
                raise ConfigError("this command only reads", do="write one SELECT") from None
            except ProgrammingError as error:
                if not str(error.sqlstate).startswith("42"):
                    raise
                if "multiple commands" in str(error.diag.message_primary):
                    raise ConfigError("these are several statements", do="write one SELECT, or ask twice") from None
                # syntax or access: the message names what was written, no row's value
                raise ConfigError("PostgreSQL refuses the query", got=str(error.diag.message_primary)) from None
            if cursor.description is None:
                raise ConfigError("the query gives no rows", do="write one SELECT")
            return [column.name for column in cursor.description], cursor.fetchmany(limit + 1)
