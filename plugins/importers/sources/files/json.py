"""JSON documents: an array of objects, or one object, somewhere in the document; or several arrays, each a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cached_property, partial
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from importers.core.model import JSON, Batch, Plan, Position, Reject, Stream, Window
from importers.core.names import as_name
from importers.core.places import numbered, stretch
from importers.exceptions import ContractError
from importers.sources._text.blocks import Block, of_few
from importers.sources.files._detect import BEGINNING, HEAD, check_said, check_text
from importers.sources.files._json_documents import Document
from importers.sources.files._lines import (
    LinesConfig,
    LinesSource,
    batch,
    by_sample,
    check_encoded,
    first_lines,
    reader,
    target,
)
from importers.sources.files._nested import flat, flat_path, flat_schema, is_flat
from importers.sources.files._odd import Inferred
from importers.sources.files._slices import Slice
from importers.transport.files import File
from importers.transport.text import Fill, text_encoding

SAMPLE = 1 << 20
SET_ENCODING = "set `encoding`, to `cp1252` for example"
NOT_ENCODED = f"not in the file's encoding: {SET_ENCODING}"


class Nested(StrEnum):
    """What becomes of objects inside of records."""

    STRUCT = "struct"
    FLATTEN = "flatten"


class JsonConfig(LinesConfig):
    """A document is read in blocks, a record is held whole: up to 64 MiB.

    `types` reaches what is within objects and lists, too: `user.age`, `items[].price`; of what is flattened, the
    columns.

    JSON has no dates: a day is a `timestamp`, or text. A number in quotes is text, neither `integer` nor `number`; a
    `decimal` takes both. A fraction is a double, so that 99999999999999.99 is rounded, unless `types` says `decimal`.
    A column of which all texts are times as ISO 8601 writes them, with a zone or all without, is one of times, if none
    has more than six digits after the second; what is within objects stays text.

    Where the values of the sample are of several types in one place, a number here and text there, the usual one is
    taken if it is that of nine in ten, and each run tells of the others; else the column can be dropped, or `types`
    says which it is, unless the table has it already. What doesn't fit goes to quarantine.

    Of a column that the policy drops nothing is read, whatever is in it, of whatever type; what it drops by name within
    an object of which it keeps something has to be of its type. An object with more than 1,600 keys in the sample, over
    all records, as where the keys are ids, days or persons, can only be dropped: have it written as a list of objects,
    with a key and a value each.
    """

    records: str | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = Field(
        "",
        description="The keys that lead to the records, such as `data.items`; none for the whole document. "
        "An object in place of an array is one record. Of an object of arrays a list: `[orders, data.customers]` are "
        "the streams `orders` and `customers`, whose columns `types` names as `orders.total`. What isn't named isn't "
        "read.",
        examples=["data.items", ["orders", "customers"]],
    )
    nested: Nested = Field(
        Nested.STRUCT,
        description="What becomes of objects in a record: a `struct`, whose leaves the policy names as `user.email`, "
        "or `flatten` them into columns such as `user_email`. Lists stay lists.",
    )
    encoding: Annotated[str, AfterValidator(text_encoding)] | None = Field(
        None, description="How the text is written; by default UTF-8, -16 or -32, as the first bytes say."
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if isinstance(self.records, list):
            names = [stream_of(path) for path in self.records]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(
                    f"two of `records` would be the stream '{twice}': read one of them by a pipeline of its own"
                )
            if self.stream:
                raise ValueError("`stream` is for one array: each of several is called by its last key")
            lost = next((name for name in self.types if name.partition(".")[0] not in names or "." not in name), None)
            if lost:
                raise ValueError(
                    f"`types` names '{lost}': of several arrays write STREAM.COLUMN, as `{names[0]}.amount`"
                )
        return self

    def of_one(self, path: str, stream: str) -> Self:
        """The settings of one of several arrays: `orders.total` in `types` is the column `total` of `orders`."""
        parts = ((*name.partition("."), kind) for name, kind in self.types.items())
        types = {column: kind for of, _, column, kind in parts if of == stream}
        return self.model_copy(update={"records": path, "stream": stream, "types": types})


def stream_of(path: str) -> str:
    """The stream that an array is, by the last of the keys that lead to it."""
    return as_name(path.rpartition(".")[2])


class Json(LinesSource[JsonConfig]):
    """The sample's keys are the columns. A document that isn't whole, or has a comma too many, stops the run before
    anything is loaded.
    """

    title: ClassVar[str] = "JSON documents"
    config_model = JsonConfig
    not_utf8 = NOT_ENCODED

    @cached_property
    def _arrays(self) -> Mapping[str, Json]:
        """By stream what reads that array alone; nothing where the settings name one place."""
        paths = self.config.records if isinstance(self.config.records, list) else []
        said = {stream_of(path): path for path in paths}
        return {name: self._of(self.config.of_one(path, name)) for name, path in said.items()}

    def _of(self, config: JsonConfig) -> Json:
        return type(self)(config, tenant=self.tenant, connection=self.connection, pipeline=self.pipeline)

    def close(self) -> None:
        for array in self.__dict__.pop("_arrays", {}).values():
            array.close()
        super().close()

    def reach(self) -> str:
        found = [array.reach() for array in self._arrays.values()]
        return found[0] if found else super().reach()

    def named(self) -> Sequence[str]:
        return list(self._arrays) or super().named()

    def streams(self) -> Sequence[Stream]:
        if not self._arrays:
            return super().streams()
        return [stream for array in self._arrays.values() for stream in array.streams()]

    def delivered(self, stream: Stream, window: Window, position: Position) -> Stream:
        array = self._arrays.get(stream.name)
        return array.delivered(stream, window, position) if array else super().delivered(stream, window, position)

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        array = self._arrays.get(stream.name)
        return array.plan(stream, window, position) if array else super().plan(stream, window, position)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        array = self._arrays.get(stream.name)
        return array.read(stream, partition) if array else super().read(stream, partition)

    def reread(self, stream: Stream, partition: JSON, rejects: Sequence[Reject]) -> Sequence[pa.RecordBatch | None]:
        array = self._arrays.get(stream.name)
        return array.reread(stream, partition, rejects) if array else super().reread(stream, partition, rejects)

    def called(self, path: str) -> str:
        return flat_path(path) if self.config.nested is Nested.FLATTEN else path

    def inferred(self, files: Sequence[File]) -> Inferred:
        rows, others = self.samples(files)
        if not rows and not others:
            raise ContractError(
                f"the file '{files[0].shown}' has no records, so that nothing says which columns there are",
                do="wait for one that has some: beside it a file without any is read as no rows; or correct `records`",
            )
        if not rows:
            check_encoded(others, files[0].shown, SET_ENCODING)
            raise ContractError(
                f"the file '{files[0].shown}' has no objects where its records are looked for", do="correct `records`"
            )
        found = self.told(rows, files[0].shown)
        return by_sample(found, self._flattened(found.schema, files), rows)

    def shape(self, files: Sequence[File]) -> pa.Schema | None:
        found = super().shape(files)
        return None if found is None else self._flattened(found, files)

    def _flattened(self, schema: pa.Schema, files: Sequence[File]) -> pa.Schema:
        return flat_schema(schema, files[0].shown) if self.config.nested is Nested.FLATTEN else schema

    def cut(self, file: File, pieces: int) -> list[Slice]:  # noqa: ARG002 - where a record begins is only known by reading
        return [{"start": 0, "end": None, "weight": file.size}]

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:  # noqa: ARG002 - it is the whole
        lines, kinds = reader(schema, self.config, stream, self.not_utf8), target(stream, schema)
        with self._text(file) as fill:
            records = _Records(file.shown)
            for block in of_few(self._document(file, fill).blocks(self.block), lines.most):
                table, rejects, starts = lines.read(block, partial(records.place, block))
                table = flat(table) if is_flat(schema) else table
                yield batch(table, kinds, stream, rejects, records.of(block, table.num_rows, starts))

    def _document(self, file: File, fill: Fill) -> Document:
        records = self.config.records
        return Document(fill, file.shown, records.split(".") if isinstance(records, str) and records else [])

    @contextmanager
    def _text(self, file: File) -> Iterator[Fill]:
        with self.files.front_to_back(file) as raw:
            head = raw.read(HEAD)
        encoding = self.config.encoding or json.detect_encoding(head[:4])
        check_text(head[:BEGINNING], file, encoding)
        if self.config.encoding:
            check_said(head, file.shown, encoding)
        with self.files.as_utf8(file, encoding) as fill:
            yield fill

    def sample(self, file: File) -> list[bytes]:
        with self._text(file) as fill:
            return first_lines(self._document(file, fill).blocks(SAMPLE), self.config)


class _Records:
    """Which record of the document what is read stands in, counted from 1; a block has one a line."""

    def __init__(self, path: str) -> None:
        self._path, self._first = f"{path}:record ", 1

    def place(self, block: Block, offset: int) -> str:
        """Of a byte of the document that is in the block, before `of` is asked for the block's rows."""
        return f"{self._path}{self._first + int(np.searchsorted(block.ends, offset - block.offset))}"

    def of(self, block: Block, rows: int, starts: Sequence[int] | None) -> pa.RecordBatch:
        first = self._first
        if starts is None:
            self._first += rows
            return stretch(self._path, first)
        self._first += block.lines
        return numbered(self._path, np.searchsorted(block.ends, np.array(starts, np.int64) - block.offset) + first)
