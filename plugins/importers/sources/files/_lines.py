"""What files of JSON have in common, one object a line or objects in a document."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
from pydantic import Field, field_validator

from importers.core.model import Batch, Reject, Stream
from importers.core.names import few, is_key, is_like_a_value
from importers.core.untold import NAME, told
from importers.core.widening import wider
from importers.exceptions import ContractError
from importers.sources._text.blocks import BLOCK, Block, LineNumbers, one_batch
from importers.sources._text.cells import ARROW, TypeName, arrow_type, typed
from importers.sources._text.json_keys import parsed
from importers.sources._text.json_lines import NOT_UTF8, Lines, UnknownKeys, infer, shape
from importers.sources._text.widening import Typed
from importers.sources._types import is_bare
from importers.sources.files._again import Record, one_row
from importers.sources.files._columns import shown, wanted, widening
from importers.sources.files._files import FileSource
from importers.sources.files._nested import flat, is_flat, nested_schema, rest_of
from importers.sources.files._odd import Inferred, inferred
from importers.sources.files._settings import FileConfig
from importers.transport.files import File
from importers.transport.text import BOM, is_in

READABLE = frozenset(ARROW.values()) - {ARROW[TypeName.DATE]}
"""What JSON's values can be read as."""


class LinesConfig(FileConfig):
    """What is set alike for one object a line and for objects in a document."""

    unknown_keys: UnknownKeys = Field(
        UnknownKeys.STOP,
        description="What to do with an object that has a key the sample didn't show: `stop` the run, since nobody has "
        "classified it, or `ignore` the key, which then isn't read. In what the policy drops no "
        "key stops. A key that the policy names but the sample lacks is an error either way: raise `sample_rows`.",
    )

    @field_validator("types")
    @classmethod
    def _parsable(cls, types: dict[str, str]) -> dict[str, str]:
        if any(arrow_type(kind) == ARROW[TypeName.DATE] for kind in types.values()):
            raise ValueError("JSON has no dates; write timestamp, or leave it a string")
        return types


LinesT = TypeVar("LinesT", bound=LinesConfig)


def said(setting: LinesConfig) -> dict[str, pa.DataType]:
    """The types that the tenant gives, by column or by what is within one."""
    return {path: arrow_type(kind) for path, kind in setting.types.items()}


def types(lines: Sequence[bytes], setting: LinesConfig, path: str, called: Callable[[str], str] = str) -> pa.Schema:
    """What the lines of files hold; `called` says what `types` has for a path within records. Raises ContractError,
    with the path of the first file.
    """
    try:
        return infer(lines, said(setting), called=called, fractions=True)
    except ContractError as error:
        raise error.at(file=path) from None


def first_lines(found: Iterable[Block], setting: FileConfig) -> list[bytes]:
    """The first lines of blocks. Raises what reading them raises."""
    lines: list[bytes] = []
    for block in found:
        lines += (line.removeprefix(BOM) for line in bytes(block.view).splitlines())
        # the default is for quick lines; who asks for many gets them
        if len(lines) >= setting.sample_rows or "sample_rows" not in setting.model_fields_set:
            break
    return lines[: setting.sample_rows]


def objects(found: Sequence[bytes], path: str, do: str) -> list[bytes]:
    """The lines that are objects. Raises ContractError where none is and the encoding is why; `do` mends that."""
    lines = [line for line in found if parsed(line) is not None]
    if not lines and not all(is_in(line, "utf-8") for line in found):
        raise ContractError(f"the file '{path}' isn't UTF-8", got="bytes in its records that no UTF-8 text has", do=do)
    return lines


def by_sample(schema: pa.Schema, lines: Sequence[bytes]) -> Inferred:
    """The schema, and which of its columns would be times but for a few: nothing else is told from text in JSON. Not of
    what is within objects, flattened or not.
    """
    rows = [row for line in lines if (row := parsed(line)) is not None]
    keys = {key for row in rows for key in row}
    names = [field.name for field in schema if pa.types.is_string(field.type) and field.name in keys]
    texts = {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}
    return inferred(schema, pa.table(texts), (), _as_type, (TypeName.TIMESTAMP, TypeName.TIMESTAMP_TZ))


def _text(value: Any) -> str | None:
    """Without halves of characters, which JSON may escape and Arrow doesn't take."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _as_type(_: str, text: pa.Array, kind: pa.DataType) -> Typed:
    return typed(text, kind, (), sampled=True)


def _is_bare_of_names(kind: pa.DataType) -> bool:
    """Whether it is an object that holds nothing, under keys that aren't names."""
    return is_bare(kind) and not all(is_key(field.name) and not _is_bare_of_names(field.type) for field in kind)


