"""Where a CSV file's header is, what names it gives, and where its footer begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from importers.exceptions import ContractError
from importers.sources._text.blocks import blocks
from importers.sources.files._records import LINE, Dialect
from importers.transport.text import BOM, Fill

LEADING = 64 << 10
"""Bytes that the lines before a header may have."""
TRAILING = 1 << 20
"""Bytes that the lines of a footer may have."""


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
    """Where the text begins after a byte order mark and so many lines."""
    data = bytearray(LEADING if lines else len(BOM))
    got = fill(memoryview(data), 0)
    at = len(BOM) if data.startswith(BOM) else 0
    for _ in range(lines):
        at = data.find(b"\n", at, got) + 1
        if not at:
            raise ContractError(
                f"the file '{path}' has no text after its first {lines} lines, or they are longer than {LEADING} bytes",
                do="correct `skip_lines`",
            )
    return at


def first_record(fill: Fill, dialect: Dialect, path: str, begin: int) -> tuple[bytes, int, int]:
    """The first record that isn't an empty line, where it begins and where it ends."""
    for block in blocks(fill, begin, None, dialect.cut, size=1 << 12, path=path):
        data = bytes(block.view)
        found, _ = dialect.records(data, len(data))
        if found:
            begin, end = found[0]
            return data[begin:end], block.offset + begin, block.offset + end
        if block.torn:
            raise ContractError(f"the header of the file '{path}' has a quote that is never closed")
    raise ContractError(f"the file '{path}' is empty", do="wait for one with at least a header")


def before_footer(fill: Fill, size: int | None, lines: int, path: str) -> int:
    """Where the last lines begin that hold anything. Without a size the text is read from its front to know."""
    at, last, data = max(0, (size or 0) - TRAILING), b"", bytearray(TRAILING)
    while got := fill(memoryview(data), at):
        last = (last + data[:got])[-TRAILING:]
        at += got
    begin = at - len(last)
    starts = [begin + line.start() for line in LINE.finditer(last)]
    if begin:  # what may be the end of a line
        del starts[:1]
    if len(starts) < lines:
        raise ContractError(
            f"the file '{path}' has no {lines} lines for `skip_footer`, or they are longer than {TRAILING >> 20} MiB",
            do="correct `skip_footer`",
        )
    return starts[-lines]
