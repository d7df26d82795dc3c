"""What is given of events that come: each once and in order, however the client brings them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from importers.transport.event_reading import Reading
from importers.transport.events import Room
from importers.transport.partitioned import Extent


def events(*numbers: int) -> list[Any]:
    data = SimpleNamespace(value="data")
    return [SimpleNamespace(sequence_number=number, body_type=data, body=[b"four"]) for number in numbers]


def reading(**at: int) -> Reading:
    starts = {int(name.removeprefix("p")): number for name, number in at.items()}
    return Reading(lambda: None, lambda error, _: error, 10, starts, {number: Extent(0, 10) for number in starts})


def taken(of: Reading, rows: int, size: int = 1_000) -> tuple[int, list[int], int]:
    number, found, before = of.take(Room(rows, size))
    return number, [event.sequence_number for event in found], before


def test_what_was_given_isn_t_given_again() -> None:
    """As when a connection was lost: the service is asked again from what has come last."""
    of = reading(p0=2)
    of.pending += [(0, events(1, 2, 3)), (0, events(2, 3)), (0, events(3, 4))]
    assert taken(of, 9) == (0, [2, 3], 2)
    assert taken(of, 9) == (0, [], 4)
    assert taken(of, 9) == (0, [4], 4)
    assert of.unread == 5


def test_what_there_is_no_room_for_comes_next_and_partitions_are_told_apart() -> None:
    of = reading(p0=0, p1=5)
    of.pending += [(0, events(0, 1, 2)), (1, events(5))]
    assert taken(of, 2) == (0, [0, 1], 0)
    assert taken(of, 2) == (0, [2], 2)
    assert taken(of, 2) == (1, [5], 5)
    assert (of.at, of.unread) == ({0: 3, 1: 6}, 11)


def test_a_batch_ends_with_the_event_that_fills_its_bytes() -> None:
    of = reading(p0=0)
    of.pending += [(0, events(0, 1, 2))]
    assert taken(of, 9, size=5) == (0, [0, 1], 0)
    assert taken(of, 9, size=4) == (0, [2], 2)
