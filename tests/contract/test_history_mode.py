"""Load mode HISTORY: what was known of a key from when to when. Expected histories are written down by hand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from importers.core import registry
from importers.core.destination import Destination
from importers.core.model import LoadMode, QuarantineFile, Reads, RunKind, Stream, Window
from importers.exceptions import ContractError
from tests.support.runs import (
    HISTORY,
    MERGED,
    SUBJECTS,
    import_all,
    load,
    merged,
    of_subjects,
    open_run,
    prepare,
    subject_run,
    token,
)
from tests.support.runs import erase as erase_from

from .worlds import WAREHOUSES, Warehouse

SNAPSHOT = replace(HISTORY, reads=Reads.SNAPSHOT)
COLUMNS = ("id", "what", "valid_from", "valid_to")


@pytest.fixture(params=[n for n in registry.destinations() if LoadMode.HISTORY in registry.destination_class(n).modes])
def warehouse(request: pytest.FixtureRequest, database: str) -> Warehouse:
    return WAREHOUSES[request.param](database)


@pytest.fixture
def acme(warehouse: Warehouse) -> Iterator[Destination]:
    with closing(warehouse.open()) as opened:
        yield opened


def at(version: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=version)


def seen(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """The history as an analyst sees it, moments as versions."""
    micro, start = timedelta(microseconds=1), datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (key, what, (since - start) // micro, until and (until - start) // micro)
        for key, what, since, until in sorted(warehouse.rows("plays", *COLUMNS), key=lambda row: (row[0], row[2]))
    ]


def test_a_version_holds_until_the_next(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, HISTORY, "r1", merged((1, "a", 10, False), (2, "x", 10, False)))
    import_all(acme, HISTORY, "r2", merged((1, "b", 20, False)))
    assert seen(warehouse) == [(1, "a", 10, 20), (1, "b", 20, None), (2, "x", 10, None)]


def test_of_a_row_without_a_cursor_nobody_knows_since_when_it_holds(acme: Destination, warehouse: Warehouse) -> None:
    """`-infinity` is what few clients can read: they lost the whole table."""
    import_all(acme, HISTORY, "r1", merged((1, "a", -(2**63), False), (2, "x", -(2**63), False)))
    import_all(acme, HISTORY, "r2", merged((1, "b", 20, False)))
    expected = {(1, "a", None, at(20)), (1, "b", at(20), None), (2, "x", None, None)}
    assert set(warehouse.rows("plays", *COLUMNS)) == expected


def test_several_versions_of_a_key_in_one_run(acme: Destination, warehouse: Warehouse) -> None:
    parts = [merged((1, "c", 30, False), (1, "a", 10, False)), merged((1, "b", 20, False))]
    import_all(acme, HISTORY, "r1", *parts)
    assert seen(warehouse) == [(1, "a", 10, 20), (1, "b", 20, 30), (1, "c", 30, None)]


def test_an_older_version_that_arrives_late_ends_where_the_next_begins(acme: Destination, warehouse: Warehouse) -> None:
    """The pitfall: A@3 was read again unchanged, and B@2 comes by a backfill. What holds now is still A."""
    import_all(acme, HISTORY, "r1", merged((1, "A", 1, False)))
    import_all(acme, HISTORY, "r2", merged((1, "A", 3, False)))
    import_all(acme, HISTORY, "w1", merged((1, "B", 2, False)), kind=RunKind.WINDOW, window=Window("1970-01-01Z", None))
    assert seen(warehouse) == [(1, "A", 1, 2), (1, "B", 2, 3), (1, "A", 3, None)]


def test_a_delete_ends_a_version_and_isn_t_seen_itself(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, HISTORY, "r1", merged((1, "a", 10, False)))
    import_all(acme, HISTORY, "r2", merged((1, None, 20, True)))
    assert seen(warehouse) == [(1, "a", 10, 20)]
    import_all(acme, HISTORY, "r3", merged((1, "back", 30, False)))
    assert seen(warehouse) == [(1, "a", 10, 20), (1, "back", 30, None)]


def test_the_same_version_again_is_one_version(acme: Destination, warehouse: Warehouse) -> None:
    import_all(acme, HISTORY, "r1", merged((1, "a", 10, False)))
    import_all(acme, HISTORY, "r2", merged((1, "a, corrected", 10, False), (1, "b", 20, False)))
    assert seen(warehouse) == [(1, "a, corrected", 10, 20), (1, "b", 20, None)]


def test_nothing_is_seen_before_commit(warehouse: Warehouse) -> None:
    with closing(warehouse.open()) as first:
        import_all(first, HISTORY, "r1", merged((1, "a", 10, False)))
        batch = merged((1, "b", 20, False))
        run = prepare(first, open_run(first, HISTORY, "r2"), HISTORY, [batch])
        load(first, run, HISTORY, 0, batch)
        assert seen(warehouse) == [(1, "a", 10, None)]
        with closing(warehouse.open()) as beside:  # the commit of another run shows its own alone
            late = merged((1, "early", 5, False))
            import_all(beside, HISTORY, "w", late, kind=RunKind.WINDOW, window=Window("1970-01-01Z", None))
        assert seen(warehouse) == [(1, "early", 5, 10), (1, "a", 10, None)]
        first.commit(run, HISTORY)
    assert seen(warehouse) == [(1, "early", 5, 10), (1, "a", 10, 20), (1, "b", 20, None)]


@pytest.mark.parametrize(
    ("stream", "kept"),
    [(replace(HISTORY, cursor="id"), [(1, "a", 10, 20)]), (HISTORY, [])],
    ids=["cursor", "no cursor"],
)
def test_an_aborted_run_s_versions_stay_if_they_are_the_source_s_own(
    warehouse: Warehouse, stream: Stream, kept: list[Any]
) -> None:
    with closing(warehouse.open()) as first:
        batch = merged((1, "a", 10, False))
        run = prepare(first, open_run(first, stream, "r1"), stream, [batch])
        load(first, run, stream, 0, batch)
    with closing(warehouse.open()) as second:
        import_all(second, stream, "r2", merged((1, "b", 20, False)))
    assert seen(warehouse) == [*kept, (1, "b", 20, None)]


def snapshot(acme: Destination, key: str, *values: tuple[int, str], version: int | None = None) -> int:
    """Rows as the chain stamps them: by the cursor if there is one, else by the run."""
    run = open_run(acme, SNAPSHOT, key)
    stamp = run.version if version is None else version
    batch = merged(*((i, what, stamp, False) for i, what in values))
    prepare(acme, run, SNAPSHOT, [batch])
    load(acme, run, SNAPSHOT, 0, batch)
    acme.commit(run, SNAPSHOT)
    acme.release(run)
    return run.version


def test_what_a_snapshot_lacks_ends_with_it(acme: Destination, warehouse: Warehouse) -> None:
    first = snapshot(acme, "r1", (1, "a"), (2, "x"))
    second = snapshot(acme, "r2", (1, "b"))
    assert seen(warehouse) == [(1, "a", first, second), (1, "b", second, None), (2, "x", first, second)]
    third = snapshot(acme, "r3", (1, "b"), (2, "y"))
    assert seen(warehouse)[3:] == [(2, "x", first, second), (2, "y", third, None)]


def test_what_is_there_again_with_its_old_cursor_holds_again(acme: Destination, warehouse: Warehouse) -> None:
    snapshot(acme, "r1", (1, "a"), (2, "x"), version=10)
    gone = snapshot(acme, "r2", (1, "a"), version=10)
    back = snapshot(acme, "r3", (1, "a"), (2, "x"), version=10)
    assert seen(warehouse) == [(1, "a", 10, None), (2, "x", 10, gone), (2, "x", back, None)]


def test_a_snapshot_with_quarantine_ends_nothing(acme: Destination, warehouse: Warehouse) -> None:
    first = snapshot(acme, "r1", (1, "a"), (2, "x"))
    run = open_run(acme, SNAPSHOT, "r2")
    batch = merged((1, "b", run.version, False))
    prepare(acme, run, SNAPSHOT, [batch])
    load(acme, run, SNAPSHOT, 0, batch)
    acme.quarantine().register(run, [QuarantineFile(0, "file:///q", 1, {"bad": 1})])
    acme.commit(run, SNAPSHOT)
    assert seen(warehouse) == [(1, "a", first, run.version), (1, "b", run.version, None), (2, "x", first, None)]


def test_an_erasure_reaches_all_versions(acme: Destination, warehouse: Warehouse) -> None:
    stream = replace(SUBJECTS, load_mode=LoadMode.HISTORY, primary_key=("id",))
    for key, version in (("r1", 10), ("r2", 20)):
        batch = of_subjects((1, 7), (2, 8)).append_column("_version", pa.array([version, version]))
        run = subject_run(acme, stream, key, batch)
        load(acme, run, stream, 0, batch)
        acme.commit(run, stream)
        acme.release(run)
    assert erase_from(acme, "listener", token(7).bytes) == 2
    assert sorted(warehouse.rows("plays", "id", "valid_from")) == [(2, at(10)), (2, at(20))]


def test_a_merged_table_isn_t_taken_for_a_history(acme: Destination) -> None:
    import_all(acme, MERGED, "r1", merged((1, "a", 1, False)))
    with pytest.raises(ContractError, match="made for another load mode"):
        import_all(acme, HISTORY, "r2", merged((1, "a", 1, False)))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_order_versions_come_in_the_history_is_the_same(
    acme: Destination, warehouse: Warehouse, seed: int
) -> None:
    """The oracle sorts by key and version, and pairs neighbours."""
    chance = random.Random(seed)
    versions = sorted({(key, chance.randrange(1, 40)) for key in range(4) for _ in range(6)})
    gone = {version for version in versions if chance.random() < 0.25}
    shuffled = chance.sample(versions, len(versions))
    for number in range(0, len(shuffled), 4):
        part = [(k, f"{k}@{v}", v, (k, v) in gone) for k, v in shuffled[number : number + 4]]
        import_all(acme, HISTORY, f"r{number}", merged(*part))
    nexts = {one: two[1] for one, two in itertools.pairwise(versions) if one[0] == two[0]}
    assert seen(warehouse) == [(k, f"{k}@{v}", v, nexts.get((k, v))) for k, v in versions if (k, v) not in gone]
