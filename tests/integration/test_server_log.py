"""The embedded server's own logs: changes of rows in the one, no value of a row that failed in the other."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import psycopg

from importers.transport.postgres import connect


def test_changes_of_its_tables_can_be_read(database: str) -> None:
    with closing(connect(database)) as connection:
        assert connection.execute("show wal_level").fetchone() == ("logical",)


def test_a_failing_row_leaves_nothing_in_the_server_s_log(database: str) -> None:
    with closing(connect(database)) as connection:
        (directory,) = connection.execute("show data_directory").fetchone() or ("",)
        connection.execute("create table t (a int not null, b text check (b <> 'canary-check'))")
        for statement in (
            "insert into t values (null, 'canary-detail')",
            "insert into t values (1, 'canary-check')",
            "insert into t select 'canary-message'",
        ):
            with suppress(psycopg.Error):
                connection.execute(statement)
        with suppress(psycopg.Error), connection.cursor().copy("copy t from stdin") as copy:
            copy.write("canary-copy\tx\n")
    log = Path(directory) / "log"
    assert log.stat().st_size > 0
    assert "canary" not in log.read_text(errors="replace")
