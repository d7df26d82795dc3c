"""What a workbook unpacks to, before the library that parses it sees it: that it is no bomb, and what is in it."""

from __future__ import annotations

import re
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

from importers.exceptions import ContractError
from importers.sources.files import _biff
from importers.sources.files._extent import Reach, Watch, together
from importers.sources.files._formulas import CONTENT, may_hold
from importers.sources.files._spread import Spread
from importers.transport.packed import DAMAGE, METHODS, PIECE

LOCAL, END, COMPOUND = b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a zip archive and its end begin (APPNOTE 4.3.7, 4.3.16), and a compound file, as an xls is (MS-CFB 2.2)."""
BINARY = "xl/workbook.bin"
"""What only an xlsb has (MS-XLSB 2.1.7.62)."""
COUNT = re.compile(b"uniqueCount")
TEXTS = re.compile(rb"""<(?:[^\s<>/]+:)?sst\s[^<>]*\suniqueCount\s*=\s*["']([0-9]{1,20})""")
"""How many an xlsx says that it has (ECMA-376 18.4.9): the library takes memory for as many."""
SST = 1000
"""Bytes that its tag has at most, as programs write it."""
UNPACKED = 64 << 20
"""Bytes that a workbook may always unpack to."""


def bounded(data: bytes, path: str, ratio: int) -> tuple[bytes, frozenset[str], frozenset[str]]:
    """The archive, and the members that may hold formulas, and cells far off, if it is one.

    Raises ContractError for what unpacks to `ratio` times its size, can't be unpacked, is an xlsb, or is an xls or ods
    whose sheets have too many cells.
    """
    archive = _archive(data, path)
    found = _looked(archive, path, ratio) if archive is not None else []
    _together(data, path, found)
    formulas = frozenset(look.name for look in found if look.formulas and archive is data)
    return archive or b"", formulas, frozenset(look.name for look in found if look.far)


def _looked(archive: bytes, path: str, ratio: int) -> list[_Look]:
    limit = max(UNPACKED, ratio * len(archive))
    try:
        _no_binary(archive, path)
        found = _unpacked(archive, limit)
    except (*DAMAGE, RuntimeError):  # what the standard library raises for a method or a password
        raise not_whole(path) from None
    if found is None:
        raise ContractError(
            f"the workbook '{path}' unpacks to more than {ratio} times its size",
            got=f"{len(archive):,} bytes that unpack to more than {limit:,}",
            do="look whether it is what you expect; raise `max_ratio` if it is",
        )
    if not all(look.is_whole for look in found):
        raise not_whole(path)
    return found


def _together(data: bytes, path: str, found: list[_Look]) -> None:
    together(path, (sheet for look in found for sheet in look.sheets))
    if data.startswith(COMPOUND):
        try:
            together(path, _biff.reaches(data))
        except _biff.DAMAGE:
            raise not_whole(path) from None


def _archive(data: bytes, path: str) -> bytes | None:
    """The zip archive in it, if there is one. Raises ContractError where only a laxer reader would find one.

    The library looks for an archive's end however far before the file's, and also in what isn't an xls.
    """
    if zipfile.is_zipfile(BytesIO(data)):
        return data
    end = data.rfind(END)
    if data.startswith(LOCAL) or (end >= 0 and not data.startswith(COMPOUND)):
        raise not_whole(path)
    embedded = data[: end + 22] if end >= 0 else b""  # an xls may hold a document that is one
    return embedded if zipfile.is_zipfile(BytesIO(embedded)) else None


def _no_binary(data: bytes, path: str) -> None:
    """Raises ContractError for an xlsb, whatever it is called.

    How far its cells reach stands in records that only a parser of them finds, and the library takes memory for all.
    """
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if any(BINARY in _names(entry) for entry in archive.infolist()):
            raise ContractError(
                f"the workbook '{path}' is a binary one, an xlsb, which isn't read",
                got=f"a member {BINARY}",
                do="save it as xlsx, or have it delivered as that, CSV or Parquet",
            )


def _names(entry: zipfile.ZipInfo) -> str:
    """A member's, in small letters. One may also stand in an extra field (APPNOTE 4.6.9), which the standard library
    doesn't look at.
    """
    return f"{entry.filename} {entry.extra.decode('latin-1')}".lower()


def _unpacked(data: bytes, limit: int) -> list[_Look] | None:
    """What its members may hold; None if all have more bytes, counted as they come out.

    A header may lie.
    """
    out = 0
    looks: list[_Look] = []
    # beside the unpacking, as neither needs the interpreter: on a second core, if one is idle, it takes no time
    with zipfile.ZipFile(BytesIO(data)) as archive, ThreadPoolExecutor(1) as beside:
        for entry in archive.infolist():
            if entry.compress_type not in METHODS:
                raise zipfile.BadZipFile
            entry.file_size = limit + 2 * PIECE  # out of reach: reading would end where the header says
            looks.append(look := _Look(entry))
            looked: Future[None] | None = None
            with archive.open(entry) as member:
                while piece := member.read(PIECE):
                    out += len(piece)
                    if out > limit:
                        return None
                    if looked:
                        looked.result()
                    looked = beside.submit(look.at, piece)
            if looked:
                looked.result()
                look.at(b"")
    return looks


class _Look:
    """What a member may hold, piece by piece; the last is empty."""

    def __init__(self, entry: zipfile.ZipInfo) -> None:
        self.name, self.formulas, self.far = entry.filename, False, False
        self._watch, self._spread, self._before = Watch(), Spread(), b""
        self._size = self._texts = 0
        self._has_texts, self._is_open_document = "sharedstrings" in _names(entry), CONTENT in _names(entry)

    @property
    def is_whole(self) -> bool:
        """Not if it says that it has more texts than bytes."""
        return self._texts <= self._size

    @property
    def sheets(self) -> list[Reach]:
        return self._spread.sheets

    def at(self, piece: bytes) -> None:
        self.formulas = self.formulas or may_hold(self.name, self._before, piece)
        self.far = self.far or self._watch.far(piece)
        if self._is_open_document:
            self._spread.at(piece)
        self._size += len(piece)
        text = self._before[-SST:] + piece if self._has_texts else b""
        if COUNT.search(text):
            self._texts = max([self._texts, *map(int, TEXTS.findall(text))])
        self._before = piece


def not_whole(path: str) -> ContractError:
    return ContractError(
        f"the file '{path}' isn't a whole workbook",
        do="have it written again as xlsx, xlsm, xls or ods; let writers rename a finished file into place",
    )
