"""A workbook's sheets as columns of text: what its cells say, where they stand, and which hold an error.

Numbers are text of at most nine decimals, as the library writes them, until `in_full`; where a column is known to hold
numbers alone, they are doubles. A moment is written as a time without a zone, counted
from the workbook's own epoch (1900, whose 29 February is Excel's invention and read as the 28th, or 1904).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.exact import is_number
from importers.core.registry import optional
from importers.exceptions import ContractError
from importers.sources.files._extent import Extent
from importers.sources.files._formulas import COLUMNS, SHOWN, Formulas, number
from importers.sources.files._sheet_numbers import in_digits, in_full, is_doubtful, is_long
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
TEXT = re.compile(r"""got 'String\("([^"\\]*)"\)'""")
"""A text in the detail of an error, if it's written there as it is."""
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

    @property
    def columns(self) -> list[int]:
        """Their numbers in the sheet, from 0."""
        return [int(name) for name in self.text.column_names]

    def after(self, rows: int) -> Cells:
        """Without so many rows."""
        errors = {(row - rows, column): shown for (row, column), shown in self.errors.items() if row >= rows}
        return Cells(self.text.slice(rows), self.first + rows, errors)

    def with_texts(self, column: int, texts: pa.Array) -> Cells:
        """With others in one column, by its number in the sheet."""
        name = str(column)
        return Cells(self.text.set_column(self.text.column_names.index(name), name, texts), self.first, self.errors)


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

    def holds(self, sheet: str, rows: int) -> bool:
        """Whether so many rows of the sheet hold anything, without parsing it; not of what can't be read, such as a
        chart's.
        """
        with suppress(ContractError):
            found = self._readable(lambda name: self._extent.holds(name, rows), sheet)
            if found is not None:
                return found
            with _legible(self._path):  # an xls or ods, whose sheets are parsed when it is opened
                head = self._reader.load_sheet(sheet, header_row=None, n_rows=BLANK, dtypes="string")
                cells = (column.cast(pa.string()) for column in head.to_arrow().columns)
                full = [pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(texts), ""), False) for texts in cells]
                return bool(full) and (pc.sum(reduce(pc.or_, full)).as_py() or 0) >= rows
        return False

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
        kinds: Mapping[int, pa.DataType] = MappingProxyType({}),
        *,
        formulas: bool = True,
        upto: int | None = None,
    ) -> Cells | None:
        """A sheet's cells as text, but for the columns whose kind is that of durations. None if the range is empty.

        With `formulas`, those without a value are errors, where they are empty cells otherwise. Behind the sheet's row
        `upto` there may be none. Raises ContractError for a sheet that is too large.
        """
        self._readable(self._extent.check, sheet)
        types = _durations(kinds)
        found = self._within(sheet, of, *self._loaded(sheet, types, upto), formulas=formulas)
        begins = _first_holding(found.text, found.errors)
        return None if begins is None else found.after(begins)

    def cells_below(
        self, sheet: str, of: Range, first: int, kinds: Mapping[int, pa.DataType], *, formulas: bool = True
    ) -> Cells | None:
        """As `cells`, from the sheet's row `first` on, counted from 1, and columns of numbers as numbers.

        None if there are none, or one holds anything else: then it takes its texts to know. The library has parsed the
        sheet, and tells what all cells of a column are; to ask it for texts and for doubles takes twice as long.
        """
        numbers = {column: kind for column, kind in kinds.items() if is_number(kind)}
        if not numbers:
            return None
        self._readable(self._extent.check, sheet)
        types = dict.fromkeys(range(COLUMNS), "string") | _durations(kinds)
        for column in numbers:
            del types[column]
        module = optional("fastexcel", "excel")
        with _legible(self._path):
            try:
                loaded = self._reader.load_sheet(
                    sheet,
                    header_row=None,
                    skip_rows=first - 1,
                    schema_sample_rows=None,
                    dtype_coercion="strict",
                    dtypes=types,
                )
            except (module.UnsupportedColumnTypeCombinationError, module.CalamineCellError):
                return None
            columns = [(column.absolute_index, column.dtype) for column in loaded.selected_columns]
            if any(kind not in ("int", "float", "string", "null") for n, kind in columns if n in numbers):
                return None
            rows, failed = loaded.to_arrow_with_errors()
        said = [column for column, _ in columns]
        rows, errors = _told(rows, failed.errors if failed else (), said, numbers)
        found = self._within(sheet, of, rows, errors, said, formulas=formulas, skipped=first - 1)
        return self.in_full(sheet, found, {column: kind for column, kind in kinds.items() if column not in numbers})

    def in_full(self, sheet: str, cells: Cells, kinds: Mapping[int, pa.DataType]) -> Cells:
        """The cells with all digits of numbers, as far as the kinds of their columns have a use for them."""
        columns = {n: cells.text.column(str(n)) for n in kinds}
        doubtful = {n: c for n, c in columns.items() if c.type == pa.string() and is_doubtful(c, kinds[n])}
        doubles = self._read_as("float", sheet, cells, frozenset(doubtful))
        long = frozenset(n for n, column in doubtful.items() if is_long(column, kinds[n]))
        whole = self._read_as("int", sheet, cells, long)
        for n, numbers in doubles.items():
            texts = in_full(columns[n].combine_chunks(), numbers, whole.get(n), kinds[n])
            cells = cells.with_texts(n, texts)
        return cells

    def _read_as(self, kind: str, sheet: str, cells: Cells, columns: frozenset[int]) -> Mapping[int, pa.Array]:
        """The cells of these columns, by number in the sheet, as doubles or integers: null where they aren't.

        Dates, true and texts such as 007 are some; a text of a fraction is no integer, where the number is.
        """
        if not columns:
            return {}
        types = dict.fromkeys(range(COLUMNS), "null") | dict.fromkeys(columns, kind)
        with _legible(self._path):
            loaded = self._reader.load_sheet(sheet, header_row=None, skip_rows=0, dtypes=types)
            found = {column.absolute_index: n for n, column in enumerate(loaded.selected_columns)}
            rows = loaded.to_arrow()
        size = cells.text.num_rows
        here = {n: rows.column(found[n]).slice(cells.first - 1, size) for n in columns if n in found}
        return {n: pa.concat_arrays([read, pa.nulls(size - len(read), read.type)]) for n, read in here.items()}

    def _within(
        self,
        sheet: str,
        of: Range,
        rows: pa.RecordBatch,
        failed: dict[tuple[int, int], str],
        columns: list[int],
        *,
        formulas: bool,
        skipped: int = 0,
    ) -> Cells:
        """The range's cells of a sheet without the rows that were skipped."""
        unsaved = self._readable(self._formulas.without_value, sheet) if formulas else []
        unsaved = [(row - skipped, column) for row, column in unsaved if row >= skipped]
        if unsaved:
            failed |= dict.fromkeys(unsaved, SHOWN)
            rows, columns = _reaching(rows, columns, unsaved)
        first, end = max(of.first_row - skipped, 0), None if of.end_row is None else max(of.end_row - skipped, 0)
        kept = [n for n, column in enumerate(columns) if _inside(column, of.first_column, of.end_column)]
        table = pa.table([rows.column(n) for n in kept], [str(columns[n]) for n in kept])[first:end]
        place = {columns[n]: new for new, n in enumerate(kept)}
        errors = {
            (row - first, place[column]): shown
            for (row, column), shown in failed.items()
            if column in place and _inside(row, first, end)
        }
        return Cells(table, skipped + first + 1, errors)

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
        return *_told(rows, failed.errors if failed else (), columns), columns


