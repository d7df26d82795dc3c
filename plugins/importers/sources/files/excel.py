"""Workbooks: xlsx, xlsm, xls and ods."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, Field

from importers.core.model import Batch, Reject, Stream
from importers.core.names import few, is_given, is_like_a_value
from importers.core.places import numbered
from importers.exceptions import ConfigError, ContractError
from importers.sources._text.widening import Typed, fitting
from importers.sources.files._columns import akin, same_columns, wanted, widening
from importers.sources.files._files import FileSource
from importers.sources.files._odd import Inferred, inferred
from importers.sources.files._settings import FileConfig
from importers.sources.files._sheet_numbers import as_text, in_brief
from importers.sources.files._sheet_types import DURATION, maybe_durations, typed, types_of
from importers.sources.files._sheets import Cells, Range, Workbook, holding
from importers.sources.files._slices import FilePart, FileSlice, Slice
from importers.transport.files import File

ROWS = 64 * 1024
LARGEST = 256 << 20
"""Bytes of a workbook that is read."""


class CellErrors(StrEnum):
    """What becomes of #N/A and the like."""

    QUARANTINE = "quarantine"
    NULL = "null"


def _range(text: str) -> str:
    Range.of(text)
    return text


class ExcelConfig(FileConfig):
    """Every sheet that is read has the same shape. Formulas count by the value that was saved with them.

    What writes workbooks without calculating them saves none (openpyxl), or a 0 (xlsxwriter): the former goes to
    quarantine, the latter can't be told from a value. An OpenDocument sheet that has a formula without one is refused.

    A time of day is known by a whole column of them; OpenDocument's are durations, as it has one type for both. Text
    such as 007 stays text. Of merged cells the first has the value. What is hidden is read as all else is: rows, by a
    filter too, columns, and sheets, of which the first may be one.

    A column of numbers has all the digits that the file has, whatever their format shows. In any other a number has the
    15 significant ones that Excel shows and compares, so that what was computed as 28.999999999999996 is an integer,
    29, and 0.30000000000000004 the text 0.3; whole numbers have all their digits. A column of decimals rounds to as
    many digits behind the point as it has, nine if `types` doesn't say, halves away from zero: 1.005 is 1.01 with two.
    So it does with texts.

    A sheet is held in memory whole, twice while it is read, and parsed once to plan it and once to read it; again where
    a column of numbers also has other cells, or one of text also fractions. A workbook has at most 256 MiB, and a sheet
    33,554,432 cells, empty or not, from its first to its last. All sheets of an xls or ods together have half as many,
    as they are held at once; an OpenDocument sheet's count from column A, without the empty ones behind the last that
    holds anything.

    xlsx, xlsm, xls and ods are read, whatever the file is called; xlsb, Excel's binary one, is refused.

    Most workbooks are zip archives themselves: one that is packed once more is only unpacked if `compression` says how.
    """

    sheets: Annotated[
        list[str | Annotated[int, Field(ge=1)]] | Literal["all"],
        BeforeValidator(lambda value: [value] if isinstance(value, int | str) and value != "all" else value),
    ] = Field(
        [1],
        description="Which sheets are read: a name, a number from 1, a list of them, or `all` that hold anything. "
        "Until it is said, each run tells of the others of the first or the last workbook that hold anything.",
    )
    range: Annotated[str, AfterValidator(_range)] | None = Field(
        None, description="Which cells are read: `B3:F200`, `B:F`, `3:200`, or `B3` for all from there on."
    )
    header: bool = Field(
        True,
        description="Whether the first row that holds anything names the columns. What has no name is called by its "
        "place, `column_3`. A first row that looks like data stops the run, unless this is written down.",
    )
    column_names: list[str] | None = Field(
        None, min_length=1, description="Names of the columns, instead of the header's or for want of one."
    )
    null_values: list[str] = Field(
        [""],
        description="What a cell of text holds that has no value. A list takes the place of the default: write "
        '`["", "n/a"]`.',
        examples=[["", "n/a"]],
    )
    errors: CellErrors = Field(
        CellErrors.QUARANTINE,
        description="What to do with a row in which a cell is an error such as #N/A, or a formula that was saved "
        "without a value: `quarantine` it, or take the cell for `null`.",
    )


