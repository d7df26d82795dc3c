"""Changes of a PostgreSQL table: what the source has is what the warehouse shows, by SQL on both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias
from unittest.mock import patch

import psycopg
import pytest
from pg_types import TYPES
from psycopg.types.json import Jsonb
from tests.services.postgresql import LogicalPostgres

from importers.core.connection import Connection
from importers.core.model import RunKind, Window
from importers.core.tenant import Tenant
from importers.exceptions import (
    ConfigError,
    ContractError,
    FatalSourceError,
    ImporterError,
    QualityError,
    TransientSourceError,
)
from importers.pipeline import plan
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.preview import preview
from importers.pipeline.run import Result, run
from importers.sources.databases import _pg_changes as changes
from importers.sources.databases import _pg_replication as replication
from importers.sources.databases.postgresql import Postgresql

Bring: TypeAlias = Callable[..., Result]
CDC = {"tables": ["plays"], "read": "cdc", "create_replication": True}


@pytest.fixture
def url(logical_postgres: LogicalPostgres) -> Iterator[str]:
    with logical_postgres.database() as url:
        yield url


@pytest.fixture
def source(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def plays(source: psycopg.Connection) -> psycopg.Connection:
    source.execute("create table plays (id int primary key, who text, what text, n int)")
    source.execute("alter table plays replica identity full")
    source.execute("insert into plays select g, 'w' || g % 3, 'first', g from generate_series(1, 9) g")
    return source


@pytest.fixture
def job(database: str, url: str, tmp_path: Path) -> Callable[..., Job]:
    installation = Installation(tmp_path, database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))

    def make(
        config: dict[str, Any] | None = None,
        load: dict[str, Any] | None = None,
        *,
        privacy: dict[str, Any] | None = None,
        expect: Sequence[Any] = (),
        name: str = "copy",
        at: str = url,
    ) -> Job:
        nobody = {"subject": {"none": True, "reason": "made up"}, "columns": {"*": "keep"}, "reason": "made up"}
        pipeline = {
            "importer": "postgresql",
            "config": CDC | (config or {}),
            "quarantine": {"max_fraction": 0.9},
            "expect": expect,
            "privacy": privacy or nobody,
            "load": load or {"mode": "merge"},
        }
        tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {name: pipeline}})
        (made,) = jobs(installation, tenant, name, connection=Connection({"url": at}))
        return made

    return make


@pytest.fixture
def bring(job: Callable[..., Job]) -> Bring:
    def go(*args: Any, key: str | None = None, full_refresh: bool = False, **more: Any) -> Result:
        with closing(job(*args, **more)) as made:
            return run(made, key, processes=1, full_refresh=full_refresh)

    return go


def rows(connection: psycopg.Connection, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return connection.execute(f"select {columns} from {table} order by 1").fetchall()  # type: ignore[arg-type]


def same(source: psycopg.Connection, sql: psycopg.Connection) -> None:
    assert rows(source, "plays") == rows(sql, "acme.plays", "id, who, what, n")


LONG = "select string_agg(md5(random()::text || g), '') from generate_series(1, 300) g"
"""Nearly 10 kB that don't compress: stored apart from the row."""