def _durations(kinds: Mapping[int, pa.DataType]) -> dict[int, str]:
    return {column: "duration" for column, kind in kinds.items() if kind == DURATION}


def _told(
    rows: pa.RecordBatch,
    failed: Sequence[Any],
    columns: Sequence[int],
    numbers: Mapping[int, pa.DataType] = MappingProxyType({}),
) -> tuple[pa.RecordBatch, dict[tuple[int, int], str]]:
    """The rows with what the library tells of cells that have no value of the column's type, and errors besides.

    Those are times of OpenDocument, for which it has no text, and texts among numbers that mean nothing to it: n/a.
    """
    errors: dict[tuple[int, int], str] = {}
    said: dict[int, dict[int, timedelta | str]] = {}
    for cell in failed:
        row, column = cell.offset_position  # which counts columns from the first that holds anything
        text = TEXT.search(cell.detail) if columns[column] in numbers else None
        value = text[1] if text else iso_time(cell.detail)
        if value is None:
            errors[row, columns[column]] = _shown(cell.detail)
        else:
            said.setdefault(column, {})[row] = value
    return _filled(rows, said, {n: numbers[column] for n, column in enumerate(columns) if column in numbers}), errors


def _filled(
    rows: pa.RecordBatch, said: Mapping[int, Mapping[int, timedelta | str]], kinds: Mapping[int, pa.DataType]
) -> pa.RecordBatch:
    """With values by the number of column and row; kinds are those of columns of numbers."""
    for column, cells in said.items():
        there = rows.column(column)
        if there.type != DURATION:
            there = there if there.type == pa.string() else in_digits(there, kinds[column])
        values = pa.array([_as(cells.get(row), there.type) for row in range(rows.num_rows)], there.type)
        field = rows.schema.field(column).with_type(there.type).with_nullable(True)
        rows = rows.set_column(column, field, pc.coalesce(there, values))
    return rows


def _as(value: timedelta | str | None, kind: pa.DataType) -> timedelta | str | None:
    return as_moment(value) if isinstance(value, timedelta) and kind != DURATION else value


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
