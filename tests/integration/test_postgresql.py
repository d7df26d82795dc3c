"""What is PostgreSQL's own: DDL, identifiers, types, views, grants and snapshots."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pyarrow as pa
import pytest
from tests.support.runs import (
    MERGED,
    PLAYS,
    REPLACED,
    SUBJECTS,
    A,
    B,
    blind,
    import_all,
    load,
    merged,
    of_subjects,
    open_run,
    prepare,
    rows,
    subject_run,
    token,
)
from tests.support.runs import erase as erase_from

from importers.core.model import Column, LoadMode, Reads, Run, RunKind, TableColumn
from importers.destinations._control import COMMIT
from importers.destinations._owner import Owner
from importers.destinations._subject_rows import SubjectRows
from importers.destinations.postgresql import PostgresDestination
from importers.exceptions import ConfigError, ContractError, ImporterError, RunBusyError, TransientSourceError


def destination(url: str, tenant: str = "acme", key: str = "k1") -> PostgresDestination:
    return PostgresDestination(url, tenant=tenant, pipeline="listening", blind=blind, key_fingerprint=key)


@pytest.fixture
def acme(database: str) -> Iterator[PostgresDestination]:
    with closing(destination(database)) as opened:
        yield opened


def table(sql: psycopg.Connection, query: str = "select id, what from acme.plays order by 1, 2") -> list[Any]:
    return sql.execute(query).fetchall()  # type: ignore[arg-type]


def test_a_part_of_a_transaction_that_was_lost_isn_t_done_apart_from_it(
    acme: PostgresDestination, sql: psycopg.Connection
) -> None:
    """The lock under which it was to be done is lost too: whoever reconnects works beside an erasure."""
    run = open_run(acme, PLAYS, "r1")
    ours = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = %s"

    def lose_it() -> None:
        assert sql.execute(ours, ("importers acme.listening",)).fetchall() == [(True,)]
        acme.note(run, "gate", 1.0)

    with pytest.raises(TransientSourceError), acme.no_erasure("listener"):
        lose_it()
    assert table(sql, "select step from _importers.step") == []


def test_concurrent_merges_of_the_same_keys_don_t_deadlock(database: str, sql: psycopg.Connection) -> None:
    batches = [
        merged(*((i, f"p{p}", 10 * p + 1, False) for i in (range(3000) if p % 2 else reversed(range(3000)))))
        for p in range(4)
    ]
    with closing(destination(database)) as main:
        run = prepare(main, open_run(main, MERGED, "r1", [None] * 4), MERGED, batches)
        failures: list[ImporterError] = []

        def one(number: int) -> None:
            with closing(destination(database)) as at:
                try:
                    load(at, run, MERGED, number, batches[number])
                except ImporterError as error:
                    failures.append(error)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        main.commit(run, MERGED)
    assert table(sql, "select count(*), min(what), max(what) from acme.plays") == [(3000, "p3", "p3")]


def test_a_replay_beside_one_that_commits_waits_for_it(
    acme: PostgresDestination, database: str, sql: psycopg.Connection
) -> None:
    """A commit locks its run, then what commits of a stream take turns by."""
    import_all(acme, PLAYS, "r1", A)
    first = open_run(acme, PLAYS, "replay-1", kind=RunKind.REPLAY)
    opened: list[Run] = []

    def another() -> None:
        with closing(destination(database)) as at:
            opened.append(open_run(at, PLAYS, "replay-2", kind=RunKind.REPLAY))

    thread = threading.Thread(target=another)
    with sql.transaction():
        sql.execute("select from _importers.run where id = %s for update", (first.id,))
        thread.start()
        while sql.execute("select from pg_locks where not granted").rowcount == 0:
            time.sleep(0.01)
        sql.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (COMMIT, first.stream))
    thread.join()
    assert [run.id for run in opened] == [first.id + 1]


def test_a_frozen_table_takes_what_it_has_and_nothing_else(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, PLAYS, "r1", A)
    run, pins = open_run(acme, PLAYS, "r2"), {"0": {"digest": "digest-0"}}
    same = [TableColumn("id", pa.int32()), TableColumn("what", pa.string())]  # the table's bigint holds int32
    for columns in (
        [*same, TableColumn("new", pa.int64())],
        same[:1],
        [TableColumn("id", pa.float64()), same[1]],
        [same[0], TableColumn("what_renamed", pa.string())],
    ):
        with pytest.raises(ContractError) as caught:
            acme.prepare(run, PLAYS, columns, [], pins, frozen=True)
        assert "in the table: id bigint, what text" in str(caught.value)
        assert f"delivered: {columns[0].name} " in str(caught.value)
    assert table(sql) == [(1, "a"), (2, "b")]
    assert acme.prepare(run, PLAYS, same, [], pins, frozen=True).pins == pins


def test_replace_shows_a_snapshot_at_commit(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, REPLACED, "r1", A)
    sql.execute("create view public.report as select count(*) as n from acme.plays")
    sql.execute("create role analyst")
    sql.execute("grant select on acme.plays to analyst")
    run = prepare(acme, open_run(acme, REPLACED, "r2", [None, None]), REPLACED, [B, B])
    load(acme, run, REPLACED, 0, B)
    load(acme, run, REPLACED, 1, rows((4, "d")))
    assert table(sql) == [(1, "a"), (2, "b")]
    acme.commit(run, REPLACED)
    assert table(sql) == [(3, "c"), (4, "d")]
    assert sql.execute("select n from public.report").fetchall() == [(2,)]
    assert sql.execute("select has_table_privilege('analyst', 'acme.plays', 'select')").fetchone() == (True,)
    sql.execute("drop owned by analyst; drop role analyst")


def test_replace_an_abandoned_shadow_is_dropped(
    database: str, acme: PostgresDestination, sql: psycopg.Connection
) -> None:
    run = prepare(acme, open_run(acme, REPLACED, "r1"), REPLACED, [A])
    load(acme, run, REPLACED, 0, A)
    acme.close()
    with closing(destination(database)) as second:
        import_all(second, REPLACED, "r2", B)
    assert table(sql) == [(3, "c")]
    assert sql.execute("select count(*) from pg_class where relname like '\\_r%'").fetchone() == (1,)


def test_replace_never_older_over_newer(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, REPLACED, "r1", B)
    run = open_run(acme, REPLACED, "r2")
    sql.execute("update _importers.run set version = 1 where key = 'r2'")
    load(acme, prepare(acme, run, REPLACED, [A]), REPLACED, 0, A)
    acme.commit(run, REPLACED)
    assert table(sql) == [(3, "c")]


def test_replace_waits_for_readers_only_so_long(
    acme: PostgresDestination, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.destinations._control.LOCK_TIMEOUT", "100ms")
    import_all(acme, REPLACED, "r1", A)
    run = prepare(acme, open_run(acme, REPLACED, "r2"), REPLACED, [B])
    load(acme, run, REPLACED, 0, B)
    with sql.transaction():
        sql.execute("select * from acme.plays")
        reader_ends = threading.Timer(0.5, sql.execute, ("commit",))
        reader_ends.start()
        acme.commit(run, REPLACED)
    reader_ends.join()
    assert table(sql) == [(3, "c")]


def test_odd_identifiers(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    names = ('Song "Clean"', "F*G", "drop table x; --", "select", "ünï %s {}")
    stream = replace(PLAYS, table='we"ird; drop', columns=tuple(Column(n, pa.int64(), None) for n in names))
    import_all(acme, stream, "r1", rows((1, 2, 3, 4, 5), names=names))
    query = 'select "Song ""Clean""", "F*G", "drop table x; --", "select", "ünï %s {}" from acme."we""ird; drop"'
    assert table(sql, query) == [(1, 2, 3, 4, 5)]


