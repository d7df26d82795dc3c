"""Rows go when the time is over for which they are kept, from every kind of table, and from no other tenant's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from click.testing import Result
from command_line import call
from crash_points import OF_SWEPT_ROWS
from installed import settle
from victims import Victims

from importers.destinations import _expiring as expiring
from importers.exceptions import ContractError

Sql = psycopg.Connection[Any]

PIPELINE = """\
  {name}:
    importer: csv
    config: {{path: "{data}/{name}-*.csv", stream: {name}{more}}}
    quarantine: {{max_fraction: 0.9}}
    expect:
      - expect_column_values_to_be_between: {{column: n, min_value: 0}}
    privacy:
      subject: {{none: true, reason: made up}}
      columns: {{id: keep, n: keep, at: keep}}{retention}
    load: {load}
"""
KEPT = "\n      retention: P1Y"
MODES = {
    "plays": "{mode: append}",
    "members": "{mode: merge, primary_key: id}",
    "charts": "{mode: replace}",
    "towns": "{mode: history, primary_key: id, cursor: at}",
}
OLD = "id,n,at\n1,1,2026-01-01\n2,2,2026-01-01\n3,3,2026-01-01\n"
NEW = "id,n,at\n2,20,2026-01-02\n4,40,2026-01-02\n"


def create(postgres: str, name: str, template: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")  # type: ignore[arg-type]
    return urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))


def describe(home: Path, tenant: str, retention: str = KEPT, *, more: str = "", modes: Any = MODES) -> None:
    pipelines = [
        PIPELINE.format(name=name, data=home, load=load, retention=retention, more=more) for name, load in modes.items()
    ]
    head = f"tenant: {tenant}\nprivacy: {{purpose: tests, lawful_basis: contract}}\npipelines:\n"
    (home / f"tenants/{tenant}.yaml").write_text(head + "".join(pipelines))


def age(sql: Sql, what: str = "true") -> None:
    sql.execute(f"update _importers.run set closed_at = closed_at - interval '366 days' where {what}")  # type: ignore[arg-type]


def swept(code: int = 0) -> dict[str, int]:
    return {line["stream"]: line["rows"] for line in json.loads(call("sweep", "--json", code=code).stdout)["rows"]}


def rows(sql: Sql, table: str) -> list[tuple[Any, ...]]:
    return sql.execute(f"select id, n from {table} order by id, n").fetchall()  # type: ignore[arg-type]


def lines(sql: Sql) -> list[tuple[Any, ...]]:
    return sql.execute(
        "select stream, table_name, retention, rows, finished_at is not null from _importers.expiry order by id"
    ).fetchall()


@pytest.fixture(scope="module")
def aged_once(postgres: str, encryption_key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two tenants loaded first was loaded more than a year ago; of what is replaced, all that there is."""
    url, home = create(postgres, "aged", "template1"), tmp_path_factory.mktemp("aged")
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(url, autocommit=True) as sql:
        settle(home, url, patch)
        for tenant in ("acme", "other"):
            describe(home, tenant)
        for file, text, names in (("1", OLD, MODES), ("2", NEW, ("plays", "members", "towns"))):
            for name in names:
                (home / f"{name}-{file}.csv").write_text(text)
                for tenant in ("acme", "other") if name in ("plays", "members") else ("acme",):
                    call("run", f"{tenant}.{name}")
            if file == "1":
                age(sql)
    return home


