"""CSV files: delimited text, quoted the RFC 4180 way."""

from __future__ import annotations

import csv as stdlib_csv
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cached_property, partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from importers.core.model import Batch, Stream
from importers.core.names import did_you_mean, few, is_like_a_value
from importers.exceptions import ConfigError, ContractError
from importers.sources._text.blocks import BLOCK, Block, LineNumbers, blocks, newlines
from importers.sources._text.cells import arrow_type, infer, typed
from importers.sources._text.fractions import rounded
from importers.sources._text.numbers import Numbers
from importers.sources._text.times import DIRECTIVES, Times, kind_of, legal, suits
from importers.sources._text.widening import Typed
from importers.sources.files._again import Record, many_rows
from importers.sources.files._columns import akin, wanted, widening
from importers.sources.files._detect import HEAD, check_said, check_text, delimiter_of, encoding_of, guessed
from importers.sources.files._files import FileSource
from importers.sources.files._headers import after_lines, before_footer, first_record, numbered_apart
from importers.sources.files._odd import Inferred, inferred, telling
from importers.sources.files._records import Dialect
from importers.sources.files._rows import Rows
from importers.sources.files._settings import FileConfig
from importers.sources.files._slices import FilePart, FileSlice, Slice
from importers.transport.files import File
from importers.transport.text import text_encoding

SAMPLE = 1 << 20
AUTO, GUESS = "auto", "guess"
ONE_BYTE = r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$"


def _encoding(name: str) -> str:
    return name if name in (AUTO, GUESS) else text_encoding(name)


class DuplicateNames(StrEnum):
    """What a header that has a name twice means for the file."""

    ERROR = "error"
    NUMBER = "number"


