"""Compressed files: which codec, which members, and their bytes front to back, bounded against bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import IO, BinaryIO, Protocol, cast

import pyarrow as pa

from importers.core.names import few
from importers.core.parts import in_order
from importers.exceptions import ContractError, ImporterError


class Codec(StrEnum):
    """How a file is compressed; `zip` also holds several files."""

    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bz2"
    XZ = "xz"
    ZIP = "zip"


PADDING = b"\0\r\n\x1a"
"""What tapes, mail and FTP have put behind a file, and nobody takes for data."""
END, END_SIZE = b"PK\x05\x06", 22
"""What ends a zip archive, and its bytes without a comment (APPNOTE 4.3.16)."""
ENDING = END_SIZE + (1 << 16)
"""Bytes at the end of a file in which the standard library looks for it."""
MAGIC = {
    b"\x1f\x8b": Codec.GZIP,
    b"\x28\xb5\x2f\xfd": Codec.ZSTD,
    b"BZh": Codec.BZIP2,
    b"\xfd7zXZ\x00": Codec.XZ,
    b"PK\x03\x04": Codec.ZIP,
    END: Codec.ZIP,  # an archive without members
}
"""What the first bytes say (RFC 1952, RFC 8878, the formats' own specifications)."""
SUFFIXES = {
    ".gz": Codec.GZIP,
    ".zst": Codec.ZSTD,
    ".bz2": Codec.BZIP2,
    ".xz": Codec.XZ,
    ".zip": Codec.ZIP,
}
GRACE = 64 << 20
"""Bytes that any archive may unpack to, however small it is: some real files are one value over and over."""
HELD = 256 << 20
"""Bytes of a compressed file that is unpacked in memory, where a format reads it at random."""
PIECE = 1 << 20
FED = 64 << 10
"""Bytes that a decoder of streams is given: at each stream's end it hands back what is left of them, a copy."""
DICTIONARY = 256 << 20
"""Bytes of memory in which an xz file is unpacked: `xz -9` needs 65 MiB."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of a zip archive's members (APPNOTE 4.4.5): the standard library unpacks others without a limit on each read."""
ALL = ("*",)
MEMBERS = 10_000
"""Files that an archive may hold."""
DAMAGE = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


class Readable(Protocol):
    """Bytes front to back; nothing says the end."""

    def read(self, size: int, /) -> bytes: ...


class _Decoder(Protocol):
    """Of one stream, as the standard library's are."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip archive, and its compressed bytes."""

    name: str
    size: int


def by_name(path: str) -> Codec | None:
    return next((codec for suffix, codec in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def by_content(head: bytes) -> Codec | None:
    return next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)


@contextmanager
def unharmed(path: str) -> Iterator[None]:
    """Says that an archive is damaged in one sentence, whichever library found it out. Its text may hold data."""
    try:
        yield
    except ImporterError:
        raise
    except NotImplementedError:  # a version of the format, or a feature of it, that the standard library doesn't know
        raise ContractError(
            f"the archive '{path}' is written in a way that isn't read", do="have it compressed with deflate"
        ) from None
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # of the disk, not of what it holds
            raise
        raise ContractError(
            f"the compressed file '{path}' is damaged or cut off",
            do="have it written again; let writers rename a finished file into place",
        ) from None


def members(raw: BinaryIO, path: str, *, size: int, ratio: int, wanted: Sequence[str] = ALL) -> list[Member]:
    """What a zip archive holds that isn't empty, a directory or a note of macOS, by name: of it what is `wanted`.

    Raises ContractError, also if that is nothing of what is there, or unpacks to more than `ratio` times the archive's
    `size` in bytes: that of all members counts.
    """
    with unharmed(path), zipfile.ZipFile(raw) as archive:
        _alone(raw, archive, path)
        # the sum of no bytes is 0 (APPNOTE 4.4.7): one of another holds some, though the directory says none
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and (entry.file_size or entry.CRC)]
    entries = [entry for entry in entries if not entry.filename.startswith("__MACOSX/")]
    entries = _wanted(entries, wanted, path)
    if any(entry.flag_bits & 1 for entry in entries):
        raise ContractError(f"the archive '{path}' is protected by a password", do="have it sent without one")
    for entry in entries:
        _known_method(entry, path)
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise ContractError(f"the archive '{path}' has several members of one name", do="have it written again")
    if len(names) > MEMBERS:
        raise ContractError(
            f"the archive '{path}' has more than {MEMBERS:,} members", got=f"{len(names):,}", do="have it sent in parts"
        )
    limit = max(GRACE, size * ratio)
    if sum(entry.file_size for entry in entries) > limit:
        raise _too_much(path, limit, ratio)
    entries.sort(key=lambda entry: in_order(entry.filename))
    return [Member(entry.filename, entry.compress_size) for entry in entries]


def _alone(raw: BinaryIO, archive: zipfile.ZipFile, path: str) -> None:
    """Raises ContractError for bytes before or behind an archive: the standard library reads the last of several.

    A program that unpacks itself isn't met here: its file doesn't begin as an archive does.
    """
    before = min([entry.header_offset for entry in archive.infolist()], default=archive.start_dir)
    tail = min(ENDING, raw.seek(0, io.SEEK_END))
    raw.seek(-tail, io.SEEK_END)
    ending = raw.read(tail)
    behind = ending[ending.rfind(END) + END_SIZE + len(archive.comment) :]
    if before or behind.strip(PADDING):
        raise ContractError(
            f"the file '{path}' holds more than one archive, or is damaged",
            got=f"{before:,} bytes before what its directory lists" if before else f"{len(behind):,} bytes behind it",
            do="have each archive sent as a file of its own, or have it written again",
        )


def _wanted(entries: list[zipfile.ZipInfo], patterns: Sequence[str], path: str) -> list[zipfile.ZipInfo]:
    """As `unzip -C` takes patterns: `*` matches what has a slash in it, too, and `*.csv` is also A.CSV.

    A name that is there is that member, whatever signs of a pattern are in it.
    """
    exact = frozenset(patterns) & {entry.filename for entry in entries}
    others = [pattern.lower() for pattern in patterns if pattern not in exact]
    found = [
        entry
        for entry in entries
        if entry.filename in exact or any(fnmatchcase(entry.filename.lower(), pattern) for pattern in others)
    ]
    if entries and not found:
        raise ContractError(
            f"the archive '{path}' has no member that `members` names",
            got=few((repr(entry.filename) for entry in entries), 3),
            do="correct `members`, or have what it names sent in the archive",
        )
    return found


def _known_method(entry: zipfile.ZipInfo, path: str) -> None:
    if entry.compress_type not in METHODS:
        raise ContractError(
            f"a member of the archive '{path}' is compressed in a way that isn't read",
            got=f"method {entry.compress_type}",
            do="have it compressed with deflate",
        )


def _too_much(path: str, limit: int, ratio: int) -> ContractError:
    return ContractError(
        f"the compressed file '{path}' unpacks to more than {limit:,} bytes",
        got=f"more than {ratio} times its size",
        do="if it is no bomb, set `max_ratio` higher",
    )


@contextmanager
def unpacked(raw: BinaryIO, codec: Codec, path: str, *, size: int, ratio: int, member: str = "") -> Iterator[Readable]:
    """The plain bytes of an archive of `size` bytes, or of its member, which may be at most `ratio` times as many.

    Raises ContractError for one that is damaged, cut off, or unpacks to more; what was read before is whole.
    """
    with unharmed(path):
        plain = _opened(raw, codec, path, member)
    try:
        yield _Bounded(plain, path, max(GRACE, size * ratio), ratio)
    finally:
        plain.close()


def _opened(raw: BinaryIO, codec: Codec, path: str, member: str) -> BinaryIO:
    match codec:
        case Codec.GZIP:
            return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
        case Codec.BZIP2:
            return cast("BinaryIO", _Streams(raw, path, bz2.BZ2Decompressor))
        case Codec.XZ:
            return cast("BinaryIO", _Streams(raw, path, _xz))
        case Codec.ZSTD:
            return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    archive = zipfile.ZipFile(raw)
    entry = archive.getinfo(member)
    _known_method(entry, path)
    declared, entry.file_size = entry.file_size, entry.file_size + 1  # else reading would end where the directory says
    return cast("BinaryIO", _Declared(archive.open(entry), declared))


class _Streams:
    """Streams of a format, one behind the other, front to back; between and behind them may be padding.

    The standard library's own reader of bz2 takes anything else there for the end of the file, in silence, and that of
    xz takes as much memory as the file asks for: up to 4 GiB.
    """

    def __init__(self, raw: BinaryIO, path: str, begun: Callable[[], _Decoder]) -> None:
        self._raw, self._path, self._begun, self._decoder = raw, path, begun, begun()

    def read(self, size: int, /) -> bytes:
        """As many bytes, or all that are left: encoding and delimiter go by a file's first, however small a stream is.

        Raises EOFError where the file ends too soon.
        """
        pieces: list[bytes] = []
        while size and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        out = b""
        while not out:
            data = self._next_stream() if self._decoder.eof else b""
            if self._decoder.eof:
                return b""
            if not data and self._decoder.needs_input and not (data := self._raw.read(FED)):
                raise EOFError
            out = self._unpacked(data, size)
        return out

    def _next_stream(self) -> bytes:
        """How another stream begins, if anything but padding follows."""
        data = self._decoder.unused_data
        while not (rest := data.lstrip(PADDING)) and (data := self._raw.read(FED)):
            pass
        self._decoder = self._begun() if rest else self._decoder
        return rest

    def _unpacked(self, data: bytes, size: int) -> bytes:
        try:
            return self._decoder.decompress(data, size)
        except lzma.LZMAError as error:
            if "Memory usage limit" not in str(error):
                raise
            raise ContractError(
                f"the compressed file '{self._path}' needs more than {DICTIONARY >> 20} MiB of memory to unpack",
                do="have it compressed with a smaller dictionary, such as xz -9 has",
            ) from None

    def close(self) -> None:
        """Nothing is held; the file is its opener's."""


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY)


