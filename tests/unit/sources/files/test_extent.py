"""What says how far cells reach, held against plain counting and what the library makes of it."""

import re
import struct
import zipfile
import zlib

import fastexcel
import pytest
import xlsxwriter
import xlwt
from openpyxl.utils import get_column_letter
from tests.support import reading

from importers.exceptions import ContractError
from importers.sources.files._biff import reaches
from importers.sources.files._extent import Watch, _letters, _up_to
from importers.sources.files._spread import Spread
from importers.sources.files.excel import Excel, ExcelConfig


def source(path, **config):
    return Excel(ExcelConfig(path=str(path), **config), tenant="acme")


def everything(of):
    rows, rejects, _ = reading.everything(of, None)
    return rows, rejects


@pytest.mark.parametrize("last", [1, 9, 25, 26, 27, 32, 52, 53, 700, 702, 703, 16384])
def test_columns_up_to_the_last(last):
    assert _letters(last) == get_column_letter(last)
    pattern = re.compile(_up_to(_letters(last), "A", "Z"))
    found = [number for number in range(1, 18_279) if pattern.fullmatch(get_column_letter(number))]
    assert found == list(range(1, last + 1))


@pytest.mark.parametrize("last", [1, 9, 10, 19, 90, 2048, 6710, 10_000])
def test_numbers_up_to_the_last(last):
    pattern = re.compile(_up_to(str(last), "0", "9"))
    assert [number for number in range(100_001) if pattern.fullmatch(str(number))] == list(range(last + 1))


@pytest.mark.parametrize(
    ("dimension", "last", "beyond"),
    [
        (b"A1", b"AF1048576", [b"AG1", b"A1048577", b"a1", b"AAA9", b"A10485760"]),
        (b"A1:Z9", b"AF1048576", [b"AG1"]),
        (b"B2:AN400000", b"AN838860", [b"AO1", b"A838861"]),
        (b"A1:XFD2048", b"XFD2048", [b"XFE1", b"A2049"]),
        (b"A1:XFD2049", b"AF1048576", [b"AG1"]),
    ],
)
def test_cells_outside_of_a_dimension_are_far(dimension, last, beyond):
    def far(place):
        watch = Watch()
        text = b'<worksheet><dimension ref="%b"/><sheetData><c r="A1"/><c r="%b"/>' % (dimension, place)
        return [watch.far(text), watch.far(b"")]

    assert far(last) == [False, False]
    assert all(any(far(place)) for place in beyond)


def record(kind, data=b""):
    """Of an xlsb (MS-XLSB 2.1.4)."""
    return bytes([kind] if kind < 128 else [kind & 0x7F | 0x80, kind >> 7]) + bytes([len(data)]) + data


def wide(text):
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def binary(path, said):
    """An xlsb whose one cell holds 7, or what is called so."""
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    row, cell = record(0, bytes(17)), record(5, bytes(8) + struct.pack("<d", 7))
    sheets = record(156, bytes(4) + struct.pack("<I", 1) + wide("rId1") + wide("S"))
    members = {
        said: record(131) + record(143) + sheets + record(144) + record(132),
        "xl/_rels/workbook.bin.rels": "<?xml version='1.0'?><Relationships>"
        f"<Relationship Id='rId1' Type='{relations}/worksheet' Target='worksheets/sheet1.bin'/></Relationships>",
        "xl/worksheets/sheet1.bin": record(129) + record(145) + row + cell + record(146) + record(130),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["book.xlsb", "book.xlsx"])
def test_an_xlsb_is_refused_whatever_it_is_called(tmp_path, name):
    path = binary(tmp_path / name, "xl/workbook.bin")
    with pytest.raises(ContractError, match=rf"{name}' is a binary one, an xlsb.*xl/workbook\.bin.*xlsx"):
        source(path, header=False).streams()


def test_an_xlsb_whose_name_is_in_an_extra_field_is_refused(tmp_path):
    path = binary(tmp_path / "book.xlsx", "xl/wOrkbook.tmp")
    said = b"xl/workbook.bin"
    unicode_path = struct.pack("<HHBI", 0x7075, 5 + len(said), 1, zlib.crc32(b"xl/wOrkbook.tmp")) + said
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "named.xlsx", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            entry.extra = unicode_path if entry.filename.endswith("tmp") else b""
            new.writestr(entry, data)
    with pytest.raises(ContractError, match="an xlsb"):
        source(tmp_path / "named.xlsx", header=False).streams()