class CsvConfig(FileConfig):
    """A file's own bytes say its encoding and its delimiter, unless they are set here.

    A column has the narrowest type that gives each of its sampled texts back: codes such as 007 or +49 stay text. Only
    fractions are doubles however many digits they have, so that 99999999999999.99 is rounded, and told, unless `types`
    says `decimal`. A record that has more or fewer cells than there are columns goes to quarantine.
    """

    delimiter: str = Field(
        AUTO,
        pattern=rf"{ONE_BYTE}|^{AUTO}$",
        description="What stands between two cells; `\\t` for TSV. `auto`: the one of comma, semicolon, tab and bar "
        "that gives most columns, the same number in nearly every record.",
    )
    quote: str = Field(
        '"',
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]?$",
        description="What text that holds a delimiter, a quote or a newline stands in; empty for none.",
    )
    escape: str | None = Field(None, pattern=ONE_BYTE, description="What makes the next character plain, if anything.")
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        AUTO,
        description="How the text is written: `utf-8`, `cp1252`, `utf-16` … `auto`: as a byte order mark says, else "
        "UTF-8. `guess`: what isn't UTF-8 is taken for what it most likely is; a few letters may come out wrong then. "
        "A file that is UTF-8 by its first 256 KiB, where this says `cp1252` or the like, stops the run.",
    )
    decimal: str = Field(".", pattern=r"^[.,]$", description="What stands before the decimals of a number.")
    thousands: str = Field(
        "",
        pattern=r"^[.,' _]?$",
        description="What stands between the thousands of a number, if anything; a blank stands for no-break blanks, "
        "too, and `'` for a curved one. Groups are of three digits and begin with no zero, so that 0.500 is none: it "
        "goes to quarantine, and a column of which the sample has such texts is text. Blocks that have such numbers "
        "are read more slowly.",
    )
    date_format: Annotated[str, AfterValidator(legal)] | None = Field(
        None,
        description="How the file's dates are written, such as `%d.%m.%Y`, instead of 2026-12-31: "
        + ", ".join(f"`{directive}` {meaning}" for directive, meaning in DIRECTIVES.items())
        + ". Dates written otherwise are text then.",
        examples=["%d.%m.%Y"],
    )
    timestamp_format: Annotated[str, AfterValidator(legal)] | None = Field(
        None,
        description="Likewise how its times are written, with the same directives.",
        examples=["%d.%m.%Y %H:%M"],
    )
    formats: dict[str, Annotated[str, AfterValidator(legal)]] = Field(
        {},
        description="How the dates or times of single columns are written, where they differ.",
        examples=[{"born": "%d/%m/%Y"}],
    )
    skip_lines: int = Field(
        0, ge=0, le=1000, description="How many lines before the header, or the first record, are no data."
    )
    skip_footer: int = Field(
        0,
        ge=0,
        le=1000,
        description="How many lines at the end of each file are no data, such as a total; comments count, empty lines "
        "don't. A compressed file, or one that isn't UTF-8, is read twice for it.",
    )
    comment: str | None = Field(
        None,
        pattern=ONE_BYTE,
        description="What a line begins with that is no data, such as `#`; in quotes it is data. Such lines aren't "
        "counted. With it a file is read in one piece, and quotes in blocks that have such lines are read more slowly.",
        examples=["#"],
    )
    duplicate_names: DuplicateNames = Field(
        DuplicateNames.ERROR,
        description="What to do with a header that has a name twice: stop with an `error`, or `number` the later ones: "
        "`total`, `total_2`.",
    )
    header: bool = Field(
        True,
        description="Whether the first record names the columns. What has no name is called by its place, `column_3`. "
        "Blanks around a name, and its case, are part of it. A first record that looks like data stops the run, unless "
        "this is written down.",
    )
    column_names: list[str] | None = Field(
        None, min_length=1, description="Names of the columns, instead of the header's or for want of one."
    )
    null_values: list[str] = Field(
        [""],
        description="What an unquoted cell holds that has no value, and in a column that isn't text a quoted one, too. "
        'With `["n/a"]` alone an empty cell is the empty text, and no number: write `["", "n/a"]`.',
        examples=[["", "n/a"]],
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        chars = [self.delimiter, self.quote, *(char for char in (self.escape, self.comment) if char)]
        if len(set(chars)) < len(chars):
            raise ValueError("delimiter, quote, escape and comment must differ")
        self._check_formats()
        if self.decimal == self.thousands:
            raise ValueError("`decimal` and `thousands` must differ")
        if self.column_names and len(set(self.column_names)) < len(self.column_names):
            raise ValueError("`column_names` has a name twice")
        return self

    def _check_formats(self) -> None:
        days, moments = self.date_format, self.timestamp_format
        if days and not pa.types.is_date(kind_of(days)):
            raise ValueError("`date_format` says a time: write `timestamp_format`")
        if moments and pa.types.is_date(kind_of(moments)):
            raise ValueError("`timestamp_format` says no time: write `date_format`")
        times = Times(days, moments, self.formats)
        for name, said in self.types.items():
            format_ = times.format_of(name, arrow_type(said))
            if format_ and not suits(format_, arrow_type(said)):
                raise ValueError(f"the column '{name}' is a {said} by `types`, and by its format `{format_}` it isn't")


class Shape(NamedTuple):
    """How one file is written."""

    encoding: str
    dialect: Dialect


class CsvSlice(FileSlice):
    """Whether its quotes are `tidy` and `closed` (`Dialect.splits`), and which `line` it begins with, from 1."""

    tidy: bool
    closed: bool = False
    line: int


class Csv(FileSource[CsvConfig]):
    """Columns are matched by name, file by file; each file's quotes are looked through while planning."""

    title: ClassVar[str] = "CSV files"
    config_model = CsvConfig
    partition_model: ClassVar[Any] = FilePart[CsvSlice]
    block: ClassVar[int] = BLOCK

    @cached_property
    def _shapes(self) -> dict[File, Shape]:
        return {}

    def _shape(self, file: File) -> Shape:
        """Of the file as it was planned: the same bytes give the same shape."""
        if file not in self._shapes:
            self._shapes[file] = self._shape_of(file)
        return self._shapes[file]

    @cached_property
    def _data_ends(self) -> dict[File, int | None]:
        return {}

    def _data_end(self, file: File) -> int | None:
        """The byte at which the footer begins, None if there is none. Raises ContractError for too short a file."""
        if file not in self._data_ends:
            self._data_ends[file] = self._before_footer(file) if self.config.skip_footer else None
        return self._data_ends[file]

    def _before_footer(self, file: File) -> int:
        encoding = self._shape(file).encoding
        size = file.size if self.files.at_random(file, encoding) else None
        with self.files.as_utf8(file, encoding) as fill:
            end = before_footer(fill, size, self.config.skip_footer, file.shown)
        if end < self._header(file)[1]:
            raise ContractError(
                f"the footer of the file '{file.shown}' would be its header", do="correct `skip_footer`"
            )
        return end

    def _shape_of(self, file: File) -> Shape:
        setting = self.config
        with self.files.front_to_back(file) as plain:
            head = plain.read(HEAD)
        said = {AUTO: encoding_of, GUESS: guessed}.get(setting.encoding)
        encoding = said(head) if said else setting.encoding
        check_text(head, file, encoding)
        if not said:
            check_said(head, file.shown, encoding, "; or `guess`, which goes by each file's bytes, if the files differ")
        delimiter = setting.delimiter
        if delimiter == AUTO:
            lines = head.decode(encoding, "replace").removeprefix("\ufeff").splitlines(keepends=True)
            delimiter = delimiter_of("".join(self._data_of(lines, len(head))), setting.quote, setting.escape)
        chars = (delimiter, setting.quote, setting.escape or "", setting.comment or "")
        return Shape(encoding, Dialect(*(char.encode() for char in chars)))

    def _data_of(self, lines: list[str], size: int) -> list[str]:
        """Of the first lines of a file those that aren't before the header, comments, or its footer if that is seen."""
        setting, lines = self.config, lines[self.config.skip_lines :]
        if setting.comment:
            lines = [line for line in lines if not line.startswith(setting.comment)]
        if setting.skip_footer and size < HEAD:
            lines = [line for line in lines if line.strip("\r\n")][: -setting.skip_footer]
        return lines

    @property
    def _times(self) -> Times:
        return Times(self.config.date_format, self.config.timestamp_format, self.config.formats)

    @property
    def _numbers(self) -> Numbers:
        return Numbers(self.config.decimal, self.config.thousands)

    def inferred(self, files: Sequence[File]) -> Inferred:
        holding = [file for file in files if file.size]
        if not holding:
            raise ContractError(f"the file '{files[0].shown}' is empty", do="wait for one with at least a header")
        self._check_header(holding[0])
        samples = [self._sample(file) for file in dict.fromkeys((holding[0], holding[-1]))]
        akin(holding[-1].shown, samples[-1].column_names, samples[0].column_names)
        both = pa.concat_tables(samples, promote_options="default")
        nulls = self.config.null_values
        schema = infer(both, nulls, self._numbers, self._times)
        doubles = [field.name for field in schema if pa.types.is_floating(field.type)]
        less = [name for name in doubles if rounded(self._numbers.as_parsed(telling(both.column(name), nulls)))]
        return inferred(schema, both, nulls, self._as_type)._replace(rounded=less)

    def settled(self, schema: pa.Schema) -> None:
        super().settled(schema)
        for name in sorted(self.config.formats.keys() - set(schema.names)):
            do = did_you_mean(name, schema.names)
            raise ConfigError(f"`formats` names a column '{name}' that the files lack", do=do)

    def _as_type(self, name: str, text: pa.Array, kind: pa.DataType) -> Typed:
        """As the column's type were it the sample's word."""
        written = self._times.format_of(name, kind)
        return typed(text, kind, self.config.null_values, self._numbers, sampled=True, written=written)

    def names(self, file: File) -> Sequence[str] | None:
        return self._header(file)[0] if file.size else None

    def cut(self, file: File, pieces: int) -> list[Slice]:
        until = self._data_end(file) if file.size else None
        end = file.size if until is None else until
        whole: Slice = {"start": 0, "end": end, "weight": file.size, "tidy": False, "line": 1}
        if not file.size or self.config.comment or not self.files.at_random(file, self._shape(file).encoding):
            return [whole]
        _, start = self._header(file)
        with self.files.as_utf8(file, self._shape(file).encoding) as fill:
            cuts, tidy, closed = self._shape(file).dialect.splits(fill, start, end, pieces)
            first = 1 + newlines(fill, 0, start)
        bounds = [(0, 1), *((cut.at, first + cut.newlines) for cut in cuts), (end, 0)]
        return [
            {"start": begin, "end": stop, "weight": stop - begin, "tidy": tidy, "closed": closed, "line": line}
            for (begin, line), (stop, _) in pairwise(bounds)
        ]

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        if not file.size:
            return
        names, start = self._header(file)
        encoding, dialect = self._shape(file)
        cut = partial(dialect.cut, tidy=part["tidy"])
        end = part["end"] if self.config.skip_footer or self.files.at_random(file, encoding) else None
        begin, line = max(start, part["start"]), part["line"]
        rows = self._rows(stream, file, names, wanted(stream, schema))
        with self.files.as_utf8(file, encoding) as fill:
            lines = LineNumbers(file.shown, begin, line + newlines(fill, part["start"], begin))
            for block in blocks(fill, begin, end, cut, size=self.block, path=file.shown):
                yield rows.batch(block, lines, closed=part.get("closed", False))

    def record(self, stream: Stream, file: File, schema: pa.Schema) -> Record | None:
        names, _ = self._header(file)
        there = pa.schema([field for field in stream.schema if field.name in schema.names and field.name in names])
        if not there.names:  # which Arrow would take for all
            return None
        rows, dialect = self._rows(stream, file, names, there), self._shape(file).dialect

        def read(block: Block, lines: LineNumbers) -> Batch:
            return rows.batch(block, lines)

        def whole(raw: bytes) -> bytes | None:
            spans, torn = dialect.records(raw, len(raw))
            return raw[slice(*spans[0])] if len(spans) == 1 and torn == len(raw) else None

        return many_rows(read, whole, file.shown)

    def rereads_at_once(self) -> bool:
        return True

    def _rows(self, stream: Stream, file: File, names: list[str], target: pa.Schema) -> Rows:
        inferred, nulls = frozenset(names) - self.config.types.keys(), self.config.null_values
        return Rows(
            self._shape(file).dialect, names, target, nulls, inferred, self._numbers, widening(stream), self._times
        )

    def _sample(self, file: File) -> pa.Table:
        names, start = self._header(file)
        encoding, dialect = self._shape(file)
        rows = Rows(dialect, names, pa.schema([(name, pa.string()) for name in names]), self.config.null_values)
        with self.files.as_utf8(file, encoding) as fill:
            for block in blocks(fill, start, self._data_end(file), dialect.cut, size=SAMPLE, path=file.shown):
                batch = rows.batch(block, LineNumbers(file.shown)).rows
                return pa.Table.from_batches([batch[: self.config.sample_rows]])
        return rows.schema.empty_table()

    def _check_header(self, file: File) -> None:
        """Names that are a person's data would go into messages, policies and the warehouse's columns."""
        setting = self.config
        if not setting.header or setting.column_names or "header" in setting.model_fields_set:
            return
        names, _ = self._header(file)
        values = [str(number) for number, name in enumerate(names, 1) if is_like_a_value(name)]
        if values:
            raise ContractError(
                f"the first record of the file '{file.shown}' doesn't look like names of columns",
                got=f"{len(names):,} cells; column {few(values)} looks like a value, which isn't shown",
                do="set `header: false`, best with `column_names`; or `header: true` if they are names after all",
            )

    def _header(self, file: File) -> tuple[list[str], int]:
        """The file's column names and the byte after its header. Raises ContractError."""
        encoding, dialect = self._shape(file)
        setting = self.config
        with self.files.as_utf8(file, encoding) as fill:
            begin = after_lines(fill, setting.skip_lines, file.shown)
            first, start, end = first_record(fill, dialect, file.shown, begin)
        cells = _cells(first.decode("utf-8", "replace"), dialect.delimiter.decode(), setting, file.shown)
        numbered = [f"column_{index}" for index in range(1, len(cells) + 1)]
        names = [cell or spare for cell, spare in zip(cells, numbered, strict=True)] if setting.header else numbered
        if setting.column_names:
            if len(setting.column_names) != len(cells):
                raise ContractError(
                    f"the file '{file.shown}' has {len(cells)} columns",
                    got=f"{len(setting.column_names)} `column_names`",
                )
            names = setting.column_names
        elif setting.header and setting.duplicate_names is DuplicateNames.NUMBER:
            names = numbered_apart(names)
        counts = Counter(names)
        twice = [str(index) for index, name in enumerate(names, 1) if counts[name] > 1]
        if twice:  # without a header these are data, so they aren't named
            raise ContractError(
                f"the file '{file.shown}' has a column name more than once, in columns {few(twice)}",
                do="set `duplicate_names: number`, or give `column_names`, one for each column",
            )
        return names, end if setting.header else start


def _cells(record: str, delimiter: str, setting: CsvConfig, path: str) -> list[str]:
    reader = stdlib_csv.reader(
        [record],
        delimiter=delimiter,
        quotechar=setting.quote or None,
        escapechar=setting.escape,
        quoting=stdlib_csv.QUOTE_MINIMAL if setting.quote else stdlib_csv.QUOTE_NONE,
    )
    try:
        return next(reader, [])
    except stdlib_csv.Error:  # a cell beyond the parser's limit
        raise ContractError(
            f"the first record of the file '{path}' has a cell that is too long for a name",
            do="check `delimiter`, `quote` and `skip_lines`; or set `header: false` and `column_names`",
        ) from None