class _Declared:
    """A member of a zip archive, which has as many bytes as the archive's directory says."""

    def __init__(self, plain: IO[bytes], size: int) -> None:
        self._plain, self._left = plain, size

    def read(self, size: int, /) -> bytes:
        """Raises BadZipFile for more bytes, or fewer."""
        data = self._plain.read(size)
        self._left -= len(data)
        if self._left < 0 or (self._left and len(data) < size):
            raise zipfile.BadZipFile
        return data

    def close(self) -> None:
        self._plain.close()


class _Bounded:
    """Counts what comes out, so that a small file can't fill a disk or keep a worker for days."""

    def __init__(self, plain: BinaryIO, path: str, limit: int, ratio: int) -> None:
        self._plain, self._path, self._limit, self._ratio, self._out = plain, path, limit, ratio, 0

    def read(self, size: int, /) -> bytes:
        with unharmed(self._path):
            data = bytes(self._plain.read(size))
        self._out += len(data)
        if self._out > self._limit:
            raise _too_much(self._path, self._limit, self._ratio)
        return data


def held(plain: Readable, path: str) -> bytes:
    """All of it in memory. Raises ContractError for more than `HELD` bytes."""
    kept = io.BytesIO()
    while data := plain.read(PIECE):
        kept.write(data)
        if kept.tell() > HELD:
            raise ContractError(
                f"the compressed file '{path}' unpacks to more than {HELD >> 20} MiB, and its format is read at random",
                do="have it delivered without the compression around it",
            )
    return kept.getvalue()
