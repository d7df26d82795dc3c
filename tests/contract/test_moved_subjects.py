"""A table whose subject was another column once: what a complete run ends keeps whose it was, by hand-counted rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from importers.core import registry
from importers.core.destination import Destination
from importers.core.erasure import Outcome, Place
from importers.core.model import LoadMode, Plan, RunKind, Stream, TableColumn
from tests.support.runs import ALWAYS, SUBJECTS, erase, load, token

from .worlds import WAREHOUSES

ANN, BOB, EVE = 7, 8, 9
COLUMNS = [TableColumn("id", pa.int64()), TableColumn("listener", pa.uuid()), TableColumn("friend", pa.uuid())]


@pytest.fixture(params=registry.destinations())
def acme(request: pytest.FixtureRequest, database: str) -> Iterator[Destination]:
    with closing(WAREHOUSES[request.param](database).open()) as opened:
        yield opened


def snapshot(
    acme: Destination, mode: LoadMode, key: str, subject: str, *rows: tuple[int, int | None, int | None]
) -> None:
    """All that there is, in a run whose subject is that column; a row is its id, its listener and the friend."""
    stream = replace(SUBJECTS, load_mode=mode, primary_key=("id",), subject=subject)
    run = acme.open(
        stream, key, RunKind.INCREMENTAL, ALWAYS, lambda _: Plan([None], {}, None, stream, complete=True), b""
    )
    run = acme.prepare(run, stream, COLUMNS, [], {"0": {"digest": "digest-0"}})
    load(acme, run, stream, 0, batch(stream, run.version, *rows))
    acme.commit(run, stream)
    acme.release(run)


def batch(stream: Stream, version: int, *rows: tuple[int, int | None, int | None]) -> pa.RecordBatch:
    """As a policy hands it over: with `_subject`, which the table may lack."""
    ids, *people = zip(*rows, strict=True)
    listener, friend = (
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([None if who is None else token(who).bytes for who in column], pa.binary(16))
        )
        for column in people
    )
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids),
            "listener": listener,
            "friend": friend,
            "_subject": listener if stream.subject == "listener" else friend,
            "_version": pa.array([version] * len(ids)),
        }
    )


def left(acme: Destination, who: int) -> list[Place]:
    eraser = acme.eraser()
    return [place for table in eraser.tables() for place in eraser.look(table, "listener", [token(who).bytes])]


@pytest.mark.parametrize(
    ("mode", "of_ann", "of_bob", "nobody_s"), [(LoadMode.HISTORY, 2, 4, 2), (LoadMode.MERGE, 1, 2, 1)]
)
def test_what_a_run_with_another_subject_ends_is_still_theirs(
    acme: Destination, mode: LoadMode, of_ann: int, of_bob: int, nobody_s: int
) -> None:
    """With history each row that ends is there twice: as it was, and as what ends it."""
    snapshot(acme, mode, "r1", "listener", (1, ANN, BOB), (2, BOB, ANN), (3, None, ANN), (4, BOB, None), (5, EVE, None))
    snapshot(acme, mode, "r2", "friend", (5, None, EVE))
    assert erase(acme, "listener", token(ANN).bytes) == of_ann
    assert erase(acme, "listener", token(ANN).bytes) == 0
    assert erase(acme, "listener", token(BOB).bytes) == of_bob
    for who in (ANN, BOB):
        assert [(place.outcome, place.rows, place.unknown) for place in left(acme, who)] == [
            (Outcome.CLEAR, 0, nobody_s)
        ]


def test_a_subject_that_has_always_been_one_column_needs_no_other(acme: Destination) -> None:
    snapshot(acme, LoadMode.HISTORY, "r1", "listener", (1, ANN, BOB), (2, BOB, ANN))
    snapshot(acme, LoadMode.HISTORY, "r2", "listener", (2, BOB, ANN))
    snapshot(acme, LoadMode.HISTORY, "r3", "listener", (2, BOB, ANN))
    assert erase(acme, "listener", token(ANN).bytes) == 2
