"""The texts of a row group of a Parquet file that have a dictionary, read by polars: Arrow takes half as long again.

polars looks each number up as 16 bytes that say where the dictionary has the text, and copies none. But it believes
what a page says of its size, and the process ends where there isn't so much memory. So it never sees the file: it gets
one of its own, of pages whose headers were held against the footer and are written anew, and with a footer that tells
of them alone. Arrow reads whatever isn't as simple as that, or as whole, and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import thriftpy2
from polars.exceptions import PanicException, PolarsError
from thriftpy2.protocol.compact import TCompactProtocol

LEAST = 16 * 1024
"""Rows under which the footer and the call cost more than they save."""
HELD = 32 << 20
"""Bytes that texts may take which polars reads, since it makes all of a row group at once."""
_VIEW = 16  # bytes of each text, beside its page's
_HEADER = 16 << 10  # bytes that a page's header may have, with its statistics
_MAGIC = b"PAR1"
_thrift: Any = thriftpy2.load(str(Path(__file__).with_name("parquet.thrift")), module_name="parquet_thrift")
_CODECS: Mapping[str, int] = _thrift.CompressionCodec._NAMES_TO_VALUES
"""Without gzip, whose checksum polars doesn't look at."""
_ENCODINGS = (_thrift.Encoding.PLAIN, _thrift.Encoding.PLAIN_DICTIONARY, _thrift.Encoding.RLE_DICTIONARY)
"""Without deltas: a page has numbers in it by which polars asks for any memory."""


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
                if header.type == _thrift.PageType.DICTIONARY_PAGE:
                    self._take_dictionary(header, page)
                else:
                    values += self._take_data(header, page)
        except Exception:  # noqa: BLE001 - where no header is, or half of one, a reader of Thrift raises anything
            return False
        return bool(values == self._rows)

    def _take_dictionary(self, header: Any, page: memoryview) -> None:
        of = header.dictionary_page_header
        _must(not self.dictionary and not self.pages and of.encoding in _ENCODINGS)
        _must(0 <= 4 * of.num_values <= header.uncompressed_page_size)  # each begins with its length
        self.dictionary = (_head(header, dictionary_page_header=of), page)

    def _take_data(self, header: Any, page: memoryview) -> int:
        if header.type == _thrift.PageType.DATA_PAGE:
            of = header.data_page_header
            _must(of.definition_level_encoding == of.repetition_level_encoding == _thrift.Encoding.RLE)
            head = _head(header, data_page_header=of)
        else:
            of = header.data_page_header_v2
            _must(header.type == _thrift.PageType.DATA_PAGE_V2)
            _must(of.num_rows == of.num_values and 0 <= of.num_nulls <= of.num_values)
            _must(of.repetition_levels_byte_length == 0 <= of.definition_levels_byte_length)
            _must(of.definition_levels_byte_length <= min(len(page), header.uncompressed_page_size))
            head = _head(header, data_page_header_v2=of)
        _must(of.num_values >= 0 and of.encoding in (_ENCODINGS if self.dictionary else _ENCODINGS[:1]))
        self.encodings.add(of.encoding)
        self.pages += head, page
        return int(of.num_values)


def _must(hold: bool) -> None:
    if not hold:
        raise ValueError


def _pages(data: memoryview) -> Iterator[tuple[Any, memoryview]]:
    """Each page's header, and its bytes as they are packed."""
    at = 0
    while at < len(data):
        read, header = BytesIO(data[at : at + _HEADER]), _thrift.PageHeader()
        header.read(_protocol(read))
        at += read.tell()
        page = data[at : at + header.compressed_page_size]
        _must(len(page) == header.compressed_page_size)
        _must(header.crc is None or header.crc & 0xFFFFFFFF == crc32(page))
        yield header, page
        at += len(page)


def _head(header: Any, **of: Any) -> bytes:
    """The header with no more than was looked at."""
    sizes = {name: getattr(header, name) for name in ("type", "uncompressed_page_size", "compressed_page_size")}
    return _written(_thrift.PageHeader(**sizes, **of))


def _file(columns: Sequence[_Column], rows: int) -> bytes:
    """A Parquet file of one row group, whose columns are called 0, 1, 2 …"""
    parts: list[bytes | memoryview] = [_MAGIC]
    elements = [_thrift.SchemaElement(name="root", num_children=len(columns))]
    chunks = []
    at = len(_MAGIC)
    for number, column in enumerate(columns):
        text = {"type": _thrift.Type.BYTE_ARRAY, "converted_type": _thrift.ConvertedType.UTF8}
        text["repetition_type"] = getattr(_thrift.FieldRepetitionType, "OPTIONAL" if column.is_optional else "REQUIRED")
        elements.append(_thrift.SchemaElement(name=str(number), **text))
        data = at + sum(map(len, column.dictionary))
        end = data + sum(map(len, column.pages))
        said = _thrift.ColumnMetaData(
            type=_thrift.Type.BYTE_ARRAY,
            encodings=sorted({_thrift.Encoding.RLE, *column.encodings}),
            path_in_schema=[str(number)],
            codec=column.codec,
            num_values=rows,
            total_uncompressed_size=column.weight,
            total_compressed_size=end - at,
            data_page_offset=data,
            dictionary_page_offset=at if column.dictionary else None,
        )
        chunks.append(_thrift.ColumnChunk(file_offset=0, meta_data=said))
        parts += *column.dictionary, *column.pages
        at = end
    group = _thrift.RowGroup(columns=chunks, total_byte_size=sum(column.weight for column in columns), num_rows=rows)
    footer = _written(_thrift.FileMetaData(version=1, schema=elements, num_rows=rows, row_groups=[group]))
    return b"".join([*parts, footer, len(footer).to_bytes(4, "little"), _MAGIC])


def _written(struct: Any) -> bytes:
    out = BytesIO()
    struct.write(_protocol(out))
    return out.getvalue()


class _Flat(TCompactProtocol):
    """Reads what has no list in it, as a page's header: a damaged one may have 2^60 nothings, each to be read."""

    def _read_collection_begin(self) -> None:
        raise ValueError("a list")

    def _read_map_begin(self) -> None:
        raise ValueError("a map")


def _protocol(file: BytesIO) -> Any:
    return _Flat(file)  # type: ignore[no-untyped-call]
