"""Partitions of an event hub that are being received from: what has come of each, in order and once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeAlias
from weakref import WeakSet

from importers.exceptions import ImporterError, TransientSourceError
from importers.transport.events import Events, Room
from importers.transport.partitioned import Extent

AGAIN = 0.2  # seconds until what passes is tried again
CLOSING = 5.0  # seconds that connections get to be closed politely
AHEAD = 2  # times what the client hands over at once is sent ahead: it asks for more every twentieth of a second
OURS = "importers"
Arrived: TypeAlias = tuple[int, Events] | Mapping[int, Extent] | ImporterError


class Reading:
    """How far partitions are read: by number the next sequence number, what they are known to hold, what has come."""

    def __init__(
        self,
        client: Callable[[], Any],
        remedy: Callable[[Exception, str], ImporterError],
        at_once: int,
        at: dict[int, int],
        extents: dict[int, Extent],
    ) -> None:
        """`client` makes one, `remedy` what is to be raised of its errors."""
        self._client, self._remedy, self._at_once = client, remedy, at_once
        self.at, self.extents = at, extents
        self.arrived: asyncio.Queue[Arrived] = asyncio.Queue(maxsize=2)
        self.pending: deque[tuple[int, Events]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, number: int, start: int | datetime) -> None:
        """Receive a partition's events, from a sequence number on or from when they were taken in."""
        self.begin(self._receive(number, start))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(self._heard_of(work), name=OURS))

    async def _heard_of(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever ends it arrives: of a task's own exception nobody would hear."""
        try:
            await work
        except ImporterError as error:
            await self.arrived.put(error)
        except Exception as error:  # noqa: BLE001 - the client's own mistakes
            what, got = "Microsoft's client for Event Hubs failed", type(error).__name__
            await self.arrived.put(TransientSourceError(what, got=got, do="run again"))

    @property
    def unread(self) -> int:
        """As far as the last look tells."""
        return sum(max(0, self.extents[number].high - at) for number, at in self.at.items())

    async def heard(self, seconds: float) -> Arrived | None:
        try:
            async with asyncio.timeout(seconds):
                return await self.arrived.get()
        except TimeoutError:
            return None

    def take(self, room: Room) -> tuple[int, Events, int]:
        """A partition, of its events those that there is room for, none given before, and which was to be the first."""
        number, events = self.pending.popleft()
        before = self.at[number]
        fresh = [event for event in events if event.sequence_number >= before]
        given = room.take(fresh)
        if fresh[len(given) :]:
            self.pending.appendleft((number, fresh[len(given) :]))
        if given:
            self.at[number] = given[-1].sequence_number + 1
        return number, given, before

    async def _receive(self, number: int, start: int | datetime) -> None:
        """Puts the partition's events among what has arrived.

        What passes is tried again for as long as nobody ends it: whoever waits knows how long that may take.
        """

        async def got(_: Any, events: Events) -> None:
            nonlocal start
            start = events[-1].sequence_number + 1
            await self.arrived.put((number, events))

        while True:
            with suppress(TransientSourceError):
                await self._received(number, start, got)
            await asyncio.sleep(AGAIN)

    async def _received(self, number: int, start: int | datetime, got: Any) -> None:
        """Until it ends. Raises what ended it."""
        failed: asyncio.Future[ImporterError] = asyncio.get_running_loop().create_future()

        async def fail(_: Any, error: Exception) -> None:
            if not failed.done():
                failed.set_result(self._remedy(error, "reading"))

        receiving = self._client().receive_batch(
            got,
            partition_id=str(number),
            starting_position=start,
            starting_position_inclusive=True,
            max_batch_size=self._at_once,
            prefetch=AHEAD * self._at_once,
            on_error=fail,
        )
        task = asyncio.create_task(receiving, name=OURS)
        try:
            await asyncio.wait([task, failed], return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                raise failed.result()
            task.result()
        finally:
            task.cancel()  # else it would begin again from `start`


class Loop(asyncio.SelectorEventLoop):
    """One that knows its connections: those that are still being closed politely are left by its end."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[asyncio.Transport] = WeakSet()

    async def create_connection(self, *asked: Any, **more: Any) -> Any:
        transport, protocol = await super().create_connection(*asked, **more)
        self._connections.add(transport)
        return transport, protocol

    async def hang_up(self) -> None:
        """Ends all that runs and all that is connected."""
        await ended()
        for transport in tuple(self._connections):
            transport.abort()
        for _ in range(3):  # a transport ends in the loop's next round, and the one below it after that
            await asyncio.sleep(0)


async def ended() -> None:
    """End what runs in the loop: first what the client has started, for which its own tasks wait a whole second."""
    for ours in (False, True):
        tasks = {task for task in asyncio.all_tasks() if (task.get_name() == OURS) is ours}
        tasks.discard(asyncio.current_task())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING)