class SheetSlice(FileSlice):
    """Of the file that sheet: in which row, from 1, it begins below its header, and columns' numbers, from 0, by name.

    Where there is neither, it takes a header to know them.
    """

    sheet: str
    first: int | None = None
    columns: dict[str, int] = Field({})


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of a sheet below its header, as text; columns of durations have that type, and no values."""

    rows: pa.Table
    first: int
    """The number, from 1, of the first in the sheet."""
    columns: Mapping[str, int]
    """Their numbers in the sheet, from 0, by name."""


class Excel(FileSource[ExcelConfig]):
    """Columns are matched by name, sheet by sheet; rows that hold nothing are left out."""

    title: ClassVar[str] = "Excel and OpenDocument workbooks"
    extra: ClassVar[str | None] = "excel"
    config_model = ExcelConfig
    partition_model: ClassVar[Any] = FilePart[SheetSlice]
    is_archive: ClassVar[bool] = True

    def inferred(self, files: Sequence[File]) -> Inferred:
        samples = [sample for file in dict.fromkeys(files) for sample in self._of_one_shape(file)]
        if not samples:
            raise ContractError(
                f"the workbook '{files[0].shown}' has no cells where they are looked for",
                do="correct `sheets` or `range`, or wait for one with at least a header",
            )
        first, last = samples[0].schema, samples[-1].schema
        akin(files[-1].shown, last.names, first.names)
        text = pa.concat_tables([_as_text(sample) for sample in samples], promote_options="default")
        schema = types_of(text, self.config.null_values)
        fields = [field for sample in samples for field in sample.schema]
        lasting = {f.name for f in fields if f.type == DURATION} - {f.name for f in fields if f.type != DURATION}
        schema = pa.schema([field.with_type(DURATION) if field.name in lasting else field for field in schema])
        notes = tuple(_left_out(file, self._unread[file]) for file in files if self._unread[file])
        return inferred(schema, text, self.config.null_values, self._as_type)._replace(notes=notes[:1])

    def _as_type(self, _: str, text: pa.Array, kind: pa.DataType) -> Typed:
        return typed(text, kind, self.config.null_values, sampled=True)

    def names(self, file: File) -> Sequence[str] | None:
        samples = self._of_one_shape(file)
        return samples[0].schema.names if samples else None

    def _of_one_shape(self, file: File) -> list[pa.Table]:
        samples = [sample.rows for sample in self._samples(file).values() if sample is not None]
        for sample in samples[1:]:
            same_columns(file.shown, sample.schema.names, samples[0].schema.names)
        return samples

    def cut(self, file: File, pieces: int) -> list[Slice]:  # noqa: ARG002 - it can't be cut further
        """A sheet is a slice: the library parses it whole."""
        samples = self._samples(file)
        weight = file.size // len(samples)
        return [
            {"start": n, "end": n + 1, "weight": weight, "sheet": name, **_place(sample)}
            for n, (name, sample) in enumerate(samples.items())
        ]

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target = wanted(stream, schema)
        found = self._cells(self._workbook(file), file, part, target)
        if found is None:
            return
        names, cells = found
        sampled = frozenset(names) - self.config.types.keys()
        rows = _Rows(names, target, self.config, sampled, widening(stream), f"{file.shown}!{part['sheet']}")
        for start in range(0, cells.text.num_rows, ROWS):
            yield rows.batch(cells.after(start))

    def _cells(
        self, workbook: Workbook, file: File, part: Slice, target: pa.Schema
    ) -> tuple[Sequence[str], Cells] | None:
        """The columns' names, and their cells below the header: of the target's columns numbers in full."""
        sheet, tells = part["sheet"], self._tells
        kinds = {field.name: field.type for field in target}
        places: dict[str, int] = part.get("columns") or {}
        planned = {place: kinds[name] for name, place in places.items() if name in kinds}
        cells = workbook.cells_below(sheet, self._range, part["first"], planned, formulas=tells) if planned else None
        if cells is not None and cells.columns == sorted(places.values()):
            return sorted(places, key=lambda name: places[name]), cells
        cells = workbook.cells(sheet, self._range, formulas=tells)
        if cells is None:
            return None
        names, cells = self._named(cells, sheet, file)
        found = {place: kinds[name] for name, place in zip(names, cells.columns, strict=True) if name in kinds}
        if DURATION in found.values():
            again = workbook.cells(sheet, self._range, found, formulas=tells)
            cells = again.after(int(self.config.header)) if again else cells
        return names, workbook.in_full(sheet, cells, found)

    @property
    def _range(self) -> Range:
        return Range.of(self.config.range) if self.config.range else Range()

    @property
    def _tells(self) -> bool:
        return self.config.errors is CellErrors.QUARANTINE

    def _workbook(self, file: File) -> Workbook:
        with self.files.opened(file) as raw:
            if raw.size() > LARGEST:
                raise ContractError(
                    f"the workbook '{file.shown}' has more than {LARGEST >> 20} MiB, and is held in memory whole",
                    do="have it delivered as CSV or Parquet, or in several files",
                )
            return Workbook(raw.read(), file.shown, self.config.max_ratio)

    def _sheets(self, workbook: Workbook, file: File) -> list[str]:
        asked, names = self.config.sheets, workbook.names
        if asked == "all":
            return names
        lacking = [said for said in asked if (said > len(names) if isinstance(said, int) else said not in names)]
        if lacking:
            raise ConfigError(
                f"the workbook '{file.shown}' has no sheet {', '.join(map(repr, lacking))}",
                got=f"{len(names)} sheets",
                do="correct `sheets`",
            )
        return list(dict.fromkeys(names[said - 1] if isinstance(said, int) else said for said in asked))

    @cached_property
    def _sampled(self) -> dict[File, dict[str, Sample | None]]:
        """A workbook is parsed whole for its first rows: once for all that a plan asks of it."""
        return {}

    @cached_property
    def _unread(self) -> dict[File, list[str]]:
        """Of a sampled workbook the sheets that hold anything and aren't read, nor does a setting say so."""
        return {}

    def _samples(self, file: File) -> dict[str, Sample | None]:
        """The sheets, and the first rows of each that holds any."""
        if file not in self._sampled:
            workbook = self._workbook(file)
            sheets = self._sheets(workbook, file)
            self._sampled[file] = {sheet: self._sample(workbook, sheet, file) for sheet in sheets}
            others = enumerate(workbook.names, 1) if "sheets" not in self.config.model_fields_set else ()
            least = 1 + int(self.config.header)  # of a header alone nothing is left out
            self._unread[file] = [
                _sheet(n, name) for n, name in others if name not in sheets and workbook.holds(name, least)
            ]
        return self._sampled[file]

    def _sample(self, workbook: Workbook, sheet: str, file: File) -> Sample | None:
        rows = self.config.sample_rows + int(self.config.header)
        cells = workbook.first_cells(sheet, self._range, rows, formulas=self._tells)
        if cells is None:
            return None
        names, cells = self._named(cells, sheet, file)
        numbers = dict(zip(names, cells.columns, strict=True))
        head = cells.text.slice(0, self.config.sample_rows).rename_columns(names)
        head = head.take(pa.array(np.arange(head.num_rows)))  # without the rest of the sheet behind it
        likely = maybe_durations(head, types_of(head, self.config.null_values))
        if likely:
            before, many = cells.first - 1, head.num_rows
            lasting = workbook.durations(sheet, before, [numbers[name] for name in likely], many)
            for name in (name for name in likely if numbers[name] in lasting):
                head = head.set_column(names.index(name), name, pa.nulls(many, DURATION))
        return Sample(head, cells.first, numbers)

    def _named(self, cells: Cells, sheet: str, file: File) -> tuple[list[str], Cells]:
        """The columns' names, and the cells below the header. Raises ContractError."""
        setting, width = self.config, cells.text.num_columns
        numbered = [f"column_{number}" for number in range(1, width + 1)]
        said = [column[0].as_py() for column in cells.text.columns] if setting.header else numbered
        if setting.column_names:
            if len(setting.column_names) != width:
                raise ContractError(
                    f"the sheet '{sheet}' of '{file.shown}' has {width} columns",
                    got=f"{len(setting.column_names)} `column_names`",
                    do="name each; `range` says which columns are read",
                )
            said = setting.column_names
        names = [name or spare for name, spare in zip(said, numbered, strict=True)]
        self._check(names, file, sheet)
        return names, cells.after(int(setting.header))

    def _check(self, names: Sequence[str], file: File, sheet: str) -> None:
        """Names that are a person's data would go into messages, policies and the warehouse's columns."""
        setting = self.config
        where = f"the sheet '{sheet}' of '{file.shown}'"
        guessed = setting.header and not setting.column_names and "header" not in setting.model_fields_set
        values = [str(number) for number, name in enumerate(names, 1) if guessed and is_like_a_value(name)]
        if values:
            raise ContractError(
                f"the first row of {where} doesn't look like names of columns",
                got=f"{len(names):,} cells; column {few(values)} looks like a value, which isn't shown",
                do="set `range` to where the table begins; or `header: false`, best with `column_names`; or "
                "`header: true` if they are names after all",
            )
        counts = Counter(names)
        twice = [str(number) for number, name in enumerate(names, 1) if counts[name] > 1]
        if twice:
            raise ContractError(
                f"{where} has a column name more than once, in columns {few(twice)}",
                do="give `column_names`, one for each column",
            )


