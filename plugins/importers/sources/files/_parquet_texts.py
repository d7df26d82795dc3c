"""The texts of a row group of a Parquet file, read by polars, which takes two thirds of the time that Arrow takes.

polars leaves texts where a page has them, and looks each number of a dictionary up as 16 bytes. It gets a file of its
own: the bytes of the texts' columns, which lie one after another in a row group, and a footer that tells of them alone.
So it needs no path, opens nothing that could be cut short while it is mapped into memory, and reads one footer of a few
hundred bytes where a file may have thousands of row groups. Arrow reads whatever isn't as simple as that, or as whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

LEAST = 16 * 1024
"""Rows under which the footer and the call cost more than they save."""
HELD = 32 << 20
"""Bytes that texts may take which polars reads, since it makes all of a row group at once."""
_VIEW = 16  # bytes of each text, beside its page's

_CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6}
_ENCODINGS = {"PLAIN": 0, "PLAIN_DICTIONARY": 2, "RLE": 3, "BIT_PACKED": 4, "RLE_DICTIONARY": 8}
"""Those of which a damaged page makes polars raise. By numbers of others, deltas, it would ask for any memory."""
_BYTE_ARRAY, _UTF8 = 6, 0
_MAGIC = b"PAR1"


def text_columns(schema: pa.Schema) -> dict[str, int]:
    """The columns that are plain text, and which of the file's leaves each is."""
    found: dict[str, int] = {}
    number = 0
    for field in schema:
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            found[field.name] = number
        number += _leaves(field.type)
    return found


def _leaves(kind: pa.DataType) -> int:
    """How many columns the file has for it."""
    if pa.types.is_nested(kind):
        return sum(_leaves(kind.field(number).type) for number in range(kind.num_fields))
    return 1


def read_texts(
    raw: pa.NativeFile, metadata: pq.FileMetaData, group: int, leaves: Mapping[str, int]
) -> dict[str, pa.Array]:
    """The texts of a row group as `string_view`, by column: of those of the `leaves` that are as simple as it takes, as
    many as may be held.

    None of them where the row group is small, or polars finds anything wrong: what is, Arrow says. Raises what reading
    `raw` raises.
    """
    found = metadata.row_group(group)
    chunks, held = {}, 0
    for name, leaf in leaves.items():
        chunk = _Chunk(metadata, group, leaf)
        weight = chunk.unpacked + _VIEW * found.num_rows
        if chunk.is_simple(found.num_rows, raw.size()) and held + weight <= HELD:
            chunks[name], held = chunk, held + weight
    if not chunks or found.num_rows < LEAST:
        return {}
    file = _file([chunk.read(raw) for chunk in chunks.values()], list(chunks.values()), found.num_rows)
    try:
        frame = pl.read_parquet(file, use_statistics=False)
    except (PolarsError, PanicException, UnicodeDecodeError):
        return {}
    if frame.height != found.num_rows:
        return {}
    newest = pl.CompatLevel.newest()
    return {name: frame[str(n)].to_arrow(compat_level=newest) for n, name in enumerate(chunks)}


class _Chunk:
    """A column of a row group, as the file's footer tells of it."""

    def __init__(self, metadata: pq.FileMetaData, group: int, leaf: int) -> None:
        of, said = metadata.schema.column(leaf), metadata.row_group(group).column(leaf)
        self.is_flat = of.max_repetition_level == 0 and of.max_definition_level <= 1
        self.is_optional = of.max_definition_level == 1
        self.is_text = said.physical_type == "BYTE_ARRAY"
        self.codec, self.encodings = _CODECS.get(said.compression), [_ENCODINGS.get(each) for each in said.encodings]
        self.values, self.packed, self.unpacked = (
            said.num_values,
            said.total_compressed_size,
            said.total_uncompressed_size,
        )
        self.dictionary = said.dictionary_page_offset if said.has_dictionary_page else None
        self.data = said.data_page_offset
        self.start = self.data if self.dictionary is None else min(self.data, self.dictionary)

    def is_simple(self, rows: int, size: int) -> bool:
        """Whether it is a text a row, its bytes lie within the file, and polars may be asked."""
        within = len(_MAGIC) <= self.start and 0 < self.packed <= size - self.start and self.unpacked > 0
        known = self.codec is not None and None not in self.encodings
        return self.is_flat and self.is_text and self.values == rows and within and known

    def read(self, raw: pa.NativeFile) -> bytes:
        raw.seek(self.start)
        return bytes(raw.read(self.packed))


# What follows writes a footer: structs of parquet.thrift in Thrift's compact protocol, with no more than they need.
# https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
# https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_Field: TypeAlias = tuple[int, int, bytes]
"""Its number in the struct, its type, and the value."""


def _file(read: Sequence[bytes], chunks: Sequence[_Chunk], rows: int) -> bytes:
    """A Parquet file of one row group, whose columns are called 0, 1, 2 …"""
    root = _struct((4, _BINARY, _binary(b"root")), (5, _I32, _number(len(chunks))))
    elements, columns, at = [root], [], len(_MAGIC)
    for n, chunk in enumerate(chunks):
        name = _binary(str(n).encode())
        optional = _number(int(chunk.is_optional))
        kind = (1, _I32, _number(_BYTE_ARRAY))
        elements.append(_struct(kind, (3, _I32, optional), (4, _BINARY, name), (6, _I32, _number(_UTF8))))
        said: list[_Field] = [
            kind,
            (2, _LIST, _list(_I32, [_number(each or 0) for each in chunk.encodings])),
            (3, _LIST, _list(_BINARY, [name])),
            (4, _I32, _number(chunk.codec or 0)),
            (5, _I64, _number(chunk.values)),
            (6, _I64, _number(chunk.unpacked)),
            (7, _I64, _number(chunk.packed)),
            (9, _I64, _number(at + chunk.data - chunk.start)),
        ]
        if chunk.dictionary is not None:
            said.append((11, _I64, _number(at + chunk.dictionary - chunk.start)))
        columns.append(_struct((2, _I64, _number(0)), (3, _STRUCT, _struct(*said))))
        at += chunk.packed
    count, weight = (3, _I64, _number(rows)), (2, _I64, _number(sum(chunk.unpacked for chunk in chunks)))
    group = _struct((1, _LIST, _list(_STRUCT, columns)), weight, count)
    version = (1, _I32, _number(1))
    footer = _struct(version, (2, _LIST, _list(_STRUCT, elements)), count, (4, _LIST, _list(_STRUCT, [group])))
    return b"".join([_MAGIC, *read, footer, len(footer).to_bytes(4, "little"), _MAGIC])


def _struct(*fields: _Field) -> bytes:
    out, last = bytearray(), 0
    for number, kind, value in fields:
        out.append((number - last) << 4 | kind)
        out += value
        last = number
    return bytes(out) + b"\0"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _number(value: int) -> bytes:
    """Of no negative one: zigzag doubles it."""
    return _varint(2 * value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])
