"""What every destination must do: the rules of docs/how-it-stays-exact.md, on a real server."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace

import pyarrow as pa
import pytest

from importers.core import registry
from importers.core.destination import Destination
from importers.core.model import (
    Column,
    LoadMode,
    Plan,
    Receipt,
    Run,
    RunKind,
    RunState,
    Stream,
    TableColumn,
    Unlike,
    Window,
)
from importers.exceptions import ConfigError, ContractError, RunAbortedError, RunBusyError
from tests.support.runs import (
    CURSOR,
    HISTORY,
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
from tests.support.runs import erase as erase_from

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


def as_read(stream: Stream) -> list[pa.RecordBatch]:
    """`A` and `B`, stamped where a row's key needs it."""
    stamp = stream.load_mode is LoadMode.HISTORY
    return [batch.append_column("_version", pa.array([7] * batch.num_rows)) if stamp else batch for batch in (A, B)]


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED, HISTORY], ids=lambda s: s.load_mode)
def test_rows_and_position_arrive(acme: Destination, warehouse: Warehouse, stream: Stream) -> None:
    import_all(acme, stream, "r1", *as_read(stream), position={"f": 1})
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]
    assert acme.position(stream) == ({} if stream is REPLACED else {"f": 1})


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED, HISTORY], ids=lambda s: s.load_mode)
def test_every_step_again_is_a_no_op(acme: Destination, warehouse: Warehouse, stream: Stream) -> None:
    one, two = as_read(stream)
    run = open_run(acme, stream, "r1", [None, None], {"f": 1})
    assert open_run(acme, stream, "r1").id == run.id
    for _ in range(2):
        prepare(acme, run, stream, [one, two])
    for _ in range(2):
        assert load(acme, run, stream, 0, one).loaded == 2
        assert load(acme, run, stream, 1, two).loaded == 1
    first = acme.commit(run, stream)
    # COMMIT was sent, the process died: everything that runs again meets a committed run and succeeds
    assert acme.commit(run, stream) == first
    assert prepare(acme, run, stream, [one, two]).state is RunState.COMMITTED
    assert load(acme, run, stream, 0, one).loaded == 2
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


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED, HISTORY], ids=lambda s: s.load_mode)
def test_as_many_columns_as_suit_can_be_made_and_no_more(acme: Destination, stream: Stream) -> None:
    """What no table can have is known before anything is read; what suits, the server itself takes."""
    every = [TableColumn("id", pa.int64()), *(TableColumn(f"c{n}", pa.int64()) for n in range(10_000))]

    def suits(many: int) -> bool:
        try:
            acme.suits(stream, every[:many])
        except ContractError as error:
            assert f"got {many:,}; " in str(error)  # noqa: PT017
            return False
        return True

    most = bisect_left(range(len(every)), True, key=lambda many: not suits(many)) - 1
    acme.prepare(open_run(acme, stream, "r1"), stream, every[:most], [], {"0": {"digest": "d"}})
    with pytest.raises(ContractError, match="in `privacy"):
        acme.prepare(open_run(acme, stream, "r1"), stream, every[: most + 1], [], {"0": {"digest": "d"}})


def nested(levels: int) -> pa.DataType:
    kind = pa.int64()
    for level in range(levels):
        kind = pa.struct([("a", kind)]) if level % 2 else pa.list_(kind)
    return kind


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (nested(64), "column 'x' is nested too deeply; got 64 levels"),
        (
            pa.decimal256(60, 2),
            r"column 'x': of decimal numbers 38 digits are loaded, .*a `string`, or .*`decimal\(38,2\)`",
        ),
        (pa.month_day_nano_interval(), "column 'x': PostgreSQL has no column type for Arrow's month_day_nano_interval"),
    ],
)
def test_types_that_no_table_can_have_are_known_before_anything_is_read(
    acme: Destination, kind: pa.DataType, told: str
) -> None:
    with pytest.raises(ContractError, match=told):
        acme.suits(PLAYS, [TableColumn("id", pa.int64()), TableColumn("x", kind)])


def test_as_many_levels_as_suit_can_be_staged_and_no_more(acme: Destination) -> None:
    acme.suits(PLAYS, [TableColumn("x", nested(63))])
    for levels, writes in ((63, nullcontext()), (64, pytest.raises(pa.ArrowInvalid))):
        rows = pa.record_batch([pa.nulls(1, nested(levels))], ["x"])
        with writes:
            rows.serialize()


