"""What a workbook unpacks to, before the library that parses it sees it: that it is no bomb, and what is in it."""

from __future__ import annotations

import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

from importers.exceptions import ContractError
from importers.sources.files._extent import Watch
from importers.sources.files._formulas import may_hold
from importers.transport.packed import DAMAGE, METHODS, PIECE

LOCAL, END, COMPOUND = b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a zip archive and its end begin (APPNOTE 4.3.7, 4.3.16), and a compound file, as an xls is (MS-CFB 2.2)."""
UNPACKED = 64 << 20
"""Bytes that a workbook may always unpack to."""


def bounded(data: bytes, path: str, ratio: int) -> tuple[bytes, frozenset[str], frozenset[str]]:
    """The archive, and the members that may hold formulas, and cells far off, if it is one.

    Raises ContractError for what unpacks to `ratio` times its size, or can't be unpacked.
    """
    archive = _archive(data, path)
    if archive is None:
        return b"", frozenset(), frozenset()
    limit = max(UNPACKED, ratio * len(data))
    try:
        found = _unpacked(archive, limit)
    except (*DAMAGE, RuntimeError):  # what the standard library raises for a method or a password
        raise not_whole(path) from None
    if found is None:
        raise ContractError(
            f"the workbook '{path}' unpacks to more than {ratio} times its size",
            got=f"{len(data):,} bytes that unpack to more than {limit:,}",
            do="look whether it is what you expect; raise `max_ratio` if it is",
        )
    formulas, far = found
    return archive, formulas if archive is data else frozenset(), far


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


def _unpacked(data: bytes, limit: int) -> tuple[frozenset[str], frozenset[str]] | None:
    """Its members that may hold formulas, and cells far off; None if all have more bytes, counted as they come out.

    A header may lie.
    """
    out, looks = 0, []
    # beside the unpacking, as neither needs the interpreter: on a second core, if one is idle, it takes no time
    with zipfile.ZipFile(BytesIO(data)) as archive, ThreadPoolExecutor(1) as beside:
        for entry in archive.infolist():
            if entry.compress_type not in METHODS:
                raise zipfile.BadZipFile
            entry.file_size = limit + 2 * PIECE  # out of reach: reading would end where the header says
            looks.append(look := _Look(entry.filename))
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
    return frozenset(look.name for look in looks if look.formulas), frozenset(look.name for look in looks if look.far)


class _Look:
    """What a member may hold, piece by piece; the last is empty."""

    def __init__(self, name: str) -> None:
        self.name, self.formulas, self.far = name, False, False
        self._watch, self._before = Watch(), b""

    def at(self, piece: bytes) -> None:
        self.formulas = self.formulas or may_hold(self.name, self._before, piece)
        self.far = self.far or self._watch.far(piece)
        self._before = piece


def not_whole(path: str) -> ContractError:
    return ContractError(
        f"the file '{path}' isn't a whole workbook",
        do="have it written again as xlsx, xlsm, xlsb, xls or ods; let writers rename a finished file into place",
    )
