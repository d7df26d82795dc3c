"""How far a sheet's cells reach: the library takes memory for all from the first to the last, be they there or not.

A cell in XFD1048576, where a slip or an add-in leaves one, would take 512 GiB, and the process would end.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.exceptions import ContractError
from importers.sources.files._formulas import QUOTED, ROWS, WORKBOOK, member_of, number
from importers.transport.packed import PIECE

CELLS = 32 << 20
"""Cells that a sheet may have from its first to its last: the library takes 1 GiB for them, and their texts besides."""
Reach = tuple[str, int, int]
"""A sheet's name in quotes, or its number, and how many rows and columns it has from its first cell to its last."""
FAR_OFF = "delete what is far off the table (Ctrl+End goes there), or have it delivered as CSV or Parquet"
TOGETHER = CELLS // 2
"""Cells that all sheets of an xls or ods may have: the library holds them, and a sheet that it gives once more."""
NARROW = CELLS // ROWS
"""Columns that a sheet may have however many its rows are."""
BORDER = 32
"""Bytes that a cell's tag has at most as far as its place, as spreadsheet programs write it."""
DIMENSION = re.compile(rb'dimension ref="[A-Z]{1,3}[0-9]{1,7}:([A-Z]{1,3})([0-9]{1,7})"')
"""What a sheet says of itself, which may be wrong."""
TAG = re.compile(rb"<(/?)(?:[^\s<>/]+:)?(row|c)(?=[\s/>])(" + QUOTED + rb")(>?)")
PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{0,3})([0-9]{1,10})["']""")
ROW = re.compile(rb"<(?:[^\s<>/]+:)?row(?=[\s>])")
FULL = re.compile(rb"<(?:[^\s<>/]+:)?c(?=[\s>])" + QUOTED + rb"(?<!/)>")
"""A cell that may hold something: an empty one ends in its tag."""
PLACED = re.compile(rb"\sr\s*=")


class Watch:
    """Looks at a member piece by piece for a cell that may be too far off: cheap, as all pieces are looked at."""

    def __init__(self) -> None:
        self._rest, self._elsewhere = b"", tuple[tuple[str, re.Pattern[bytes]], ...]()

    def far(self, piece: bytes) -> bool:
        """Whether one is, or has no place in its tag as programs write it. The last piece is empty."""
        text = self._rest + piece
        self._elsewhere = self._elsewhere or _elsewhere(text)
        self._rest = text[-BORDER:]
        known = len(text) - BORDER if piece else len(text)  # the rest may go on in the next piece
        exact = [pattern for quick, pattern in self._elsewhere if _matches(text, quick)]
        return any(_is_tag(text, at) for pattern in exact for at in _before(known, pattern, text))


def _matches(text: bytes, pattern: str) -> bool:
    ends = pa.py_buffer(np.array([0, len(text)], np.int32))
    one = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(text)])
    return bool(pc.match_substring_regex(one, pattern)[0].as_py())


def _before(end: int, pattern: re.Pattern[bytes], text: bytes) -> Iterator[int]:
    for found in pattern.finditer(text):
        if found.start() >= end:
            return
        yield found.start()


def _is_tag(text: bytes, at: int) -> bool:
    """Whether a sign is in a tag rather than in what is written between tags."""
    return text.rfind(b"<", 0, at + 1) >= text.rfind(b">", 0, at)


