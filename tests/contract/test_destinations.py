"""What every destination must do: the rules of docs/how-it-stays-exact.md, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from importers.core import registry
from importers.core.destination import Destination
from importers.core.model import LoadMode, Receipt, RunKind, RunState, Stream, Window
from importers.exceptions import ConfigError, ContractError, RunAbortedError, RunBusyError
from tests.support.runs import (
    CURSOR,
    MERGED,
    PLAYS,
    REPLACED,
    SUBJECTS,
    A,
    B,
    columns_of,
    import_all,
    load,
    merged,
    of_subjects,
    open_run,
    prepare,
    rows,
    staged,
    subject_run,
    token,
    versioned,
)

from .worlds import WAREHOUSES, Warehouse


@pytest.fixture(params=registry.destinations())
def warehouse(request: pytest.FixtureRequest, database: str) -> Warehouse:
    return WAREHOUSES[request.param](database)


@pytest.fixture
def acme(warehouse: Warehouse) -> Iterator[Destination]:
    with closing(warehouse.open()) as opened:
        yield opened


def test_every_destination_has_a_world() -> None:
    assert sorted(WAREHOUSES) == list(registry.destinations())


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED], ids=lambda s: s.load_mode)
def test_rows_and_position_arrive(acme: Destination, warehouse: Warehouse, stream: Stream) -> None:
    import_all(acme, stream, "r1", A, B, position={"f": 1})
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]
    assert acme.position(stream) == ({} if stream is REPLACED else {"f": 1})


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED], ids=lambda s: s.load_mode)
def test_every_step_again_is_a_no_op(acme: Destination, warehouse: Warehouse, stream: Stream) -> None:
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
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]


def test_a_cleared_incremental_run_keeps_its_rows(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, PLAYS, "r1", A)
    import_all(acme, PLAYS, "r2", B)
    import_all(acme, PLAYS, "r1", A)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]


def test_an_abandoned_run_is_taken_back(acme: Destination, warehouse: Warehouse) -> None:
    run = open_run(acme, PLAYS, "r1", [None, None])
    prepare(acme, run, PLAYS, [A, B])
    load(acme, run, PLAYS, 0, A)
    with closing(warehouse.open()) as second:
        with pytest.raises(RunBusyError, match="r1"):
            open_run(second, PLAYS, "r2")
        acme.close()  # the owner dies
        import_all(second, PLAYS, "r2", A, B)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]
    for step in (
        lambda: load(acme, run, PLAYS, 1, B),
        lambda: acme.commit(run, PLAYS),
        lambda: prepare(acme, run, PLAYS, [A, B]),
    ):
        with pytest.raises(RunAbortedError):
            step()
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]


def test_a_lease_outlives_its_process_and_can_be_released(warehouse: Warehouse, acme: Destination) -> None:
    run = open_run(acme, PLAYS, "r1", lease=60)
    acme.close()
    with closing(warehouse.open()) as second:
        with pytest.raises(RunBusyError) as busy:
            open_run(second, PLAYS, "r2", lease=60)
        assert 0 < (busy.value.retry_after or 0) <= 60
        second.release(run)
        assert open_run(second, PLAYS, "r2", lease=60).id != run.id
        with pytest.raises(RunAbortedError):
            acme.renew(run, 60)


def test_two_processes_with_one_key(warehouse: Warehouse, acme: Destination) -> None:
    open_run(acme, PLAYS, "r1")
    with closing(warehouse.open()) as second, pytest.raises(RunBusyError, match="already being worked on"):
        open_run(second, PLAYS, "r1")


def test_twins_load_a_partition_once(acme: Destination, warehouse: Warehouse) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1"), PLAYS, [A])
    receipts: list[Receipt] = []

    def twin() -> None:
        with closing(warehouse.open()) as other:
            receipts.append(load(other, run, PLAYS, 0, A))

    threads = [threading.Thread(target=twin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.loaded for r in receipts] == [2] * 4
    acme.commit(run, PLAYS)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b")]


def test_a_failed_load_leaves_no_receipt(acme: Destination, warehouse: Warehouse) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1"), PLAYS, [A])

    def cut() -> Iterator[pa.RecordBatch]:
        yield A
        raise ContractError("the file changed")

    with pytest.raises(ContractError, match="the file changed"):
        acme.load(run, PLAYS, staged(run, 0, A), cut())
    with pytest.raises(ContractError, match="no receipt"):
        acme.commit(run, PLAYS)
    assert warehouse.rows("plays", "id", "what") == []
    load(acme, run, PLAYS, 0, A)
    acme.commit(run, PLAYS)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b")]


def test_only_what_the_gate_pinned_is_loaded(acme: Destination) -> None:
    run = open_run(acme, PLAYS, "r1")
    run = acme.prepare(run, PLAYS, columns_of(A), [], {"0": {"digest": "another attempt's"}})
    with pytest.raises(ContractError, match="gate"):
        load(acme, run, PLAYS, 0, A)


def test_a_loaded_partition_cannot_be_pinned_anew(acme: Destination) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1", [None, None]), PLAYS, [A, B])
    load(acme, run, PLAYS, 0, A)
    with pytest.raises(ContractError, match="already loaded"):
        acme.prepare(run, PLAYS, columns_of(A), [], {"0": {"digest": "new"}, "1": {"digest": "digest-1"}})


def test_an_empty_plan_commits(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 1})
    import_all(acme, PLAYS, "r2")
    assert acme.position(PLAYS) == {"f": 1}
    assert len(warehouse.rows("plays", "id", "what")) == 2


def test_unplanned_lanes_stay(acme: Destination) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 1, "g": 1})
    import_all(acme, PLAYS, "r2", B, position={"f": 2})
    assert acme.position(PLAYS) == {"f": 2, "g": 1}


def test_a_backfill_never_moves_the_position(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 7})
    backfill = {"kind": RunKind.WINDOW, "window": Window("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")}
    import_all(acme, PLAYS, "b1", B, position={"f": 3}, **backfill)
    assert acme.position(PLAYS) == {"f": 7}
    # cleared and run again, a window run takes the place of what it had loaded
    import_all(acme, PLAYS, "b1", rows((4, "d")), **backfill)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (4, "d")]


def test_a_window_run_beside_an_incremental_one(acme: Destination, warehouse: Warehouse) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1", position={"f": 1}), PLAYS, [A])
    with closing(warehouse.open()) as second:
        import_all(second, PLAYS, "b1", B, kind=RunKind.WINDOW)
    load(acme, run, PLAYS, 0, A)
    acme.commit(run, PLAYS)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]


def test_a_range_that_is_read_again_replaces_its_rows(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, CURSOR, "r1", versioned((1, "a"), (2, "b"), (3, "c")))
    import_all(acme, CURSOR, "b1", versioned((2, "B"), (3, "C")), kind=RunKind.WINDOW, covers=(2, 4))
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "B"), (3, "C")]


def test_open_runs_cover_disjoint_ranges(warehouse: Warehouse, acme: Destination) -> None:
    open_run(acme, CURSOR, "b1", kind=RunKind.WINDOW, covers=(2, 4))
    with closing(warehouse.open()) as second:
        with pytest.raises(RunBusyError, match="same range"):
            open_run(second, CURSOR, "b2", kind=RunKind.WINDOW, covers=(3, 9))
        open_run(second, CURSOR, "b3", kind=RunKind.WINDOW, covers=(4, 9))


def test_merge_an_older_version_never_overwrites_a_newer(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, MERGED, "r1", merged((1, "new", 20, False), (2, "x", 20, True)))
    import_all(acme, MERGED, "r2", merged((1, "old", 10, False), (2, "back again", 10, False), (3, "c", 10, False)))
    assert warehouse.rows("plays", "id", "what") == [
        (1, "new"),
        (3, "c"),
    ]  # what was deleted later stays deleted, and isn't shown
    import_all(acme, MERGED, "r3", merged((2, "anew", 30, False)))
    assert warehouse.rows("plays", "id", "what") == [(1, "new"), (2, "anew"), (3, "c")]


def test_merge_the_last_operation_of_a_key_wins(acme: Destination, warehouse: Warehouse) -> None:
    batch = merged((1, "a", 1, False), (1, "b", 3, False), (1, "c", 2, False), (2, "a", 1, False), (2, "", 2, True))
    import_all(acme, MERGED, "r1", batch)
    assert warehouse.rows("plays", "id", "what") == [(1, "b")]


def test_merge_keeps_what_an_aborted_run_observed(warehouse: Warehouse) -> None:
    with closing(warehouse.open()) as first:
        run = prepare(first, open_run(first, MERGED, "r1"), MERGED, [merged((1, "a", 1, False))])
        load(first, run, MERGED, 0, merged((1, "a", 1, False)))
    with closing(warehouse.open()) as second:
        import_all(second, MERGED, "r2", merged((1, "b", 2, False)))
    assert warehouse.rows("plays", "id", "what") == [(1, "b")]


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.MERGE, LoadMode.REPLACE])
def test_an_erased_subject_stays_away(acme: Destination, warehouse: Warehouse, mode: LoadMode) -> None:
    stream = replace(SUBJECTS, load_mode=mode, primary_key=("id",) if mode is LoadMode.MERGE else ())
    batch = of_subjects((1, 7), (2, 8), (3, 7))
    run = subject_run(acme, stream, "r1", batch)
    assert load(acme, run, stream, 0, batch).loaded == 3
    acme.commit(run, stream)
    acme.release(run)
    assert acme.erase(stream, "listener", [token(7).bytes]) == 2
    assert warehouse.rows("plays", "id", "who") == [(2, token(8))]
    run = subject_run(acme, stream, "r2", batch)
    receipt = load(acme, run, stream, 0, batch)
    assert (receipt.loaded, receipt.suppressed) == (1, 2)
    acme.commit(run, stream)
    assert {who for _, who in warehouse.rows("plays", "id", "who")} == {token(8)}


def test_erasing_reaches_the_shadow_of_an_open_replace(acme: Destination, warehouse: Warehouse) -> None:
    stream = replace(SUBJECTS, load_mode=LoadMode.REPLACE)
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, stream, "r1", batch)
    load(acme, run, stream, 0, batch)
    assert acme.erase(stream, "listener", [token(7).bytes]) == 1
    acme.commit(run, stream)
    assert warehouse.rows("plays", "id", "who") == [(2, token(8))]


def test_erasing_beside_a_load_waits_for_it(acme: Destination, warehouse: Warehouse) -> None:
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, SUBJECTS, "r1", batch)
    loading, erased = threading.Event(), []

    def erase() -> None:
        with closing(warehouse.open()) as other:
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
    assert warehouse.rows("plays", "id") == [(2,)]


def test_two_tenants_with_the_same_names(acme: Destination, warehouse: Warehouse) -> None:
    with closing(warehouse.open("zeta", "k2")) as zeta:
        import_all(acme, PLAYS, "r1", A, position={"f": 1})
        assert zeta.position(PLAYS) == {}
        theirs = import_all(zeta, PLAYS, "r1", B)
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b")]
    assert warehouse.rows("plays", "id", "what", tenant="zeta") == [(3, "c")]
    with pytest.raises(RunAbortedError, match="no run"):
        acme.find(theirs.id)


def test_another_encryption_key_is_refused(warehouse: Warehouse, acme: Destination) -> None:
    import_all(acme, PLAYS, "r1", A)
    with closing(warehouse.open(key="k2")) as other, pytest.raises(ConfigError, match="ENCRYPTION_KEY"):
        open_run(other, PLAYS, "r2")