@pytest.mark.parametrize("name", ["x" * 64, "ctid", "_run", "_deleted", "", "a\0b"])
def test_names_that_postgresql_would_spoil(acme: PostgresDestination, name: str) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1])], names=[name])
    run = open_run(acme, PLAYS, "r1")
    with pytest.raises(ContractError, match="column"):
        acme.prepare(run, PLAYS, [TableColumn(name, pa.int64())], [], {"0": {"digest": "digest-0"}})
    assert batch.num_columns == 1


def test_columns_are_added_and_widened(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    def one(**columns: pa.Array) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(columns)

    import_all(acme, PLAYS, "r1", one(a=pa.array([1], pa.int16()), d=pa.array([1]), t=pa.array(["x"])))
    import_all(acme, PLAYS, "r2", one(a=pa.array([2**40]), d=pa.array([0.5]), t=pa.array(["y"]), n=pa.array([True])))
    assert table(sql, "select a, d, t, n from acme.plays order by a") == [(1, 1.0, "x", None), (2**40, 0.5, "y", True)]
    with pytest.raises(ContractError, match=r"'a'.*bigint"):
        import_all(acme, PLAYS, "r3", one(a=pa.array(["text"])))
    import_all(acme, PLAYS, "r4", one(d=pa.array([3]), t=pa.array(["z"])))
    assert table(sql, "select a, d, t from acme.plays where t = 'z'") == [(None, 3.0, "z")]


def test_widening_never_rounds(acme: PostgresDestination) -> None:
    import_all(acme, PLAYS, "r1", pa.RecordBatch.from_pydict({"a": pa.array([2**53 + 1])}))
    with pytest.raises(ContractError, match="double precision"):
        import_all(acme, PLAYS, "r2", pa.RecordBatch.from_pydict({"a": pa.array([0.5])}))


def test_a_merged_view_keeps_its_grants_when_a_column_widens(
    acme: PostgresDestination, sql: psycopg.Connection
) -> None:
    import_all(
        acme, MERGED, "r1", pa.RecordBatch.from_pydict({"id": [1], "n": pa.array([1], pa.int32()), "_version": [1]})
    )
    sql.execute("create role reader; grant select on acme.plays to reader")
    import_all(acme, MERGED, "r2", pa.RecordBatch.from_pydict({"id": [2], "n": [2**40], "x": ["new"], "_version": [2]}))
    assert table(sql, "select * from acme.plays order by id") == [(1, 1, None), (2, 2**40, "new")]
    assert sql.execute("select has_table_privilege('reader', 'acme.plays', 'select')").fetchone() == (True,)
    sql.execute("drop owned by reader; drop role reader")


@pytest.mark.parametrize(("first", "then"), list(permutations(("PLAYS", "MERGED", "REPLACED"), 2)))
def test_another_mode_doesn_t_reinterpret_a_table(acme: PostgresDestination, first: str, then: str) -> None:
    streams = {"PLAYS": PLAYS, "MERGED": MERGED, "REPLACED": REPLACED}
    one = {"PLAYS": A, "REPLACED": A, "MERGED": pa.RecordBatch.from_pydict({"id": [1], "n": [1], "_version": [1]})}
    import_all(acme, streams[first], "r1", one[first])
    with pytest.raises(ContractError, match="another load mode"):
        import_all(acme, streams[then], "r2", one[then])


def test_the_ledger_has_a_version_for_each_change_of_schema(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    for key, batch in (("r1", A), ("r2", A), ("r3", rows((1, "a", 2), names=("id", "what", "more")))):
        import_all(acme, PLAYS, key, batch)
    versions = sql.execute("select version, columns from _importers.schema_version order by 1").fetchall()
    assert [v for v, _ in versions] == [1, 2]
    assert versions[1][1]["more"] == "bigint"
    assert sql.execute(
        "select source, treatment, column_name from _importers.lineage where version = 2 order by 1"
    ).fetchall() == [
        ("id", "keep", "id"),
        ("more", "keep", "more"),
        ("what", "keep", "what"),
    ]


def test_a_server_that_isn_t_there_is_unhealthy_and_the_password_isn_t_told() -> None:
    at = destination("postgresql://user:hunter2@127.0.0.1:1/nothing")
    health = at.check()
    assert not health.ok
    assert "127.0.0.1:1" in health.detail
    assert "hunter2" not in health.detail + repr(at)


def test_the_list_of_the_erased_can_t_be_joined_with_the_table(
    acme: PostgresDestination, sql: psycopg.Connection
) -> None:
    import_all(acme, PLAYS, "r1", A)
    sql.execute("alter table acme.plays add column _subject uuid")
    erase_from(acme, "listener", bytes(15) + b"7")
    assert sql.execute("select token from _importers.suppression").fetchall() == [(blind([bytes(15) + b"7"])[0],)]


def test_a_snapshot_s_table_that_is_made_while_rows_are_erased_has_none_of_theirs(
    acme: PostgresDestination, database: str, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made without waiting, and filled afterwards."""
    stream, batch = replace(SUBJECTS, load_mode=LoadMode.REPLACE), of_subjects((1, 7), (2, 8))
    run = subject_run(acme, stream, "r1", batch)
    load(acme, run, stream, 0, batch)
    acme.commit(run, stream)
    acme.release(run)
    deleted = SubjectRows.delete
    with closing(destination(database)) as other:

        def and_another_begins(rows: SubjectRows) -> dict[str, int]:
            lost = deleted(rows)
            subject_run(other, stream, "r2", batch)
            return lost

        monkeypatch.setattr(SubjectRows, "delete", and_another_begins)
        assert erase_from(acme, "listener", token(7).bytes) == 1
        run = other.find(2)
        assert load(other, run, stream, 0, batch).suppressed == 1
        other.commit(run, stream)
    assert table(sql, "select id from acme.plays") == [(2,)]


def test_erasing_beside_a_history_s_commit_waits_for_it(
    acme: PostgresDestination, database: str, sql: psycopg.Connection
) -> None:
    """The commit copies whole the row that its snapshot lacks, and is held up before it ends."""
    stream = replace(SUBJECTS, load_mode=LoadMode.HISTORY, primary_key=("id",), reads=Reads.SNAPSHOT)
    for key, batch in (("r1", of_subjects((1, 7), (2, 8))), ("r2", of_subjects((2, 8)))):
        run = open_run(acme, stream, key, position={"": 1})
        batch = batch.append_column("_version", pa.array([run.version] * batch.num_rows))
        run = prepare(acme, run, stream, [batch])
        load(acme, run, stream, 0, batch)
        if key == "r1":
            acme.commit(run, stream)
            acme.release(run)
    erased: list[int] = []
    with closing(destination(database)) as other, psycopg.connect(database) as stop:
        other.warehouse_id()  # connected
        stop.execute("lock table _importers.position in share mode")
        commit = threading.Thread(target=lambda: acme.commit(run, stream))
        commit.start()
        wait_for_waiters(sql, 1)
        erase = threading.Thread(target=lambda: erased.append(erase_from(other, "listener", token(7).bytes)))
        erase.start()
        wait_for_waiters(sql, 2)
        stop.rollback()
        commit.join()
        erase.join()
    assert erased == [2]  # the version and its end
    assert table(sql, "select who from acme.plays__rows group by 1") == [(token(8),)]


def wait_for_waiters(sql: psycopg.Connection, number: int) -> None:
    """Until so many of the database's transactions wait for another's lock."""
    waiting = """select count(distinct l.pid) from pg_locks l join pg_stat_activity using (pid)
                 where not l.granted and datname = current_database()"""
    until = time.monotonic() + 60
    while table(sql, waiting) != [(number,)]:
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.02)


def test_a_long_name_in_another_script_is_replaced_like_any(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    stream = replace(REPLACED, table="表" * 20)
    for key, batch in (("r1", A), ("r2", B), ("r3", A)):
        import_all(acme, stream, key, batch)
    assert table(sql, f'select id, what from acme."{"表" * 20}" order by 1') == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("name", ["plays__rows", "_r12"])
def test_a_table_can_t_have_the_name_of_one_behind_a_table(acme: PostgresDestination, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be called"):
        import_all(acme, replace(PLAYS, table=name), "r1", A)


def test_pseudonyms_don_t_go_into_a_column_of_clear_text(acme: PostgresDestination) -> None:
    import_all(acme, PLAYS, "r1", A)
    treated = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([bytes(16)], pa.uuid().storage_type)], ["id", "what"])
    columns = [TableColumn("id", pa.int64()), TableColumn("what", pa.uuid())]
    run = open_run(acme, PLAYS, "r2")
    with pytest.raises(ContractError, match="can't hold uuid"):
        acme.prepare(run, PLAYS, columns, [], {"0": {"digest": "digest-0"}})
    assert treated.num_rows == 1


def test_two_pipelines_of_a_new_tenant_start_at_once(database: str, sql: psycopg.Connection) -> None:
    with closing(destination(database)) as first, closing(destination(database)) as second:
        runs = [
            (at, open_run(at, stream, "r1"), stream)
            for at, stream in ((first, PLAYS), (second, replace(PLAYS, name="more")))
        ]
        failures: list[ImporterError] = []

        def one(at: PostgresDestination, run: Any, stream: Any) -> None:
            try:
                prepare(at, run, stream, [A])
            except ImporterError as error:
                failures.append(error)

        threads = [threading.Thread(target=one, args=work) for work in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_who_lets_go_of_a_run_waits_until_it_is_let_go(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sees some time later that a session was closed."""
    run = cast(Run, SimpleNamespace(id=7, stream="acme.plays.plays", key="today"))
    first, second = Owner(database), Owner(database)
    first.hold(run)
    with pytest.raises(RunBusyError):
        second.hold(run)
    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "close", lambda self: None)
        first.let_go()
    with closing(cast(psycopg.Connection, first._session)):
        second.hold(run)
        second.let_go()