def open_document(path, *sheets):
    """An ods of these rows, as LibreOffice ends them: with empty ones up to the last."""
    content = "".join(
        f'<table:table table:name="S{number}">{rows}<table:table-row table:number-rows-repeated="1048570">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>'
        for number, rows in enumerate(sheets, 1)
    )
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr(
            "content.xml",
            f"<?xml version='1.0'?><office:document-content {names}><office:body><office:spreadsheet>{content}"
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return path


def of_ods(value, columns=1, rows=1, behind='<table:table-cell table:number-columns-repeated="16380"/>'):
    return (
        f'<table:table-row table:number-rows-repeated="{rows}"><table:table-cell office:value-type="float" '
        f'office:value="{value}" table:number-columns-repeated="{columns}"/>{behind}</table:table-row>'
    )


EMPTY_ROWS = '<table:table-row table:number-rows-repeated="1048573"><table:table-cell/></table:table-row>'
LAST = of_ods(9, behind="").replace(
    "<table:table-cell", '<table:table-cell table:number-columns-repeated="40"/><table:table-cell'
)


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        ([of_ods(1, 16384, 1025, "")], "1,025 rows of 16,384 columns .*in sheet 'S1', 16,793,600 cells"),
        ([of_ods(1) + EMPTY_ROWS + LAST], "1,048,575 rows of 41 columns .*in sheet 'S1'"),
        ([of_ods(1, 16384, 512, ""), of_ods(1), of_ods(1, 16384, 512, "")], "in sheet 'S3', 16,777,217 cells"),
        (
            [
                of_ods(1).replace("/></", '></table:table-cell><!-- <table:table table:name="x"> --></')
                + EMPTY_ROWS
                + LAST
            ],
            "'S1'",
        ),
        ([of_ods(1, 1, "&#49;048576") + of_ods(1, 40)], "1,048,577 rows of 40 columns"),
    ],
)
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_an_ods_whose_cells_are_too_far_apart_is_not_parsed(tmp_path, monkeypatch, sheets, said, piece):
    monkeypatch.setattr("importers.sources.files._unpacking.PIECE", piece)
    monkeypatch.setattr("fastexcel.read_excel", lambda _: pytest.fail("parsed"))
    path = open_document(tmp_path / "book.ods", *sheets)
    with pytest.raises(ContractError, match=rf"book\.ods' has cells too far apart, or repeated too.*{said}.*Ctrl\+End"):
        source(path, header=False).streams()