def reader(schema: pa.Schema, setting: LinesConfig, stream: Stream, not_utf8: str = NOT_UTF8) -> Lines:
    """For lines that have the keys of the schema, or of what a flat one was made from: of those the stream's columns
    are read, and the others may be anything.
    """
    only = {column.name for column in stream.columns}
    free = widening(stream) - setting.types.keys()
    wide = [field.with_type(wider(field.type) or field.type) if field.name in free else field for field in schema]
    widest = nested_schema(pa.schema(wide, schema.metadata), only)
    known = nested_schema(schema)
    return Lines(nested_schema(schema, only), setting.unknown_keys, known=known, widest=widest, not_utf8=not_utf8)


def one_object(schema: pa.Schema, setting: LinesConfig, stream: Stream, path: str, not_utf8: str = NOT_UTF8) -> Record:
    """What reads an object of a file by itself, if what the stream wants of it fits: else nobody would know whose an
    object is that was no row. Where a new key stops a run, one that has any is read no more.
    """
    said = {field.name: field for field in stream.schema}
    typed = pa.schema([said.get(field.name, field) for field in schema], schema.metadata)
    lines = reader(typed, setting, stream, not_utf8)
    kinds = pa.schema(told(field for field in typed if field.name in said))

    def read(block: Block, numbers: LineNumbers) -> Batch:
        table, rejects, _ = lines.read(block, partial(numbers.place, block))
        return batch(flat(table) if is_flat(schema) else table, kinds, stream, rejects, None)

    return one_row(read, path)


def target(stream: Stream, schema: pa.Schema) -> pa.Schema:
    """The columns that are read, as the plan took them to be: with no more in objects than it tells."""
    return wanted(stream, pa.schema(told(schema)))


def batch(
    table: pa.Table, kinds: pa.Schema, stream: Stream, rejects: Sequence[Reject], places: pa.RecordBatch | None
) -> Batch:
    """The columns of `kinds`, in its types but for those that have been read with wider ones."""
    free = widening(stream)
    fields = [table.schema.field(f.name) if f.name in free else f for f in kinds]
    return Batch(one_batch(table.select(kinds.names).cast(pa.schema(fields))), tuple(rejects), places=places)


class LinesSource(FileSource[LinesT]):
    """Files of objects, which needn't have each key. A format says which of a file's lines are its sample."""

    block: ClassVar[int] = BLOCK
    sampled: ClassVar[frozenset[pa.DataType]] = READABLE
    types_within: ClassVar[bool] = True
    not_utf8: ClassVar[str] = NOT_UTF8
    """Why a record is none whose bytes can't be read."""

    def sparse(self) -> bool:
        return True

    def reads_parts(self) -> bool:
        return True

    @abstractmethod
    def sample(self, file: File) -> list[bytes]:
        """A file's first records, one a line. Raises what reading them raises."""

    def samples(self, files: Sequence[File]) -> list[bytes]:
        """Of the first and the last file."""
        return [line for file in dict.fromkeys((files[0], files[-1])) for line in self.sample(file)]

    def shape(self, files: Sequence[File]) -> pa.Schema:
        return shape(self.samples(files), said(self.config))

    def offered(self, schema: pa.Schema, stream: Stream) -> None:
        seen = {column.name for column in (*stream.columns, *stream.unread)}
        new = [field.name for field in schema if field.name not in seen and not is_bare(field.type)]
        new = [name for name in new if not (NAME in seen and is_like_a_value(name))]  # one of those that aren't told
        if new and self.config.unknown_keys is UnknownKeys.STOP:
            names = [shown(name) for name in new]
            raise ContractError(
                "the files have got a key that they lacked a moment ago, so that nobody has classified it",
                got=few(dict.fromkeys(names)),
                do="run again: then it is looked at; or set `unknown_keys: ignore` not to read such keys",
                stream=stream.name,
            )

    def sealed(self, schema: pa.Schema, stream: Stream) -> pa.Schema:
        """And beside what is read, or told, no key that looks like a value."""
        schema = super().sealed(schema, stream)
        kinds = [field.with_type(pa.null()) if _is_bare_of_names(field.type) else field for field in schema]
        schema = pa.schema(kinds, schema.metadata)
        known = {column.name for column in (*stream.columns, *stream.unread)}
        if NAME in known:
            names = {field.name for field in schema if field.name not in known and not is_bare(field.type)}
            return rest_of(schema, names)
        return rest_of(schema, ()) if is_flat(schema) else schema

    def record(self, stream: Stream, file: File, schema: pa.Schema) -> Record:
        return one_object(schema, self.config, stream, file.shown, self.not_utf8)
