"""Text as UTF-8, whatever it is written in."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TypeAlias

from importers.exceptions import ContractError
from importers.transport.packed import Readable

Fill: TypeAlias = Callable[[memoryview, int], int]
"""Put the bytes from an offset on into a buffer; how many there were. Fewer than it holds: the end."""

UTF8 = frozenset({"utf-8", "utf-8-sig", "ascii"})
BOM = codecs.BOM_UTF8


def text_encoding(name: str) -> str:
    """An encoding's own name. Raises ValueError for what none is, or isn't one of text, such as base64."""
    try:
        "a".encode(name)
    except LookupError:
        raise ValueError("isn't an encoding; write utf-8, latin-1, cp1252, utf-16 …") from None
    return codecs.lookup(name).name


def is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in UTF8


def is_in(data: bytes, encoding: str) -> bool:
    """Whether all of it is text of the encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


class FrontToBack:
    """A `Fill` for what can't be read at random: no byte before the last offset asked for comes again.

    What a single-byte encoding doesn't define comes through as it is, so that its record alone is refused.
    """

    chunk = 1 << 20

    def __init__(self, path: str, plain: Readable, encoding: str) -> None:
        self._path, self._plain, self._encoding = path, plain, encoding
        decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")
        self._decoder = None if is_utf8(encoding) else decoder
        self._ready, self._base, self._ended = bytearray(), 0, False

    def __call__(self, view: memoryview, offset: int) -> int:
        if offset < self._base:
            raise ValueError(f"byte {offset} has passed")
        while self._base + len(self._ready) < offset + len(view) and not self._ended:
            self._forget(offset)
            self._ready += self._more()
        self._forget(offset)
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        return count

    def _forget(self, before: int) -> None:
        passed = min(before - self._base, len(self._ready))
        del self._ready[:passed]
        self._base += passed

    def _more(self) -> bytes:
        raw = self._plain.read(self.chunk)
        self._ended = not raw
        if self._decoder is None:
            return raw
        try:
            return self._decoder.decode(raw, final=self._ended).encode("utf-8", "surrogateescape")
        except UnicodeError:
            raise ContractError(
                f"the file '{self._path}' isn't {self._encoding}", do="set `encoding` to what the file is written in"
            ) from None
