"""How far an xls's cells reach: the library takes memory for all sheets when it opens one, and follows any damage.

A compound file (MS-CFB 2) has a stream of records (MS-XLS 2.1): the workbook's, then each sheet's.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from importers.sources.files._extent import Reach

STREAMS = ("Workbook", "Book", "WORKBOOK", "BOOK")
"""What the stream is called, in the order in which the library looks for it."""
RESERVED, NO_FAT, END = 0xFFFFFFFA, 0xFFFFFFFC, 0xFFFFFFFE
MINI, SMALL, MOST_MINI = 64, 4096, 4096
"""Bytes of a mini sector, those that a stream in them has fewer than, and sectors of their table that are usual."""
FILE_PASS, BOUND_SHEET, EOF = 0x2F, 0x85, 0x0A
DIMENSIONS, MUL_RK, STRING = 0x200, 0xBD, 0x207
CELLS = frozenset((0x203, 0x204, 0xD6, 0x205, 0x27E, 0xFD, MUL_RK, 0x06))
"""Number, Label, RString, BoolErr, Rk, LabelSst, MulRk, Formula."""
WHOLE = 65536 * 256
"""Cells of a whole sheet (MS-XLS 2.5.53 and 2.5.278)."""
HEAD, PLACE = struct.Struct("<HH"), struct.Struct("<HHHH")
DAMAGE = (IndexError, struct.error, ValueError)


def reaches(data: bytes) -> Iterator[Reach]:
    """Its sheets, by number from 1. One of `DAMAGE` is raised for what can't be followed."""
    stream = _workbook(data) + bytes(PLACE.size)  # the last record has none of what is looked for
    for number, at in enumerate(_sheets(stream), 1):
        yield str(number), *_reach(stream, at)


@dataclass(frozen=True)
class _Sectors:
    """`next` says by a sector's number which comes next."""

    get: Callable[[int], bytes]
    next: Sequence[int]

    def chain(self, number: int, length: int) -> bytes:
        taken: list[bytes] = []
        left = length
        while number != END:
            if len(taken) > len(self.next):
                raise ValueError  # it goes in a circle
            taken.append(self.get(number)[:left])
            left -= len(taken[-1])
            if left <= 0:
                break
            number = self.next[number]
        return b"".join(taken)


def _workbook(data: bytes) -> bytes:
    """The stream of records; empty if there is none, as in what has a password."""
    shift, mini_shift = HEAD.unpack_from(data, 30)
    fat_length, first_directory = struct.unpack_from("<II", data, 44)
    first_mini, mini_length, first_difat = struct.unpack_from("<III", data, 60)
    size = 1 << shift
    if shift not in (9, 12) or mini_shift != 6 or fat_length > len(data) // size or mini_length > MOST_MINI:
        raise ValueError  # the library would take memory for as many as are said
    sector = _in(data, size, size)
    fat: list[int] = []
    for number in _fat(data, first_difat, sector):
        fat += _numbers(sector(number))
    sectors = _Sectors(sector, fat)
    directory = sectors.chain(first_directory, sys.maxsize)
    entries = [directory[at : at + 128] for at in range(0, len(directory), 128)]
    places = [struct.unpack_from("<IQ" if size > 512 else "<II", entry, 116) for entry in entries]
    names = [entry[:64].decode("utf-16-le", "replace").partition("\0")[0] for entry in entries]
    found = next((names.index(name) for name in STREAMS if name in names), None)
    minis = sectors.chain(*places[0]) if mini_length else b""
    mini_next = _numbers(sectors.chain(first_mini, mini_length * size)) if mini_length else ()
    if found is None:
        return b""
    start, length = places[found]
    return (_Sectors(_in(minis, MINI, 0), mini_next) if length < SMALL else sectors).chain(start, length)


def _in(data: bytes, size: int, begin: int) -> Callable[[int], bytes]:
    def sector(number: int) -> bytes:
        at = begin + number * size
        if at >= len(data):
            raise ValueError
        return data[at : at + size]

    return sector


def _fat(data: bytes, number: int, sector: Callable[[int], bytes]) -> Iterator[int]:
    """The sectors of the table that says which comes next."""
    said = list(struct.unpack_from("<109I", data, 76))
    while number < RESERVED:
        said += _numbers(sector(number))
        if len(said) * 4 > len(data) + 1024:
            raise ValueError  # it goes in a circle
        number = said.pop()
    return (number for number in said if number < NO_FAT)


def _numbers(data: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])


def _sheets(stream: bytes) -> list[int]:
    """Where they begin; none if there is a password."""
    found: list[int] = []
    at, kind = 0, 0
    while at < len(stream) - PLACE.size and kind != EOF:
        kind, length = HEAD.unpack_from(stream, at)
        if kind == FILE_PASS and HEAD.unpack_from(stream, at + 4)[0]:
            return []
        if kind == BOUND_SHEET:
            found.append(struct.unpack_from("<I", stream, at + 4)[0])
            if found[-1] > len(stream):
                raise ValueError
        at += 4 + length
    return found


def _reach(stream: bytes, at: int) -> tuple[int, int]:
    """Rows and columns from the first cell to the last, or those that the sheet says it has, if no sheet has so many.

    Fewer may be formatted and empty, and of what is taken for them nothing is used.
    """
    top = left = 1 << 16
    bottom = right = -1
    said = (0, 0)
    read, end = PLACE.unpack_from, len(stream) - PLACE.size
    while at < end:  # once a cell, so that nothing in it is a function
        kind, length, row, column = read(stream, at)
        if kind in CELLS:
            last = column + (length - 6) // 6 - 1 if kind == MUL_RK else column
            if row > bottom:
                bottom = row
            if row < top:
                top = row
            if last > right:
                right = last
            if column < left:
                left = column
        elif kind == EOF:
            break
        elif kind == STRING and bottom < 0:
            top = left = bottom = right = 0  # the value of no formula
        elif kind == DIMENSIONS:
            said = max(said, _said(stream[at + 4 : at + 4 + length]), key=prod)
        at += 4 + length
    return said if prod(said) > WHOLE else (max(bottom - top + 1, 0), max(right - left + 1, 0))


def _said(dimensions: bytes) -> tuple[int, int]:
    """As the library counts, which takes memory for as many (MS-XLS 2.4.90)."""
    top, bottom, left, right = struct.unpack_from("<IIHH" if len(dimensions) == 14 else PLACE.format, dimensions)
    left = 0 if left > 0xFF or right < left else left
    if not (bottom and right):
        return 1, 1
    return (bottom - top) % (1 << 32), right - left
