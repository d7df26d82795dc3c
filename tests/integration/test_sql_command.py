"""`importers sql` shows what is there, and only that."""

from __future__ import annotations

import psycopg
import pytest
from click.testing import CliRunner, Result

from importers.cli.main import main


@pytest.fixture
def table(database: str, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    monkeypatch.setenv("POSTGRES_URL", database)
    sql.execute("create table plays as select n, 'secret ' || n as who from generate_series(1, 5) n")
    return sql


def ask(query: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["sql", query, *options])


def test_rows_are_printed_up_to_the_limit(table: psycopg.Connection) -> None:
    said = ask("select n, who from plays order by n", "--limit", "2")
    assert said.exit_code == 0
    assert [line.split() for line in said.stdout.splitlines()] == [
        ["n", "who"],
        ["1", "secret", "1"],
        ["2", "secret", "2"],
    ]
    assert "only the first 2 rows" in said.stderr


@pytest.mark.parametrize(
    "query",
    [
        "delete from plays returning n",
        "drop table plays",
        "insert into plays values (6, 'x')",
        "select 1; drop table plays",
        "commit; drop table plays",
    ],
)
def test_nothing_is_written(table: psycopg.Connection, query: str) -> None:
    assert ask(query).exit_code == 2
    assert table.execute("select count(*) from plays").fetchone() == (5,)


def test_a_wrong_name_is_told_and_no_value(table: psycopg.Connection) -> None:
    assert 'column "nope" does not exist' in ask("select nope from plays").output
    said = ask("select who::int from plays")
    assert said.exit_code == 1
    assert "secret" not in said.output
