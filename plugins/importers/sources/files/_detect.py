"""What a text file is written in and what stands between its cells, by its first bytes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter

from charset_normalizer import from_bytes

from importers.exceptions import ContractError
from importers.transport.files import File
from importers.transport.text import is_in

HEAD = 256 << 10
"""Bytes that are looked at."""
DELIMITERS = (",", ";", "\t", "|")
RECORDS = 100
"""Records that are counted at most."""
AGREE = 0.8
"""The part of them that has to have as many cells as the first."""
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BEGINNING = 4096
"""Bytes that tell a page, or UTF-16."""
OTHER_CHARACTERS = 3
"""So many of them that aren't of Latin-1 aren't UTF-8 by chance."""
_WIDEST = 4
"""Bytes of a character of UTF-32."""


OTHERS = (
    (0, b"PAR1", "Parquet", "set `importer: parquet`"),
    (0, b"Obj\x01", "Avro", "set `importer: avro`"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook", "set `importer: excel`"),
    (257, b"ustar", "a tar archive", "unpack it, or have it sent as zip, whose members are read"),
)
"""Where what begins, by the formats' own specifications (of tar POSIX pax, Interchange Format), and what to do."""
_OF_WORKBOOKS = ("[Content_Types].xml", "META-INF/manifest.xml", "mimetype")
"""How members that xlsx (ECMA-376 part 2) and ods (OpenDocument 1.3 part 2) must have are called."""


def _no_text(head: bytes, member: str) -> tuple[str, str] | None:
    """What a file is that isn't text, or a member of an archive, and what to do; None if nothing says so."""
    if member in _OF_WORKBOOKS:
        return "a workbook", "set `importer: excel`"
    if b"\0" not in head[:512]:  # each of the others has one there; a column may be called PAR1
        return None
    return next(((what, do) for at, magic, what, do in OTHERS if head[at : at + len(magic)] == magic), None)


_PAGE = re.compile(r"\ufeff?\s*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
"""How a page begins (HTML, 13.1.1 and 13.1.2): what a server sends in place of a file to whoever isn't logged in."""
_WIDE = ("utf-16", "utf-32")


def check_text(head: bytes, file: File, encoding: str, *, settable: bool = True) -> None:
    """Raises ContractError for a file that begins as none of text, as a tar archive, or as a page of HTML, or as UTF-16
    or -32 and is read otherwise.

    `encoding` is what it is read as; `settable`, whether a setting says so.
    """
    if other := _no_text(head, file.member):
        raise ContractError(f"the file '{file.shown}' isn't text", got=other[0], do=other[1])
    bare = unmarked(head)
    wide = bare or encoding_of(head)
    if b"\0" in head and wide.startswith(_WIDE) and not encoding.startswith(_WIDE):
        raise ContractError(
            f"the file '{file.shown}' looks like {wide[:6].upper()}{' without a byte order mark' if bare else ''}",
            got=f"NUL bytes between its letters, read as {encoding}",
            do=f"set `encoding: {wide}`" if settable else "have it written in UTF-8",
        )
    if _PAGE.match(head[:BEGINNING].decode(encoding, "replace")):
        raise ContractError(
            f"the file '{file.shown}' is an HTML page",
            got="a beginning as `<!doctype html>` or `<html>`",
            do="look at it in a browser: a page to log in, or an error, may have been saved in place of the data",
        )


def check_said(head: bytes, shown: str, encoding: str, otherwise: str = "") -> None:
    """Raises ContractError for a file that is UTF-8 where somebody says that it is of one byte a character.

    `otherwise` is what can be done besides saying UTF-8.
    """
    if _told_wrong(head, encoding):
        raise ContractError(
            f"the file '{shown}' is UTF-8 by its bytes",
            got=f"`encoding: {encoding}`, which makes other letters of them, and other pseudonyms",
            do=f"set `encoding: utf-8`{otherwise}",
        )


def encoding_of(head: bytes) -> str:
    """The encoding that a byte order mark says, else UTF-8: what isn't shows as records that can't be read."""
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")


def unmarked(head: bytes) -> str | None:
    """The encoding of several bytes a character that text without a mark has; None if nothing says so.

    In UTF-16 each letter and digit of ASCII has a NUL beside it, on one side; few others have one, on the other.
    """
    if b"\0" not in head or encoding_of(head) != "utf-8":
        return None
    for name in ("utf-32-le", "utf-32-be"):  # few bytes are any: above 0x10ffff nothing is a character
        if len(head) >= _WIDEST and is_in(head[: len(head) // _WIDEST * _WIDEST], name):
            return name
    characters, even, odd = len(head) // 2, head[::2].count(0), head[1::2].count(0)
    name, here, there = ("utf-16-le", odd, even) if odd > even else ("utf-16-be", even, odd)
    line = head.find(b"\n")  # a text of single bytes may have NULs in it, and a newline beside one
    if line >= 0 and head[line - line % 2 : line - line % 2 + 2].decode(name, "replace") != "\n":
        return None
    many = here >= AGREE * characters or (here * 10 >= characters and line >= 0)
    return name if many and here >= 2 * there else None


def _told_wrong(head: bytes, encoding: str) -> bool:
    """Whether a file that somebody says to be of one byte a character, such as cp1252, is UTF-8: by its mark, or as
    all that isn't ASCII is such. An accented letter of UTF-8 begins with a byte that is an Ã in cp1252, and a sign
    would come after it; of other characters there have to be three, as `ß…` alone might be two.
    """
    if len(codecs.BOM_UTF8.decode(encoding, "replace")) < len(codecs.BOM_UTF8):
        return False
    if head.startswith(codecs.BOM_UTF8):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the end may be in the middle of a character
    except UnicodeDecodeError:
        return False
    others = [char for char in text if char > "\x7f"]
    return len(others) >= OTHER_CHARACTERS or any("\xc0" <= char <= "\xff" for char in others)


def guessed(head: bytes) -> str:
    """The likeliest encoding. Its neighbours differ in a few letters only, so that names may come out a little wrong.

    A few bytes that aren't UTF-8 among many that are make bad records, not another encoding.
    """
    known = unmarked(head) or encoding_of(head)
    if known != "utf-8":
        return known
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)  # the end may be in the middle of a character
    wrong = text.count("\ufffd")
    if wrong == 0 or sum(char > "\x7f" for char in text) - wrong >= wrong:
        return "utf-8"
    found = from_bytes(head).best()
    return found.encoding if found is not None else "utf-8"


def delimiter_of(text: str, quote: str, escape: str | None) -> str:
    """Of comma, semicolon, tab and bar the one that gives most cells, as many in nearly every record; else comma."""
    cells = {delimiter: _cells(text, delimiter, quote, escape) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: cells[delimiter])  # of equals the first


def _cells(text: str, delimiter: str, quote: str, escape: str | None) -> int:
    """How many cells the first record has; 0 if the others don't agree, or there is one column only."""
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    dialect = {"delimiter": delimiter, "quotechar": quote or None, "escapechar": escape, "quoting": quoting}
    counts: list[int] = []
    try:
        for record in csv.reader(io.StringIO(text, newline=""), **dialect):  # type: ignore[arg-type]
            counts += [len(record)] if record else []
            if len(counts) > RECORDS:
                break
    except csv.Error:  # a cell beyond the parser's limit
        pass
    whole = counts[:-1] or counts  # the last may be cut off
    if not whole or whole[0] < 2 or Counter(whole)[whole[0]] < AGREE * len(whole):
        return 0
    return whole[0]
