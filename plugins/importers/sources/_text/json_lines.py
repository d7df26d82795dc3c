"""Blocks of JSON objects, one a line, as Arrow tables: what JSON Lines and JSON documents have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import compress, islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from importers.core import untold
from importers.core.model import Reject
from importers.exceptions import ContractError
from importers.sources._text.blocks import Block
from importers.sources._text.json_keys import Keys, parsed, unseen_keys
from importers.sources._text.json_misfits import ROUNDED, is_double, is_unfit, why
from importers.sources._text.json_sample import shown, textual
from importers.sources._types import leaves
from importers.transport.text import BOM, is_in

NULL_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?\s*+null")
"""Arrow 26's parser reads through a null pointer where a block begins so: it is read by line."""
NULL_NEXT = re.compile(rb"\}\s*+null")
"""Where a line is only `null`: Arrow makes a row of nulls of it."""
ELSE_FIRST = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?+|\n)[ \t\r]*+(?:[^ \t\r{]|(?<=[ \t\r])\Z)")
"""Where a line doesn't begin as an object does, as an empty one: then another may have two, and yet there are as many
rows as lines."""
BLANK = b" \t\r\n"
LITTLE = 1 << 16
"""Bytes that Arrow parses where they are, sooner than a thread takes them over and gives them back."""
FEW, FEWEST = 256, 32
"""Lines among which those that don't fit are looked for one by one, where both halves have some, and anyway: alone in
its parser each takes ten times as long, and one that is found by halves is parsed with its neighbours as often as they
are halved."""
CELLS = 4 << 20
"""Values, and nulls in their place, that are made of a block at a time."""
DENSE = 2.0**53
"""Up to here each integer is a double (IEEE 754)."""
DIGITS = re.compile(rb"\d{16}")


class UnknownKeys(StrEnum):
    """The person's word on keys past the sample; a source knows no policy."""

    STOP = "stop"
    IGNORE = "ignore"


def _read(data: memoryview | bytes, options: arrow_json.ParseOptions | None = None) -> pa.Table:
    whole = arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    source = pa.BufferReader(pa.py_buffer(data))
    if len(data) < LITTLE:
        with arrow_json.open_json(source, whole, options) as reader:
            return reader.read_all()
    return arrow_json.read_json(source, whole, options)


SAMPLE = "raise `sample_rows` until the sample shows it"
NOT_UTF8 = "not UTF-8"


class Read(NamedTuple):
    """The rows, the rejects, and at which bytes of the file the rows begin; None: one a line."""

    table: pa.Table
    rejects: list[Reject]
    starts: list[int] | None = None


class Lines:
    """Reads blocks of lines as tables of `schema`: at once if all fit, else without those that don't."""

    def __init__(
        self,
        schema: pa.Schema,
        unknown_keys: UnknownKeys,
        *,
        known: pa.Schema | None = None,
        widest: pa.Schema | None = None,
        shown_by: str = SAMPLE,
        not_utf8: str = NOT_UTF8,
    ) -> None:
        """What is of integers in the schema, and of numbers in the `widest`, is that from the first block on that has
        fractions in it.

        What is `known` beside the schema may be anything, and isn't read, though tables may have columns of it; so is
        what isn't told of objects that are `core.untold`. `shown_by` says what lets a new key be seen, for an error;
        `not_utf8`, why a line isn't read that isn't that.
        """
        self._shown_by, self._not_utf8 = shown_by, not_utf8
        self._stops = unknown_keys is UnknownKeys.STOP
        self._known = pa.struct(list(schema if known is None else known))
        more, all_told = self._known != pa.struct(list(schema)), not untold.is_untold(self._known)
        self._keys = Keys(self._known) if self._stops and (more or not all_told) else None
        self._tries_all = self._stops and more and all_told
        self._wide = self._parsing(pa.schema(untold.told(schema if widest is None else widest)))
        self._take(pa.schema(untold.told(schema)))

    def _take(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._parser = self._parsing(schema)
        # it finds new keys by itself, for which `Keys` takes as long as a parser
        self._whole = _Parser(_with_types_of(self._known, schema), stops=True) if self._tries_all else None

    def _parsing(self, schema: pa.Schema) -> _Parser:
        return _Parser(schema, stops=self._stops and self._keys is None)

    @property
    def most(self) -> int:
        """The rows that a block may have so that no more than so many `CELLS` are made of it."""
        return max(1, CELLS // max(1, len(leaves(self.schema))))

    def read(self, block: Block, places: Callable[[int], str]) -> Read:
        view = block.view
        try:
            if not block.data.isascii():  # what lies behind the block may be anything, and does no harm
                str(view, "utf-8")  # Arrow doesn't look
            if not NULL_FIRST.match(view) and (table := self._at_once(block)) is not None:
                return Read(table, [])
        except (pa.ArrowInvalid, UnicodeDecodeError):
            pass
        return self._one_by_one(block, places)

    def _at_once(self, block: Block) -> pa.Table | None:
        """None, or ArrowInvalid, where some lines are no rows, or have new keys."""
        if self._whole is not None:
            with suppress(pa.ArrowInvalid):
                table = self._whole.table(block.view)
                return table if _has_a_row_a_line(table, block) else None
        table = self._parser.table(block.view)
        if not _has_a_row_a_line(table, block) or not (self._keys is None or self._keys.has_all_of(block.view)):
            return None
        self._tries_all, self._whole = False, None  # what isn't wanted has values of other types: more are to come
        return table

    def _one_by_one(self, block: Block, places: Callable[[int], str]) -> Read:
        lines, rejects, unknown = [], [], []
        may_widen = self._wide.schema != self.schema
        for start, text in _texts(block):
            value = parsed(text)
            if value is None:
                rejects.append((start, text, "not a JSON object" if is_in(text, "utf-8") else self._not_utf8))
                continue
            unknown += [(start, key) for key in islice(unseen_keys(value, self._known), 1)]
            if _rounds(value, self._parser.struct):
                rejects.append((start, text, why(text, self._parser.struct)))
            else:
                lines.append((start, text))
                may_widen = may_widen and not _rounds(value, self._wide.struct)
        if unknown and self._stops:
            raise _unclassified(unknown, places, self._shown_by)
        table, unfit = self._widened(lines) if may_widen else self._parser.fitting(lines)
        rejects += [(start, text, why(text, self._parser.struct)) for start, text in unfit]
        refused = {start for start, _ in unfit}
        starts = [start for start, _ in lines if start not in refused]
        return Read(table, [Reject(text, places(start), reason) for start, text, reason in sorted(rejects)], starts)

    def _widened(self, lines: list[tuple[int, bytes]]) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """What fits the wider schema, of which what is needed is taken from now on; and the lines that don't."""
        table, unfit = self._wide.fitting(lines)
        both = zip(self.schema, table.columns, self._wide.schema.types, strict=True)
        self._take(pa.schema([field.with_type(_needed(values, field.type, wide)) for field, values, wide in both]))
        return table.cast(self.schema), unfit


class _Parser:
    """Arrow's own, for lines of one schema."""

    def __init__(self, schema: pa.Schema, *, stops: bool) -> None:
        self.schema, self.struct = schema, pa.struct(list(schema))
        self._doubles = [field.name for field in schema if _holds(field.type, pa.types.is_float64)]
        self._decimals = [field.name for field in schema if _holds(field.type, pa.types.is_decimal)]
        # It takes a moment with a zone for one without, and the other way round; casts refuse both.
        as_text = pa.schema([field.with_type(textual(field.type)) for field in schema])
        self._times = {field.name: field.type for field in schema if field.type != as_text.field(field.name).type}
        unexpected = "error" if stops else "ignore"
        self._options = arrow_json.ParseOptions(explicit_schema=as_text, unexpected_field_behavior=unexpected)

    def table(self, data: memoryview | bytes) -> pa.Table:
        """Raises ArrowInvalid for what doesn't fit."""
        table = _read(data, self._options)
        if any(_is_huge(table.column(name)) for name in self._doubles) and DIGITS.search(data):
            rows = (parsed(line) for line in bytes(data).split(b"\n") if line.strip())
            if any(row is None or _rounds(row, self.struct) for row in rows):
                raise pa.ArrowInvalid(ROUNDED)
        for name in self._decimals:
            table.column(name).validate(full=True)  # an integer may have more digits than are left before the point
        for name, kind in self._times.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, self.schema.field(name), table.column(place).cast(kind))
        return table

    def fitting(self, lines: list[tuple[int, bytes]]) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """A table of what fits, and the lines that don't."""
        tables, unfit = self._sorted(lines, asked=False)
        return pa.concat_tables(tables) if tables else self.schema.empty_table(), unfit

    def _sorted(self, lines: list[tuple[int, bytes]], *, asked: bool) -> tuple[list[pa.Table], list[tuple[int, bytes]]]:
        """`asked`: each line was looked at by itself, and only the parser knows what is wrong with one."""
        table = self._together(lines)
        return self._apart(lines, asked=asked) if table is None else ([table] if lines else [], [])

    def _together(self, lines: list[tuple[int, bytes]]) -> pa.Table | None:
        """None if any doesn't fit."""
        if not lines:
            return self.schema.empty_table()
        try:
            return self.table(b"\n".join(text for _, text in lines))
        except pa.ArrowInvalid:
            return None

    def _apart(self, lines: list[tuple[int, bytes]], *, asked: bool) -> tuple[list[pa.Table], list[tuple[int, bytes]]]:
        """Of lines that don't all fit."""
        if len(lines) == 1:
            return [], lines
        half = len(lines) // 2
        halves = lines[:half], lines[half:]
        tables = [self._together(each) for each in halves]
        many = all(table is None for table in tables) and len(lines) <= FEW
        if not asked and (many or len(lines) <= FEWEST):
            told = [is_unfit(text, self.struct) for _, text in lines]
            good, more = self._sorted([line for line, bad in zip(lines, told, strict=True) if not bad], asked=True)
            return good, [*compress(lines, told), *more]
        found = [
            self._apart(each, asked=asked) if table is None else ([table], [])
            for each, table in zip(halves, tables, strict=True)
        ]
        return found[0][0] + found[1][0], found[0][1] + found[1][1]


def _needed(values: pa.ChunkedArray, kind: pa.DataType, wide: pa.DataType) -> pa.DataType:
    """The type that the values, which are of the wide one, take: of an object each field's."""
    if kind == wide or _fits(values, kind):
        return kind
    if not pa.types.is_struct(kind):
        return wide
    both = zip(kind, values.flatten(), wide, strict=True)
    return pa.struct([field.with_type(_needed(inner, field.type, other.type)) for field, inner, other in both])


def _fits(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _holds(kind: pa.DataType, of: Callable[[pa.DataType], bool]) -> bool:
    if pa.types.is_struct(kind) or pa.types.is_list(kind):
        return any(_holds(kind.field(number).type, of) for number in range(kind.num_fields))
    return of(kind)


def _is_huge(values: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a double among the values, or within them, is so large that not every integer around it is one."""
    if pa.types.is_struct(values.type):
        return any(map(_is_huge, values.flatten()))
    if pa.types.is_list(values.type):
        return _is_huge(pc.list_flatten(values))
    return pa.types.is_float64(values.type) and bool((pc.max(pc.abs(values)).as_py() or 0.0) >= DENSE)


def _rounds(value: Any, kind: pa.DataType) -> bool:
    """Whether the value has an integer, where the type has a double, that no double is equal to."""
    if isinstance(value, dict) and pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return any(_rounds(inner, fields[key]) for key, inner in value.items() if key in fields)
    if isinstance(value, list) and pa.types.is_list(kind):
        return any(_rounds(inner, kind.value_type) for inner in value)
    return isinstance(value, int) and pa.types.is_float64(kind) and not is_double(value)


def _has_a_row_a_line(table: pa.Table, block: Block) -> bool:
    if table.num_rows != block.lines or not _are_begun(block):
        return False
    return not all(c.null_count for c in table.columns) or not NULL_NEXT.search(block.view)


def _with_types_of(known: Iterable[pa.Field], read: Iterable[pa.Field]) -> pa.Schema:
    """All that is known, in which what is read is of the types that it is read as."""
    kinds = {field.name: field.type for field in read}
    return pa.schema([field.with_type(_of_both(field.type, kinds.get(field.name, field.type))) for field in known])


def _of_both(known: pa.DataType, read: pa.DataType) -> pa.DataType:
    are_objects = pa.types.is_struct(known) and pa.types.is_struct(read)
    return pa.struct(list(_with_types_of(known, read))) if are_objects else read


def _are_begun(block: Block) -> bool:
    """Whether each line begins as an object does."""
    return block.begun_by(ord("{")) == block.lines or not ELSE_FIRST.search(block.view)


def _texts(block: Block) -> Iterator[tuple[int, bytes]]:
    """Where each line starts that isn't blank, and what it says."""
    at = block.offset
    for line in bytes(block.view).split(b"\n"):
        start, at = at, at + len(line) + 1
        text = line.strip(BLANK)
        if text := text.removeprefix(BOM):  # files that were put together each have one
            yield start + len(line) - len(line.lstrip(BLANK)), text


def _unclassified(unknown: Sequence[tuple[int, str]], places: Callable[[int], str], shown_by: str) -> ContractError:
    start, key = unknown[0]
    return ContractError(
        f"{places(start)} has a key that the sample didn't show, so that nobody has classified it",
        got=f"{shown(key)}; in {len(unknown)} line(s) of the first block that has any",
        do=f"{shown_by}, and say in `privacy.columns` what happens to it: it takes both; or set `unknown_keys: ignore` "
        "not to read such keys",
    )
