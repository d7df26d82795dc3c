"""Messages of a Kafka client as columns: made of a few hundred at a time, while these are in the processor's cache.

The client makes a Python object of each message. Of 65,000 that are kept until their columns are made, each is fetched
from memory again for each column, and Python's garbage collector goes through all of them again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from confluent_kafka import Message

Numbers: TypeAlias = npt.NDArray[np.int64]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]] | None
MOST = 256 << 20
"""Bytes after which a batch has enough: an array of Arrow's holds 2 GiB of values."""


class Part(StrEnum):
    """What a message has, beside the place where it stands; the client's names."""

    VALUE = "value"
    KEY = "key"
    HEADERS = "headers"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Messages:
    """In the order in which they came. A part that nobody asked for is empty."""

    partitions: Numbers
    offsets: Numbers
    values: pa.BinaryArray
    keys: pa.BinaryArray
    headers: Sequence[Headers]
    times: pa.Int64Array
    """Milliseconds since 1970; null where the broker knows of none."""

    def __len__(self) -> int:
        return len(self.offsets)

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """Of each stretch of messages of one partition: the partition, where it begins, and before which it ends."""
        for begin, end in self._cuts:
            yield int(self.partitions[begin]), begin, end

    @cached_property
    def _cuts(self) -> Sequence[tuple[int, int]]:
        return list(_stretches(self.partitions))

    def after(self) -> dict[int, int]:
        """The offset after the last message of each partition that has one."""
        return {number: int(self.offsets[end - 1]) + 1 for number, _, end in self.stretches()}

    def take(self, numbers: Sequence[int]) -> Messages:
        """Those with these numbers, counted from 0."""
        at = pa.array(numbers, pa.int64())
        return Messages(
            self.partitions[numbers],
            self.offsets[numbers],
            self.values.take(at) if len(self.values) else self.values,
            self.keys.take(at) if len(self.keys) else self.keys,
            [self.headers[number] for number in numbers] if self.headers else (),
            self.times.take(at) if len(self.times) else self.times,
        )


class Gathering:
    """Messages as they come from the client, of which nothing is kept but the columns that are `asked` for."""

    def __init__(self, asked: Collection[Part]) -> None:
        self._asked = frozenset(asked)
        self._begin()

    def _begin(self) -> None:
        self._rows = self._bytes = 0
        self._partitions: list[Numbers] = []
        self._offsets: list[Numbers] = []
        self._values: list[pa.Array] = []
        self._keys: list[pa.Array] = []
        self._headers: list[Headers] = []
        self._times: list[pa.Array] = []

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Whether it has so many bytes that it had better be given on."""
        return self._bytes >= MOST

    def add(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """None of them is an error or an event. All are of `partition`, if it is given."""
        if not messages:
            return
        cls: Any = type(messages[0])
        rows = len(messages)
        if partition is None:
            self._partitions.append(_numbers(cls.partition, messages))
            self._offsets += [_offsets(messages[begin:end]) for begin, end in _stretches(self._partitions[-1])]
        else:
            self._partitions.append(np.full(rows, partition, np.int64))
            self._offsets.append(_offsets(messages))
        if Part.VALUE in self._asked:
            self._values.append(_binary(cls.value, messages))
            self._bytes += self._values[-1].nbytes
        if Part.KEY in self._asked:
            self._keys.append(_binary(cls.key, messages))
            self._bytes += self._keys[-1].nbytes
        if Part.HEADERS in self._asked:
            self._headers += map(cls.headers, messages)
        if Part.TIMESTAMP in self._asked:  # (kind, milliseconds); kind 0: there is none
            times = [at if kind else None for kind, at in map(cls.timestamp, messages)]
            self._times.append(pa.array(times, pa.int64()))
        self._rows += rows

    def gathered(self) -> Messages:
        """All that were added since the last call."""
        found = Messages(
            _joined(self._partitions),
            _joined(self._offsets),
            _concatenated(self._values, pa.binary()),
            _concatenated(self._keys, pa.binary()),
            self._headers,
            _concatenated(self._times, pa.int64()),
        )
        self._begin()
        return found


def _stretches(partitions: Numbers) -> Iterator[tuple[int, int]]:
    ends = (np.flatnonzero(np.diff(partitions)) + 1).tolist()
    return pairwise([0, *ends, len(partitions)] if len(partitions) else [])


def _offsets(messages: Sequence[Message]) -> Numbers:
    """They ascend within a partition: without a gap the first and the last say all."""
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first == len(messages) - 1:
        return np.arange(first, last + 1, dtype=np.int64)
    return _numbers(type(messages[0]).offset, messages)


def _numbers(of: Callable[[Message], int | None], messages: Sequence[Message]) -> Numbers:
    return np.fromiter(map(of, messages), np.int64, len(messages))


def _binary(of: Callable[[Message], bytes | None], messages: Sequence[Message]) -> pa.Array:
    return pa.array(list(map(of, messages)), pa.binary())


def _joined(parts: Sequence[Numbers]) -> Numbers:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _concatenated(parts: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    if len(parts) == 1:
        return parts[0]
    return pa.concat_arrays(parts) if parts else pa.array([], kind)
