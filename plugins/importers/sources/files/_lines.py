"""What files of JSON have in common, one object a line or objects in a document."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import pyarrow as pa
from pydantic import Field, field_validator

from importers.core.model import Batch, Reject, Stream
from importers.core.names import few, is_key, is_like_a_value
from importers.core.untold import NAME, is_untold, told
from importers.core.widening import wider
from importers.exceptions import ContractError
from importers.sources._text.blocks import BLOCK, Block, LineNumbers, one_batch
from importers.sources._text.cells import ARROW, TypeName, arrow_type, typed
from importers.sources._text.json_keys import sampled
from importers.sources._text.json_lines import NOT_UTF8, Lines, UnknownKeys
from importers.sources._text.json_sample import Told
from importers.sources._text.json_sample import shown as seen
from importers.sources._text.json_sample import told as told_of
from importers.sources._text.widening import Typed
from importers.sources._types import is_bare, within
from importers.sources.files._again import Record, many_rows
from importers.sources.files._columns import shown, wanted, widening
from importers.sources.files._files import FileSource
from importers.sources.files._nested import flat, is_flat, nested_schema, rest_of
from importers.sources.files._odd import Inferred, inferred
from importers.sources.files._settings import FileConfig
from importers.transport.files import File
from importers.transport.text import BOM, is_in

READABLE = frozenset(ARROW.values()) - {ARROW[TypeName.DATE]}
"""What JSON's values can be read as."""


KEPT = 4
"""Files whose sample is kept: the first and the last of all, and of those that a run reads."""
ODD = 10
"""Places of several types that are told each by itself."""


class Sampled(NamedTuple):
    """Records of files: those that are objects, and the lines that are none."""

    rows: list[dict[str, Any]]
    others: list[bytes]


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


def first_lines(found: Iterable[Block], setting: FileConfig) -> list[bytes]:
    """The first lines of blocks. Raises what reading them raises."""
    lines: list[bytes] = []
    for block in found:
        lines += (line.removeprefix(BOM) for line in bytes(block.view).splitlines())
        # the default is for quick lines; who asks for many gets them
        if len(lines) >= setting.sample_rows or "sample_rows" not in setting.model_fields_set:
            break
    return lines[: setting.sample_rows]


def check_encoded(others: Sequence[bytes], path: str, do: str) -> None:
    """Raises ContractError for lines that are no objects if their encoding is why; `do` mends that."""
    if not all(is_in(line, "utf-8") for line in others):
        raise ContractError(f"the file '{path}' isn't UTF-8", got="bytes in its records that no UTF-8 text has", do=do)


def by_sample(found: Told, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> Inferred:
    """The schema of what was found, and which of its columns would be times but for a few: nothing else is told from
    text in JSON. Not of what is within objects, flattened or not.
    """
    keys = set(found.schema.names)
    names = [field.name for field in schema if pa.types.is_string(field.type) and field.name in keys]
    texts = {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}
    of_text = inferred(schema, pa.table(texts), (), _as_type, (TypeName.TIMESTAMP, TypeName.TIMESTAMP_TZ))
    return of_text._replace(untold=found.untold, mixed=found.odd)


def _of_several_types(known: Inferred, stream: Stream) -> tuple[str, ...]:
    """What is to be said of the stream's columns in which the sample has values of several types."""
    found = []
    for column in stream.columns:
        for path, what in within(known.mixed, column.name).items():
            found.append(
                f"'{seen(path)}' is {what}, in the sample: the first are read, and the records with others go to "
                "quarantine. Let the writer settle on one, or say by `types` which it is"
            )
        for path, why in within(known.untold, column.name).items():
            if is_untold(column.type):
                found.append(f"'{seen(path)}' isn't read: {why.what}. {why.do[0].upper()}{why.do[1:]}")
            elif why.settled:
                found.append(
                    f"'{seen(path)}' is read as before, though {why.what}: what doesn't fit goes to quarantine"
                )
    return (
        (*found[:ODD], f"and {len(found) - ODD:,} more places are of several types")
        if len(found) > ODD
        else tuple(found)
    )


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


def objects(schema: pa.Schema, setting: LinesConfig, stream: Stream, path: str, not_utf8: str = NOT_UTF8) -> Record:
    """What reads objects of a file by themselves, if what the stream wants of them fits: else nobody would know whose
    an object is that was no row. Where a new key stops a run, one that has any is read no more.
    """
    said = {field.name: field for field in stream.schema}
    typed = pa.schema([said.get(field.name, field) for field in schema], schema.metadata)
    lines = reader(typed, setting, stream, not_utf8)
    kinds = pa.schema(told(field for field in typed if field.name in said))

    def read(block: Block, numbers: LineNumbers) -> Batch:
        table, rejects, _ = lines.read(block, partial(numbers.place, block))
        return batch(flat(table) if is_flat(schema) else table, kinds, stream, rejects, None)

    return many_rows(read, lambda raw: raw if raw and b"\n" not in raw else None, path)


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

    def called(self, path: str) -> str:
        """What a path within records is called in a stream."""
        return path

    def samples(self, files: Sequence[File]) -> Sampled:
        """Of the first and the last file."""
        found = [self._sampled(file) for file in dict.fromkeys((files[0], files[-1]))]
        return Sampled([row for one in found for row in one.rows], [line for one in found for line in one.others])

    def _sampled(self, file: File) -> Sampled:
        """Each file's is parsed once, for what is offered, and for what a run reads."""
        kept = self._kept
        if file not in kept:
            while len(kept) >= KEPT:
                del kept[next(iter(kept))]
            read = [(line, sampled(line)) for line in self.sample(file)]
            kept[file] = Sampled([row for _, row in read if row is not None], [of for of, row in read if row is None])
        return kept[file]

    @cached_property
    def _kept(self) -> dict[File, Sampled]:
        return {}

    def close(self) -> None:
        self.__dict__.pop("_kept", None)
        super().close()

    def told(self, rows: Sequence[Mapping[str, Any]], path: str) -> Told:
        """What the rows of files hold. Raises ContractError, with the path of the first file."""
        try:
            return told_of(rows, said(self.config), called=self.called, fractions=True)
        except ContractError as error:
            raise error.at(file=path) from None

    def shape(self, files: Sequence[File]) -> pa.Schema | None:
        rows = self.samples(files).rows
        return self.told(rows, files[0].shown).schema if rows else None

    def notes(self, known: Inferred, stream: Stream) -> tuple[str, ...]:
        return *super().notes(known, stream), *_of_several_types(known, stream)

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

    def rereads_at_once(self) -> bool:
        return True

    def record(self, stream: Stream, file: File, schema: pa.Schema) -> Record:
        return objects(schema, self.config, stream, file.shown, self.not_utf8)
