"""What is given of events that come: each once and in order, however the client brings them."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from importers.core.model import Pace
from importers.exceptions import TransientSourceError
from importers.transport.event_hubs import Namespace
from importers.transport.event_hubs_client import Address, Clients
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


class Client:
    """One whose reading ends by itself twice, and then by a mistake of its own."""

    asked = 0

    async def receive_batch(self, *_: Any, **__: Any) -> None:
        Client.asked += 1
        if Client.asked > 2:
            raise KeyError("a secret")


def test_a_reading_that_ends_is_begun_again_and_a_client_s_own_mistake_is_heard_of() -> None:
    async def heard() -> Any:
        of = Reading(Client, lambda error, _: error, 10, {0: 0}, {})  # type: ignore[arg-type,return-value]
        of.start(0, 0)
        return await of.heard(60)

    told = asyncio.run(heard())
    assert isinstance(told, TransientSourceError)
    assert "KeyError" in str(told)
    assert "secret" not in str(told)
    assert Client.asked == 3


def test_whose_name_a_hub_has_is_heard_while_events_come(monkeypatch: pytest.MonkeyPatch) -> None:
    made = asyncio.Event()

    class Asked:
        async def get_eventhub_properties(self) -> dict[str, Any]:
            await made.wait()
            return {"created_at": datetime(2026, 1, 1, tzinfo=UTC), "partition_ids": ["0"]}

    async def come(of: Reading, number: int, start: int) -> None:
        for each in range(start, 20):
            await of.arrived.put((number, events(each)))

    monkeypatch.setattr(Reading, "_receive", come)
    monkeypatch.setattr(Clients, "made", lambda *_: Asked())
    with (
        Namespace(
            Address("localhost", "reader", "key"), group=None, timeout=60, extra="azure-event-hubs", at_once=1
        ) as hubs,
        closing(hubs.follow("plays", {0: (0, 20)}, Pace(linger=0, rows=1), set())) as batches,
    ):
        assert len(next(batches)[0]) == 1
        told = hubs.ask_identity("plays")
        assert [(len(next(batches)[0]), told()) for _ in range(9)] == [(1, None)] * 9
        made.set()
        assert [len(next(batches)[0]) for _ in range(9)] == [1] * 9
        assert told() == "amqp 2026-01-01T00:00:00+00:00"


def test_who_takes_little_at_a_time_holds_no_more_than_what_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = []

    def start(of: Reading, number: int, _: Any) -> None:
        of.arrived.put_nowait((number, events(*range(1_000))))
        of.arrived.put_nowait((number, events(*range(1_000, 2_000))))
        queues.append(of.arrived)

    monkeypatch.setattr(Reading, "start", start)
    address = Address("localhost", "reader", "key")
    with (
        Namespace(address, group=None, timeout=60, extra="azure-event-hubs", at_once=1_000) as hubs,
        closing(hubs.follow("plays", {0: (0, 2_000)}, Pace(linger=60, rows=100), set())) as batches,
    ):
        for number in range(1, 11):
            messages, moved, unread = next(batches)
            assert (len(messages), moved, unread) == (100, {0: number * 100}, 2_000 - number * 100)
        assert queues[0].qsize() == 1, "the second thousand waits where it holds up the client"
        assert next(batches)[1] == {0: 1_100}