def change(connection: psycopg.Connection, chance: random.Random) -> None:
    """One statement of some kind, in keys that others use too."""
    id_, other = chance.randrange(1, 60), chance.randrange(1, 60)
    connection.execute(
        chance.choice(
            (
                f"insert into plays values ({id_}, 'w', ({LONG}), 0) on conflict do nothing",
                f"update plays set n = n + 1 where id = {id_}",  # leaves the long value out
                f"update plays set n = n * 2, what = null where id = {id_} or id = {other}",
                f"update plays set id = {other} where id = {id_} and not exists (select from plays where id = {other})",
                f"delete from plays where id = {id_}",
            )
        )  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_beside_a_run_the_table_is_as_the_source_s(
    bring: Bring, plays: psycopg.Connection, url: str, sql: psycopg.Connection, seed: int
) -> None:
    """Transactions begin before a run and end after it, also before the first run, whose snapshot doesn't see them."""
    chance = random.Random(seed)
    original, writers = changes.plan, ExitStack()

    def beside(*args: Any, **kwargs: Any) -> Any:
        """More happens between a plan and its read."""
        planned = original(*args, **kwargs)
        for _ in range(5):
            change(plays, chance)
        return planned

    with writers, patch.object(changes, "plan", beside):
        for number in range(6):
            late = writers.enter_context(psycopg.connect(url))
            if number:  # before the first run the slot would wait for it
                late.execute("insert into plays values (%s, 'late', 'late', 1)", (100 + number,))
            for _ in range(30):
                with plays.transaction():
                    for _ in range(chance.randrange(1, 4)):
                        change(plays, chance)
            bring({"batch_rows": 7, "max_changes": 60} if number % 2 else {"batch_rows": 7})
            late.rollback() if number == 3 else late.commit()
    while bring().rows_read:
        pass
    same(plays, sql)
    assert rows(sql, "acme.plays where id > 100", "id") == [(101,), (102,), (104,), (105,)]


def test_a_transaction_that_the_first_snapshot_doesn_t_see_comes_with_its_changes(
    bring: Bring, job: Callable[..., Job], plays: psycopg.Connection, url: str, sql: psycopg.Connection
) -> None:
    with closing(job()) as made:
        made.source.subscribe(made.asked)
    with psycopg.connect(url) as late:
        late.execute("insert into plays values (100, 'late', 'late', 1)")
        plays.execute("update plays set n = 50 where id = 1")
        bring()  # sees the update, which the slot has too, and not the insert
        late.commit()
    with closing(job()) as made:
        (part,) = plan.foresee(made).partitions
        read = [row["id"] for batch in made.source.read(made.asked, part) for row in batch.rows.to_pylist()]
    assert read == [100]
    bring()
    same(plays, sql)


MORE_TYPES = (
    ("pair", "'(1,\"x y\")'"),
    ("inet", "'10.0.0.1'"),
    ("cidr", "'10.0.0.0/8'"),
    ("int[]", "'{1,NULL,3}'"),
    ("text[]", """'{"a\\"b",NULL,"NULL",""}'"""),
    ("boolean[]", "'{t,f,NULL}'"),
    ("float8[]", "'{-0.5,NULL,1e300}'"),
    ("uuid[]", "'{6f1c1f3e-0000-4000-8000-000000000001}'"),
    ("jsonb[]", """'{"{\\"a\\": 1}",null}'"""),
    ("json", """'{"a": 1,  "a": 2}'"""),
    ("real", "'-Infinity'"),
    ("timestamp", "'9999-12-31 23:59:59'"),
    ("timestamptz", "'0044-03-15 12:00:00 BC'"),
    ("date", "'12024-02-29'"),
    ("oid", "'4294967295'"),
    ("bytea", "''"),
    ("text", "''"),
)


def test_types_arrive_as_they_do_in_full(bring: Bring, source: psycopg.Connection, sql: psycopg.Connection) -> None:
    """The same values by the full read, which copies them, and as changes, which are text."""
    source.execute("create type mood as enum ('sad', 'ok'); create domain price as numeric(10,2)")
    source.execute("create type pair as (a int, b text)")
    kinds = [*TYPES.items(), *MORE_TYPES]
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _) in enumerate(kinds))
    source.execute(f"create table plays (id int primary key, {columns})")  # type: ignore[arg-type]
    source.execute("alter table plays replica identity full")
    bring(load={"mode": "merge", "allow_empty": True})
    values = ", ".join(value for _, value in kinds)
    source.execute(f"insert into plays values (1, {values}), (2{', null' * len(kinds)})")  # type: ignore[arg-type]
    assert bring(load={"mode": "merge", "allow_empty": True}).rows_loaded == 2
    bring({"read": "full", "create_replication": False}, {"mode": "replace", "table": "whole"}, name="whole")
    names = ", ".join(["id", *(f"c{n}::text" for n in range(len(kinds)))])
    assert rows(sql, "acme.plays", names) == rows(sql, "acme.whole", names)
    told = "select attname, atttypid, atttypmod from pg_attribute where attname ~ '^c[0-9]' and attrelid = %s::regclass"
    whole, mine = (sorted(sql.execute(told, (table,))) for table in ("acme.whole", "acme.plays__rows"))
    assert whole == mine


