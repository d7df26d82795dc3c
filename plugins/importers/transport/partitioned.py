"""What the streaming sources ask of a broker whose topics are cut into partitions of numbered messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from importers.core.model import Pace
from importers.transport.messages import Messages, Part


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition holds: offsets from `low` to before `high`; transactions that are still open come after it."""

    low: int
    high: int


class Broker(Protocol):
    """The clients of one reader. Each call raises FatalSourceError or TransientSourceError."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions. Raises FatalSourceError if there is no such topic."""

    def identity(self, topic: str) -> str:
        """What tells the topic from another that has its name later; empty where brokers can't say."""

    def ask_identity(self, topic: str) -> Callable[[], str | None]:
        """As `identity`, for whoever follows the topic and waits for nothing else: what it returns gives None until the
        broker has answered.
        """

    def extents(self, topic: str, partitions: Sequence[int]) -> dict[int, Extent]:
        """What each partition holds now."""

    def since(self, topic: str, partitions: Sequence[int], moment: int) -> dict[int, int]:
        """The offset of each partition's first message that is not older than `moment` (ms since 1970), if any."""

    def messages(
        self, topic: str, partition: int, start: int, end: int, size: int, asked: Collection[Part]
    ) -> Iterator[Messages]:
        """The messages with offsets in [start, end), about `size` at a time, in their order.

        Raises ContractError if some are deleted meanwhile.
        """

    def follow(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], pace: Pace, asked: Collection[Part]
    ) -> Iterator[tuple[Messages, dict[int, int], int]]:
        """The messages of all partitions as they come: at most `pace.rows`, each partition's in order.

        `ranges` say where each one begins, and up to where it is known to have messages.

        With them, by partition the offset after them, and how many are known to be unread. None for `pace.idle`
        seconds: no messages. A batch ends `pace.linger` seconds after its first message came, but goes on while many
        are unread. A partition that is new is read from its beginning. Raises ContractError if messages are deleted
        before they are read, TransientSourceError if the broker isn't heard of for too long.
        """

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the consumer group where it stands, if the broker keeps that."""
