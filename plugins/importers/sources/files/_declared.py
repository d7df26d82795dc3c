"""Formats whose files declare their columns and types: no row is sampled to know them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core import exact
from importers.core.model import Stream
from importers.core.names import few, shown_type
from importers.core.widening import decided, widest
from importers.exceptions import ContractError
from importers.sources._text.cells import arrow_type
from importers.sources._types import retyped, storable
from importers.sources.files._columns import APART, akin
from importers.sources.files._files import FileSource
from importers.sources.files._members import perhaps_beside
from importers.sources.files._odd import Inferred
from importers.sources.files._settings import FilesT
from importers.sources.files._slices import Slice
from importers.transport.files import File

LOOKED_INTO = 20
"""Files of which the footers are read for the type of a column that has no value in the first and the last one."""


class DeclaringFileSource(FileSource[FilesT]):
    """A file's columns may be narrower than the first and last file's together (int32 beside int64)."""

    sampled = frozenset()

    @abstractmethod
    def declared(self, file: File) -> pa.Schema:
        """The file's columns with types that can be stored, or null. Raises ContractError if it isn't whole."""

    _last: tuple[File, pa.Schema] | None = None

    def _declared(self, file: File) -> pa.Schema:
        """As `declared`; a plan asks twice of each file, one after the other."""
        if self._last is None or self._last[0] != file:
            self._last = file, self.declared(file)
        return self._last[1]

    def inferred(self, files: Sequence[File]) -> Inferred:
        return Inferred(self.schema(files))

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The types that hold those of the first and the last file. Raises ContractError if there are none."""
        first, last = self._said(files[0]), self._said(files[-1])
        akin(files[-1].shown, last.names, first.names)
        kinds = {field.name: field.type for field in first}
        for name, kind in zip(last.names, last.types, strict=True):
            kinds[name] = self._both(files[-1], name, kind, kinds[name]) if name in kinds else kind
        return pa.schema(kinds)

    def _said(self, file: File) -> pa.Schema:
        """What the file declares; of the columns of which the tenant says it, their types, which needn't go with it."""
        said = {name: arrow_type(kind) for name, kind in self.config.types.items()}
        return pa.schema([(field.name, said.get(field.name, field.type)) for field in self.declared(file)])

    def completed(self, known: Inferred, files: Sequence[File]) -> Inferred:
        """A column without a value in the first and the last file has the type that one of the latest others says."""
        schema, ends = known.schema, self._ends(files)
        parts = (part for file in reversed(files) if file.size for part in self.files.inside(file))
        for file in islice((part for part in parts if part not in ends), LOOKED_INTO):
            undecided = [field for field in schema if decided(field.type) != field.type]
            if not undecided:
                break
            with perhaps_beside(file):
                there = self.declared(file)
            for field in undecided:
                if field.name in there.names:
                    kind = self._both(file, field.name, there.field(field.name).type, field.type)
                    schema = retyped(schema, field.name, kind)
        return known._replace(schema=schema)

    def notes(self, known: Inferred, stream: Stream) -> tuple[str, ...]:  # noqa: ARG002 - `known` has what is odd
        text = [c.name for c in stream.columns if pa.null() in c.readable_as and exact.is_text(c.type)]
        if not text:
            return ()
        which = f"the column{'s' if len(text) > 1 else ''} {few(text)}"
        return (f"no file says what is in {which}: all is null, and text in the table. Say by `types` what else it is",)

    def readable(self, kind: pa.DataType) -> frozenset[pa.DataType]:
        return frozenset() if decided(kind) == kind else frozenset({kind})

    def names(self, file: File) -> Sequence[str]:
        return list(self._declared(file).names)

    def fits(self, file: File, schema: pa.Schema) -> None:
        for field in self._declared(file):
            if field.name in schema.names and field.name not in self.config.types:
                expected = schema.field(field.name).type
                if self._both(file, field.name, field.type, expected) != expected:
                    raise ContractError(
                        f"the file '{file.shown}' has a wider type than the first and the last file",
                        got=_told(field.name, field.type, expected),
                        do=_advice(field.name, field.type),
                    )

    def _both(self, file: File, name: str, kind: pa.DataType, expected: pa.DataType) -> pa.DataType:
        try:
            return widest(expected, kind)
        except ValueError:
            raise ContractError(
                f"the file '{file.shown}' has a type that doesn't go with that of other files",
                got=_told(name, kind, expected),
                do=_advice(name, kind),
            ) from None