def test_a_table_that_can_t_have_so_many_columns_more_is_known_before_anything_is_read(acme: Destination) -> None:
    """Each delivery by itself would suit."""
    there, more = ([TableColumn(f"{of}{n}", pa.int64()) for n in range(1000)] for of in "ab")
    acme.prepare(open_run(acme, PLAYS, "r1"), PLAYS, there, [], {"0": {"digest": "d"}})
    acme.suits(PLAYS, more)
    assert acme.misfits(PLAYS, more[:500]) == {}
    with pytest.raises(ContractError, match="got 2,000; "):
        acme.misfits(PLAYS, more)


def test_names_that_no_table_can_have_are_known_before_anything_is_read(acme: Destination) -> None:
    with pytest.raises(ContractError, match="Rename it"):
        acme.suits(PLAYS, [TableColumn("_run", pa.int64())])
    with pytest.raises(ConfigError, match="Set load"):
        acme.suits(replace(PLAYS, table="plays__rows"), columns_of(A))


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


def test_a_run_that_was_planned_before_its_table_was_dropped_doesn_t_load(
    acme: Destination, warehouse: Warehouse
) -> None:
    """It would load what was new, and then stand for all."""
    import_all(acme, PLAYS, "r1", A, position={"lane": 1})
    run = open_run(acme, PLAYS, "r2", position={"lane": 2})
    warehouse.drop("plays")
    with pytest.raises(ContractError, match="was dropped after this run was planned"):
        prepare(acme, run, PLAYS, [B])
    assert acme.position(PLAYS) == {}
    acme.abort(run, PLAYS)
    import_all(acme, PLAYS, "r3", A, B, position={"lane": 3})
    assert len(warehouse.rows("plays", "id")) == 3


def test_nor_does_one_that_an_older_version_planned(acme: Destination, warehouse: Warehouse) -> None:
    """It didn't say whether it went on from a position. A first run did not, and loads."""
    first = open_run(acme, PLAYS, "r1", position={"lane": 1})
    warehouse.plan_of(first.id, without=["resumed"])
    load(acme, prepare(acme, first, PLAYS, [A]), PLAYS, 0, A)
    acme.commit(first, PLAYS)
    run = open_run(acme, PLAYS, "r2", position={"lane": 2})
    warehouse.plan_of(run.id, without=["resumed"])
    warehouse.drop("plays")
    with pytest.raises(ContractError, match="was dropped after this run was planned"):
        prepare(acme, run, PLAYS, [B])


def test_a_run_of_an_older_version_goes_on(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, PLAYS, "r1", A, position={"lane": 1})
    run = open_run(acme, PLAYS, "r2", position={"lane": 2})
    warehouse.plan_of(run.id, without=["resumed"])
    load(acme, prepare(acme, run, PLAYS, [B]), PLAYS, 0, B)
    assert acme.commit(run, PLAYS) == {"lane": 2}


def test_a_table_that_gets_its_name_back_goes_on_where_it_was(acme: Destination, warehouse: Warehouse) -> None:
    """The run between found no table, and planned all that there is: it would append that a second time."""
    import_all(acme, PLAYS, "r1", A, position={"lane": 1})
    warehouse.rename("plays", to="away")
    plan = Plan([None], {"lane": 2}, stream=PLAYS, dropped=True)
    run = acme.open(PLAYS, "r2", RunKind.INCREMENTAL, Window(), lambda _: plan, b"sealed")
    assert acme.position(PLAYS) == {}
    warehouse.rename("away", to="plays")
    with pytest.raises(ContractError, match="wasn't there when this run was planned"):
        prepare(acme, acme.find(run.id), PLAYS, [A, B])
    acme.abort(run, PLAYS)
    assert acme.position(PLAYS) == {"lane": 1}


@pytest.mark.parametrize("gate", ["before", "after"])
def test_nor_does_it_count_if_another_has_made_the_table_anew(
    acme: Destination, warehouse: Warehouse, gate: str
) -> None:
    """The window's rows would stand for all that the table had."""
    import_all(acme, PLAYS, "r1", A, position={"lane": 1})
    run = open_run(acme, PLAYS, "r2", position={"lane": 2})
    if gate == "before":
        run = prepare(acme, run, PLAYS, [B])
    warehouse.drop("plays")
    with closing(warehouse.open()) as second:
        import_all(second, PLAYS, "w", rows((7, "g")), kind=RunKind.WINDOW)
    if gate == "before":
        load(acme, run, PLAYS, 0, B)
    with pytest.raises(ContractError, match="was dropped after this run was planned"):
        acme.commit(run, PLAYS) if gate == "before" else prepare(acme, run, PLAYS, [B])
    assert acme.position(PLAYS) == {}
    acme.abort(run, PLAYS)
    assert warehouse.rows("plays", "id") == [(7,)]


