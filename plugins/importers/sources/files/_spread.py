"""How far an OpenDocument's cells reach: the library makes as many of a repeated one as it says, of all sheets at once.

Spreadsheet programs end sheets with empty cells that are repeated up to the last row and column: those it leaves out.
"""

from __future__ import annotations

import re
from html import unescape

from importers.sources.files._extent import Reach
from importers.sources.files._formulas import COLUMNS, QUOTED, ROWS, TABLE_NAME

ROW, ROW_END = re.compile(rb"<table:table-row(?=[\s/>])"), b"</table:table-row>"
CELL = re.compile(rb"<table:(?:covered-)?table-cell(?=[\s/>])(" + QUOTED + rb")")
EMPTY = re.compile(rb"""<table:(?:covered-)?table-cell(?:\s+[\w:.-]+="[^"'<>]*")*\s*/>""")
SHEET = re.compile(rb"<table:table\s" + QUOTED + rb">")
ROWS_REPEATED = re.compile(rb"""rows-repeated\s*=\s*["']([^"']*)""")
COLUMNS_REPEATED = re.compile(rb"""columns-repeated\s*=\s*["']([^"']*)""")


class Spread:
    """Looks at a member piece by piece: cell by cell only in rows that repeat others than empty ones at their end."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._sheets: list[Reach] = []
        self._name, self._rows, self._columns, self._empty = "", 0, 0, 0
        self._repeated, self._column, self._width = 0, 0, 0

    @property
    def sheets(self) -> list[Reach]:
        """What was seen of each: rows from the first that holds anything to the last, columns from A on."""
        self._end_row()
        return [*self._sheets, (self._name, self._rows, self._columns)]

    def at(self, piece: bytes) -> None:
        end = piece.rfind(b">") + 1  # no word that is looked for has one in it
        if not end:
            self._rest.append(piece)
            return
        text = b"".join([*self._rest, piece[:end]])
        self._rest = [piece[end:]]
        rows = [found.end() for found in ROW.finditer(text)]
        for start, stop in zip([0, *rows], [*rows, len(text)], strict=True):
            if start:
                self._end_row()
                head = text[start : text.find(b">", start)]
                self._repeated = max((_repeats(n, ROWS) for n in ROWS_REPEATED.findall(head)), default=1)
            self._part(text, start, stop)

    def _part(self, text: bytes, start: int, stop: int) -> None:
        """What is in a row, and what is behind it up to the next."""
        end = text.rfind(ROW_END, start, stop)
        if self._repeated:
            self._cells(text, start, stop if end < 0 else _without_end(text, start, end))
            if end >= 0:
                self._end_row()
        if not self._repeated:
            outside = start if end < 0 else end
            if CELL.search(text, outside, stop):  # the rows aren't told apart
                self._repeated, self._width = ROWS, COLUMNS
            self._gap(text, outside, stop)

    def _cells(self, text: bytes, start: int, stop: int) -> None:
        if text.find(b"columns-repeated", start, stop) < 0:
            covered = text.count(b"<table:covered-table-cell", start, stop)
            self._column += text.count(b"<table:table-cell", start, stop) + covered
            if _holds(text, start, stop):
                self._width = self._column
            return
        for found in CELL.finditer(text, start, stop):
            said = COLUMNS_REPEATED.search(found[1])
            self._column = min(self._column + (_repeats(said[1], COLUMNS) if said else 1), COLUMNS)
            if _holds(text, found.start(), found.end()):
                self._width = self._column

    def _end_row(self) -> None:
        if self._width:
            self._rows += self._empty + self._repeated
            self._columns = max(self._columns, self._width)
            self._empty = 0
        elif self._rows:
            self._empty += self._repeated
        self._repeated = self._column = self._width = 0

    def _gap(self, text: bytes, start: int, stop: int) -> None:
        """Where another sheet may begin, if it isn't a comment."""
        sheet = SHEET.search(text, start, stop)
        if sheet and text.find(b"<!", start, stop) < 0:
            self._sheets = self.sheets
            self._rows = self._columns = self._empty = 0
            name = TABLE_NAME.search(sheet[0])
            self._name = unescape(f"'{(name[1] or name[2] or b'').decode(errors='replace')}'") if name else ""


def _without_end(text: bytes, start: int, stop: int) -> int:
    """Where a row ends without the empty cells at its end, which may be repeated."""
    while text.endswith(b"/>", start, stop):
        at = text.rfind(b"<", start, stop)
        if at < 0 or _holds(text, at, stop) or not EMPTY.fullmatch(text, at, stop):
            break
        stop = at
    return stop


def _holds(text: bytes, start: int, stop: int) -> bool:
    """Whether a cell, or one of many, may hold a value or a formula (OpenDocument 1.3, 19.385 and 19.642)."""
    return text.find(b"office:", start, stop) >= 0 or text.find(b"table:formula", start, stop) >= 0


def _repeats(said: bytes, most: int) -> int:
    """As many as there may be, where it isn't a plain number."""
    return min(int(said), most) if said.isdigit() and len(said) < 10 else most