@pytest.fixture
def aged(aged_once: Path, postgres: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it. One tenant keeps rows for a year, the other says nothing."""
    url = create(postgres, "aged_copy", "aged")
    monkeypatch.setenv("POSTGRES_URL", url)
    describe(home, "acme")
    describe(home, "other", "")
    yield home
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("drop database aged_copy with (force)")


@pytest.fixture
def sql(request: pytest.FixtureRequest) -> Iterator[Sql]:
    if "aged" in request.fixturenames:
        request.getfixturevalue("aged")
    with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as connection:
        yield connection


def test_rows_of_old_runs_go_whatever_the_mode(aged: Path, sql: Sql) -> None:
    assert swept() == {
        "acme.charts.charts": 3,
        "acme.members.members": 2,  # 2 was written again
        "acme.plays.plays": 3,
        "acme.towns.towns": 3,
    }
    assert rows(sql, "acme.plays") == rows(sql, "acme.members") == rows(sql, "acme.towns") == [(2, 20), (4, 40)]
    assert rows(sql, "acme.charts") == []
    assert lines(sql) == [
        ("acme.charts.charts", "charts", "P1Y", 3, True),
        ("acme.members.members", "members", "P1Y", 2, True),
        ("acme.plays.plays", "plays", "P1Y", 3, True),
        ("acme.towns.towns", "towns", "P1Y", 3, True),
    ]


def test_a_worker_whose_clock_is_ahead_deletes_nothing_early(
    aged: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept()
    left = {name: rows(sql, f"acme.{name}") for name in ("plays", "members", "towns")}

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=3 * 366)

    monkeypatch.setattr("importers.pipeline.sweep.datetime", Ahead)
    assert swept() == {}
    assert left == {name: rows(sql, f"acme.{name}") for name in left}


def test_who_says_nothing_keeps_rows_for_good(aged: Path, sql: Sql) -> None:
    swept()
    assert rows(sql, "other.plays") == [(1, 1), (2, 2), (2, 20), (3, 3), (4, 40)]
    assert rows(sql, "other.members") == [(1, 1), (2, 20), (3, 3), (4, 40)]


def test_a_second_sweep_finds_nothing(aged: Path, sql: Sql) -> None:
    swept()
    before = lines(sql)
    assert swept() == {}
    assert lines(sql) == before


def test_a_pipeline_that_no_file_describes_is_kept_as_its_tenant_says(aged: Path, sql: Sql) -> None:
    describe(aged, "acme", "", modes={"charts": MODES["charts"]})
    assert swept() == {}
    file = aged / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("basis: contract}", "basis: contract, retention: P1Y}"))
    assert swept()["acme.plays.plays"] == 3


def test_a_broken_file_keeps_everything(aged: Path, sql: Sql) -> None:
    file = aged / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("mode: append", "mode: attach"))
    assert swept(code=1) == {}
    assert len(rows(sql, "acme.plays")) == 5


@pytest.mark.parametrize("after", [True, False])
def test_a_sweep_that_died_is_gone_on_with(
    home: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    describe(home, "acme", modes={"plays": MODES["plays"]})
    (home / "plays-1.csv").write_text("id,n,at\n" + "".join(f"{n},{n},2026-01-01\n" for n in range(1000)))
    call("run", "acme.plays")
    age(sql)
    monkeypatch.setattr(expiring, "STRETCH", 1)
    original, seen = expiring.PostgresExpirer._note, []

    def die(*args: Any) -> None:
        """In the third stretch: before its count is written, or after, and never committed."""
        seen.append(args[-1])
        if len(seen) < 3 or after:
            original(*args)
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(expiring.PostgresExpirer, "_note", die)
    call("sweep", code=130)
    gone = sum(seen[:2])
    assert 0 < gone < 1000 - seen[2]
    assert len(rows(sql, "acme.plays")) == 1000 - gone
    assert lines(sql) == [("acme.plays.plays", "plays", "P1Y", gone, False)]
    monkeypatch.setattr(expiring.PostgresExpirer, "_note", original)
    assert swept() == {"acme.plays.plays": 1000}
    assert rows(sql, "acme.plays") == []
    assert lines(sql) == [("acme.plays.plays", "plays", "P1Y", 1000, True)]


@pytest.mark.parametrize("point", OF_SWEPT_ROWS)
def test_a_sweep_that_is_killed_is_gone_on_with(home: Path, sql: Sql, victims: Victims, point: str) -> None:
    describe(home, "acme", modes={"plays": MODES["plays"]})
    (home / "plays-1.csv").write_text("id,n,at\n" + "".join(f"{n},{n},2026-01-01\n" for n in range(1000)))
    call("run", "acme.plays")
    age(sql)
    assert victims.command("sweep", at=point).signal == signal.SIGKILL
    counted = sum(line[3] for line in lines(sql))
    assert len(rows(sql, "acme.plays")) == 1000 - counted
    last = point == "the runs say so"
    assert [line[3:] for line in lines(sql)] == ([(counted, last)] if counted else [])
    assert swept() == ({} if last else {"acme.plays.plays": 1000})
    assert rows(sql, "acme.plays") == []
    assert lines(sql) == [("acme.plays.plays", "plays", "P1Y", 1000, True)]


def test_a_load_under_way_ends_first(aged: Path, sql: Sql) -> None:
    """What a load holds a sweep waits for; here until it gives up, and says that rows are still there."""
    sql.execute("alter database aged_copy set lock_timeout = '100ms'")
    with psycopg.connect(os.environ["POSTGRES_URL"]) as load:
        load.execute("select pg_advisory_xact_lock_shared(%s, hashtext('acme'))", (0x1A11,))
        assert swept(code=3) == {}
        assert len(rows(sql, "acme.plays")) == 5
    assert swept()["acme.plays.plays"] == 3


@pytest.mark.parametrize("ago", ["366 days", "364 days"])
def test_a_run_that_nobody_ended_keeps_its_rows_no_longer(aged: Path, sql: Sql, ago: str) -> None:
    """As a process leaves it that was killed while it followed a stream: open, and with no file anywhere."""
    (run,) = sql.execute("select max(id) from _importers.run where stream = 'acme.plays.plays'").fetchone() or (0,)
    left = """update _importers.run set state = 'open', closed_at = null, plan = plan || '{"live": true}',
              lease = now() - %s::interval where id = %s"""
    sql.execute(left, (ago, run))
    sql.execute("update _importers.receipt set at = now() - %s::interval where run = %s", (ago, run))
    gone = swept()["acme.plays.plays"]
    assert (gone, rows(sql, "acme.plays")) == ((5, []) if ago == "366 days" else (3, [(2, 20), (4, 40)]))
    assert sql.execute("select state from _importers.run where id = %s", (run,)).fetchone() == ("committed",)


def test_quarantine_is_kept_no_longer_than_rows(home: Path, sql: Sql) -> None:
    describe(home, "acme", "\n      retention: P7D", modes={"plays": MODES["plays"]})
    (home / "plays-1.csv").write_text("id,n,at\n1,1,2026-01-01\n2,-2,2026-01-01\n")
    call("run", "acme.plays")
    assert len(json.loads(call("quarantine", "list", "--json").stdout)) == 1
    sql.execute("update _importers.quarantine set at = at - interval '8 days'")
    age(sql)
    assert json.loads(call("quarantine", "list", "--json").stdout) == []
    describe(
        home, "acme", "\n      retention: P7D", modes={"plays": MODES["plays"].replace("}", ", allow_empty: true}")}
    )
    file = home / "tenants/acme.yaml"
    file.write_text(file.read_text().replace("min_value: 0", "min_value: -9"))
    call("quarantine", "replay", "acme.plays")
    assert rows(sql, "acme.plays") == [(1, 1)]
    assert swept() == {"acme.plays.plays": 1}
    assert json.loads(call("sweep", "--json").stdout)["quarantine"]["kept"] == 0


class TestWindows:
    @pytest.fixture
    def days(self, home: Path, sql: Sql, mode: str) -> Path:
        """Three days, a run for each; retention has deleted the first."""
        load = {"append": "{mode: append}", "merge": "{mode: merge, primary_key: id}"}[mode]
        describe(home, "acme", more=', interval: "plays-%Y-%m-%d"', modes={"plays": load})
        for day in (1, 2, 3):
            (home / f"plays-2026-01-0{day}.csv").write_text(f"id,n,at\n{day},{day},2026-01-01\n")
            self.run(day, day + 1)
        age(sql, "lower(span) < '2026-01-02T00:00Z'")
        assert swept() == {"acme.plays.plays": 1}
        return home

    @staticmethod
    def run(first: int, last: int, code: int = 0) -> Result:
        return call(
            "run", "acme.plays", "--from", f"2026-01-0{first}T00:00Z", "--to", f"2026-01-0{last}T00:00Z", code=code
        )

    @pytest.mark.parametrize("mode", ["append", "merge"])
    def test_what_is_deleted_isn_t_read_again(self, days: Path, sql: Sql) -> None:
        for last in (2, 4):
            refused = self.run(1, last, code=1)
            assert "their retention was over" in refused.stderr
            assert "2026-01-02T00:00:00+00:00 or later" in refused.stderr
        assert rows(sql, "acme.plays") == [(2, 2), (3, 3)]

    @pytest.mark.parametrize("mode", ["append"])
    def test_what_is_kept_may_be_read_again(self, days: Path, sql: Sql) -> None:
        (days / "plays-2026-01-02.csv").write_text("id,n,at\n2,22,2026-01-01\n")
        self.run(2, 4)
        assert rows(sql, "acme.plays") == [(2, 22), (3, 3)]

    @pytest.mark.parametrize("mode", ["merge"])
    def test_a_window_that_was_read_again_since_is_kept(self, days: Path, sql: Sql) -> None:
        age(sql, "lower(span) = '2026-01-02T00:00Z'")
        self.run(2, 3)
        assert swept() == {}
        self.run(2, 3)
        assert rows(sql, "acme.plays") == [(2, 2), (3, 3)]


def test_rows_that_something_puts_back_are_told(aged: Path, sql: Sql) -> None:
    sql.execute(
        "create function keep() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger keep before delete on acme.plays for each row execute function keep()"
    )
    done = call("sweep", code=1)
    assert "something puts them back" in done.stderr
    assert len(rows(sql, "acme.plays")) == 5
    assert rows(sql, "acme.members") == [(2, 20), (4, 40)]  # the others' went all the same
    assert ContractError.__name__ not in done.stderr
