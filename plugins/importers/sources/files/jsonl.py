"""JSON Lines: one object a line. Nested objects stay nested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from importers.core.model import Batch, Stream
from importers.exceptions import ContractError
from importers.sources._text.blocks import Block, LineNumbers, Positions, blocks, of_few
from importers.sources.files._detect import BEGINNING, check_text
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
from importers.sources.files._odd import Inferred
from importers.sources.files._slices import Slice
from importers.transport.files import File
from importers.transport.text import Fill

SAMPLE = 1 << 20


class JsonlConfig(LinesConfig):
    """`types` reaches what is within objects and lists, too: `user.age`, `items[].price`.

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


class Jsonl(LinesSource[JsonlConfig]):
    """The sample's keys are the columns: a line with another key stops the run, since nobody classified it."""

    title: ClassVar[str] = "JSON Lines files"
    config_model = JsonlConfig

    def inferred(self, files: Sequence[File]) -> Inferred:
        rows, others = self.samples(files)
        if not rows:
            check_encoded(others, files[0].shown, "have it written in UTF-8")
            raise ContractError(f"the file '{files[0].shown}' starts without a JSON object", do="check its format")
        found = self.told(rows, files[0].shown)
        return by_sample(found, found.schema, rows)

    def cut(self, file: File, pieces: int) -> list[Slice]:
        if not self.files.at_random(file):
            return [{"start": 0, "end": None, "weight": file.size}]
        bounds = [0]
        with self.files.as_utf8(file) as fill:
            for piece in range(1, pieces):
                bounds.append(_next_line(fill, max(bounds[-1], file.size * piece // pieces), file.size))
        bounds.append(file.size)
        return [{"start": start, "end": end, "weight": end - start} for start, end in pairwise(bounds) if start < end]

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        lines, kinds = reader(schema, self.config, stream), target(stream, schema)
        with self.files.as_utf8(file) as fill:
            begin = part["start"]
            numbers = LineNumbers(file.shown, begin, None if begin else 1)
            found = blocks(fill, begin, part["end"], cut_lines, size=self.block, path=file.shown)
            for block in of_few(found, lines.most):
                table, rejects, starts = lines.read(block, partial(numbers.place, block))
                where = numbers.of(block, table.num_rows, partial(_within, block, starts or ()))
                yield batch(table, kinds, stream, rejects, where)

    def sample(self, file: File) -> list[bytes]:
        with self.files.front_to_back(file) as plain:
            head = plain.read(BEGINNING)
        check_text(head, file, "utf-8", settable=False)
        with self.files.as_utf8(file) as fill:
            return first_lines(blocks(fill, 0, None, cut_lines, size=SAMPLE, path=file.shown), self.config)


def _within(block: Block, starts: Sequence[int]) -> Positions:
    """The same bytes, counted from the block's first."""
    return np.array(starts, np.int64) - block.offset


def cut_lines(data: bytearray, length: int, *, final: bool) -> int:
    """A newline inside a JSON string is always escaped: every one in the file ends a line."""
    return length if final else data.rfind(b"\n", 0, length) + 1


def _next_line(fill: Fill, at: int, size: int) -> int:
    data = bytearray(1 << 16)
    while at < size:
        got = fill(memoryview(data), at)
        if found := data.find(b"\n", 0, got) + 1:
            return at + found
        at += got
    return size
