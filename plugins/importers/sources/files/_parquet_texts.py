"""The texts of a row group of a Parquet file that have a dictionary, read by polars: Arrow takes half as long again.

polars looks each number up as 16 bytes that say where the dictionary has the text, and copies none. But it believes
what a page says of its size, and the process ends where there isn't so much memory. So it never sees the file: it gets
one of its own, of pages whose headers were held against the footer and are written anew, and with a footer that tells
of them alone. Arrow reads whatever isn't as simple as that, or as whole, and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from zlib import crc32

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from importers.sources.files._thrift import I64, Struct, read, written

LEAST = 16 * 1024
"""Rows under which the footer and the call cost more than they save."""
HELD = 32 << 20
"""Bytes that texts may take which polars reads, since it makes all of a row group at once."""
_VIEW = 16  # bytes of each text, beside its page's
_HEADER = 16 << 10  # bytes that a page's header may have, with its statistics
_MAGIC = b"PAR1"
# Names, numbers and what they mean: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
_CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "BROTLI": 4, "ZSTD": 6}
"""Without gzip, whose checksum polars doesn't look at."""
_BYTE_ARRAY, _UTF8, _REQUIRED, _OPTIONAL = 6, 0, 0, 1
_PLAIN, _PLAIN_DICTIONARY, _RLE, _RLE_DICTIONARY = 0, 2, 3, 8
_ENCODINGS = (_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY)
"""Without deltas: a page has numbers in it by which polars asks for any memory."""


class _Data(NamedTuple):
    """What a page's header says of its values; fields are in the order of their numbers, here and below."""

    num_values: int
    encoding: int
    definition_level_encoding: int
    repetition_level_encoding: int


class _Dictionary(NamedTuple):
    num_values: int
    encoding: int


class _DataV2(NamedTuple):
    num_values: int
    num_nulls: int
    num_rows: int
    encoding: int
    definition_levels_byte_length: int
    repetition_levels_byte_length: int
    is_compressed: bool | None


_Values: TypeAlias = _Data | _Dictionary | _DataV2
_OF: Mapping[int, tuple[int, type[_Values]]] = {0: (5, _Data), 2: (7, _Dictionary), 3: (8, _DataV2)}
"""By a page's type the number of what its header says of its values."""


class _Header(NamedTuple):
    """A page's, with no more than is looked at."""

    type: int
    uncompressed_page_size: int
    compressed_page_size: int
    crc: int | None
    of: _Values


def text_columns(parquet: pq.ParquetFile) -> dict[str, int]:
    """The columns that are plain texts, and which of the file's leaves each is. None has a dot in its name, which would
    be taken for a path.
    """
    texts = {one.name for one in parquet.schema_arrow if one.type in (pa.string(), pa.large_string())}
    paths = {parquet.schema.column(leaf).path: leaf for leaf in range(len(parquet.schema))}
    return {path: leaf for path, leaf in paths.items() if path in texts and "." not in path}


def read_texts(
    raw: pa.NativeFile, metadata: pq.FileMetaData, group: int, leaves: Mapping[str, int]
) -> dict[str, pa.Array]:
    """The texts of a row group as `string_view`, by column: of those of the `leaves` that are simple, as many as may
    be held.

    None of them where the row group is small, or polars finds anything wrong. Raises what reading `raw` raises.
    """
    rows = metadata.row_group(group).num_rows
    columns: dict[str, _Column] = {}
    held = 0
    for name, leaf in leaves.items() if rows >= LEAST else ():
        column = _Column(metadata, group, leaf)
        if column.is_simple and held + column.weight <= HELD and column.take(raw):
            columns[name] = column
            held += column.weight
    if not columns:
        return {}
    try:
        frame = pl.read_parquet(_file(list(columns.values()), rows), use_statistics=False)
    except (PolarsError, PanicException, UnicodeDecodeError):
        return {}
    if frame.height != rows:
        return {}
    texts = {name: frame[str(number)] for number, name in enumerate(columns)}
    counted = {name: columns[name].nulls in (None, text.null_count()) for name, text in texts.items()}
    newest = pl.CompatLevel.newest()
    return {name: text.to_arrow(compat_level=newest) for name, text in texts.items() if counted[name]}