def shared_out(parts: Iterable[Slice], share: float) -> list[Slice]:
    """Neighbours put together until each slice weighs about a share."""
    slices: list[Slice] = []
    for part in parts:
        if slices and slices[-1]["weight"] + part["weight"] / 2 <= share:
            slices[-1] |= {"end": part["end"], "weight": slices[-1]["weight"] + part["weight"]}
        else:
            slices.append(part)
    return slices


def plain(rows: pa.RecordBatch, target: pa.Schema) -> pa.RecordBatch:
    """The target's columns of the rows, with no dictionaries and views, which Arrow can't take rows of."""
    columns = [_plain(rows.column(field.name), field.type) for field in target]
    return pa.RecordBatch.from_arrays(columns, names=target.names)


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """What has no value, as the type has it: of an object that is sliced Arrow makes of nulls too few."""
    return column.cast(decided(storable(column.type), kind))


def typed(rows: pa.RecordBatch, target: pa.Schema, path: str) -> pa.RecordBatch:
    """The target's columns of the rows; a dictionary of texts stays one, and texts that are views stay so. Raises
    ContractError for a value that isn't exactly of its column's type.
    """
    columns = [_typed(rows.column(field.name), field, path) for field in target]
    return pa.RecordBatch.from_arrays(columns, names=target.names)


def _typed(column: pa.Array, field: pa.Field, path: str) -> pa.Array:
    kind = field.type
    if exact.is_text(column.type) and exact.is_text(kind):
        return column if t.is_string_view(column.type) and t.is_string(kind) else column.cast(kind)
    try:
        if t.is_dictionary(column.type) and exact.is_text(column.type.value_type) and exact.is_text(kind):
            return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(kind), safe=False)
        values = _plain(column, kind)
        if values.type == kind:
            return values
        if t.is_nested(kind):  # in which no type is the tenant's word: Arrow refuses what `widest` says
            return values.cast(kind)
        found = _as_said(values, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unfit(path, column.type, field) from None
    if exact.lost(values, found).any():
        raise _unfit(path, column.type, field)
    return found


def _as_said(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """As `exact.exactly`; and where the tenant says so, what has no zone is UTC's, 0 and 1 are false and true."""
    came = values.type
    if exact.is_text(came) and t.is_boolean(kind):
        return exact.cast_or_null(values, kind)
    moments = all(t.is_timestamp(each) or t.is_date(each) for each in (came, kind))
    truths = all(t.is_boolean(each) or t.is_integer(each) for each in (came, kind))
    if exact.akin(came, kind) or not (moments or truths):
        return exact.exactly(values, kind)
    found = exact.cast_or_null(values, kind)
    return pc.if_else(pc.equal(exact.cast_or_null(found, came), values), found, pa.scalar(None, kind))


def _unfit(path: str, kind: pa.DataType, field: pa.Field) -> ContractError:
    return ContractError(
        f"a value of the file '{path}' doesn't fit its column's type",
        got=_told(field.name, kind, field.type),
        do=_advice(field.name, kind),
    )


def _told(name: str, kind: pa.DataType, expected: pa.DataType) -> str:
    return f"{name} {shown_type(kind)}, expected {shown_type(expected)}"


def _advice(name: str, kind: pa.DataType) -> str:
    said = f"say by `types` what it is: the type that the table has, or `{{{name}: string}}`, which holds them all; or "
    return f"{'' if t.is_nested(kind) else said}give files of other types {APART}"
