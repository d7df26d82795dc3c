"""What is given of events that come: each once and in order, however the client brings them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from importers.transport.event_reading import Reading
from importers.transport.partitioned import Extent


def events(*numbers: int) -> list[Any]:
    return [SimpleNamespace(sequence_number=number) for number in numbers]


def reading(**at: int) -> Reading:
    starts = {int(name.removeprefix("p")): number for name, number in at.items()}
    return Reading(lambda: None, lambda error, _: error, 10, starts, {number: Extent(0, 10) for number in starts})


def taken(of: Reading, room: int) -> tuple[int, list[int], int]:
    number, found, before = of.take(room)
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
