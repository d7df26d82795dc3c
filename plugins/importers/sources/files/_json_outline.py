"""What stands around the records of a JSON document, token by token, without holding what lies in between."""

from __future__ import annotations

import json
import re

import numpy as np
import numpy.typing as npt

from importers.sources._text.blocks import BLOCK, LONGEST
from importers.transport.text import BOM, Fill

TOKEN = re.compile(rb'\s*+(?:([{}\[\],:])|("(?:[^"\\]|\\.)*+")|([^\s{}\[\],:"]++))', re.DOTALL)
KEPT = 1 << 20
"""Bytes of a member beside the records that are still looked into; of a longer one only its brackets are counted."""
_WINDOW = 1 << 16
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

_STEP = np.zeros(256, np.int8)
_STEP[[ord("{"), ord("[")]] = 1
_STEP[[ord("}"), ord("]")]] = -1
_STRUCTURAL = _STEP != 0
_STRUCTURAL[ord(",")] = True


class Outline:
    """Reads front to back. `text` is what was read, with a 0 for what is too long to be kept.

    `at` is the first byte that wasn't read; `too_long` says that reading ended in the midst of a string or word.
    """

    def __init__(self, fill: Fill, block: int = BLOCK) -> None:
        self._fill, self._block = fill, block
        self._window, self._start, self._ended = b"", 0, False
        self.at, self.text, self.too_long = 0, bytearray(), False

    def token(self) -> bytes | None:
        """The next bracket, comma, colon, string or word; None at the end of the document."""
        if not self.at:
            self._look(_WINDOW)
            self.at = len(BOM) if self._window.startswith(BOM) else 0
        while True:
            found = TOKEN.match(self._window, self.at - self._start)
            if found and (found.end() < len(self._window) or self._ended or found[1]):
                self.at = self._start + found.end()
                token = found[found.lastindex or 0]
                self.text += b" " + token
                return token
            fresh = self._start == self.at
            if self._ended or (fresh and len(self._window) >= LONGEST):
                self.text += self._window[self.at - self._start :]  # what is no token is no JSON
                self.too_long = not self._ended
                return None
            self._look(2 * len(self._window) if fresh and self._window else _WINDOW)

    def _look(self, size: int) -> None:
        data = bytearray(size)
        got = self._fill(memoryview(data), self.at)
        self._window, self._start, self._ended = bytes(data[:got]), self.at, got < size

    def skip(self) -> bool:
        """Pass over the rest of what the bracket that was read last has opened. False: the document ends before it."""
        at, depth, data, kept = self.at, 1, bytearray(self._block), bytearray()
        while True:
            got = self._fill(memoryview(data), at)
            positions, depths = structure(np.frombuffer(data, np.uint8, got))
            closed = np.flatnonzero(depths + depth <= 0)
            if not closed.size and got < len(data):
                return False
            if not positions.size:  # in the midst of a long string
                if len(data) >= LONGEST:
                    self.too_long = True
                    return False
                data = bytearray(2 * len(data))
                continue
            last = closed[0] if closed.size else -1
            length, depth = int(positions[last]) + 1, depth + int(depths[last])
            if len(kept) <= KEPT:
                kept += data[:length]
            at += length
            if closed.size:
                break
        self.go_on(at)
        if len(kept) <= KEPT:
            self.text += kept
        else:
            self.text[-1:] = b"0"
        return True

    def go_on(self, at: int) -> None:
        """Read from there next."""
        self.at, self._window, self._start, self._ended = at, b"", at, False


def text(token: bytes) -> str | None:
    """The string that a token is."""
    try:
        value = json.loads(token)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def structure(block: Bytes) -> tuple[Positions, Positions]:
    """Brackets and commas outside strings, and the depth after each; the block begins outside of strings."""
    marks = quotes(block)
    positions = np.flatnonzero(_STRUCTURAL[block])
    positions = positions[(np.searchsorted(marks, positions) & 1) == 0]
    return positions, np.cumsum(_STEP[block[positions]], dtype=np.int64)


def quotes(block: Bytes) -> Positions:
    """Those that open or close a string: not behind an odd number of backslashes."""
    found = np.flatnonzero(block == ord('"'))
    escaping = np.flatnonzero(block == ord("\\"))
    if not escaping.size or not found.size:
        return found
    runs = escaping[np.flatnonzero(np.diff(escaping, prepend=-2) != 1)]
    behind = np.flatnonzero((found > 0) & (block[found - 1] == ord("\\")))
    begun = runs[np.searchsorted(runs, found[behind]) - 1]
    return np.delete(found, behind[((found[behind] - begun) & 1) == 1])
