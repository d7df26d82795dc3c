"""A workbook's sheets as columns of text: what its cells say, where they stand, and which hold an error.

Numbers are written so that they read back as the same double. A moment is written as a time without a zone, counted
from the workbook's own epoch (1900, whose 29 February is Excel's invention and read as the 28th, or 1904).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.registry import optional
from importers.exceptions import ContractError
from importers.sources.files._extent import Extent
from importers.sources.files._formulas import SHOWN, Formulas, number
from importers.sources.files._sheet_types import DURATION, as_moment, iso_time
from importers.sources.files._unpacking import bounded, not_whole
from importers.transport.packed import DAMAGE

T = TypeVar("T")
BLANK = 1000
"""Rows without a cell that a table may have above it, to be parsed once for its first rows."""
ERRORS = {
    "Div0": "#DIV/0!",
    "NA": "#N/A",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}
CORNER = r"\$?([A-Za-z]{1,3})?\$?([1-9][0-9]{0,6})?"
RANGE = re.compile(f"{CORNER}(?::{CORNER})?")


@dataclass(frozen=True, slots=True)
class Range:
    """Rows and columns counted from 0, the ends not included; None: as far as the sheet goes."""

    first_row: int = 0
    first_column: int = 0
    end_row: int | None = None
    end_column: int | None = None

    @classmethod
    def of(cls, text: str) -> Range:
        """`B3:F200`, `B:F`, `3:200`, or `B3` for all from there on. Raises ValueError."""
        found = RANGE.fullmatch(text)
        if not found or not all(corner.strip("$") for corner in text.split(":")):
            raise ValueError("isn't a range of cells; write B3:F200, B:F, 3:200, or B3")
        left, top, right, bottom = found.groups()
        made = cls(
            int(top) - 1 if top else 0,
            number(left) - 1 if left else 0,
            int(bottom) if bottom else None,
            number(right) if right else None,
        )
        rows, columns = (made.first_row, made.end_row), (made.first_column, made.end_column)
        if any(end is not None and end <= start for start, end in (rows, columns)):
            raise ValueError("ends before it begins")
        return made


@dataclass(frozen=True, slots=True)
class Cells:
    """A sheet's cells of a range, from the first row on that holds any."""

    text: pa.Table
    first: int
    """The number, from 1, of its first row in the sheet."""
    errors: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """By row and column of the table: what is told of a cell that has no value, such as #N/A. Its text is null."""

    def after(self, rows: int) -> Cells:
        """Without so many rows."""
        errors = {(row - rows, column): shown for (row, column), shown in self.errors.items() if row >= rows}
        return Cells(self.text.slice(rows), self.first + rows, errors)


class Workbook:
    """An open workbook. A sheet is parsed whole when it is asked for: the library knows no other way."""

    def __init__(self, data: bytes, path: str, ratio: int) -> None:
        """Raises ContractError for what isn't a workbook, has a password, or unpacks to `ratio` times its size."""
        self._path = path
        archive, members, far = bounded(data, path, ratio)
        self._formulas, self._extent = Formulas(archive, members, path), Extent(archive, far, path)
        with _legible(path, data):
            self._reader = optional("fastexcel", "excel").read_excel(data)

    @property
    def names(self) -> list[str]:
        return list(self._reader.sheet_names)

    def first_cells(self, sheet: str, of: Range, rows: int, *, formulas: bool = True) -> Cells | None:
        """As `cells`, but at least so many rows, if there are any more: what makes texts of all takes its time."""
        upto = of.first_row + rows + BLANK
        cells = self.cells(sheet, of, formulas=formulas, upto=upto)
        is_enough = cells is not None and cells.first + rows <= upto
        return cells if is_enough else self.cells(sheet, of, formulas=formulas)

    def cells(
        self,
        sheet: str,
        of: Range,
        durations: frozenset[int] = frozenset(),
        *,
        formulas: bool = True,
        upto: int | None = None,
    ) -> Cells | None:
        """A sheet's cells as text, but for the columns of durations. None if the range is empty.

        With `formulas`, those without a value are errors, where they are empty cells otherwise. Behind the sheet's row
        `upto` there may be none. Raises ContractError for a sheet that is too large.
        """
        self._readable(self._extent.check, sheet)
        types = dict.fromkeys(durations, "duration")
        rows, failed, columns = self._loaded(sheet, types, upto)
        unsaved = self._readable(self._formulas.without_value, sheet) if formulas else []
        if unsaved:
            failed |= dict.fromkeys(unsaved, SHOWN)
            rows, columns = _reaching(rows, columns, unsaved)
        kept = [n for n, column in enumerate(columns) if _inside(column, of.first_column, of.end_column)]
        table = pa.table([rows.column(n) for n in kept], [str(columns[n]) for n in kept])[of.first_row : of.end_row]
        place = {columns[n]: new for new, n in enumerate(kept)}
        errors = {
            (row - of.first_row, place[column]): shown
            for (row, column), shown in failed.items()
            if column in place and _inside(row, of.first_row, of.end_row)
        }
        begins = _first_holding(table, errors)
        return None if begins is None else Cells(table, of.first_row + 1, errors).after(begins)

    def _readable(self, look: Callable[[str], T], sheet: str) -> T:
        try:
            return look(sheet)
        except DAMAGE:  # a header that says less than there is
            raise not_whole(self._path) from None

    def durations(self, sheet: str, header_rows: int, candidates: Sequence[int], rows: int) -> frozenset[int]:
        """Which of the columns, by number in the sheet, hold durations and nothing else in the first rows."""
        with _legible(self._path):
            try:
                loaded = self._reader.load_sheet(
                    sheet,
                    header_row=None,
                    skip_rows=header_rows,
                    n_rows=rows,
                    schema_sample_rows=rows,
                    use_columns=list(candidates),
                )
            except optional("fastexcel", "excel").UnsupportedColumnTypeCombinationError:
                return frozenset()
            return frozenset(c.absolute_index for c in loaded.selected_columns if c.dtype == "duration")

    def _loaded(
        self, sheet: str, types: Mapping[int, str], upto: int | None
    ) -> tuple[pa.RecordBatch, dict[tuple[int, int], str], list[int]]:
        """Rows from the sheet's first on, errors by row and column of the sheet, and each column's number in it."""
        with _legible(self._path):
            loaded = self._reader.load_sheet(sheet, header_row=None, skip_rows=0, n_rows=upto, dtypes="string")
            columns = [column.absolute_index for column in loaded.selected_columns]
            if types and columns:
                every = {number: types.get(number, "string") for number in columns}
                loaded = self._reader.load_sheet(sheet, header_row=None, skip_rows=0, dtypes=every)
            rows, failed = loaded.to_arrow_with_errors()
        errors: dict[tuple[int, int], str] = {}
        times: dict[int, dict[int, timedelta]] = {}
        for cell in failed.errors if failed else ():
            row, column = cell.offset_position  # which counts columns from the first that holds anything
            if (time := iso_time(cell.detail)) is not None:
                times.setdefault(column, {})[row] = time
            else:
                errors[row, columns[column]] = _shown(cell.detail)
        return _filled(rows, times), errors, columns