def test_values_that_nothing_can_hold_go_to_quarantine(
    bring: Bring, source: psycopg.Connection, sql: psycopg.Connection
) -> None:
    source.execute("create table plays (id int primary key, day date, price numeric(5, 2), grid int[])")
    source.execute("alter table plays replica identity full")
    bring(load={"mode": "merge", "allow_empty": True})
    source.execute(
        "insert into plays values (1, 'infinity', 1, null), (2, '2024-02-29', 'NaN', null),"
        " (3, '0044-03-15 BC', 1.5, '{{1,2},{3,4}}'), (4, null, 9.99, '{1}')"
    )
    result = bring(load={"mode": "merge", "allow_empty": True})
    assert result.rules == {
        "day: an infinite date": 1,
        "price: not a number": 1,
        "grid: an array of several dimensions": 1,
    }
    assert rows(sql, "acme.plays", "id, price::text, grid::text") == [(4, "9.99", "[1]")]


def test_a_history_says_when_each_change_committed(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring(load={"mode": "history"})

    def now() -> Any:
        return plays.execute("select clock_timestamp()").fetchall()[0][0]

    moments = [now()]
    for statement in (
        "update plays set what = 'second' where id = 1",
        "update plays set what = 'third' where id = 1",
        "delete from plays where id = 1",
        "insert into plays values (1, 'again', 'fourth', 0)",
    ):
        plays.execute(statement)  # type: ignore[arg-type]
        moments.append(now())
    bring(load={"mode": "history"})
    found = sql.execute("select what, valid_from, valid_to from acme.plays where id = 1 order by valid_from").fetchall()
    assert [what for what, *_ in found] == ["first", "second", "third", "fourth"]
    begun = [begun for _, begun, _ in found]
    assert moments[0] < begun[1] < moments[1] < begun[2] < moments[2]
    assert moments[3] < begun[3] < moments[4]
    assert [ended for *_, ended in found[:2]] == begun[1:3]
    assert moments[2] < found[2][2] < moments[3]
    assert found[3][2] is None


def test_a_clock_that_is_set_back_makes_no_change_older(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring(load={"mode": "history"})
    an_hour = "to_jsonb((value ->> 'at')::bigint + 3600000000)"
    sql.execute(f"update _importers.position set value = jsonb_set(value, '{{at}}', {an_hour}) where lane = 'read'")  # type: ignore[arg-type]
    for what in ("second", "third"):
        plays.execute("update plays set what = %s where id = 1", (what,))
    bring(load={"mode": "history"})
    assert sql.execute("select what from acme.plays where id = 1 and valid_to is null").fetchall() == [("third",)]


def test_a_table_that_is_emptied_is_empty_once_that_is_allowed(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring()
    plays.execute("truncate plays")
    with pytest.raises(QualityError, match="would empty the table"):
        bring()
    plays.execute("insert into plays values (3, 'after', 'after', 0)")
    bring()
    same(plays, sql)
    plays.execute("update plays set n = 1")
    assert bring().rows_read == 1  # the truncation is in the slot no more
    same(plays, sql)


def test_what_a_column_s_own_change_does_to_rows_is_seen(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    """No row's change is in the log: such a table is read whole again."""
    bring()
    plays.execute("alter table plays add column stars int default 5")
    plays.execute("delete from plays where id = 2")
    assert bring().rows_read == 8
    assert rows(sql, "acme.plays", "id, stars") == rows(plays, "plays", "id, stars")
    plays.execute("alter table plays rename column who to listener")
    with pytest.raises(ContractError, match="columns have gone"):
        bring()
    load = {"mode": "merge", "optional": ["who"]}
    assert bring(load=load).rows_read == 8
    assert rows(sql, "acme.plays", "id, listener") == rows(plays, "plays", "id, listener")
    plays.execute("alter table plays alter n type bigint using n * 1000000000000")
    bring(load=load)
    assert rows(sql, "acme.plays", "id, n") == rows(plays, "plays", "id, n")


def test_a_column_without_a_value_needs_no_second_look(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring()
    plays.execute("update plays set n = 0 where id = 1")
    plays.execute("alter table plays add column stars int")
    plays.execute("update plays set stars = 4 where id = 2")
    assert bring().rows_read == 2
    assert rows(sql, "acme.plays", "id, stars") == rows(plays, "plays", "id, stars")


def test_nothing_personal_is_kept_of_a_row_that_is_gone(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    policy = {
        "subject": {"column": "who", "domain": "listener"},
        "columns": {"who": "pseudonymise", "id": "keep", "what": "keep", "n": "keep"},
    }
    plays.execute("update plays set what = 'told of ' || who")
    bring(privacy=policy)
    plays.execute("delete from plays where id = 1; update plays set id = 20 where id = 2")
    bring(privacy=policy)
    kept = rows(sql, "acme.plays__rows where _deleted", "id, who is not null, what, n")
    assert kept == [(1, True, None, None), (2, True, None, None)]
    plays.execute("truncate plays; insert into plays values (50, 'w0', 'told of w0', 1)")
    bring(privacy=policy)  # read whole: what it lacks is gone likewise
    gone = "select count(*), count(who), count(what), count(n) from acme.plays__rows where _deleted"
    assert sql.execute(gone).fetchone() == (10, 10, 0, 0)  # type: ignore[arg-type]


def test_what_another_pipeline_loaded_into_the_table_is_not_taken_for_deleted(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    plays.execute("create table others (like plays including all); alter table others replica identity full")
    plays.execute("insert into others values (100, 'other', 'other', 1)")
    shared = {"mode": "merge", "table": "plays", "shared": True}
    bring({"tables": ["others"]}, shared, name="other")
    bring(load=shared)
    plays.execute("delete from plays where id = 1")
    bring(load=shared, full_refresh=True)
    assert [id_ for (id_,) in rows(sql, "acme.plays", "id")] == [*range(2, 10), 100]


def test_rows_in_quarantine_are_not_taken_for_deleted(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring()
    plays.execute("update plays set n = -1 where id = 1; delete from plays where id = 2")
    rule = [{"expect_column_values_to_be_between": {"column": "n", "min_value": 0}}]
    result = bring(expect=rule, full_refresh=True)
    assert (result.rows_loaded, result.rows_quarantined) == (7, 1)
    assert len(rows(sql, "acme.plays", "id")) == 9
    plays.execute("update plays set n = 1 where id = 1")
    bring(expect=rule, full_refresh=True)
    same(plays, sql)


def test_a_slot_that_fell_too_far_behind_says_so_and_is_made_anew(
    bring: Bring, job: Callable[..., Job], plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    bring()
    plays.execute("delete from plays where id = 1")
    plays.execute("alter system set max_slot_wal_keep_size = '1MB'")
    try:
        plays.execute("select pg_reload_conf()")
        for _ in range(3):
            plays.execute("create table filler as select repeat('x', 1000) from generate_series(1, 20000)")
            plays.execute("drop table filler")
            plays.execute("select pg_switch_wal()")
            plays.execute("checkpoint")
        assert plays.execute("select wal_status from pg_replication_slots").fetchone() == ("lost",)
        with closing(job({"create_replication": False})) as made:
            health = made.source.check()
            assert not health.ok
            assert "wal_status lost" in health.detail
            with pytest.raises(ContractError, match=r"are lost.*MiB of log kept, wal_status lost.*full refresh"):
                run(made, processes=1)
    finally:
        plays.execute("alter system reset max_slot_wal_keep_size")
        plays.execute("select pg_reload_conf()")
    with pytest.raises(ContractError, match=r"made anew, or moved.*full refresh"):
        bring()
    bring(full_refresh=True)
    same(plays, sql)


def test_a_slot_that_somebody_else_moved_is_noticed(bring: Bring, plays: psycopg.Connection) -> None:
    bring()
    plays.execute("delete from plays where id = 1")
    plays.execute("select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots")
    with pytest.raises(ContractError, match="given up changes that were never read here"):
        bring()


@pytest.mark.parametrize(
    ("lane", "what"),
    [
        ({"system": "7"}, "another server"),
        ({"timeline": 7}, "was restored or took another's place"),
        ({"lsn": "F/0"}, "log ends before what was read"),
    ],
)
def test_a_server_that_isn_t_the_last_run_s_is_noticed(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection, lane: dict[str, Any], what: str
) -> None:
    bring()
    sql.execute("update _importers.position set value = value || %s where lane = ''", (Jsonb(lane),))
    with pytest.raises(ContractError, match=what):
        bring()


def test_what_an_administrator_has_to_do_is_told(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    with pytest.raises(FatalSourceError, match=r'create publication "importers_acme_copy_plays_') as told:
        bring({"create_replication": False})
    statements = str(told.value).partition("As an administrator: ")[2].partition("; or set")[0]
    for statement in statements.split("; "):
        plays.execute(statement)  # type: ignore[arg-type]
    bring({"create_replication": False})
    same(plays, sql)


@pytest.mark.parametrize(
    ("statement", "error", "what"),
    [
        ("create publication p for table plays where (n > 3)", ConfigError, "leaves out rows"),
        ("create publication p for table plays with (publish = 'insert')", FatalSourceError, "some kinds of changes"),
        ("create publication p", FatalSourceError, "lacks"),
    ],
)
def test_a_publication_that_doesn_t_tell_all_is_refused(
    bring: Bring, plays: psycopg.Connection, statement: str, error: type[ImporterError], what: str
) -> None:
    plays.execute(statement)  # type: ignore[arg-type]
    with pytest.raises(error, match=what):
        bring({"publication": "p"})


def test_a_table_whose_updates_leave_long_values_out_is_refused_unless_they_aren_t_read(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    plays.execute("alter table plays replica identity default")
    with pytest.raises(ConfigError, match=r"'who' out where it is long.*replica identity full"):
        bring()
    narrow = {
        "subject": {"none": True, "reason": "numbers"},
        "columns": {"who": "drop", "what": "drop", "id": "keep", "n": "keep"},
    }
    bring(privacy=narrow)
    plays.execute("update plays set n = 77 where id = 1; update plays set id = 30 where id = 2")
    plays.execute("delete from plays where id = 3")
    bring(privacy=narrow)
    assert rows(sql, "acme.plays", "id, n") == rows(plays, "plays", "id, n")


@pytest.mark.parametrize(
    ("load", "what"),
    [
        ({"mode": "append"}, "mode 'append'"),
        ({"mode": "replace"}, "mode 'replace'"),
        ({"mode": "merge", "cursor": "n"}, "which version of a row is newer"),
        ({"mode": "merge", "primary_key": "n"}, None),
    ],
)
def test_how_changes_can_be_loaded(
    bring: Bring, plays: psycopg.Connection, load: dict[str, Any], what: str | None
) -> None:
    if what is None:
        bring(load=load)  # by any key, as the whole row is known
        return
    with pytest.raises(ConfigError, match=what):
        bring(load=load)


def test_changes_have_no_interval(job: Callable[..., Job], plays: psycopg.Connection) -> None:
    with closing(job()) as made, pytest.raises(ConfigError, match="no interval"):
        run(made, None, RunKind.WINDOW, Window("2024-01-01T00:00:00+00:00", None), processes=1)


def test_a_server_without_changes_in_its_log_says_what_to_set() -> None:
    told = SimpleNamespace(fetchone=lambda: ("replica", False, "1", 1, 0))
    connection: Any = SimpleNamespace(execute=lambda _: told)
    with pytest.raises(FatalSourceError, match=r"got wal_level replica.*wal_level = logical"):
        replication.server(connection)


def test_a_preview_makes_no_slot(job: Callable[..., Job], plays: psycopg.Connection) -> None:
    assert preview(job(), 3).table.num_rows == 3
    assert plays.execute("select count(*) from pg_replication_slots").fetchone() == (0,)


def test_a_partitioned_table_is_read_by_its_own_name(
    bring: Bring, source: psycopg.Connection, sql: psycopg.Connection
) -> None:
    source.execute(
        "create table plays (id int primary key, who text, what text, n int) partition by range (id);"
        "create table low partition of plays for values from (0) to (10);"
        "create table high partition of plays for values from (10) to (20);"
        "alter table low replica identity full; alter table high replica identity full;"
        "insert into plays values (1, 'a', 'b', 1), (11, 'a', 'b', 2)"
    )
    bring()
    source.execute("update plays set id = 12 where id = 1; delete from plays where id = 11")
    source.execute("insert into plays values (2)")
    bring()
    same(source, sql)


def test_the_server_restarts_in_the_middle(
    bring: Bring,
    logical_postgres: LogicalPostgres,
    plays: psycopg.Connection,
    url: str,
    sql: psycopg.Connection,
) -> None:
    bring()
    plays.execute("update plays set n = n + 1; delete from plays where id = 9")
    original = Postgresql.read

    def interrupted(*args: Any) -> Iterator[Any]:
        for batch in original(*args):
            yield batch
            logical_postgres.restart()

    with patch.object(Postgresql, "read", interrupted), pytest.raises(TransientSourceError):
        bring({"batch_rows": 2}, key="second")
    assert bring(key="second").rows_loaded == 10
    with psycopg.connect(url) as after:
        same(after, sql)


def test_each_table_has_a_slot_of_its_own(
    bring: Bring, job: Callable[..., Job], plays: psycopg.Connection, url: str, sql: psycopg.Connection
) -> None:
    """What is read of one moves no other's."""
    plays.execute("create table stars (id int primary key, n int)")
    plays.execute("insert into stars values (1, 1)")
    of_stars = {"tables": ["stars"]}
    bring()
    bring(of_stars)
    with plays.transaction():
        plays.execute("update stars set n = 2; update plays set n = 0 where id = 1")
    bring()
    same(plays, sql)
    assert rows(sql, "acme.stars", "id, n") == [(1, 1)]
    bring(of_stars)
    assert rows(sql, "acme.stars", "id, n") == [(1, 2)]
    assert len(rows(plays, "pg_replication_slots where database = current_database()")) == 2


def test_a_slot_that_has_forgotten_how_far_it_was_brings_nothing_again(
    bring: Bring, plays: psycopg.Connection, sql: psycopg.Connection
) -> None:
    """A server that crashes may lose where its slot was moved to: what it has then was read before."""
    load = {"mode": "history"}
    with patch.object(replication, "advance"):
        bring(load=load)
        for _ in range(2):
            plays.execute("update plays set n = n + 1 where id = 1")
            assert bring(load=load).rows_read == 1
    assert sql.execute("select count(*) from acme.plays where id = 1").fetchone() == (3,)


def test_a_slot_that_somebody_reads_is_waited_for(
    job: Callable[..., Job], plays: psycopg.Connection, url: str, bring: Bring
) -> None:
    bring()
    plays.execute("update plays set n = n + 1")
    (slot,) = (name for (name,) in rows(plays, "pg_replication_slots where database = current_database()", "slot_name"))
    with closing(psycopg.connect(url, replication="database", autocommit=True)) as other:
        start = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '\"{slot}\"')"
        other.pgconn.send_query(start.encode())
        deadline = time.monotonic() + 60
        while not plays.execute("select active from pg_replication_slots where slot_name = %s", (slot,)).fetchone()[0]:  # type: ignore[index]
            assert time.monotonic() < deadline
        with pytest.raises(TransientSourceError, match="somebody else is using it"):
            bring()
