"""Avro's object container: a header, then blocks of records, each packed by itself and closed by the sync marker."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

MAGIC = b"Obj\x01"
SYNC = 16
LARGEST = 256 << 20
"""Bytes of the largest block that is read, unpacked; writers make them of 16 KiB to a few MiB."""
UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    StopIteration,
    struct.error,
)
"""What polars, Arrow and fastavro raise for bytes that aren't of the schema."""


class Stream(Protocol):
    """What a header and blocks are read from."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Header:
    """`schema` as JSON text, `codec`'s name, the sync marker, and the byte after the header."""

    schema: bytes
    codec: str
    sync: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block at a byte: how many records, and where its packed bytes are."""

    at: int
    rows: int
    data: int
    size: int

    @property
    def end(self) -> int:
        return self.data + self.size + SYNC


class Broken(Exception):  # noqa: N818 - never leaves the reading of a container
    """Not what the specification says; why, without any of the bytes."""


def header(file: Stream) -> Header:
    """Raises Broken."""
    if file.read(len(MAGIC)) != MAGIC:
        raise Broken("it doesn't begin as one")
    meta: dict[bytes, bytes] = {}
    while count := _long(file):
        if count < 0:
            count, _ = -count, _long(file)
        if count > 1 << 16:
            raise Broken("its header is damaged")
        for _ in range(count):
            key = _bytes(file)
            meta[key] = _bytes(file)
    sync = _exactly(file, SYNC)
    codec = meta.get(b"avro.codec", b"null").decode("ascii", "replace")
    return Header(meta.get(b"avro.schema", b""), codec, sync, file.tell())


def blocks(file: Stream, of: Header, start: int = 0, end: int | None = None) -> Iterator[Block]:
    """The blocks that begin in [start, end), or up to the file's end; at `start` one begins. Raises Broken."""
    at = max(start, of.end)
    end = file.seek(0, SEEK_END) if end is None else end
    while at < end:
        file.seek(at)
        rows, size = _long(file), _long(file)
        data = file.tell()
        if rows < 0 or size < 0 or size > LARGEST:
            raise Broken(f"its block at byte {at} is damaged")
        file.seek(data + size)
        if file.read(SYNC) != of.sync:
            raise Broken(f"its block at byte {at} isn't closed by the sync marker: it was cut off or changed")
        found = Block(at, rows, data, size)
        yield found
        at = found.end


def unpacked(file: Stream, block: Block, codec: str) -> bytes:
    """A block's records. Raises Broken for what its codec can't unpack or what unpacks to more than is read."""
    file.seek(block.data)
    packed = _exactly(file, block.size)
    try:
        data = CODECS[codec](packed)
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException):
        raise Broken(f"its block at byte {block.at} can't be unpacked by {codec}") from None
    if len(data) > LARGEST:
        raise Broken(f"its block at byte {block.at} unpacks to more than {LARGEST >> 20} MiB")
    if block.rows > len(data):
        raise Broken(f"its block at byte {block.at} is too small for the records that it announces")
    return data


def container(schema: bytes, rows: int, data: bytes) -> bytes:
    """One uncompressed block as a file of its own."""
    meta = {b"avro.schema": schema, b"avro.codec": b"null"}
    said = b"".join(_written(len(part)) + part for pair in meta.items() for part in pair)
    sync = bytes(SYNC)
    return b"".join([MAGIC, _written(len(meta)), said, b"\0", sync, _written(rows), _written(len(data)), data, sync])


def _long(file: Stream) -> int:
    """A zigzag varint of up to 64 bits."""
    value = shift = 0
    while True:
        (byte,) = _exactly(file, 1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7
        if shift > 63:
            raise Broken("a number in it has no end")


def _written(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _bytes(file: Stream) -> bytes:
    size = _long(file)
    if not 0 <= size <= LARGEST:
        raise Broken("its header is damaged")
    return _exactly(file, size)


def _exactly(file: Stream, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise Broken("it ends too early")
    return bytes(data)


def _deflate(packed: bytes) -> bytes:
    return _bounded(zlib.decompressobj(-15), packed)


def _bounded(codec: Any, packed: bytes) -> bytes:
    """A bomb unpacks no further than what is read."""
    data: bytes = codec.decompress(packed, LARGEST + 1)
    if not codec.eof and len(data) <= LARGEST:
        raise EOFError
    return data


def _snappy(packed: bytes) -> bytes:
    """Raw snappy, and a CRC of what it unpacks to: the only codec that would notice a changed byte by itself."""
    size = _long(BytesIO(packed))
    if not 0 <= _unzigzagged(size) <= LARGEST:
        raise ValueError(size)
    data: bytes = pa.Codec("snappy").decompress(packed[:-4], _unzigzagged(size), asbytes=True)
    if zlib.crc32(data) != int.from_bytes(packed[-4:], "big"):
        raise ValueError("crc")
    return data


def _unzigzagged(value: int) -> int:
    """Snappy's length is a varint without a sign."""
    return (value << 1) ^ (value >> 63)


def _zstandard(packed: bytes) -> bytes:
    with closing(pa.input_stream(pa.py_buffer(packed), compression="zstd")) as stream:
        data: bytes = stream.read(LARGEST + 1)
    return data


CODECS: Mapping[str, Callable[[bytes], bytes]] = {
    "null": lambda packed: packed,
    "deflate": _deflate,
    "snappy": _snappy,
    "bzip2": lambda packed: _bounded(bz2.BZ2Decompressor(), packed),
    "xz": lambda packed: _bounded(lzma.LZMADecompressor(), packed),
    "zstandard": _zstandard,
}
"""Every codec of the specification, by its name there."""