def _filled(rows: pa.RecordBatch, times: Mapping[int, Mapping[int, timedelta]]) -> pa.RecordBatch:
    """With times of OpenDocument, by the number of column and row, for which the library has no text."""
    for column, cells in times.items():
        kind = rows.column(column).type
        texts = cells if kind == DURATION else {row: as_moment(time) for row, time in cells.items()}
        said = pa.array([texts.get(row) for row in range(rows.num_rows)], kind)
        field = rows.schema.field(column).with_nullable(True)
        rows = rows.set_column(column, field, pc.coalesce(rows.column(column), said))
    return rows


def _reaching(
    rows: pa.RecordBatch, columns: Sequence[int], places: Sequence[tuple[int, int]]
) -> tuple[pa.RecordBatch, list[int]]:
    """With empty cells as far as the places are: the library ends a sheet where it sees the last value."""
    lacking = max(row for row, _ in places) + 1 - rows.num_rows
    there = {number: rows.column(n) for n, number in enumerate(columns)}
    if lacking > 0:
        there = {n: pa.concat_arrays([cells, pa.nulls(lacking, cells.type)]) for n, cells in there.items()}
    length = rows.num_rows + max(lacking, 0)
    every = sorted(there.keys() | {column for _, column in places})
    cells = [there[n] if n in there else pa.nulls(length, pa.string()) for n in every]
    return pa.RecordBatch.from_arrays(cells, [str(n) for n in every]), every


def holding(table: pa.Table, errors: Mapping[tuple[int, int], str]) -> pa.Array:
    """Which rows hold anything."""
    found = np.zeros(table.num_rows, np.bool_)
    for column in table.columns:
        found |= column.is_valid().to_numpy()
    found[[row for row, _ in errors]] = True
    return pa.array(found)


def _first_holding(table: pa.Table, errors: Mapping[tuple[int, int], str]) -> int | None:
    firsts = [pc.index(column.is_valid(), True).as_py() for column in table.columns]
    return min((row for row in (*firsts, *(row for row, _ in errors)) if row >= 0), default=None)


def _inside(number: int, first: int, end: int | None) -> bool:
    return number >= first and (end is None or number < end)


def _shown(detail: str) -> str:
    """What Excel shows for an error; of anything else that isn't of the column's type, nothing of its value."""
    found = re.search(r"Error\((\w+)\)", detail)
    return ERRORS.get(found[1], "an error") if found else ""


@contextmanager
def _legible(path: str, data: bytes = b"") -> Iterator[None]:
    module = optional("fastexcel", "excel")
    try:
        yield
    except module.FastExcelError as error:  # its text may hold a value
        if "EncryptedPackage".encode("utf-16-le") in data or "assword" in str(error):
            raise ContractError(
                f"the workbook '{path}' is protected by a password",
                do="have it written without one; keep it from others by the rights of its directory or bucket",
            ) from None
        raise not_whole(path) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # which the library has no name for: a place beyond the end
            raise
        raise not_whole(path) from None
