"""A text file in blocks of whole records, whatever a record is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.places import numbered, stretch
from importers.exceptions import ContractError
from importers.transport.text import Fill

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
NEWLINE, RETURN = ord("\n"), ord("\r")
BLOCK = 4 << 20
"""Bytes parsed at a time: large enough that a call costs nothing, small enough to stay near the processor."""
PIECE = 1 << 16
"""Bytes compared at a time, so that what comes of it stays in the cache: 3 times as fast as at once."""
LONGEST = 64 << 20
"""Bytes of the longest record that is read."""


class Cut(Protocol):
    """How many of the first `length` bytes are whole records; 0 if none is. `final`: nothing comes after them."""

    def __call__(self, data: bytearray, length: int, *, final: bool) -> int: ...


@dataclass(frozen=True)
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

    @cached_property
    def newlines(self) -> int:
        return count(np.frombuffer(self.data, np.uint8, self.length), NEWLINE)

    @property
    def lines(self) -> int:
        """With one that has no newline; as many as records, where each is one line, and none is empty."""
        return self.newlines + int(self.length > 0 and self.data[self.length - 1] != NEWLINE)

    def bare_returns(self) -> bool:
        """Whether there are carriage returns that no newline follows."""
        if self.data.find(b"\r", 0, self.length) < 0:
            return False
        data = np.frombuffer(self.data, np.uint8, self.length)
        pieces = (data[at : at + PIECE + 1] for at in range(0, data.size, PIECE))
        bare = any(((each[:-1] == RETURN) & (each[1:] != NEWLINE)).any() for each in pieces)
        return bare or bool(data[-1] == RETURN)

    def begun_by(self, byte: int) -> int:
        """How many lines begin with it."""
        data = np.frombuffer(self.data, np.uint8, self.length)
        first = int(self.length > 0 and data[0] == byte)
        pieces = (data[at : at + PIECE + 1] for at in range(0, data.size, PIECE))
        return first + sum(int(np.count_nonzero((each[:-1] == NEWLINE) & (each[1:] == byte))) for each in pieces)

    @cached_property
    def ends(self) -> Positions:
        """At which of its bytes the newlines are."""
        return np.flatnonzero(np.frombuffer(self.data, np.uint8, self.length) == NEWLINE)


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


def of_few(found: Iterable[Block], most: int) -> Iterator[Block]:
    """The same lines, in blocks of no more than so many."""
    for block in found:
        if block.lines <= most:
            yield block
            continue
        begin = 0
        for end in (*(block.ends[most - 1 :: most] + 1).tolist(), block.length):
            if begin < end:
                torn = block.torn and end == block.length
                yield Block(block.offset + begin, block.data[begin:end], end - begin, torn)
            begin = end


class LineNumbers:
    """Where what is read of a file stands, for people. A block's newlines are counted while it is at hand: no file is
    read again to know, which of a packed one would mean all of it.
    """

    def __init__(self, path: str, begin: int = 0, line: int | None = None) -> None:
        """`line` is the number of the line at byte `begin`; of an unknown one lines are counted from that byte on."""
        self._path, self._known = path, line is not None
        self._of_rows = f"{path}:line " if line is not None else f"{path}@byte {begin}, line "
        self._line = 1 if line is None else line

    def place(self, block: Block, offset: int) -> str:
        """Of a byte of the file that is in the block, before `of` is asked for the block's rows."""
        if not self._known:
            return f"{self._path}@byte {offset}"
        return f"{self._path}:line {self._line + int(np.searchsorted(block.ends, offset - block.offset))}"

    def of(self, block: Block, rows: int, starts: Callable[[], Positions]) -> pa.RecordBatch | None:
        """The places of a block's rows, blocks being asked for in their order.

        `starts` gives the bytes of the block that the rows begin at: it is called only if rows aren't lines.
        """
        first = self._line
        self._line = first + block.newlines
        if rows == block.lines:
            return stretch(self._of_rows, first)
        begun = starts()
        if len(begun) != rows:
            return None
        return numbered(self._of_rows, np.searchsorted(block.ends, begun) + first)


def newlines(fill: Fill, start: int, end: int) -> int:
    """How many are in [start, end)."""
    found, data = 0, bytearray(1 << 20)
    while start < end and (got := fill(memoryview(data)[: end - start], start)):
        found += count(np.frombuffer(data, np.uint8, got), NEWLINE)
        start += got
    return found


def count(block: Bytes, byte: int) -> int:
    """How often the byte is there."""
    return sum(int(np.count_nonzero(block[at : at + PIECE] == byte)) for at in range(0, block.size, PIECE))


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one block's rows, without a copy."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