@pytest.mark.parametrize("stream", [PLAYS, MERGED, REPLACED, HISTORY], ids=lambda s: s.load_mode)
def test_who_finds_a_dropped_table_takes_nothing_back_and_doesn_t_count_what_was_loaded(
    acme: Destination, warehouse: Warehouse, stream: Stream
) -> None:
    first, second = as_read(stream)
    run = prepare(acme, open_run(acme, stream, "r1", [None] * 2), stream, [first, second])
    load(acme, run, stream, 0, first)
    warehouse.drop("plays__rows" if stream.keyed else "plays")
    if stream is not REPLACED:  # whose rows are beside the table
        with pytest.raises(ContractError, match="was dropped after this run was planned"):
            prepare(acme, run, stream, [first, second])
    acme.abort(run, stream)
    assert acme.find(run.id).state is RunState.ABORTED
    import_all(acme, stream, "r2", first, second)
    assert warehouse.rows("plays", "id") == [(1,), (2,), (3,)]


def test_a_full_refresh_needs_nothing_of_a_table_that_was_dropped(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, MERGED, "r1", merged((1, "a", 1, False)), position={"lane": 1})
    plan = Plan([None], {"lane": 2}, stream=MERGED, refresh=True)
    run = acme.open(MERGED, "r2", RunKind.INCREMENTAL, Window(), lambda _: plan, b"sealed")
    warehouse.drop("plays__rows")
    batch = merged((1, "a", 1, False), (2, "b", 2, False))
    run = prepare(acme, run, MERGED, [batch])
    load(acme, run, MERGED, 0, batch)
    assert acme.commit(run, MERGED) == acme.position(MERGED) == {"lane": 2}
    assert warehouse.rows("plays", "id") == [(1,), (2,)]


def test_a_table_of_another_mode_is_not_one_that_was_dropped(acme: Destination) -> None:
    """The run is refused at its gate; whoever takes the mode back goes on where the table is."""
    import_all(acme, PLAYS, "r1", A, position={"lane": 1})
    acme.abort(open_run(acme, MERGED, "r2"), MERGED)
    assert acme.position(PLAYS) == {"lane": 1}


def test_a_column_that_goes_before_a_commit_is_nothing_to_take_out(acme: Destination, warehouse: Warehouse) -> None:
    first = import_all(acme, MERGED, "r1", A)
    run = prepare(acme, open_run(acme, MERGED, "r2", []), MERGED, [])
    acme.commit(run, MERGED, gone=[Unlike(name, name, "keep", "drop", (first.id,)) for name in ("town", "what")])
    assert warehouse.rows("plays", "id", "what") == [(1, None), (2, None)]


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.MERGE, LoadMode.REPLACE])
def test_an_erased_subject_stays_away(acme: Destination, warehouse: Warehouse, mode: LoadMode) -> None:
    stream = replace(SUBJECTS, load_mode=mode, primary_key=("id",) if mode is LoadMode.MERGE else ())
    batch = of_subjects((1, 7), (2, 8), (3, 7))
    run = subject_run(acme, stream, "r1", batch)
    assert load(acme, run, stream, 0, batch).loaded == 3
    acme.commit(run, stream)
    acme.release(run)
    assert erase_from(acme, "listener", token(7).bytes) == 2
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
    assert erase_from(acme, "listener", token(7).bytes) == 1
    acme.commit(run, stream)
    assert warehouse.rows("plays", "id", "who") == [(2, token(8))]


def test_erasing_beside_a_load_waits_for_it(acme: Destination, warehouse: Warehouse) -> None:
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, SUBJECTS, "r1", batch)
    loading, erased = threading.Event(), []

    def erase() -> None:
        with closing(warehouse.open()) as other:
            loading.wait(60)
            erased.append(erase_from(other, "listener", token(7).bytes))

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


