"""Azure Event Hubs over AMQP 1.0, by Microsoft's client: what a hub's partitions hold, and their events in order.

The client is the asynchronous one, whose loop runs only while something is asked of it: so nothing of it is a thread,
and what doesn't answer is cancelled. Offsets are sequence numbers, which a partition counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, cast

from importers.core.model import Pace
from importers.exceptions import ContractError, ImporterError
from importers.transport.event_hubs_client import Address, Clients, silent
from importers.transport.event_reading import OURS, Loop, Reading, ended
from importers.transport.events import Events, Room, gathered
from importers.transport.messages import MOST, Messages, Part
from importers.transport.partitioned import Extent

LOOK = 30.0  # seconds between two questions what the partitions hold that are followed


class Namespace:
    """The clients of one reader of an event hub, which is called a topic as Kafka's are. `timeout` is in seconds.

    `at_once` is how many events the client hands over at most.
    """

    def __init__(self, address: Address, *, group: str | None, timeout: float, extra: str, at_once: int) -> None:
        self._clients = Clients(address, group=group, timeout=timeout, extra=extra)
        self._timeout, self._at_once = timeout, at_once
        self._runner = asyncio.Runner(loop_factory=Loop)
        self._ids: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._runner as runner:
            runner.run(cast("Loop", runner.get_loop()).hang_up())

    def partitions(self, topic: str) -> list[int]:
        """The event hub's partitions. Raises FatalSourceError if there is no such hub."""
        return self._runner.run(self._partitions(topic))

    async def _partitions(self, topic: str) -> list[int]:
        ids = self._ids.pop(topic, [])
        return sorted(map(int, ids or await self._clients.ask(topic, lambda client: client.get_partition_ids())))

    def identity(self, topic: str) -> str:
        """When it was made. The protocol is part of it: what Kafka's endpoint counts needn't be sequence numbers.

        The answer has the partitions, too: whoever asks for them next gets these.
        """
        about = self._runner.run(self._properties(topic))
        self._ids[topic] = about["partition_ids"]
        return _identity(about)

    def ask_identity(self, topic: str) -> Callable[[], str | None]:
        """It is asked while the loop runs: while whoever reads waits for events."""
        asked = self._runner.get_loop().create_task(self._properties(topic), name=OURS)
        asked.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may ask for it any more
        return lambda: _identity(asked.result()) if asked.done() else None

    async def _properties(self, topic: str) -> dict[str, Any]:
        return await self._clients.ask(topic, lambda client: client.get_eventhub_properties())

    def extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        return self._runner.run(self._extents(topic, partitions))

    async def _extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        found = await asyncio.gather(*(self._about(topic, number) for number in partitions))
        return {number: _extent(about) for number, about in zip(partitions, found, strict=True)}

    async def _about(self, topic: str, number: int) -> dict[str, Any]:
        return await self._clients.ask(topic, lambda client: client.get_partition_properties(str(number)))

    def since(self, topic: str, partitions: Sequence[int], moment: int) -> dict[int, int]:
        """By when the service had taken the events in."""
        found = self._runner.run(self._since(topic, partitions, datetime.fromtimestamp(moment / 1000, UTC)))
        return {number: first for number, first in zip(partitions, found, strict=True) if first is not None}

    async def _since(self, topic: str, partitions: Sequence[int], moment: datetime) -> list[int | None]:
        try:
            return await asyncio.gather(*(self._first(topic, number, moment) for number in partitions))
        finally:
            await ended()

    async def _first(self, topic: str, number: int, moment: datetime) -> int | None:
        about = await self._about(topic, number)
        if about["is_empty"] or about["last_enqueued_time_utc"] < moment:
            return None
        reading = self._reading(topic, {}, {})
        reading.start(number, moment)
        got = await reading.heard(self._timeout)
        if got is None:
            raise silent(self._timeout)
        if isinstance(got, ImporterError):
            raise got
        return int(got[1][0].sequence_number) if isinstance(got, tuple) else None

    def messages(
        self, topic: str, partition: int, start: int, end: int, size: int, asked: Collection[Part]
    ) -> Iterator[Messages]:
        """The events from `start` to before `end`, about `size` at a time.

        Raises ContractError if some are deleted meanwhile.
        """
        if start >= end:
            return
        held, room = Events(), Room(size, MOST)
        reading = self._reading(topic, {partition: start}, {partition: Extent(start, end)})
        try:
            self._runner.run(self._open(topic, reading))
            while reading.at[partition] < end:
                if not reading.pending and not self._hear(reading, self._timeout):
                    self._are_there(topic, partition, start=reading.at[partition], to=None)
                    raise silent(self._timeout)
                _, events = self._taken(topic, reading, room)
                held += [event for event in events if event.sequence_number < end]
                if held and (not room or reading.at[partition] >= end):
                    yield gathered([(partition, held)], asked)
                    held, room = Events(), Room(size, MOST)
        finally:
            self._runner.run(ended())

    def follow(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], pace: Pace, asked: Collection[Part]
    ) -> Iterator[tuple[Messages, dict[int, int], int]]:
        """The events of all partitions as they come, as `partitioned.Broker` has it."""
        extents = {number: Extent(*each) for number, each in ranges.items()}
        reading = self._reading(topic, {number: each.low for number, each in extents.items()}, extents)
        try:
            self._runner.run(self._open(topic, reading, look=True))
            while True:
                got = self._batch(topic, reading, pace)
                messages = gathered(got, asked)
                yield messages, messages.after(), reading.unread
        finally:
            self._runner.run(ended())

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Nothing: over AMQP the service doesn't keep where a group stands."""

    # -- what comes

    async def _open(self, topic: str, reading: Reading, *, look: bool = False) -> None:
        for number, start in reading.at.items():
            reading.start(number, start)
        if look:
            reading.begin(self._look(topic, reading))

    def _reading(self, topic: str, at: dict[int, int], extents: dict[int, Extent]) -> Reading:
        return Reading(lambda: self._clients.made(topic), self._clients.remedy, self._at_once, at, extents)

    async def _look(self, topic: str, reading: Reading) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await reading.arrived.put(await self._extents(topic, await self._partitions(topic)))

    def _hear(self, reading: Reading, seconds: float) -> bool:
        """Whether anything came in so many seconds. Raises what ended the reading."""
        got = self._runner.run(reading.heard(seconds))
        if isinstance(got, ImporterError):
            raise got
        if isinstance(got, tuple):
            reading.pending.append(got)
        elif got is not None:
            self._runner.run(self._found(reading, got))
        return got is not None

    async def _found(self, reading: Reading, extents: Mapping[int, Extent]) -> None:
        """What the partitions hold by now; those that are new are read from their beginning."""
        reading.extents.update(extents)
        for number in extents.keys() - reading.at.keys():
            reading.at[number] = extents[number].low
            reading.start(number, extents[number].low)

    def _batch(self, topic: str, reading: Reading, pace: Pace) -> list[tuple[int, Events]]:
        found, room = list[tuple[int, Events]](), Room(pace.rows, MOST)
        if not reading.pending:  # else all that there is would be held in here
            self._hear(reading, pace.idle)
        until = time.monotonic() + pace.linger
        while room:
            if reading.pending:
                number, events = self._taken(topic, reading, room)
                found += [(number, events)] if events else []
            elif not found or (left := until - time.monotonic()) <= 0:
                break
            else:
                self._hear(reading, left)
        return found

    def _taken(self, topic: str, reading: Reading, room: Room) -> tuple[int, Events]:
        number, events, before = reading.take(room)
        if events and events[0].sequence_number > before:
            self._are_there(topic, number, start=before, to=events[0].sequence_number)
        return number, events

    def _are_there(self, topic: str, number: int, *, start: int, to: int | None) -> None:
        """Raises ContractError if events from `start` on were deleted; else compaction has left them out."""
        low = self.extents(topic, [number])[number].low
        if low > start:
            got = f"sequence number {start} comes next, and {low if to is None else to} is there"
            raise ContractError(
                f"events of partition {number} were deleted before they were read", got=got, do="start a new run"
            )


OVER_AMQP = "amqp "
"""How a position of a reader over AMQP begins."""


def _identity(about: Mapping[str, Any]) -> str:
    return f"{OVER_AMQP}{about['created_at'].astimezone(UTC).isoformat()}"


def _extent(about: Mapping[str, Any]) -> Extent:
    high = about["last_enqueued_sequence_number"] + 1
    return Extent(high if about["is_empty"] else about["beginning_sequence_number"], high)
