"""Where a run reads a topic: from which offset to before which, by partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TypeAlias, cast

from importers.core.model import Position, Stream, Window
from importers.core.names import did_you_mean
from importers.exceptions import ConfigError, ContractError
from importers.sources.streaming._log import milliseconds, since_1970
from importers.sources.streaming._messages import Metadata
from importers.sources.streaming._topic import Reset, TopicConfig
from importers.transport.partitioned import Broker, Extent

Ranges: TypeAlias = Mapping[int, tuple[int, int]]
"""Offsets [start, end) by partition."""


class Reach:
    """What the partitions of a topic hold now, and what of it such a run reads."""

    def __init__(self, config: TopicConfig, cluster: Broker) -> None:
        """Raises FatalSourceError if there is no such topic."""
        self._config, self._cluster = config, cluster
        self.extents: Mapping[int, Extent] = cluster.extents(config.topic, cluster.partitions(config.topic))

    def lane(self, number: int) -> str:
        return f"{self._config.topic}/{number}"

    def since(self, position: Position) -> Ranges:
        """From the position on; a partition that is newer than the position from its beginning."""
        first = self._lows if self._has_begun(position) else self._first()
        ranges = {}
        for number, extent in self.extents.items():
            start = self._there(number, cast(int, position.get(self.lane(number), first[number])), extent)
            limit = self._config.max_messages
            ranges[number] = (start, extent.high if limit is None else min(extent.high, start + limit))
        return ranges

    def within(self, stream: Stream, window: Window) -> Ranges:
        """From the first message that isn't older than the window's start to before the first as late as its end.

        By the broker's index: where producers' clocks differ, messages in between may be of another time.
        """
        own = (Metadata.PARTITION.column, Metadata.OFFSET.column)
        start, end = milliseconds(stream, window, own, Metadata.TIMESTAMP.column)
        low = self._lows if start is None else self._at(start)
        high = self._at(end) if end is not None else {number: each.high for number, each in self.extents.items()}
        return {number: (low[number], max(low[number], high[number])) for number in self.extents}

    def refreshed(self, position: Position) -> Position:
        """From `start_time` or `start_offsets` on, but never after the position; else from the topic's beginning."""
        first = self._first() if self._config.start_time is not None else self._lows | self._config.start_offsets
        begun = self._has_begun(position)
        starts = {}
        for number, extent in self.extents.items():
            unread = cast(int, position.get(self.lane(number), extent.low if begun else first[number]))
            starts[self.lane(number)] = max(extent.low, min(first[number], unread))
        return starts

    def lag(self, position: Position) -> Mapping[str, int]:
        """How many offsets each partition has from the position on; of one that it doesn't know all."""
        return {
            self.lane(number): max(0, extent.high - cast(int, position.get(self.lane(number), extent.low)))
            for number, extent in self.extents.items()
        }

    @property
    def _lows(self) -> dict[int, int]:
        return {number: extent.low for number, extent in self.extents.items()}

    def _has_begun(self, position: Position) -> bool:
        return any(self.lane(number) in position for number in self.extents)

    def _first(self) -> dict[int, int]:
        """Where the first run begins."""
        config = self._config
        latest = config.auto_offset_reset is Reset.LATEST
        first = {number: extent.high if latest else extent.low for number, extent in self.extents.items()}
        if config.start_time is not None:
            first = self._at(since_1970(config.start_time))
        unknown = [number for number in config.start_offsets if number not in self.extents]
        if unknown:
            raise ConfigError(
                f"`start_offsets` names partition {unknown[0]}",
                do=did_you_mean(str(unknown[0]), map(str, self.extents)),
            )
        return first | config.start_offsets

    def _at(self, moment: int) -> dict[int, int]:
        """By a moment in milliseconds since 1970."""
        found = self._cluster.since(self._config.topic, list(self.extents), moment)
        return {number: min(found.get(number, extent.high), extent.high) for number, extent in self.extents.items()}

    def _there(self, number: int, start: int, extent: Extent) -> int:
        """Raises ContractError if the partition no longer holds what comes next."""
        if extent.low <= start <= extent.high:
            return start
        got = f"offset {start} comes next, and there are {extent.low} to {extent.high}"
        if start > extent.high:
            raise ContractError(
                f"{self.lane(number)} ends before what was read: the topic was made anew, or lost its end",
                got=got,
                do="find out which; then read it anew by a full refresh with load.mode merge",
            )
        self._config.lost(self.lane(number), extent.low - start, got)
        return extent.low


def packed(ranges: Ranges, parts: int, worth: int | None) -> list[list[list[int]]]:
    """The ranges that hold anything, in so many parts at most: the largest first, each to the part that has least.

    One of several times `worth` messages is cut, unless that is None. Its pieces are in the parts' order: of two
    messages with one key that of the later part is newer.
    """
    full = {number: (start, end) for number, (start, end) in ranges.items() if start < end}
    pieces = {number: list(_cut(*reach, parts, worth)) for number, reach in full.items()}
    found: list[list[list[int]]] = [[] for _ in range(min(parts, sum(map(len, pieces.values()))))]
    sizes = [0] * len(found)
    for number in sorted(full, key=lambda number: full[number][0] - full[number][1]):
        chosen = []
        for start, end in pieces[number]:
            chosen.append(sizes.index(min(sizes)))
            sizes[chosen[-1]] += end - start
        for part, piece in zip(sorted(chosen), pieces[number], strict=True):
            found[part].append([number, *piece])
    return [sorted(part) for part in found]


def _cut(start: int, end: int, parts: int, worth: int | None) -> Iterator[tuple[int, int]]:
    """Pieces of about equal size, each as large as it is worth at least."""
    many = min(parts, (end - start) // worth or 1) if worth else 1
    return pairwise(start + (end - start) * number // many for number in range(many + 1))