def test_of_equal_versions_the_last_that_was_read_wins(acme: Destination, warehouse: Warehouse) -> None:
    batch = merged(*((n % 50, f"read {n:04}", 1, False) for n in range(2000)))
    import_all(acme, MERGED, "r1", batch)
    assert warehouse.rows("plays", "id", "what") == [(n, f"read {1950 + n:04}") for n in range(50)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_equal_versions_the_later_partition_s_wins_whatever_is_loaded_first(
    acme: Destination, warehouse: Warehouse, order: tuple[int, ...]
) -> None:
    batches = [merged((1, f"partition {n}", 7, False), (2, f"partition {n}", 9 - n, False)) for n in range(3)]
    run = prepare(acme, open_run(acme, MERGED, "r1", [None] * 3), MERGED, batches)
    for number in order:
        load(acme, run, MERGED, number, batches[number])
    acme.commit(run, MERGED)
    assert warehouse.rows("plays", "id", "what") == [(1, "partition 2"), (2, "partition 0")]
    import_all(acme, MERGED, "r2", merged((1, "later run, first partition", 7, False)))
    assert warehouse.rows("plays", "id", "what")[0] == (1, "later run, first partition")


def test_a_later_run_is_newer_whatever_its_clock_says(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for number in range(3):
        monkeypatch.setattr("time.time", lambda number=number: 2_000_000_000.0 - 1000 * number)
        with closing(warehouse.open()) as at:
            versions.append(import_all(at, MERGED, f"r{number}", merged((1, "a", number, False))).version)
    assert versions == sorted(set(versions))


def test_a_backfill_s_receipts_don_t_move_the_position_either(acme: Destination) -> None:
    import_all(acme, PLAYS, "r1", A, position={"f": 7})
    run = prepare(acme, open_run(acme, PLAYS, "b1", kind=RunKind.WINDOW), PLAYS, [B])
    acme.load(run, PLAYS, replace(staged(run, 0, B), position={"f": 3}), [B])
    acme.commit(run, PLAYS)
    assert acme.position(PLAYS) == {"f": 7}


def test_receipts_move_the_position_of_an_incremental_run(acme: Destination) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1"), PLAYS, [B])
    acme.load(run, PLAYS, replace(staged(run, 0, B), position={"page": "next"}), [B])
    assert acme.commit(run, PLAYS) == {"page": "next"}


def test_runs_side_by_side_are_remembered_with_the_columns_of_all(acme: Destination) -> None:
    """Whichever is opened or committed last; until a run that was held to each leaves one of them out."""

    def column(name: str, since: str | None, kind: pa.DataType | None = None) -> Column:
        return Column(name, kind or pa.int64(), None, since=since)

    def opened(key: str, *columns: Column, beyond: Sequence[Column] = ()) -> Run:
        held_to = tuple(run for known in acme.remembered() for run in known.held_to)
        planned = replace(MERGED, columns=columns, beyond=tuple(beyond), held_to=held_to)
        return open_run(acme, planned, key, [], kind=RunKind.WINDOW)

    def known() -> dict[str, tuple[str, str | None]]:
        (stream,) = acme.remembered()
        return {each.name: (str(each.type), each.since) for each in (*stream.columns, *stream.beyond)}

    acme.commit(opened("first", column("id", "1")), MERGED)
    one = opened("one", column("id", "1"), column("more", "3", pa.float64()), column("late", None))
    other = opened("other", column("id", "2"), column("more", "2"), column("late", "4"), beyond=[column("left", "2")])
    for run in (other, one):
        acme.commit(run, MERGED)
    both = {"id": ("int64", "1"), "more": ("double", "2"), "late": ("int64", "4"), "left": ("int64", "2")}
    assert known() == both
    acme.abort(opened("aborted", column("id", "1")), MERGED)
    assert known() == both
    acme.commit(opened("after", column("id", "1"), column("late", "4")), MERGED)
    assert known() == {"id": ("int64", "1"), "late": ("int64", "4")}


def test_objects_are_remembered_with_what_each_of_two_runs_side_by_side_had_in_them(acme: Destination) -> None:
    def items(kind: pa.DataType, more: str) -> pa.DataType:
        return pa.list_(pa.struct([("a", kind), (more, pa.date32())]))

    for key, kind in ("one", items(pa.float64(), "b")), ("other", items(pa.int64(), "c")):
        planned = replace(MERGED, columns=(Column("o", kind, None),))
        run = open_run(acme, planned, key, [], kind=RunKind.WINDOW)
        acme.commit(run, planned)
    (known,) = acme.remembered()
    every = pa.struct([("a", pa.float64()), ("c", pa.date32()), ("b", pa.date32())])
    assert [column.type for column in known.columns] == [pa.list_(every)]


def test_a_run_of_an_older_version_was_held_to_all_before_it(acme: Destination, warehouse: Warehouse) -> None:
    for key, name in enumerate("ab"):
        planned = replace(MERGED, columns=(Column(name, pa.int64(), None),))
        run = open_run(acme, planned, f"r{key}", [], kind=RunKind.WINDOW)
        acme.commit(run, planned)
    assert [stream.schema.names for stream in acme.remembered()] == [["b", "a"]]
    warehouse.plan_of(run.id, without=["stream", "held_to"])
    assert [stream.schema.names for stream in acme.remembered()] == [["b"]]


def test_a_lane_that_comes_twice_is_an_error(acme: Destination) -> None:
    run = prepare(acme, open_run(acme, PLAYS, "r1", position={"f": 1}), PLAYS, [B])
    acme.load(run, PLAYS, replace(staged(run, 0, B), position={"f": 2}), [B])
    with pytest.raises(ContractError, match="one lane"):
        acme.commit(run, PLAYS)


def test_windows_that_overlap_aren_t_appended_twice(acme: Destination, warehouse: Warehouse) -> None:
    def window(first: int, last: int) -> Window:
        return Window(f"2026-01-{first:02}T00:00:00+00:00", f"2026-01-{last:02}T00:00:00+00:00")

    import_all(acme, PLAYS, "b1", A, kind=RunKind.WINDOW, window=window(1, 3))
    with pytest.raises(ContractError, match="overlaps"):
        open_run(acme, PLAYS, "b2", kind=RunKind.WINDOW, window=window(2, 4))
    import_all(acme, PLAYS, "b3", B, kind=RunKind.WINDOW, window=window(3, 5))
    assert warehouse.rows("plays", "id", "what") == [(1, "a"), (2, "b"), (3, "c")]


def test_another_cursor_can_t_tell_what_is_newer(acme: Destination) -> None:
    def run_with(key: str, stream: Stream) -> None:
        plan = Plan([None], {}, None, stream)
        run = acme.open(stream, key, RunKind.INCREMENTAL, Window(), lambda _: plan, b"sealed")
        try:
            load(acme, prepare(acme, run, stream, [merged((1, "a", 1, False))]), stream, 0, merged((1, "a", 1, False)))
            acme.commit(run, stream)
        finally:
            acme.release(run)

    run_with("r1", MERGED)
    with pytest.raises(ContractError, match="another cursor"):
        run_with("r2", replace(MERGED, cursor="id"))


def test_replacing_runs_of_one_table_wait_for_each_other(warehouse: Warehouse, acme: Destination) -> None:
    """Also those of another stream's name: a renamed pipeline finds what its former self left open."""
    renamed = replace(REPLACED, name="songs", table="plays")
    run = prepare(acme, open_run(acme, REPLACED, "r1"), REPLACED, [A])
    load(acme, run, REPLACED, 0, A)
    with closing(warehouse.open()) as second:
        with pytest.raises(RunBusyError, match="its table"):
            open_run(second, renamed, "r2")
        acme.close()
        import_all(second, renamed, "r3", B)
    assert warehouse.rows("plays", "id", "what") == [(3, "c")]


def test_an_erasure_finds_rows_from_before_the_subject_s_treatment_changed(
    acme: Destination, warehouse: Warehouse
) -> None:
    batch = of_subjects((1, 7), (2, 8))
    run = subject_run(acme, SUBJECTS, "r1", batch)
    load(acme, run, SUBJECTS, 0, batch)
    acme.commit(run, SUBJECTS)
    acme.release(run)
    run = open_run(acme, SUBJECTS, "r2")
    columns = [TableColumn("id", pa.int64()), TableColumn("_subject", pa.uuid())]
    run = acme.prepare(run, SUBJECTS, columns, [], {"0": {"digest": "digest-0"}})
    later = of_subjects((3, 7), (4, 8)).drop_columns(["who"])
    load(acme, run, SUBJECTS, 0, later)
    acme.commit(run, SUBJECTS)
    assert erase_from(acme, "listener", token(7).bytes) == 2
    assert warehouse.rows("plays", "id") == [(2,), (4,)]