def _elsewhere(beginning: bytes) -> tuple[tuple[str, re.Pattern[bytes]], ...]:
    """What finds cells outside of the dimension, or of as many columns as any sheet may have.

    Both without a prefix and with one. A pattern comes after another that finds some more, and takes half the time: RE2
    has it, which doesn't look ahead.
    """
    said = DIMENSION.search(beginning)
    width, height = (number(said[1].decode()), int(said[2])) if said else (0, 0)
    columns = max(width, NARROW) if width * height <= CELLS else NARROW
    last = str(CELLS // columns)
    place = f'r="(?:{_up_to(_letters(columns), "A", "Z")})(?:{_up_to(last, "0", "9")})"'
    high = f"[A-Z](?:[^0-9]|[0-9]{{{len(last)}}})"
    quick = rf'c(?:[\t\n\f\r/>]| (?:[^r]|r(?:[^=]|=(?:[^"]|"(?:[^A-Z]|{high})))))'
    return tuple((sign + quick, re.compile(rf"{sign}c(?=[\s/>])(?! {place})".encode())) for sign in "<:")


def _up_to(last: str, low: str, high: str) -> str:
    """A pattern for words up to the last, as columns and numbers are ordered: the shorter come first."""
    any_sign = f"[{low}-{high}]"
    shorter = [f"{any_sign}{{1,{len(last) - 1}}}"] if len(last) > 1 else []
    earlier = [
        f"{last[:n]}[{low}-{chr(ord(sign) - 1)}]{any_sign}{{{len(last) - n - 1}}}"
        for n, sign in enumerate(last)
        if sign > low
    ]
    return "|".join([*shorter, *earlier, last])


def _letters(column: int) -> str:
    """A column's by its number from 1."""
    said = ""
    while column:
        column, rest = divmod(column - 1, 26)
        said = chr(ord("A") + rest) + said
    return said


class Extent:
    """Of an archive's sheets, those that may reach too far."""

    def __init__(self, archive: bytes, far: frozenset[str], path: str) -> None:
        """`far` are the members in which a cell may be too far off."""
        self._archive, self._far, self._path = archive, far, path

    def holds(self, sheet: str, rows: int) -> bool | None:
        """Whether so many rows in the sheet's first `PIECE` bytes have a cell that isn't empty; None if no xlsx."""
        if not self._archive:
            return None
        with zipfile.ZipFile(BytesIO(self._archive)) as archive:
            names = {name.lower(): name for name in archive.namelist()}
            if WORKBOOK not in names:
                return None
            member = names.get(member_of(archive, names, sheet))
            if member is None:
                return False
            with archive.open(member) as text:
                return sum(FULL.search(row) is not None for row in ROW.split(text.read(PIECE))) >= rows

    def check(self, sheet: str) -> None:
        """Raises ContractError if the sheet has more than `CELLS` cells from its first to its last."""
        if not self._far:
            return
        with zipfile.ZipFile(BytesIO(self._archive)) as archive:
            names = {name.lower(): name for name in archive.namelist()}
            if WORKBOOK not in names:
                return
            member = member_of(archive, names, sheet)
            for entry in archive.infolist():
                is_it = entry.filename.lower() == member or member not in names
                if is_it and entry.filename in self._far:
                    with archive.open(entry) as text:
                        self._bounded(sheet, *_reach(iter(lambda: text.read(PIECE), b"")))

    def _bounded(self, sheet: str, rows: int, columns: int) -> None:
        if rows * columns > CELLS:
            raise ContractError(
                f"the sheet '{sheet}' of '{self._path}' has cells too far apart, and is held in memory whole",
                got=f"{rows:,} rows of {columns:,} columns from the first to the last; {CELLS:,} cells are read",
                do=FAR_OFF,
            )


def together(path: str, sheets: Iterable[Reach]) -> None:
    """Raises ContractError if sheets that the library holds all at once have more than `TOGETHER` cells."""
    total = 0
    for sheet, rows, columns in sheets:
        total += rows * columns
        if total > TOGETHER:
            raise ContractError(
                f"the workbook '{path}' has cells too far apart, or repeated too often, and is held in memory whole",
                got=f"{rows:,} rows of {columns:,} columns from the first to the last in sheet {sheet}, "
                f"{total:,} cells with the sheets before it; {TOGETHER:,} are read",
                do=FAR_OFF,
            )


def _reach(pieces: Iterable[bytes]) -> tuple[int, int]:
    """How many rows and columns there are from the first cell that holds anything to the last, as the library counts.

    More than any sheet has where a tag doesn't tell.
    """
    scan, rest = _Scan(), b""
    for piece in pieces:
        rest += piece
        whole = rest.rfind(b">") + 1
        if not scan.told(rest[:whole]) or len(rest) - whole > PIECE:
            return CELLS, CELLS
        rest = rest[whole:]
    return scan.rows, scan.columns


class _Scan:
    """Where cells are by the tags of rows and cells: one without a place is behind the one before."""

    def __init__(self) -> None:
        self._row = self._column = 0
        self._from, self._to = (1 << 32, 1 << 32), (-1, -1)
        self._is_marked = self._is_counted = False

    @property
    def rows(self) -> int:
        return max(self._to[0] - self._from[0] + 1, 0)

    @property
    def columns(self) -> int:
        return max(self._to[1] - self._from[1] + 1, 0)

    def told(self, text: bytes) -> bool:
        """Whether what the text has could be told: not if cells are counted, and some tags may be no tags."""
        self._is_marked = self._is_marked or b"<!" in text
        for ends, name, attributes, closed in TAG.findall(text):
            place = PLACE.search(attributes)
            if not closed or (not place and PLACED.search(attributes)):
                return False
            is_whole = attributes.endswith(b"/")
            if name == b"row":
                self._row = int(place[2]) - 1 if place else self._row
                if ends or is_whole:
                    self._row, self._column = self._row + 1, 0
            elif not ends:
                self._cell(place, is_empty=is_whole)
        return not (self._is_marked and self._is_counted)

    def _cell(self, place: re.Match[bytes] | None, *, is_empty: bool) -> None:
        row = self._row
        if place:
            row, self._column = int(place[2]) - 1, number(place[1].decode()) - 1
        if not is_empty:
            self._is_counted = self._is_counted or not place
            self._from = min(self._from[0], row), min(self._from[1], self._column)
            self._to = max(self._to[0], row), max(self._to[1], self._column)
        self._column += 1
