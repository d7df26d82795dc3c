"""A source that has nothing but `plan` and `read` is followed: what moves the position, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import pytest

from importers.core import polling
from importers.core.model import JSON, Batch, Column, Pace, Plan, Position, Reads, Reject, Stream, Window
from importers.core.places import located, stretch
from importers.core.source import Source, SourceConfig
from importers.exceptions import ContractError

STREAM = Stream("log", (Column("n", pa.int64(), None),), Reads.POSITION)
PACE = Pace(linger=0, rows=100, idle=0)


class LogConfig(SourceConfig):
    batch_rows: int = 2


class Log(Source[LogConfig]):
    """Numbers from 0 on, of which `there` tells how many there are at each plan; a lane holds how many were read."""

    title = "a log"
    config_model = LogConfig
    follows = True
    says_reached: ClassVar[bool] = True
    there: ClassVar[list[int]] = []

    def reach(self) -> str:
        return ""

    def streams(self) -> Sequence[Stream]:
        return [STREAM]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        read, end = cast(int, position.get("", 0)), self.there.pop(0)
        half = (read + end) // 2
        return Plan([part for part in ([read, half], [half, end]) if part[0] < part[1]], {"": end})

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        start, end = cast("list[int]", partition)
        for first in range(start, end, self.config.batch_rows):
            last = min(first + self.config.batch_rows, end)
            rows = pa.RecordBatch.from_pydict({"n": pa.array(range(first, last), pa.int64())})
            rejects = (Reject(b"", f"at {first}", "poison"),) if first == 3 else ()
            reached = {"": last} if self.says_reached else None
            yield Batch(rows, rejects, places=stretch("line ", first), reached=reached)


def source() -> Log:
    return Log(LogConfig(), tenant="acme")


def got(at: Log, position: Position, batches: int, pace: Pace = PACE) -> list[tuple[list[int], Position | None]]:
    with closing(at.follow(STREAM, position, pace)) as followed:
        found = list(islice(followed, batches))
    return [(batch.rows.column("n").to_pylist(), batch.position) for batch in found]


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seven records, then none more, then eight."""
    ends = [7, 7, 8]
    monkeypatch.setattr(Log, "there", ends)
    return ends


def test_each_batch_moves_the_position_as_far_as_it_has_reached() -> None:
    assert got(source(), {}, 7) == [
        ([], {}),
        ([0, 1], {"": 2}),
        ([2], {"": 3}),
        ([3, 4], {"": 5}),
        ([5, 6], {"": 7}),
        ([], {"": 7}),
        ([7], {"": 8}),
    ]


def test_batches_that_do_not_say_it_are_one_with_the_plan_s_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "says_reached", False)
    with closing(source().follow(STREAM, {"": 1}, PACE)) as followed:
        first, whole, after = islice(followed, 3)
    assert (first.rows.num_rows, first.position) == (0, {"": 1})
    assert first.behind, "who drains it would end here"
    assert (whole.rows.column("n").to_pylist(), whole.position) == ([1, 2, 3, 4, 5, 6], {"": 7})
    assert [each.location for each in whole.rejects] == ["at 3"]
    assert located(whole.places, np.arange(6)).to_pylist() == [f"line {n}" for n in range(1, 7)]
    assert (after.rows.num_rows, after.position) == (0, {"": 7})


def test_a_column_that_becomes_wider_is_so_in_all_that_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Log, stream: Stream, partition: JSON) -> Iterator[Batch]:
        yield Batch(pa.RecordBatch.from_pydict({"n": pa.array([1], pa.int64())}))
        yield Batch(pa.RecordBatch.from_pydict({"n": pa.array([0.5], pa.float64())}))

    monkeypatch.setattr(Log, "read", read)
    assert got(source(), {"": 6}, 2)[1] == ([1.0, 0.5], {"": 7})


@pytest.mark.parametrize(("held", "fits"), [(48, True), (47, False)])
def test_what_is_given_together_is_all_there_or_refused(monkeypatch: pytest.MonkeyPatch, held: int, fits: bool) -> None:
    """Six integers of eight bytes: less of them would move the position past the rest."""
    monkeypatch.setattr(Log, "says_reached", False)
    monkeypatch.setattr(polling, "HELD", held)
    if fits:
        assert got(source(), {"": 1}, 2)[1] == ([1, 2, 3, 4, 5, 6], {"": 7})
        return
    with pytest.raises(ContractError, match="more is unread than a stream loads at once"):
        got(source(), {"": 1}, 2)


def test_a_batch_alone_may_be_as_large_as_the_source_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "HELD", 1)
    assert got(source(), {"": 1}, 2)[1] == ([1, 2], {"": 3})


def test_lanes_that_nothing_moves_stay_in_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    planned, asked = [], []
    plan = Log.plan

    def lag(self: Log, position: Position) -> Mapping[str, int]:
        return {lane: 10 - cast(int, position.get(lane, 0)) for lane in ("", "other")}

    def comes(self: Log, position: Position, seconds: float) -> bool:
        asked.append(position)
        return True

    def noted(self: Log, stream: Stream, window: Window, position: Position) -> Plan:
        planned.append(position)
        return plan(self, stream, window, position)

    for name, function in {"lag": lag, "comes": comes, "plan": noted}.items():
        monkeypatch.setattr(Log, name, function)
    with closing(source().follow(STREAM, {"other": 9}, PACE)) as followed:
        assert [batch.behind for batch in islice(followed, 3)] == [11, 9, 8]
        next(followed)  # three lots of rows, then the plan's last
        list(islice(followed, 2))
    assert asked == [{"": 7, "other": 9}]
    assert planned == [{"other": 9}, {"": 7, "other": 9}]


def test_what_comes_after_the_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(polling.time, "sleep", waited.append)
    got(source(), {}, 6, Pace(linger=0.125, rows=100, idle=0))
    assert waited == [0.125]


def test_batches_are_no_larger_than_who_follows_takes() -> None:
    assert [len(rows) for rows, _ in got(source(), {"": 4}, 4, Pace(0, 1, 0))] == [0, 1, 1, 1]


def test_it_is_not_planned_before_something_comes(monkeypatch: pytest.MonkeyPatch, there: list[int]) -> None:
    asked: list[Mapping[str, Any]] = []

    def comes(self: Log, position: Position, seconds: float) -> bool:
        asked.append(position)
        return len(asked) == 3

    monkeypatch.setattr(Log, "comes", comes)
    there[:] = [0, 1]
    assert got(source(), {}, 5) == [([], {}), ([], {"": 0}), ([], None), ([], None), ([0], {"": 1})]
    assert asked == [{"": 0}] * 3


def test_how_much_is_unread_is_told_with_each_batch_that_is_not_the_plan_s_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Log, "lag", lambda self, position: {"": 7 - cast(int, position.get("", 0))})
    with closing(source().follow(STREAM, {}, PACE)) as followed:
        assert [batch.behind for batch in islice(followed, 5)] == [7, 5, 4, 2, 0]