def _sheet(number: int, name: str) -> str:
    """As a message may have it: a sheet may be a person's."""
    return f"{number} ({name})" if is_given(name) else str(number)


def _left_out(file: File, sheets: Sequence[str]) -> str:
    return (
        f"of the workbook '{file.shown}' the first sheet alone is read, and not {few(sheets)}. Say by `sheets` which "
        "are: `1`, or `all` if they have the same columns; others take a pipeline each"
    )


def _place(sample: Sample | None) -> Slice:
    return {"first": sample.first, "columns": dict(sample.columns)} if sample else {}


def _as_text(sample: pa.Table) -> pa.Table:
    """To infer types of. Where some sheets have durations and others don't, they are text."""
    fields = zip(sample.schema, sample.columns, strict=True)
    return pa.table({f.name: pa.nulls(len(v), pa.string()) if f.type == DURATION else in_brief(v) for f, v in fields})


class _Rows:
    """Cells of one sheet, whose columns are `names`, as batches of `schema`."""

    def __init__(
        self,
        names: Sequence[str],
        schema: pa.Schema,
        setting: ExcelConfig,
        sampled: frozenset[str],
        widens: frozenset[str],
        place: str,
    ) -> None:
        self._names, self._schema, self._setting, self._place = names, schema, setting, place
        self._sampled, self._widens = sampled, widens
        self._places = {name: number for number, name in enumerate(names)}

    def batch(self, cells: Cells) -> Batch:
        """The first rows of the cells."""
        text = cells.text.slice(0, ROWS)
        errors = {place: shown for place, shown in cells.errors.items() if place[0] < text.num_rows}
        good = holding(text, errors).to_numpy(zero_copy_only=False).copy()
        bad = self._errors(errors)
        columns: list[pa.Array] = []
        fields: list[pa.Field] = []
        for field in self._schema:
            cell = text.column(self._places[field.name]).combine_chunks()
            sampled = field.name in self._sampled
            as_type = partial(typed, cell, nulls=self._setting.null_values, sampled=sampled)
            kind, (values, refused) = fitting(as_type, field.type, widens=sampled and field.name in self._widens)
            fields.append(field.with_type(kind))
            columns.append(values)
            for number, why in ((n, why) for mask, why in refused for n in pc.indices_nonzero(mask).to_pylist()):
                bad.setdefault(number, f"column '{field.name}': {why}")
        good[list(bad)] = False
        self._schema = pa.schema(fields)
        rows = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        rejects = [self._reject(text, errors, number, cells.first + number, bad[number]) for number in sorted(bad)]
        places = numbered(f"{self._place}:row ", np.flatnonzero(good) + cells.first)
        return Batch(rows if good.all() else rows.filter(pa.array(good)), tuple(rejects), places=places)

    def _errors(self, errors: dict[tuple[int, int], str]) -> dict[int, str]:
        """Rows that a cell of a wanted column keeps out."""
        found: dict[int, str] = {}
        wanted_names = frozenset(self._schema.names)
        for (row, column), shown in sorted(errors.items()):
            name = self._names[column]
            if name in wanted_names and not (shown and self._setting.errors is CellErrors.NULL):
                found.setdefault(row, f"column '{name}': {shown or 'not a duration'}")
        return found

    def _reject(self, text: pa.Table, errors: dict[tuple[int, int], str], row: int, number: int, reason: str) -> Reject:
        cells = {
            name: errors.get((row, number), _said(column.slice(row, 1).combine_chunks()))
            for number, (name, column) in enumerate(zip(self._names, text.columns, strict=True))
        }
        return Reject(json.dumps(cells, ensure_ascii=False).encode(), f"{self._place}:row {number}", reason)


def _said(cell: pa.Array) -> str | None:
    """What one cell says."""
    value = cell[0].as_py()
    if value is None or isinstance(value, str):
        return value
    return str(as_text(cell)[0]) if isinstance(value, int | float) else str(value)
