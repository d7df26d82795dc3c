"""The rules and pitfalls of the destination's contract, on a real server. Rows are handed over without a pipeline."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest

from importers.core.model import (
    JSON,
    Column,
    Leaf,
    LoadMode,
    PersonalData,
    Plan,
    Position,
    Reads,
    Receipt,
    Run,
    RunKind,
    RunState,
    Staged,
    Stream,
    TableColumn,
    Window,
)
from importers.destinations.postgresql import PostgresDestination
from importers.exceptions import ConfigError, ContractError, ImporterError, RunAbortedError, RunBusyError

PLAYS = Stream(
    "plays",
    (Column("id", pa.int64(), PersonalData.NONE), Column("what", pa.string(), PersonalData.NONE)),
    Reads.POSITION,
)
MERGED = replace(PLAYS, load_mode=LoadMode.MERGE, primary_key=("id",))
ALWAYS = Window()
REPLACED = replace(PLAYS, load_mode=LoadMode.REPLACE)


def blind(tokens: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(token).digest()[:16] for token in tokens]


def destination(url: str, tenant: str = "acme", key: str = "k1") -> PostgresDestination:
    return PostgresDestination(url, tenant=tenant, pipeline="listening", blind=blind, key_fingerprint=key)


@pytest.fixture
def acme(database: str) -> Iterator[PostgresDestination]:
    with closing(destination(database)) as opened:
        yield opened


def rows(*values: tuple[Any, ...], names: Sequence[str] = ("id", "what")) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict(zip(names, value, strict=True)) for value in values])


def open_run(
    at: PostgresDestination,
    stream: Stream,
    key: str,
    partitions: Sequence[JSON] = (None,),
    position: Position | None = None,
    kind: RunKind = RunKind.INCREMENTAL,
    window: Window = ALWAYS,
    lease: float | None = None,
    covers: tuple[int, int] | None = None,
) -> Run:
    plan = Plan(partitions, position or {}, covers)
    return at.open(stream, key, kind, window, lambda _: plan, b"sealed", lease)


def columns_of(batch: pa.RecordBatch) -> list[TableColumn]:
    return [TableColumn(f.name, f.type) for f in batch.schema if f.name not in ("_version", "_deleted")]


def staged(run: Run, partition: int, batch: pa.RecordBatch) -> Staged:
    return Staged(partition, "a", "file:///x", f"digest-{partition}", batch.num_rows, batch.schema)


def prepare(at: PostgresDestination, run: Run, stream: Stream, batches: Sequence[pa.RecordBatch]) -> Run:
    pins = {str(n): {"digest": f"digest-{n}"} for n in range(len(batches))}
    columns = columns_of(batches[0]) if batches else [TableColumn(c.name, c.type) for c in stream.columns]
    lineage = [Leaf(c.name, None, "keep", c.name) for c in columns]
    return at.prepare(run, stream, columns, lineage, pins)


def load(at: PostgresDestination, run: Run, stream: Stream, partition: int, batch: pa.RecordBatch) -> Receipt:
    return at.load(run, stream, staged(run, partition, batch), [batch])


def import_all(at: PostgresDestination, stream: Stream, key: str, *batches: pa.RecordBatch, **options: Any) -> Run:
    run = open_run(at, stream, key, [None] * len(batches), **options)
    try:
        run = prepare(at, run, stream, batches)
        for number, batch in enumerate(batches):
            load(at, run, stream, number, batch)
        at.commit(run, stream)
    finally:
        at.release(run)
    return run


def table(sql: psycopg.Connection, query: str = "select id, what from acme.plays order by 1, 2") -> list[Any]:
    return sql.execute(query).fetchall()  # type: ignore[arg-type]


A, B = rows((1, "a"), (2, "b")), rows((3, "c"))


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED], ids=lambda s: s.load_mode)
def test_rows_and_position_arrive(acme: PostgresDestination, sql: psycopg.Connection, stream: Stream) -> None:
    import_all(acme, stream, "r1", A, B, position={"f": 1})
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]
    assert acme.position(stream) == ({} if stream is REPLACED else {"f": 1})


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED], ids=lambda s: s.load_mode)
def test_every_step_again_is_a_no_op(acme: PostgresDestination, sql: psycopg.Connection, stream: Stream) -> None:
    run = open_run(acme, stream, "r1", [None, None], {"f": 1})
    assert open_run(acme, stream, "r1").id == run.id
    for _ in range(2):
        prepare(acme, run, stream, [A, B])
    for _ in range(2):
        assert load(acme, run, stream, 0, A).loaded == 2
        assert load(acme, run, stream, 1, B).loaded == 1
    first = acme.commit(run, stream)
    # COMMIT was sent, the process died: everything that runs again meets a committed run and succeeds
    assert acme.commit(run, stream) == first
    assert prepare(acme, run, stream, [A, B]).state is RunState.COMMITTED
    assert load(acme, run, stream, 0, A).loaded == 2
    assert open_run(acme, stream, "r1").state is RunState.COMMITTED
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_cleared_incremental_run_keeps_its_rows(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, PLAYS, "r1", A)
    import_all(acme, PLAYS, "r2", B)
    import_all(acme, PLAYS, "r1", A)
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]


def test_an_abandoned_run_is_taken_back(database: str, acme: PostgresDestination, sql: psycopg.Connection) -> None:
    run = open_run(acme, PLAYS, "r1", [None, None])
    prepare(acme, run, PLAYS, [A, B])
    load(acme, run, PLAYS, 0, A)
    with closing(destination(database)) as second:
        with pytest.raises(RunBusyError, match="r1"):
            open_run(second, PLAYS, "r2")
        acme.close()  # the owner dies
        import_all(second, PLAYS, "r2", A, B)
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]
    for step in (
        lambda: load(acme, run, PLAYS, 1, B),
        lambda: acme.commit(run, PLAYS),
        lambda: prepare(acme, run, PLAYS, [A, B]),
    ):
        with pytest.raises(RunAbortedError):
            step()
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_lease_outlives_its_process_and_can_be_released(database: str, acme: PostgresDestination) -> None:
    run = open_run(acme, PLAYS, "r1", lease=60)
    acme.close()
    with closing(destination(database)) as second:
        with pytest.raises(RunBusyError) as busy:
            open_run(second, PLAYS, "r2", lease=60)
        assert 0 < (busy.value.retry_after or 0) <= 60
        second.release(run)
        assert open_run(second, PLAYS, "r2", lease=60).id != run.id
        with pytest.raises(RunAbortedError):
            acme.renew(run, 60)


def test_two_processes_with_one_key(database: str, acme: PostgresDestination) -> None:
    open_run(acme, PLAYS, "r1")
    with closing(destination(database)) as second, pytest.raises(RunBusyError, match="already being worked on"):
        open_run(second, PLAYS, "r1")


def test_twins_load_a_partition_once(database: str, acme: PostgresDestination, sql: psycopg.Connection) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1"), PLAYS, [A])
    receipts: list[Receipt] = []

    def twin() -> None:
        with closing(destination(database)) as other:
            receipts.append(load(other, run, PLAYS, 0, A))

    threads = [threading.Thread(target=twin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.loaded for r in receipts] == [2] * 4
    acme.commit(run, PLAYS)
    assert table(sql) == [(1, "a"), (2, "b")]


def test_a_failed_load_leaves_no_receipt(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1"), PLAYS, [A])

    def cut() -> Iterator[pa.RecordBatch]:
        yield A
        raise ContractError("the file changed")

    with pytest.raises(ContractError, match="the file changed"):
        acme.load(run, PLAYS, staged(run, 0, A), cut())
    with pytest.raises(ContractError, match="no receipt"):
        acme.commit(run, PLAYS)
    assert table(sql) == []
    load(acme, run, PLAYS, 0, A)
    acme.commit(run, PLAYS)
    assert table(sql) == [(1, "a"), (2, "b")]


def test_only_what_the_gate_pinned_is_loaded(acme: PostgresDestination) -> None:
    run = open_run(acme, PLAYS, "r1")
    run = acme.prepare(run, PLAYS, columns_of(A), [], {"0": {"digest": "another attempt's"}})
    with pytest.raises(ContractError, match="gate"):
        load(acme, run, PLAYS, 0, A)


def test_a_loaded_partition_cannot_be_pinned_anew(acme: PostgresDestination) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1", [None, None]), PLAYS, [A, B])
    load(acme, run, PLAYS, 0, A)
    with pytest.raises(ContractError, match="already loaded"):
        acme.prepare(run, PLAYS, columns_of(A), [], {"0": {"digest": "new"}, "1": {"digest": "digest-1"}})


def test_an_empty_plan_commits(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 1})
    import_all(acme, PLAYS, "r2")
    assert acme.position(PLAYS) == {"f": 1}
    assert len(table(sql)) == 2


def test_unplanned_lanes_stay(acme: PostgresDestination) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 1, "g": 1})
    import_all(acme, PLAYS, "r2", B, position={"f": 2})
    assert acme.position(PLAYS) == {"f": 2, "g": 1}


def test_a_backfill_never_moves_the_position(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 7})
    backfill = {"kind": RunKind.WINDOW, "window": Window("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")}
    import_all(acme, PLAYS, "b1", B, position={"f": 3}, **backfill)
    assert acme.position(PLAYS) == {"f": 7}
    # cleared and run again, a window run takes the place of what it had loaded
    import_all(acme, PLAYS, "b1", rows((4, "d")), **backfill)
    assert table(sql) == [(1, "a"), (2, "b"), (4, "d")]


def test_a_window_run_beside_an_incremental_one(
    database: str, acme: PostgresDestination, sql: psycopg.Connection
) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1", position={"f": 1}), PLAYS, [A])
    with closing(destination(database)) as second:
        import_all(second, PLAYS, "b1", B, kind=RunKind.WINDOW)
    load(acme, run, PLAYS, 0, A)
    acme.commit(run, PLAYS)
    assert table(sql) == [(1, "a"), (2, "b"), (3, "c")]


CURSOR = replace(PLAYS, cursor="id")


def versioned(*values: tuple[int, str]) -> pa.RecordBatch:
    return rows(*((i, w, i) for i, w in values), names=("id", "what", "_version"))


def test_a_range_that_is_read_again_replaces_its_rows(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, CURSOR, "r1", versioned((1, "a"), (2, "b"), (3, "c")))
    import_all(acme, CURSOR, "b1", versioned((2, "B"), (3, "C")), kind=RunKind.WINDOW, covers=(2, 4))
    assert table(sql) == [(1, "a"), (2, "B"), (3, "C")]


def test_open_runs_cover_disjoint_ranges(database: str, acme: PostgresDestination) -> None:
    open_run(acme, CURSOR, "b1", kind=RunKind.WINDOW, covers=(2, 4))
    with closing(destination(database)) as second:
        with pytest.raises(RunBusyError, match="same range"):
            open_run(second, CURSOR, "b2", kind=RunKind.WINDOW, covers=(3, 9))
        open_run(second, CURSOR, "b3", kind=RunKind.WINDOW, covers=(4, 9))


def merged(*values: tuple[Any, ...]) -> pa.RecordBatch:
    return rows(*values, names=("id", "what", "_version", "_deleted"))


def test_merge_an_older_version_never_overwrites_a_newer(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, MERGED, "r1", merged((1, "new", 20, False), (2, "x", 20, True)))
    import_all(acme, MERGED, "r2", merged((1, "old", 10, False), (2, "back again", 10, False), (3, "c", 10, False)))
    assert table(sql) == [(1, "new"), (3, "c")]  # what was deleted later stays deleted, and isn't shown
    import_all(acme, MERGED, "r3", merged((2, "anew", 30, False)))
    assert table(sql) == [(1, "new"), (2, "anew"), (3, "c")]


def test_merge_the_last_operation_of_a_key_wins(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    batch = merged((1, "a", 1, False), (1, "b", 3, False), (1, "c", 2, False), (2, "a", 1, False), (2, "", 2, True))
    import_all(acme, MERGED, "r1", batch)
    assert table(sql) == [(1, "b")]


def test_merge_keeps_what_an_aborted_run_observed(database: str, sql: psycopg.Connection) -> None:
    with closing(destination(database)) as first:
        run = prepare(first, open_run(first, MERGED, "r1"), MERGED, [merged((1, "a", 1, False))])
        load(first, run, MERGED, 0, merged((1, "a", 1, False)))
    with closing(destination(database)) as second:
        import_all(second, MERGED, "r2", merged((1, "b", 2, False)))
    assert table(sql) == [(1, "b")]


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
    assert sql.execute("select count(*) from pg_class where relname like 'plays\\_\\_r%'").fetchone() == (1,)


def test_replace_never_older_over_newer(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    import_all(acme, REPLACED, "r1", B)
    sql.execute("update _importers.run set version = version + 1000000000")
    import_all(acme, REPLACED, "r2", A)
    assert table(sql) == [(3, "c")]


def test_replace_waits_for_readers_only_so_long(
    acme: PostgresDestination, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.destinations.postgresql.LOCK_TIMEOUT", "100ms")
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


SUBJECTS = replace(PLAYS, subject="who", subject_domain="listener")


def token(number: int) -> UUID:
    return UUID(int=number)


def of_subjects(*values: tuple[int, int]) -> pa.RecordBatch:
    ids = pa.array([i for i, _ in values])
    who = pa.array([token(s).bytes for _, s in values], pa.binary(16))
    who = pa.ExtensionArray.from_storage(pa.uuid(), who)
    return pa.RecordBatch.from_arrays([ids, who, who], names=["id", "who", "_subject"])


def subject_run(at: PostgresDestination, stream: Stream, key: str, batch: pa.RecordBatch) -> Run:
    run = open_run(at, stream, key)
    columns = [TableColumn("id", pa.int64()), TableColumn("who", pa.uuid())]
    return at.prepare(run, stream, columns, [], {"0": {"digest": "digest-0"}})


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.MERGE, LoadMode.REPLACE])
def test_an_erased_subject_stays_away(acme: PostgresDestination, sql: psycopg.Connection, mode: LoadMode) -> None:
    stream = replace(SUBJECTS, load_mode=mode, primary_key=("id",) if mode is LoadMode.MERGE else ())
    batch = of_subjects((1, 7), (2, 8), (3, 7))
    run = subject_run(acme, stream, "r1", batch)
    assert load(acme, run, stream, 0, batch).loaded == 3
    acme.commit(run, stream)
    acme.release(run)
    assert acme.erase(stream, "listener", [token(7).bytes]) == 2
    assert table(sql, "select id, who from acme.plays") == [(2, token(8))]
    run = subject_run(acme, stream, "r2", batch)
    receipt = load(acme, run, stream, 0, batch)
    assert (receipt.loaded, receipt.suppressed) == (1, 2)
    acme.commit(run, stream)
    assert {who for _, who in table(sql, "select id, who from acme.plays")} == {token(8)}
    # the list can't be joined with the table
    assert table(sql, "select token from _importers.suppression") != [(token(7).bytes,)]


def test_erasing_reaches_the_shadow_of_an_open_replace(acme: PostgresDestination, sql: psycopg.Connection) -> None:
    stream = replace(SUBJECTS, load_mode=LoadMode.REPLACE)
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, stream, "r1", batch)
    load(acme, run, stream, 0, batch)
    assert acme.erase(stream, "listener", [token(7).bytes]) == 1
    acme.commit(run, stream)
    assert table(sql, "select id, who from acme.plays") == [(2, token(8))]


def test_erasing_beside_a_load_waits_for_it(database: str, acme: PostgresDestination, sql: psycopg.Connection) -> None:
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, SUBJECTS, "r1", batch)
    loading, erased = threading.Event(), []

    def erase() -> None:
        with closing(destination(database)) as other:
            loading.wait(10)
            erased.append(other.erase(SUBJECTS, "listener", [token(7).bytes]))

    def slow() -> Iterator[pa.RecordBatch]:
        yield batch
        loading.set()
        eraser.join(0.5)  # it must not get through while we load

    eraser = threading.Thread(target=erase)
    eraser.start()
    acme.load(run, SUBJECTS, staged(run, 0, batch), slow())
    eraser.join()
    acme.commit(run, SUBJECTS)
    assert erased == [1]
    assert table(sql, "select id from acme.plays") == [(2,)]


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


def test_another_mode_doesn_t_reinterpret_a_table(acme: PostgresDestination) -> None:
    import_all(acme, PLAYS, "r1", A)
    with pytest.raises(ContractError, match="another load mode"):
        import_all(acme, REPLACED, "r2", A)


def test_two_tenants_with_the_same_names(database: str, acme: PostgresDestination, sql: psycopg.Connection) -> None:
    with closing(destination(database, "zeta", "k2")) as zeta:
        import_all(acme, PLAYS, "r1", A, position={"f": 1})
        assert zeta.position(PLAYS) == {}
        theirs = import_all(zeta, PLAYS, "r1", B)
    assert table(sql) == [(1, "a"), (2, "b")]
    assert table(sql, "select id, what from zeta.plays") == [(3, "c")]
    with pytest.raises(RunAbortedError, match="no run"):
        acme.find(theirs.id)


def test_another_encryption_key_is_refused(database: str, acme: PostgresDestination) -> None:
    import_all(acme, PLAYS, "r1", A)
    with closing(destination(database, key="k2")) as other, pytest.raises(ConfigError, match="ENCRYPTION_KEY"):
        open_run(other, PLAYS, "r2")


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
