"""Avro files (object containers), by block."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from pydantic import Field

from importers.core.model import Batch, Stream
from importers.core.places import stretch
from importers.core.registry import optional
from importers.exceptions import ConfigError, ContractError
from importers.sources._avro import blocks as ocf
from importers.sources._avro.schema import Node, Parser, wire_schema
from importers.sources._text.blocks import one_batch
from importers.sources._types import storable
from importers.sources.files._avro_resolve import resolved
from importers.sources.files._columns import wanted
from importers.sources.files._declared import DeclaringFileSource, shared_out, typed
from importers.sources.files._settings import FileConfig
from importers.sources.files._slices import Slice
from importers.transport.files import File, Files

GROUP = 4 << 20
"""Bytes of unpacked records that are decoded at once."""


class AvroConfig(FileConfig):
    """Types come from the schema in each file: no row is sampled, and `sample_rows` means nothing here.

    Files whose types have none that holds both exactly, such as numbers and texts, are read once `types` says what the
    column is: each value as it would be written. One that isn't exactly of that type (the code 007 as an `integer`)
    stops the run. A time without a zone is then taken for UTC's. A column that is null in all files is text until
    `types`, or a file, says otherwise.
    """

    reader_schema: str | dict[str, Any] | None = Field(
        None,
        description="The schema to read all files by, whichever they were written with: a path to an .avsc file, or "
        "the schema itself. Fields are matched by name and alias, new ones take their default, types are promoted, as "
        "the specification's schema resolution says. A decimal, time or timestamp is what was written, in the scale or "
        "unit of this schema; a value that isn't exactly one of both stops the run.",
        examples=["schemas/plays.avsc"],
    )


class Avro(DeclaringFileSource[AvroConfig]):
    """Maps, enums, unions and logical types become columns; of a union of several types each has its own.

    A file's columns may be narrower than the first and last file's together (int beside long, days beside times).
    """

    title: ClassVar[str] = "Avro files"
    extra: ClassVar[str | None] = "avro"
    config_model = AvroConfig

    def declared(self, file: File) -> pa.Schema:
        return pa.schema([(child.name, storable(child.node.type)) for child in self._described(file).children])

    def cut(self, file: File, pieces: int) -> list[Slice]:
        if pieces == 1 or not self.files.at_random(file):
            return [{"start": 0, "end": None, "weight": file.size}]
        with _container(self.files, file) as (raw, header):
            blocks = ({"start": b.at, "end": b.end, "weight": b.end - b.at} for b in ocf.blocks(raw, header))
            return shared_out(blocks, file.size / pieces)

    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        target = wanted(stream, schema)
        with _container(self.files, file) as (raw, header):
            decoder = _Decoder(Parser(file.shown).parse(header.schema), self._reader, target.names, file.shown)
            # records before a slice that begins later aren't counted: it would mean to look at every block before it
            place = f"{file.shown}:record " if part["start"] == 0 else f"{file.shown}@byte {part['start']}, record "
            number = 1
            for rows, data in _groups(raw, header, part):
                found = typed(one_batch(decoder.table(rows, data)), target, file.shown)
                yield Batch(found, places=stretch(place, number))
                number += rows

    def _described(self, file: File) -> Node:
        if self._reader:
            return self._reader
        with _container(self.files, file) as (_, header):
            return Parser(file.shown).parse(header.schema)

    @property
    def _reader(self) -> Node | None:
        said = self.config.reader_schema
        if said is None:
            return None
        if isinstance(said, dict):
            return Parser("reader_schema").parse_said(said)
        place = Path(said).expanduser()
        self.roots.check(str(place))
        try:
            return Parser(said).parse(place.read_bytes())
        except OSError:
            raise ConfigError(f"`reader_schema` names a file '{said}' that can't be read", do="correct it") from None


@contextmanager
def _container(files: Files, file: File) -> Iterator[tuple[pa.NativeFile, ocf.Header]]:
    with files.opened(file) as raw:
        try:
            header = ocf.header(raw)
            if header.codec not in ocf.CODECS:
                raise ContractError(
                    f"the file '{file.shown}' is packed by a codec that Avro doesn't know",
                    do=f"have it written with one of {', '.join(ocf.CODECS)}",
                )
            yield raw, header
        except ocf.Broken as broken:
            raise ContractError(
                f"the file '{file.shown}' isn't a whole Avro file: {broken}",
                got=f"{file.size:,} bytes",
                do="have it written again; let writers rename a finished file into place",
            ) from None


def _groups(raw: pa.NativeFile, header: ocf.Header, part: Slice) -> Iterator[tuple[int, bytes]]:
    """Records of several blocks together, so that a call costs nothing: how many, and their bytes."""
    rows, size, parts = 0, 0, list[bytes]()
    for block in ocf.blocks(raw, header, part["start"], part["end"]):
        parts.append(ocf.unpacked(raw, block, header.codec))
        rows, size = rows + block.rows, size + len(parts[-1])
        if size >= GROUP:
            yield rows, b"".join(parts)
            rows, size, parts = 0, 0, []
    if rows or size:
        yield rows, b"".join(parts)


class _Decoder:
    """Records of one writer's schema as tables of the columns that are wanted."""

    def __init__(self, writer: Node, reader: Node | None, names: Sequence[str], path: str) -> None:
        self._path, self._quick = path, writer.quick
        plan = resolved(writer, reader or writer, path)
        self._columns = [(name, plan[name]) for name in names if name in plan]
        self._schema = json.dumps(wire_schema(writer)).encode()
        self._wire = pa.schema([(f"f{number}", child.node.wire) for number, child in enumerate(writer.children)])
        self._needed = sorted({column.source or 0 for _, column in self._columns})
        self._end = bytes(writer.zeros)
        self._last = self._decoded(1, self._end).slice(0, 1)

    def table(self, rows: int, data: bytes) -> pa.Table:
        """Behind the records stands one more of known bytes: it is found where it was put, or the counts are wrong."""
        wire = self._decoded(rows + 1, data + self._end)
        if wire.num_rows != rows + 1 or not wire.slice(rows).equals(self._last):
            raise ocf.Broken("a block of it holds other records than it announces")
        wire = wire.slice(0, rows)
        found = {}
        for name, column in self._columns:
            try:
                found[name] = column.values(wire)
            except ContractError as error:
                raise error.at(file=self._path) from None
        return pa.table(found)

    def _decoded(self, rows: int, data: bytes) -> pa.Table:
        file = ocf.container(self._schema, rows, data)
        names = [f"f{number}" for number in self._needed]
        wire = pa.schema([self._wire.field(name) for name in names])
        try:
            if self._quick:
                return pl.read_avro(BytesIO(file), columns=names).to_arrow().select(names).cast(wire)
            records = optional("fastavro", "avro").reader(BytesIO(file))
            return pa.Table.from_pylist(list(records), schema=wire)
        except ocf.UNREADABLE:
            raise ocf.Broken("a block of it holds no records of its schema") from None
