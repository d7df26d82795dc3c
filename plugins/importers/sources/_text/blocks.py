"""A text file in blocks of whole records, whatever a record is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from importers.exceptions import ContractError
from importers.transport.text import Fill

BLOCK = 4 << 20
"""Bytes parsed at a time: large enough that a call costs nothing, small enough to stay near the processor."""
LONGEST = 64 << 20
"""Bytes of the longest record that is read."""


class Cut(Protocol):
    """How many of the first `length` bytes are whole records; 0 if none is. `final`: nothing comes after them."""

    def __call__(self, data: bytearray, length: int, *, final: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, or with `torn` one that the end of the file cut off.

    `data` holds the next block once the next is asked for: whoever keeps bytes of it copies them.
    """

    offset: int
    data: bytearray
    length: int
    torn: bool = False

    @property
    def view(self) -> memoryview:
        return memoryview(self.data)[: self.length]


def blocks(fill: Fill, start: int, end: int | None, cut: Cut, *, size: int = BLOCK, path: str = "") -> Iterator[Block]:
    """The records of [start, end), or up to the end of the file. Raises ContractError for one that has no end."""
    at, data = start, bytearray(size)
    while end is None or at < end:
        want = len(data) if end is None else min(len(data), end - at)
        got = fill(memoryview(data)[:want], at)
        final = got < want or at + got == end
        if not got:
            return
        length = cut(data, got, final=final)
        if not length and not final:
            data = _larger(data, path, at)
            continue
        yield Block(at, data, length or got, torn=not length)
        at += length or got
        if len(data) > size:
            data = bytearray(size)


def _larger(data: bytearray, path: str, at: int) -> bytearray:
    if len(data) >= LONGEST:
        raise ContractError(
            f"the file '{path}' has a record of more than {LONGEST >> 20} MiB at byte {at}",
            do="look there for a quote that is never closed, or for a wrong `quote`",
        )
    return bytearray(min(2 * len(data), LONGEST))


@dataclass(slots=True)
class Places:
    """Where a byte stands, for people: by line if reading began at the file's front, else by byte.

    Lines are counted when somebody asks, and only onwards: a file without rejects is never read for them.
    """

    path: str
    fill: Fill
    by_line: bool
    _at: int = 0
    _line: int = 1
    _data: bytearray = field(default_factory=lambda: bytearray(1 << 20))

    def __call__(self, offset: int) -> str:
        if not self.by_line:
            return f"{self.path}@byte {offset}"
        while self._at < offset:
            got = self.fill(memoryview(self._data)[: offset - self._at], self._at)
            if not got:
                break
            self._line += int(np.count_nonzero(np.frombuffer(self._data, np.uint8, got) == ord("\n")))
            self._at += got
        return f"{self.path}:line {self._line}"


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one block's rows, without a copy."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
