"""Formulas of a workbook whose values nobody saved: the library that parses sheets takes them for empty cells.

Spreadsheet programs save a formula's value beside it. What writes workbooks without calculating them, as openpyxl does,
leaves it out (ECMA-376 18.3.1.40 and 18.3.1.96: `f` without `v`; OpenDocument 1.3 19.385: no `office:value-type`).
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from html import unescape
from io import BytesIO
from xml.etree import ElementTree as ET

from importers.exceptions import ContractError
from importers.transport.packed import PIECE

WORKBOOK, RELATIONS, CONTENT = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "content.xml"
SHOWN = "a formula without a value; open the workbook in a spreadsheet program and save it"
MOST = 100_000
"""Formulas without a value of a sheet that are told one by one."""
ROWS, COLUMNS = 1 << 20, 1 << 14
PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
EMPTY_TEXT = re.compile(rb"""\st\s*=\s*["']str["']""")
QUOTED = rb"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*"""
TABLE = re.compile(rb"<table:(?:table|(?:covered-)?table-cell)\s" + QUOTED + rb">")
TABLE_NAME = re.compile(rb"""\stable:name\s*=\s*(?:"([^"]*)"|'([^']*)')""")
FORMULA_ATTRIBUTE, FORMULA_END = re.compile(b"table:formula"), re.compile(b"f>")
"""Patterns, as they find a few bytes in a third of the time that `in` takes."""
BORDER = len("table:formula") - 1
FORMULA = re.compile(rb"\stable:formula\s*=")
VALUE = re.compile(rb"\soffice:value-type\s*=")


def may_hold(name: str, before: bytes, piece: bytes) -> bool:
    """Whether a piece of an archive's member, or its border, may hold a formula: cheap, as all pieces are looked at."""
    said = FORMULA_ATTRIBUTE if name == CONTENT else FORMULA_END
    border = before[-BORDER:] + piece[:BORDER]
    return name.endswith(".xml") and (said.search(piece) or said.search(border)) is not None


class Formulas:
    """Those of an archive that have no value."""

    def __init__(self, archive: bytes, members: frozenset[str], path: str) -> None:
        """`members` are those that may hold any."""
        self._archive, self._members, self._path = archive, members, path

    def without_value(self, sheet: str) -> list[tuple[int, int]]:
        """Their rows and columns, from 0. Raises ContractError if it can't be said where they are, or of too many."""
        if not self._members:
            return []
        with zipfile.ZipFile(BytesIO(self._archive)) as archive:
            names = {name.lower(): name for name in archive.namelist()}
            if WORKBOOK not in names:
                if CONTENT in self._members and sheet in _of_open_document(archive):
                    raise self._refused(sheet)
                return []
            member = names.get(member_of(archive, names, sheet))
            return self._places(archive, member, sheet) if member in self._members else []

    def _places(self, archive: zipfile.ZipFile, member: str, sheet: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for attributes in _cells(archive, member):
            place = PLACE.search(attributes)
            row, column = (int(place[2]) - 1, number(place[1].decode()) - 1) if place else (-1, -1)
            if not (0 <= row < ROWS and column < COLUMNS) or len(found) == MOST:
                raise self._refused(sheet)
            found.append((row, column))
        return found

    def _refused(self, sheet: str) -> ContractError:
        return ContractError(
            f"the sheet '{sheet}' of '{self._path}' has formulas whose values weren't saved",
            do="open the workbook in a spreadsheet program and save it, or have its writer write values; "
            "`errors: null` takes them for null",
        )


def number(letters: str) -> int:
    """A column's: A is 1, Z 26, AA 27."""
    counted = 0
    for letter in letters.upper():
        counted = 26 * counted + ord(letter) - ord("A") + 1
    return counted


def member_of(archive: zipfile.ZipFile, names: dict[str, str], sheet: str) -> str:
    """Which member holds the sheet, in small letters: writers differ in them."""
    try:
        sheets, relations = (ET.fromstring(archive.read(names[name])) for name in (WORKBOOK, RELATIONS))  # noqa: S314
    except (ET.ParseError, LookupError, ValueError):
        return ""  # nor can the library read it
    ids = [
        value
        for element in sheets.iter()
        if element.tag.endswith("}sheet") and element.get("name") == sheet
        for key, value in element.items()
        if key.endswith("}id")
    ]
    targets = [str(relation.get("Target")) for relation in relations if relation.get("Id") in ids]
    target = targets[0].replace("\\", "/").lower() if targets else ""
    return target if target.startswith("xl/") else posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")


def _cells(archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    """The attributes of each cell that has a formula and no value."""
    with archive.open(member) as sheet:
        rest, patterns = b"", None
        while piece := sheet.read(PIECE):
            rest += piece
            patterns = patterns or _patterns(rest)
            cell, *ends = patterns
            whole = rest.rfind(b"c>") + 2  # where a cell ends
            if whole > 1:
                if any(end.search(rest, 0, whole) for end in ends):
                    for found in cell.finditer(rest, 0, whole):
                        if not (found[2] and EMPTY_TEXT.search(found[1])):
                            yield found[1]
                rest = rest[whole:]


def _patterns(beginning: bytes) -> Sequence[re.Pattern[bytes]]:
    """What finds a formula without a value, and how its cell may end, which is found several times as fast.

    Elements have the prefix that the sheet's first one has.
    """
    found = re.search(rb"<([\w.-]+:)?worksheet\b", beginning)
    p = re.escape(found[1] or b"") if found else b""
    # what is matched of white space isn't given back: else a megabyte of it would take its square
    formula = rb"<%bf\b[^<>]*(?:/>|>[^<]*</%bf\s*+>)" % (p, p)
    value = rb"(<%bv\b[^<>]*/>|<%bv\b[^<>]*>\s*+</%bv\s*+>)?" % (p, p, p)
    end = rb"\s*+</%bc\s*+>" % p
    cell = rb"<%bc\b([^<>]*)>\s*+%b\s*+%b%b" % (p, formula, value, end)
    return [re.compile(pattern) for pattern in (cell, rb"</%bf\s*+>\s*+%b%b" % (p, value, end), rb"/>" + end)]


def _of_open_document(archive: zipfile.ZipFile) -> set[str]:
    """The sheets that have a formula without a value."""
    found, sheet, rest = set[str](), "", b""
    with archive.open(CONTENT) as content:
        while piece := content.read(PIECE):
            rest += piece
            whole = rest.rfind(b"<")  # a tag may go on in the next piece
            for tag in TABLE.finditer(rest, 0, max(whole, 0)):
                name = TABLE_NAME.search(tag[0]) if tag[0].startswith(b"<table:table ") else None
                if name:
                    sheet = unescape((name[1] or name[2] or b"").decode())
                elif FORMULA.search(tag[0]) and not VALUE.search(tag[0]):
                    found.add(sheet)
            rest = rest[max(whole, 0) :]
    return found