@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_an_ods_whose_empty_cells_are_repeated_up_to_the_last(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("importers.sources.files._unpacking.PIECE", piece)
    path = open_document(tmp_path / "book.ods", of_ods(1, 2) + of_ods(2, 2, 3) + of_ods(3), of_ods(1, 16384, 2, ""))
    got, rejects = everything(source(path, header=False))
    assert got.to_pydict() == {"column_1": [1, 2, 2, 2, 3], "column_2": [1, 2, 2, 2, None]}
    assert not rejects


@pytest.mark.parametrize(
    "rows",
    [
        of_ods(1, 2) + "<table:table-row><table:covered-table-cell/></table:table-row>" + of_ods(2, 3, 4),
        of_ods(1, 2, 3).replace('"', "'") + of_ods(2, behind='<table:table-cell table:formula="of:=1"/>'),
        f"<table:table-row-group>{of_ods(1)}</table:table-row-group><table:table-row/>{of_ods(2, 5)}",
        of_ods(1, behind="<table:table-cell/>" + "<table:table-cell office:value-type='string'/>"),
    ],
)
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_how_far_an_ods_reaches_is_what_the_library_makes_of_it(tmp_path, rows, piece):
    path = open_document(tmp_path / "book.ods", rows)
    text, spread = zipfile.ZipFile(path).read("content.xml"), Spread()
    for start in range(0, len(text), piece):
        spread.at(text[start : start + piece])
    sheet = fastexcel.read_excel(path.read_bytes()).load_sheet(0, header_row=None)
    assert spread.sheets[-1] == ("'S1'", sheet.total_height, sheet.width)


def old_workbook(path, *sheets):
    """An xls whose sheets have these cells."""
    book = xlwt.Workbook()
    for number, cells in enumerate(sheets, 1):
        at = book.add_sheet(f"S{number}")
        for row, column, value in cells:
            at.write(row, column, value)
    book.save(str(path))
    return path


WHOLE = [(0, 0, 1), (65535, 255, 0.12345)]


def test_how_far_an_xls_reaches(tmp_path):
    cells = [[(5, 3, "a"), (9, 4, True)], [(7, 7, xlwt.Formula("1+1")), (8, 200, 0.1)], WHOLE, []]
    data = old_workbook(tmp_path / "book.xls", *cells).read_bytes()
    assert list(reaches(data)) == [("1", 5, 2), ("2", 2, 194), ("3", 65536, 256), ("4", 0, 0)]
    book = fastexcel.read_excel(data)
    widths = [book.load_sheet(number, header_row=None).width for number in range(3)]
    assert widths == [2, 194, 256]


def test_an_xls_whose_sheets_have_too_many_cells_is_not_parsed(tmp_path, monkeypatch):
    assert everything(source(old_workbook(tmp_path / "book.xls", [(0, 0, "x"), (1, 0, 1)], [(65535, 255, 1)])))
    path = old_workbook(tmp_path / "book.xls", WHOLE, [(0, 0, 1)])
    monkeypatch.setattr("fastexcel.read_excel", lambda _: pytest.fail("parsed"))
    with pytest.raises(
        ContractError, match=r"1 rows of 1 columns .*in sheet 2, 16,777,217 cells with the sheets before"
    ):
        source(path).streams()


def test_an_xls_whose_empty_cells_are_formatted_as_far_as_a_sheet_goes(tmp_path):
    formatted = [(65535, 255, None)]
    path = old_workbook(tmp_path / "book.xls", [(0, 0, "id"), (1, 0, 1), *formatted], formatted, formatted)
    assert everything(source(path))[0].to_pydict() == {"id": [1.0]}


def damaged(data, kind):
    """At a place that the library follows: MS-CFB 2.2 and 2.3, MS-XLS 2.4.180 and 2.4.90."""
    (directory,) = struct.unpack_from("<I", data, 48)
    (table,) = struct.unpack_from("<I", data, 76)
    number = struct.pack("<HHHH", 0x203, 14, 65535, 255)
    size = struct.pack("<HHIIHH", 0x200, 14, 0, 65536, 0, 256)
    where, what = {
        "a table of 4,294,967,295 sectors": (44, b"\xff" * 4),
        "a circle": (512 + table * 512 + directory * 4, struct.pack("<I", directory)),
        "column 65,535": (data.find(number) + 6, b"\xff\xff"),
        "row 4,294,967,295": (data.find(size) + 8, b"\xff" * 4),
    }[kind]
    return data[:where] + what + data[where + len(what) :]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a table of 4,294,967,295 sectors", "isn't a whole workbook"),
        ("a circle", "isn't a whole workbook"),
        ("column 65,535", "65,536 rows of 65,536 columns"),
        ("row 4,294,967,295", "4,294,967,295 rows of 256 columns"),
    ],
)
def test_an_xls_whose_damage_would_take_all_memory_is_not_parsed(tmp_path, monkeypatch, kind, said):
    path = old_workbook(tmp_path / "book.xls", WHOLE)
    path.write_bytes(damaged(path.read_bytes(), kind))
    monkeypatch.setattr("fastexcel.read_excel", lambda _: pytest.fail("parsed"))
    with pytest.raises(ContractError, match=said):
        source(path).streams()


def test_a_workbook_on_which_the_library_panics(tmp_path, monkeypatch):
    """As for damaged lengths in an xls: Rust's panic is no Exception."""
    panic = type("PanicException", (BaseException,), {})

    def read(_):
        raise panic("range end index 24 out of range for slice of length 9")

    monkeypatch.setattr("fastexcel.read_excel", read)
    with pytest.raises(ContractError, match="isn't a whole workbook"):
        source(old_workbook(tmp_path / "book.xls", [(0, 0, "id")])).streams()


@pytest.mark.parametrize("keep", [8, 511, 2000, -512])
def test_an_xls_that_was_cut_off(tmp_path, keep):
    path = old_workbook(tmp_path / "book.xls", [(0, 0, "id"), (1, 0, 1)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ContractError, match="isn't a whole workbook"):
        source(path).streams()


@pytest.mark.parametrize(("said", "is_read"), [(2, True), (10**13, False)])
def test_an_xlsx_that_says_it_has_more_texts_than_bytes_is_not_parsed(tmp_path, monkeypatch, said, is_read):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        at = book.add_worksheet()
        at.write(0, 0, "id")
        at.write(1, 0, 'x <sst uniqueCount="99999999"')
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b' uniqueCount="2"', b' uniqueCount="%d"' % said))
    if is_read:
        assert everything(source(path))[0].to_pydict() == {"id": ['x <sst uniqueCount="99999999"']}
        return
    monkeypatch.setattr("fastexcel.read_excel", lambda _: pytest.fail("parsed"))
    with pytest.raises(ContractError, match="isn't a whole workbook"):
        source(path).streams()
