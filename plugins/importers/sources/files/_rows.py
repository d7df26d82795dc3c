"""Blocks of CSV records as Arrow rows: fast where all is well, and otherwise record by record what isn't."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from importers.core.model import Batch, Reject
from importers.exceptions import ContractError
from importers.sources._text.blocks import Block, LineNumbers, Positions, one_batch
from importers.sources._text.cells import ISO, PLAIN, as_numbers, convert_options, typed
from importers.sources._text.numbers import Numbers
from importers.sources._text.times import Times, as_times
from importers.sources._text.widening import Typed, fitting
from importers.sources.files._codes import Codes
from importers.sources.files._records import Dialect

TAKEN = 100
"""Lines, each like a record, that a broken one may take with it: it counts as one, so that no limit sees how many."""
STRAY = "text follows the closing quote of a cell that has newlines: two quotes stand alone"
Span: TypeAlias = tuple[int, int]


class Rows:
    """Reads blocks of one file, whose columns are `names`, as batches of `schema`."""

    def __init__(
        self,
        dialect: Dialect,
        names: Sequence[str],
        schema: pa.Schema,
        nulls: Sequence[str],
        inferred: Collection[str] = (),
        numbers: Numbers = PLAIN,
        widens: Collection[str] = (),
        times: Times = ISO,
    ) -> None:
        """Of an `inferred` column the sample said the type, and may have misled. Cells that don't fit are refused, and
        those that the type wouldn't give back; but a column that `widens` has a wider type from then on, if that takes
        them.
        """
        self._dialect, self._names, self._nulls, self._numbers = dialect, list(names), list(nulls), numbers
        self._times = times
        self._inferred, self._widens = frozenset(inferred), frozenset(inferred) & frozenset(widens)
        self._text = convert_options(pa.schema([(name, pa.string()) for name in schema.names]), nulls)
        self._take(schema)

    def _take(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._codes = Codes(pa.schema([field for field in schema if field.name in self._inferred]))
        said = {field.name: self._times.format_of(field.name, field.type) for field in schema}
        self._written = {name: format_ for name, format_ in said.items() if format_}
        read = self._codes.as_read(schema)
        self._read = pa.schema([f.with_type(pa.string()) if f.name in self._written else f for f in read])
        self._typed = convert_options(self._read, self._nulls, self._numbers)
        self._text_and_others = _text_and_others(schema, self._read, self._nulls, self._numbers)

    def batch(self, block: Block, lines: LineNumbers, *, closed: bool = False) -> Batch:
        """The block's rows, and what is none, with their places; `closed` if the plan found the whole file so."""
        batch, starts = self._told_apart(block, partial(lines.place, block), closed=closed)
        return replace(batch, places=lines.of(block, batch.rows.num_rows, starts))

    def _told_apart(
        self, block: Block, place: Callable[[int], str], *, closed: bool
    ) -> tuple[Batch, Callable[[], Positions]]:
        """The rows and rejects, and what tells at which bytes of the block the rows begin."""
        if block.torn:
            torn = Reject(bytes(block.view), place(block.offset), "a quote is never closed")
            self._check_taken(torn.raw, torn.location)
            return Batch(self._empty(), (torn,)), lambda: np.empty(0, np.int64)
        rows = self._at_once(block)
        strays = [] if closed or _one_line_each(rows, block) else self._dialect.strays(block.data, block.length)
        if rows is None or strays:
            batch, starts = self._one_by_one(block, strays, place)
            return batch, lambda: starts
        return Batch(rows), lambda: self._dialect.starts(block.data, block.length)

    def _at_once(self, block: Block) -> pa.RecordBatch | None:
        """The rows if all records are some and no number is a code."""
        try:
            # without a last newline Arrow takes a last empty cell for quoted if the one before it is
            whole = block.view if block.view[-1] in b"\r\n" else bytes(block.view) + b"\n"
            return self._with_values(self._parse(whole, self._typed, None))
        except pa.ArrowInvalid:
            return self._with_quoted_nulls(block)

    def _with_values(self, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """The rows with numbers and times for texts; None if one is a code. Raises ArrowInvalid for what isn't one."""
        columns = rows.columns
        for place, field in enumerate(self.schema):
            if field.type == self._read.field(place).type:
                continue
            if field.name in self._written:
                columns[place] = as_times(columns[place], field.type, self._written[field.name])
                continue
            if self._codes.has(field.name, columns[place]):
                return None
            columns[place] = as_numbers(columns[place], field.type, self._numbers)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _empty(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([], schema=self.schema)

    def _parse(
        self, data: memoryview | bytes, options: csv.ConvertOptions, refused: dict[int, int] | None
    ) -> pa.RecordBatch:
        """With `refused`, records of another length are left out, and their number and length put there."""

        def refuse(row: csv.InvalidRow) -> str:
            if refused is None:
                return "error"
            refused[row.number - 1] = row.actual_columns
            return "skip"

        setting = self._dialect
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            csv.ReadOptions(use_threads=False, column_names=self._names, block_size=len(data) + 1),
            csv.ParseOptions(
                delimiter=setting.delimiter.decode(),
                quote_char=setting.quote.decode() or False,
                escape_char=setting.escape.decode() or False,
                # one block: nothing is cut in there, so that the parser needs no second look for newlines in quotes
                newlines_in_values=False,
                invalid_row_handler=refuse if refused is not None else None,
            ),
            options,
        )
        return one_batch(table)

    def _with_quoted_nulls(self, block: Block) -> pa.RecordBatch | None:
        """Where all cells are quoted, "" is the empty string in a column of text and null in all others."""
        if not self._dialect.quote or block.data.find(self._dialect.quote * 2, 0, block.length) < 0:
            return None
        kept = bytes(block.view) + b"\n"
        try:
            parts = [self._parse(kept, options, None) for options in self._text_and_others]
            found = {name: part.column(name) for part in parts for name in part.schema.names}
            read = pa.RecordBatch.from_arrays([found[name] for name in self._read.names], schema=self._read)
            return self._with_values(read)
        except pa.ArrowInvalid:
            return None

    def _one_by_one(self, block: Block, strays: Sequence[Span], place: Callable[[int], str]) -> tuple[Batch, Positions]:
        """The rows, the rejects, and where in the block the rows begin."""
        data = bytes(block.view)
        spans, _ = self._dialect.records(data, len(data))
        spans, rejects = _decodable(data, sorted(set(spans).difference(strays)))
        rejects += [(span, STRAY) for span in strays]
        refused: dict[int, int] = {}
        kept = b"\n".join(data[start:end] for start, end in spans) + b"\n"
        text = self._parse(kept, self._text, refused)
        rejects += [(spans[n], f"expected {len(self._names)} columns, got {got}") for n, got in refused.items()]
        for start, end in [*strays, *map(spans.__getitem__, refused)]:
            self._check_taken(data[start:end], place(block.offset + start))
        spans = [span for number, span in enumerate(spans) if number not in refused]
        if len(spans) != text.num_rows:
            raise ContractError(
                f"the records after {place(block.offset)} can't be told apart",
                got=f"{len(spans)} by their quotes and newlines, {text.num_rows} by the parser",
                do="check `delimiter`, `quote` and `escape`",
            )
        rows, bad = self._converted(text)
        rejects += [(spans[number], reason) for number, reason in bad.items()]
        rejects.sort()
        told = tuple(Reject(data[start:end], place(block.offset + start), why) for (start, end), why in rejects)
        starts = np.array([start for number, (start, _) in enumerate(spans) if number not in bad], np.int64)
        return Batch(rows, told), starts

    def _check_taken(self, raw: bytes, place: str) -> None:
        """Raises ContractError if more of its lines have as many cells as a record than may go with it unnoticed."""
        delimiters = len(self._names) - 1
        lines = sum(line.count(self._dialect.delimiter) == delimiters for line in raw.splitlines()[1:])
        if lines > TAKEN:
            raise ContractError(
                f"a record that begins at {place} is none, and has lines in it that may be records",
                got=f"{lines:,} lines with as many cells as a record",
                do="look there for a quote that is never closed, or has no partner, and have the file delivered whole; "
                'or set `quote: ""` if quotes mean nothing in it',
            )

    def _converted(self, text: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, str]]:
        columns: list[pa.Array] = []
        bad: dict[int, str] = {}
        schema = self.schema
        for place, field in enumerate(self.schema):
            kind, (values, refused) = self._fitting(field, text.column(field.name))
            schema = schema.set(place, field.with_type(kind))
            columns.append(values)
            for number, why in ((n, why) for mask, why in refused for n in pc.indices_nonzero(mask).to_pylist()):
                bad.setdefault(number, f"column '{field.name}': {why}")
        if schema != self.schema:
            self._take(schema)
        rows = pa.RecordBatch.from_arrays(columns, schema=schema)
        if bad:
            good = np.ones(text.num_rows, np.bool_)
            good[list(bad)] = False
            rows = rows.filter(pa.array(good))
        return rows, bad

    def _fitting(self, field: pa.Field, text: pa.Array) -> tuple[pa.DataType, Typed]:
        def as_type(kind: pa.DataType) -> Typed:
            sampled, written = field.name in self._inferred, self._times.format_of(field.name, kind)
            return typed(text, kind, self._nulls, self._numbers, sampled=sampled, written=written)

        return fitting(as_type, field.type, widens=field.name in self._widens)