class _Column:
    """A column of a row group, as the file's footer tells of it; and its pages, once they are taken."""

    def __init__(self, metadata: pq.FileMetaData, group: int, leaf: int) -> None:
        of, said = metadata.schema.column(leaf), metadata.row_group(group).column(leaf)
        self._rows = metadata.row_group(group).num_rows
        self._start = said.dictionary_page_offset if said.has_dictionary_page else said.data_page_offset
        self._packed, self._unpacked = said.total_compressed_size, said.total_uncompressed_size
        self.weight: int = self._unpacked + _VIEW * self._rows
        """The bytes that it takes at most, once it is read."""
        self.is_optional = of.max_definition_level == 1
        self.codec = _CODECS.get(said.compression)
        is_flat = of.max_repetition_level == 0 and of.max_definition_level <= 1
        is_text = said.physical_type == "BYTE_ARRAY" and said.num_values == self._rows
        within = self._start >= len(_MAGIC) and self._packed > 0 and self._unpacked > 0
        self.is_simple = is_flat and is_text and within and self.codec is not None and said.has_dictionary_page
        is_counted = self.is_simple and said.is_stats_set and said.statistics.has_null_count
        self.nulls: int | None = said.statistics.null_count if is_counted else None
        self.dictionary: Sequence[bytes | memoryview] = ()
        self.pages: list[bytes | memoryview] = []
        self.encodings: set[int] = set()

    def take(self, raw: pa.NativeFile) -> bool:
        """Whether all its pages are simple, and no more than the footer says."""
        if self._start + self._packed > raw.size():
            return False
        raw.seek(self._start)
        data = memoryview(raw.read_buffer(self._packed))
        left, values = self._unpacked, 0
        try:
            for header, page in _pages(data):
                left -= header.uncompressed_page_size
                _must(header.uncompressed_page_size >= 0 and left >= 0)
                _must(header.of.encoding in _ENCODINGS)
                if isinstance(header.of, _Dictionary):
                    _must(not self.dictionary and not self.pages)
                    _must(0 <= 4 * header.of.num_values <= header.uncompressed_page_size)  # each begins with its length
                    self.dictionary = (_head(header), page)
                else:
                    values += self._take_data(header, header.of, page)
        except Exception:  # noqa: BLE001 - where no header is, or half of one, anything may be raised
            return False
        return bool(values == self._rows)

    def _take_data(self, header: _Header, of: _Data | _DataV2, page: memoryview) -> int:
        if isinstance(of, _Data):
            _must(of.definition_level_encoding == of.repetition_level_encoding == _RLE)
        else:
            _must(of.num_rows == of.num_values and 0 <= of.num_nulls <= of.num_values)
            _must(of.repetition_levels_byte_length == 0 <= of.definition_levels_byte_length)
            _must(of.definition_levels_byte_length <= min(len(page), header.uncompressed_page_size))
            _must(of.is_compressed is None or isinstance(of.is_compressed, bool))
        _must(of.num_values >= 0 and (of.encoding == _PLAIN or bool(self.dictionary)))
        self.encodings.add(of.encoding)
        self.pages += _head(header), page
        return of.num_values


def _must(hold: bool) -> None:
    if not hold:
        raise ValueError


def _pages(data: memoryview) -> Iterator[tuple[_Header, memoryview]]:
    """Each page's header, and its bytes as they are packed."""
    at = 0
    while at < len(data):
        header, length = _header(data[at : at + _HEADER])
        at += length
        page = data[at : at + header.compressed_page_size]
        _must(len(page) == header.compressed_page_size)
        _must(header.crc is None or header.crc & 0xFFFFFFFF == crc32(page))
        yield header, page
        at += len(page)


def _header(data: memoryview) -> tuple[_Header, int]:
    """The header with which the data begins, and its length. What is written of it again is of the type that it has."""
    said, length = read(data)
    kind, unpacked, packed = said[1], said[2], said[3]
    number, values = _OF[kind]
    of = values(*map(said[number].get, range(1, 1 + len(values._fields))))
    _must(all(type(one) is int for one in (kind, unpacked, packed, *of[:6])))
    return _Header(kind, unpacked, packed, said.get(4), of), length


def _head(header: _Header) -> bytes:
    """The header as it is written for polars, which has no statistics and no checksum."""
    kind, unpacked, packed, _, of = header
    return written({1: kind, 2: unpacked, 3: packed, _OF[kind][0]: dict(enumerate(of, 1))})


def _file(columns: Sequence[_Column], rows: int) -> bytes:
    """A Parquet file of one row group, whose columns are called 0, 1, 2 …"""
    parts: list[bytes | memoryview] = [_MAGIC]
    schema: list[Struct] = [{4: b"root", 5: len(columns)}]
    chunks: list[Struct] = []
    at = len(_MAGIC)
    for number, column in enumerate(columns):
        name = b"%d" % number
        schema.append({1: _BYTE_ARRAY, 3: _OPTIONAL if column.is_optional else _REQUIRED, 4: name, 6: _UTF8})
        data = at + sum(map(len, column.dictionary))
        end = data + sum(map(len, column.pages))
        said: Struct = {
            1: _BYTE_ARRAY,
            2: sorted({_RLE, *column.encodings}),
            3: [name],
            4: column.codec,
            5: I64(rows),
            6: I64(column.weight),  # bytes unpacked
            7: I64(end - at),  # bytes packed
            9: I64(data),
            11: I64(at) if column.dictionary else None,
        }
        chunks.append({2: I64(0), 3: said})
        parts += *column.dictionary, *column.pages
        at = end
    group: Struct = {1: chunks, 2: I64(sum(column.weight for column in columns)), 3: I64(rows)}
    footer = written({1: 1, 2: schema, 3: I64(rows), 4: [group]})
    return b"".join([*parts, footer, len(footer).to_bytes(4, "little"), _MAGIC])
