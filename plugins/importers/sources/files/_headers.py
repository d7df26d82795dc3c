"""Where a CSV file's header is, and what names it gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from importers.exceptions import ContractError
from importers.sources._text.blocks import blocks
from importers.sources.files._records import Dialect
from importers.transport.text import BOM, Fill

LEADING = 64 << 10
"""Bytes that the lines before a header may have."""


def numbered_apart(names: Sequence[str]) -> list[str]:
    """The names, of which a later one of a kind gets the next number that no other name has."""
    taken, seen, given = set(names), set[str](), list[str]()
    for name in names:
        free = name
        if name in seen:
            free = next(other for n in count(2) if (other := f"{name}_{n}") not in taken)
            taken.add(free)
        seen.add(name)
        given.append(free)
    return given


def after_lines(fill: Fill, lines: int, path: str) -> int:
    """Where the text begins after so many lines."""
    if not lines:
        return 0
    data = bytearray(LEADING)
    got, at = fill(memoryview(data), 0), 0
    for _ in range(lines):
        at = data.find(b"\n", at, got) + 1
        if not at:
            raise ContractError(
                f"the file '{path}' has no text after its first {lines} lines, or they are longer than {LEADING} bytes",
                do="correct `skip_lines`",
            )
    return at


def first_record(fill: Fill, dialect: Dialect, path: str, begin: int) -> tuple[bytes, int, int]:
    """The first record that isn't an empty line, where it begins (after a byte order mark) and where it ends."""
    for block in blocks(fill, begin, None, dialect.cut, size=1 << 12, path=path):
        start = len(BOM) if block.offset == 0 and block.data.startswith(BOM) else 0
        data = bytes(block.view)[start:]
        found, _ = dialect.records(data, len(data))
        if found:
            begin, end = found[0]
            return data[begin:end], block.offset + start + begin, block.offset + start + end
        if block.torn:
            raise ContractError(f"the header of the file '{path}' has a quote that is never closed")
    raise ContractError(f"the file '{path}' is empty", do="wait for one with at least a header")
