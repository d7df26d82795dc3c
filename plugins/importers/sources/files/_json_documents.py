"""Where the records of a JSON document are, found block by block: a document needn't fit the memory, a record must.

A record ends at a comma that is in no string and in no bracket but the records' own. Which bytes are in strings is told
by the parity of the quotes before them, as in `_records`; brackets outside strings, added up, give the depth. The
separating commas become newlines and the newlines between tokens blanks, so that a block is one of JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from importers.exceptions import ContractError
from importers.sources._text.blocks import BLOCK, LONGEST, Block
from importers.sources.files._json_outline import Outline, quotes, structure, text
from importers.transport.text import Fill

DEEPEST = 200
"""Levels of nesting that are looked through for where a record ends."""
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]


class Document:
    """One JSON document; `keys` lead from its outermost object to the records."""

    def __init__(self, fill: Fill, path: str, keys: Sequence[str]) -> None:
        self._fill, self._path, self._keys = fill, path, keys

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """The records, one a line. Raises ContractError for a document that isn't whole, after what came before."""
        around = Outline(self._fill, size)
        if self._opening(around) == b"{":
            yield (one := self._object(around.at - 1))
            self._finish(around, one.offset + one.length)
            return
        begin = at = around.at
        data = bytearray(size)
        while True:
            got = self._fill(memoryview(data), at)
            block = np.frombuffer(data, np.uint8, got)
            commas, closed = self._outermost(block, at, first=at == begin)
            length = closed if closed is not None else int(commas[-1]) + 1 if commas.size else 0
            if not length and closed is None:
                data = self._larger(data, got, at)
                continue
            _as_lines(block[:length], commas[commas < length])
            if data[:length].strip():
                yield Block(at, data, length)
            at += length
            if closed is not None:
                break
            if len(data) > size:
                data = bytearray(size)
        self._finish(around, at + 1)

    def _object(self, at: int) -> Block:
        """The one object that begins at a byte, as a line."""
        data = bytearray(1 << 16)
        while True:
            got = self._fill(memoryview(data), at)
            block = np.frombuffer(data, np.uint8, got)
            positions, depth = structure(block)
            ends = np.flatnonzero(depth == 0)
            if ends.size:
                length = int(positions[ends[0]]) + 1
                _as_lines(block[:length], np.empty(0, np.int64))
                return Block(at, data, length)
            data = self._larger(data, got, at)

    def _outermost(self, block: Bytes, at: int, *, first: bool) -> tuple[Positions, int | None]:
        """The commas between records, and where the array is closed if it is."""
        positions, depth = structure(block)
        closed = np.flatnonzero(depth < 0)
        last = int(closed[0]) if closed.size else depth.size
        if closed.size and block[positions[last]] != ord("]"):  # others are a record's, and its parser's to compare
            where = f"at byte {at + int(positions[last])}"
            raise self._wrong(f"closes its array of records with no bracket of an array, {where}")
        if depth[:last].max(initial=0) > DEEPEST:
            raise self._wrong(f"is nested in more than {DEEPEST} levels, after byte {at}")
        separate = (depth[:last] == 0) & (block[positions[:last]] == ord(","))
        ends = np.flatnonzero(separate)
        if closed.size and (ends.size or not first):  # before the bracket of an empty array nothing is lacking
            ends = np.append(ends, last)
        self._nothing_lacks(block, positions, ends[(ends == 0) | separate[ends - 1]] if last else ends, at)
        return positions[:last][separate], int(positions[last]) if closed.size else None

    def _nothing_lacks(self, block: Bytes, positions: Positions, ends: Positions, at: int) -> None:
        """Of the ends of records without brackets, by number of position: something stands before each."""
        for end in ends:
            begin = positions[end - 1] + 1 if end else 0
            if not block[begin : positions[end]].tobytes().strip(b" \t\r\n"):
                raise self._wrong(f"has a comma too many, before byte {at + int(positions[end])}")

    def _larger(self, data: bytearray, got: int, at: int) -> bytearray:
        if got < len(data):
            raise self._cut_off()
        if len(data) >= LONGEST:
            raise self._wrong(f"has a record of more than {LONGEST >> 20} MiB at byte {at}")
        return bytearray(min(2 * len(data), LONGEST))

    def _opening(self, around: Outline) -> bytes:
        """The bracket that opens the records. Raises ContractError if none is there."""
        token = self._next(around)
        for key in self._keys:
            token = self._member(around, token, key)
        if token not in (b"[", b"{"):
            raise self._wrong("has no records where they are looked for: neither an array nor an object")
        return token

    def _member(self, around: Outline, opening: bytes, key: str) -> bytes:
        """The first token of the value of that key."""
        if opening != b"{":
            raise self._wrong(f"has no object that could hold '{key}'")
        while (name := self._next(around)) != b"}":
            if name == b",":
                continue
            if self._next(around) != b":":
                raise self._cut_off()
            value = self._next(around)
            if text(name) == key:
                return value
            if value in (b"[", b"{") and not around.skip():
                raise self._ended(around)
        raise self._wrong(f"has no key '{key}' where `records` looks for it")

    def _next(self, around: Outline) -> bytes:
        token = around.token()
        if token is None:
            raise self._ended(around)
        return token

    def _finish(self, around: Outline, at: int) -> None:
        """What stands around the records has to be a JSON document, and hold no more of them."""
        around.text[-1:] = b"0"
        around.go_on(at)
        while (token := around.token()) is not None:
            if token in (b"[", b"{") and not around.skip():
                raise self._ended(around)
        if around.too_long:
            raise self._ended(around)
        try:
            json.loads(around.text.decode("utf-8", "replace"), object_pairs_hook=self._once)
        except json.JSONDecodeError as error:
            if error.msg == "Extra data":
                raise self._wrong("goes on after its end: is it JSON Lines?") from None
            raise self._cut_off() from None
        except RecursionError:
            raise self._wrong(f"is nested in more than {DEEPEST} levels") from None

    def _once(self, members: list[tuple[str, object]]) -> None:
        names = [name for name, _ in members if name in self._keys]
        if len(set(names)) < len(names):
            raise self._wrong("has records twice under one key")

    def _wrong(self, what: str) -> ContractError:
        return ContractError(f"the JSON file '{self._path}' {what}", do="correct `records`, or have it written again")

    def _ended(self, around: Outline) -> ContractError:
        if around.too_long:
            return self._wrong(f"has a string of more than {LONGEST >> 20} MiB beside its records, at byte {around.at}")
        return self._cut_off()

    def _cut_off(self) -> ContractError:
        return ContractError(
            f"the JSON file '{self._path}' ends before its brackets or strings are closed: it was cut off",
            do="have it written again; let writers rename a finished file into place",
        )


def _as_lines(block: Bytes, commas: Positions) -> None:
    """In place. JSON has no newline inside a string: it becomes a carriage return, for which its record is refused."""
    newlines = np.flatnonzero((block == ord("\n")) | (block == ord("\r")))
    if newlines.size:
        inside = (np.searchsorted(quotes(block), newlines) & 1) == 1
        block[newlines] = np.where(inside, ord("\r"), ord(" "))
    block[commas] = ord("\n")
