"""CSV files: delimited text, quoted the RFC 4180 way."""

from __future__ import annotations

import codecs
import csv as stdlib_csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Annotated, ClassVar, Self

import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from importers.core.model import Batch, Stream
from importers.core.names import is_like_a_value
from importers.exceptions import ContractError
from importers.sources.files._blocks import BLOCK, Places, blocks
from importers.sources.files._cells import infer
from importers.sources.files._files import FileConfig, FileSource, Slice, same_columns, wanted
from importers.sources.files._records import Dialect
from importers.sources.files._rows import Rows
from importers.transport.files import File
from importers.transport.text import BOM, Fill

SAMPLE = 1 << 20
ONE_BYTE = r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$"


def _text_encoding(name: str) -> str:
    try:
        "a".encode(name)
    except LookupError:
        raise ValueError("isn't an encoding; write utf-8, latin-1, cp1252, utf-16 …") from None
    return codecs.lookup(name).name


class CsvConfig(FileConfig):
    """Every file of the source has the same shape."""

    delimiter: str = Field(",", pattern=ONE_BYTE, description="What stands between two cells; `\\t` for TSV.")
    quote: str = Field(
        '"',
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]?$",
        description="What text that holds a delimiter, a quote or a newline stands in; empty for none.",
    )
    escape: str | None = Field(None, pattern=ONE_BYTE, description="What makes the next character plain, if anything.")
    encoding: Annotated[str, AfterValidator(_text_encoding)] = Field("utf-8", description="How the text is written.")
    header: bool = Field(True, description="Whether the first record names the columns.")
    column_names: list[str] | None = Field(
        None, min_length=1, description="Names of the columns, instead of the header's or for want of one."
    )
    null_values: list[str] = Field([""], description="What an unquoted cell holds that has no value.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        chars = [self.delimiter, self.quote, self.escape]
        if len(set(chars)) < len(chars):
            raise ValueError("delimiter, quote and escape must differ")
        if self.column_names and len(set(self.column_names)) < len(self.column_names):
            raise ValueError("`column_names` has a name twice")
        return self


class Csv(FileSource[CsvConfig]):
    """Columns are matched by name, file by file; each file's quotes are looked through while planning."""

    title: ClassVar[str] = "CSV files"
    config_model = CsvConfig
    block: ClassVar[int] = BLOCK

    @property
    def dialect(self) -> Dialect:
        setting = self.config
        return Dialect(setting.delimiter.encode(), setting.quote.encode(), (setting.escape or "").encode())

    def schema(self, files: Sequence[File]) -> pa.Schema:
        holding = [file for file in files if file.size]
        if not holding:
            raise ContractError(f"the file '{files[0].path}' is empty", do="wait for one with at least a header")
        self._check_header(holding[0])
        first, last = self._sample(holding[0]), self._sample(holding[-1])
        same_columns(holding[-1].path, last.column_names, first.column_names)
        return infer(pa.concat_tables([first, last.select(first.column_names)]), self.config.null_values)

    def fits(self, file: File, schema: pa.Schema) -> None:
        if file.size:
            same_columns(file.path, self._header(file)[0], schema.names)

    def cut(self, file: File, pieces: int) -> list[Slice]:
        whole: Slice = {"start": 0, "end": file.size, "weight": file.size, "tidy": False}
        if not file.size or not self.files.at_random(file, self.config.encoding):
            return [whole]
        _, start = self._header(file)
        with self.files.as_utf8(file, self.config.encoding) as fill:
            cuts, tidy = self.dialect.splits(fill, start, file.size, pieces)
        bounds = [0, *cuts, file.size]
        return [{"start": begin, "end": end, "weight": end - begin, "tidy": tidy} for begin, end in pairwise(bounds)]

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        if not file.size:
            return
        names, start = self._header(file)
        cut = partial(self.dialect.cut, tidy=part["tidy"])
        end = part["end"] if self.files.at_random(file, self.config.encoding) else None
        with (
            self.files.as_utf8(file, self.config.encoding) as fill,
            self.files.as_utf8(file, self.config.encoding) as again,
        ):
            inferred = frozenset(names) - self.config.types.keys()
            rows = Rows(self.dialect, names, wanted(stream, schema), self.config.null_values, inferred)
            places = Places(file.path, again, by_line=part["start"] == 0)
            for block in blocks(fill, max(start, part["start"]), end, cut, size=self.block, path=file.path):
                yield rows.batch(block, places)

    def _sample(self, file: File) -> pa.Table:
        names, start = self._header(file)
        rows = Rows(self.dialect, names, pa.schema([(name, pa.string()) for name in names]), self.config.null_values)
        with self.files.as_utf8(file, self.config.encoding) as fill:
            for block in blocks(fill, start, None, self.dialect.cut, size=SAMPLE, path=file.path):
                batch = rows.batch(block, Places(file.path, fill, by_line=False)).rows
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
                f"the first record of the file '{file.path}' doesn't look like names of columns",
                got=f"{len(names)} cells; column {', '.join(values)} looks like a value, which isn't shown",
                do="set `header: false`, best with `column_names`; or `header: true` if they are names after all",
            )

    def _header(self, file: File) -> tuple[list[str], int]:
        """The file's column names and the byte after its header. Raises ContractError."""
        with self.files.as_utf8(file, self.config.encoding) as fill:
            first, start, end = _first_record(fill, self.dialect, file.path)
        setting = self.config
        text = first.decode("utf-8", "replace")
        cells = next(
            stdlib_csv.reader(
                [text],
                delimiter=setting.delimiter,
                quotechar=setting.quote or None,
                escapechar=setting.escape,
                quoting=stdlib_csv.QUOTE_MINIMAL if setting.quote else stdlib_csv.QUOTE_NONE,
            ),
            [],
        )
        numbered = [f"column_{index}" for index in range(1, len(cells) + 1)]
        names = [cell or spare for cell, spare in zip(cells, numbered, strict=True)] if setting.header else numbered
        if setting.column_names:
            if len(setting.column_names) != len(cells):
                raise ContractError(
                    f"the file '{file.path}' has {len(cells)} columns",
                    got=f"{len(setting.column_names)} `column_names`",
                )
            names = setting.column_names
        twice = [str(index) for index, name in enumerate(names, 1) if names.count(name) > 1]
        if twice:  # without a header these are data, so they aren't named
            raise ContractError(
                f"the file '{file.path}' has a column name more than once, in columns {', '.join(twice)}",
                do="give `column_names`, one for each column",
            )
        return names, end if setting.header else start


def _first_record(fill: Fill, dialect: Dialect, path: str) -> tuple[bytes, int, int]:
    """The first record that isn't an empty line, where it begins (after a byte order mark) and where it ends."""
    for block in blocks(fill, 0, None, dialect.cut, size=1 << 12, path=path):
        start = len(BOM) if block.offset == 0 and block.data.startswith(BOM) else 0
        data = bytes(block.view)[start:]
        found, _ = dialect.records(data, len(data))
        if found:
            begin, end = found[0]
            return data[begin:end], block.offset + start + begin, block.offset + start + end
        if block.torn:
            raise ContractError(f"the header of the file '{path}' has a quote that is never closed")
    raise ContractError(f"the file '{path}' is empty", do="wait for one with at least a header")