def _one_line_each(rows: pa.RecordBatch | None, block: Block) -> bool:
    """Whether each row is one line: bare carriage returns end rows, too, and make up for lines that a cell swallows."""
    as_many = rows is not None and block.newlines > 0 and rows.num_rows == block.lines
    return as_many and not block.bare_returns()


def _text_and_others(
    schema: pa.Schema, read: pa.Schema, nulls: Sequence[str], numbers: Numbers
) -> list[csv.ConvertOptions]:
    """How columns of text are read, and how all others are, of which numbers may be `read` as text."""
    text = [field for field in schema if field.type == pa.string()]
    others = [read.field(field.name) for field in schema if field.type != pa.string()]
    strict, lenient = (convert_options(pa.schema(fields), nulls, numbers) for fields in (text, others))
    lenient.quoted_strings_can_be_null = True
    return [options for options in (strict, lenient) if options.include_columns]


def _decodable(data: bytes, spans: list[Span]) -> tuple[list[Span], list[tuple[Span, str]]]:
    try:
        data.decode()
    except UnicodeDecodeError:
        good, bad = [], []
    else:
        return spans, []
    for start, end in spans:
        try:
            data[start:end].decode()
        except UnicodeDecodeError:
            bad.append(((start, end), "not in the file's encoding: set `encoding`, to `cp1252` or `guess` for example"))
        else:
            good.append((start, end))
    return good, bad
