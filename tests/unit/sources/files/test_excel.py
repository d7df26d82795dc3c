"""Workbooks are written by other libraries, and what their cells hold is what was written, or what openpyxl reads."""

import datetime as dt
import io
import json
import re
import shutil
import zipfile
from unittest.mock import Mock

import fastexcel
import openpyxl
import pyarrow as pa
import pytest
import xlsxwriter
import xlwt
from msoffcrypto.format.ooxml import OOXMLFile
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P
from tests.support import reading

from importers.core.model import Window
from importers.exceptions import ConfigError, ContractError
from importers.sources.files._sheets import Workbook
from importers.sources.files.excel import Excel, ExcelConfig


def source(path, **config):
    return Excel(ExcelConfig(path=str(path), **config), tenant="acme")


def everything(of, only=None):
    rows, rejects, _ = reading.everything(of, only)
    return rows, rejects


def workbook(path, *rows, sheet="Sheet1", start=(0, 0), **options):
    """Written by xlsxwriter: a pair is a number and the format that it is shown by."""
    with xlsxwriter.Workbook(path, options) as book:
        add(book, rows, sheet, start)
    return path


def add(book, rows, sheet, start=(0, 0)):
    at = book.add_worksheet(sheet)
    for y, row in enumerate(rows, start[0]):
        for x, cell in enumerate(row, start[1]):
            if isinstance(cell, tuple):
                at.write_number(y, x, cell[0], book.add_format({"num_format": cell[1]}))
            elif isinstance(cell, str) and cell.startswith("="):
                at.write_formula(y, x, cell, None, {"=NA()": "#N/A", "=1/0": "#DIV/0!"}.get(cell, 42))
            elif cell is not None:
                at.write(y, x, cell)
    return at


DAY, TIME, LASTS, MOMENT = "yyyy-mm-dd", "hh:mm:ss", "[h]:mm:ss", "yyyy-mm-dd hh:mm:ss.000"


@pytest.mark.parametrize("epoch", [1900, 1904])
def test_types_of_both_epochs_are_what_openpyxl_says(tmp_path, epoch):
    rows = [
        ["n", "x", "code", "text", "ok", "day", "time", "lasts", "at", "sum"],
        [1, 1.5, "007", "ä", True, (45351, DAY), (0.75, TIME), (1.75, LASTS), (45351.524259259, MOMENT), "=20+22"],
        [-7, 2, "8", "", False, (61, DAY), (0.0, TIME), (0.5, LASTS), (61.5, MOMENT), "=20+22"],
        [None] * 10,
        [2**40, 1e-7, "9", "x", True, (700, DAY), (0.999988426, TIME), (100, LASTS), (45352, MOMENT), "=20+22"],
    ]
    path = workbook(tmp_path / "book.xlsx", *rows, date_1904=epoch == 1904)
    got, rejects = everything(source(path))
    assert not rejects
    assert dict(zip(got.schema.names, got.schema.types, strict=True)) == {
        "n": pa.int64(),
        "x": pa.float64(),
        "code": pa.string(),
        "text": pa.string(),
        "ok": pa.bool_(),
        "day": pa.date32(),
        "time": pa.time64("us"),
        "lasts": pa.duration("ms"),
        "at": pa.timestamp("us"),
        "sum": pa.int64(),
    }
    said = list(openpyxl.load_workbook(path, data_only=True).active.iter_rows(min_row=2, values_only=True))
    said = [row for row in said if any(cell is not None for cell in row)]
    assert len(said) == got.num_rows == 3
    for row, expected in zip(got.to_pylist(), said, strict=True):
        cells = dict(zip(got.schema.names, expected, strict=True))
        cells["day"] = cells["day"].date()
        for name in ("time", "lasts", "at"):
            cells[name] = near(cells[name])
            row[name] = near(row[name])
        assert row == cells


def near(value):
    """To the second: openpyxl rounds a double's fraction to microseconds, the other to milliseconds."""
    if isinstance(value, dt.timedelta):
        return round(value.total_seconds())
    return value.replace(microsecond=0)


def test_the_day_that_excel_invented(tmp_path):
    """Serial numbers below 60 are a day off, since 1900 was no leap year (ECMA-376 part 1, 18.17.4.1)."""
    path = workbook(tmp_path / "book.xlsx", ["day"], [(1, DAY)], [(59, DAY)], [(60, DAY)], [(61, DAY)])
    got, _ = everything(source(path))
    assert got["day"].to_pylist() == [
        dt.date(1900, 1, 1),
        dt.date(1900, 2, 28),
        dt.date(1900, 2, 28),
        dt.date(1900, 3, 1),
    ]


def test_an_error_is_quarantined_or_null(tmp_path):
    path = workbook(
        tmp_path / "book.xlsx", ["id", "x", "y"], [1, 5, "a"], [2, "=NA()", "b"], [3, "=1/0", "secret"], [4, 6, "d"]
    )
    got, rejects = everything(source(path))
    assert got["id"].to_pylist() == [1, 4]
    assert [(r.location, r.reason) for r in rejects] == [
        (f"{path}!Sheet1:row 3", "column 'x': #N/A"),
        (f"{path}!Sheet1:row 4", "column 'x': #DIV/0!"),
    ]
    assert [json.loads(r.raw) for r in rejects] == [
        {"id": "2", "x": "#N/A", "y": "b"},
        {"id": "3", "x": "#DIV/0!", "y": "secret"},
    ]
    got, rejects = everything(source(path, errors="null"))
    assert (got["x"].to_pylist(), rejects) == ([5, None, None, 6], [])
    got, rejects = everything(source(path), only=["id", "y"])
    assert (got["id"].to_pylist(), rejects) == ([1, 2, 3, 4], [])


def uncalculated(path, rows, start=(0, 0)):
    """As openpyxl writes it: of formulas no values, and of the rest no more than is said."""
    book = openpyxl.Workbook()
    for y, row in enumerate(rows, start[0] + 1):
        for x, value in enumerate(row, start[1] + 1):
            cell = book.active.cell(y, x, value)
            cell.data_type = "e" if value == "#N/A" else cell.data_type
    book.save(path)
    return path


UNSAVED = "a formula without a value; open the workbook in a spreadsheet program and save it"


def test_a_formula_without_a_value_is_quarantined_or_null(tmp_path):
    rows = [["id", "x", "y"], [1, "=A2*2", "a"], [2, 7, "b"], [None] * 3, [None, None, None, "=A3"], ["=SUM(A2:A3)"]]
    path = uncalculated(tmp_path / "book.xlsx", rows)
    of = source(path)
    assert tuple(column.name for column in of.streams()[0].columns) == ("id", "x", "y", "column_4")
    got, rejects = everything(of)
    assert got.to_pylist() == [{"id": 2, "x": 7, "y": "b", "column_4": None}]
    assert [(r.location, r.reason) for r in rejects] == [
        (f"{path}!Sheet:row 2", f"column 'x': {UNSAVED}"),
        (f"{path}!Sheet:row 5", f"column 'column_4': {UNSAVED}"),
        (f"{path}!Sheet:row 6", f"column 'id': {UNSAVED}"),
    ]
    got, rejects = everything(source(path, range="B1:C3"), only=["y"])
    assert (got["y"].to_pylist(), rejects) == (["a", "b"], [])
    got, rejects = everything(source(path, errors="null"))
    assert (got["x"].to_pylist(), rejects) == ([None, 7], [])


@pytest.mark.parametrize("start", [(0, 0), (0, 1), (4, 3)])
@pytest.mark.parametrize("before", [None, "=ROW()"])
def test_what_a_cell_lacks_is_told_of_its_column_wherever_the_sheet_begins(tmp_path, start, before):
    """The library counts errors from the first column that holds a value; a formula without one may stand before it."""
    rows = [["id", "x", "y"], [1, "=A2", "a"], [2, 7, "#N/A"], ["=A3", 8, "c"], [4, 9, "d"]]
    path = uncalculated(tmp_path / "book.xlsx", [[before, *row] for row in rows], start)
    of = source(path, range=f"{'BCDE'[start[1]]}:Z")
    got, rejects = everything(of)
    assert got.to_pylist() == [{"id": 4, "x": 9, "y": "d"}]
    top = start[0] + 1
    assert [(r.location, r.reason) for r in rejects] == [
        (f"{path}!Sheet:row {top + 1}", f"column 'x': {UNSAVED}"),
        (f"{path}!Sheet:row {top + 2}", "column 'y': #N/A"),
        (f"{path}!Sheet:row {top + 3}", f"column 'id': {UNSAVED}"),
    ]
    assert json.loads(rejects[0].raw) == {"id": "1", "x": UNSAVED, "y": "a"}
    got, rejects = everything(of, only=["y"])
    assert (got["y"].to_pylist(), [r.reason for r in rejects]) == (["a", "c", "d"], ["column 'y': #N/A"])


@pytest.mark.parametrize("prefix", [b"", b"x:"])
@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (b'<c r="B2" s="1"><f>A2</f></c>', True),
        (b'<c s="1" r="B2"><f t="shared" si="0"/></c><c r="C2"><f t="shared" ref="B2:C2" si="0">A2</f></c>', True),
        (b'<c r="B2"><f>IF(A2&gt;0,1,2)</f><v></v></c>', True),
        (b'<c r="B2"><f ca="1">A2</f>\n<v />\n</c>', True),
        (b'<c r="B2" t="str"><f>A2</f></c>', True),
        (b'<c r="B2" t="str"><f>A2</f><v></v></c>', False),  # a text of no characters
        (b'<c r="B2"><f>A2</f><v>5</v></c>', False),
        (b'<c r="B2" s="1"/>', False),
    ],
)
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_what_a_formula_without_a_value_is_in_a_sheet(tmp_path, monkeypatch, prefix, cell, told, piece):
    monkeypatch.setattr("importers.sources.files._unpacking.PIECE", piece)
    monkeypatch.setattr("importers.sources.files._formulas.PIECE", max(piece, 200))  # its first one has the prefix
    path = edited(workbook(tmp_path / "book.xlsx", ["id", "x"], [1, "=A2"]), cell, prefix)
    got, rejects = everything(source(path))
    assert (got.num_rows, [r.reason for r in rejects]) == ((0, [f"column 'x': {UNSAVED}"]) if told else (1, []))


def edited(path, cell, prefix=b""):
    """With that instead of the cell B2, and the prefix at each element of the sheet."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    text, count = re.subn(rb'<c r="B2".*?</c>', lambda _: cell, members[sheet])
    assert count == 1
    text = re.sub(rb"<(/?)(?=[a-zA-Z])", lambda m: b"<" + m[1] + prefix, text)
    members[sheet] = text.replace(b"xmlns=", b"xmlns:x=") if prefix else text
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_formulas_without_values_that_have_no_place_or_are_too_many(tmp_path, monkeypatch):
    path = edited(workbook(tmp_path / "book.xlsx", ["id", "x"], [1, "=A2"]), b"<c><f>A2</f></c>")
    with pytest.raises(ContractError, match=r"sheet 'Sheet1' of .* formulas whose values weren't saved"):
        source(path).streams()
    monkeypatch.setattr("importers.sources.files._formulas.MOST", 2)
    path = uncalculated(tmp_path / "many.xlsx", [["id", "x"], [1, "=A2"], [2, "=A3"]])
    assert len(everything(source(path))[1]) == 2
    path = uncalculated(tmp_path / "more.xlsx", [["id", "x"], [1, "=A2"], [2, "=A3"], [3, "=A4"]])
    with pytest.raises(ContractError, match="weren't saved"):
        source(path).streams()
    assert everything(source(path, errors="null"))[0].num_rows == 3


def test_white_space_behind_a_formula_costs_what_it_is_long(tmp_path):
    """A pattern that gave it back would look at each stretch of a megabyte for each place in it."""
    cell = b'<c r="B2"><f>A2</f>' + b" " * (1 << 20) + b"<v>5</v></c>"
    path = edited(workbook(tmp_path / "book.xlsx", ["id", "x"], [1, "=A2"]), cell)
    got, rejects = everything(source(path))
    assert (got.to_pydict(), rejects) == ({"id": [1], "x": [5]}, [])


@pytest.mark.parametrize("value", [{}, {"valuetype": "float", "value": "4"}])
def test_an_ods_sheet_with_a_formula_without_a_value(tmp_path, value):
    book = OpenDocumentSpreadsheet()
    formula, plain = TableCell(formula="of:=1>0", **value), TableCell(valuetype="float", value="3")
    for name, cell in (("A & B", formula), ("Two", plain)):
        table = Table(name=name)
        for of in (TableCell(valuetype="string", stringvalue="id"), cell):
            line = TableRow()
            line.addElement(of)
            table.addElement(line)
        book.spreadsheet.addElement(table)
    path = tmp_path / "book.ods"
    book.save(str(path))
    assert everything(source(path, sheets="Two"))[0].num_rows == 1
    if value:
        assert everything(source(path))[0].num_rows == 1
        return
    with pytest.raises(ContractError, match="sheet 'A & B' of"):
        source(path).streams()


def test_a_cell_that_is_not_of_the_samples_type(tmp_path):
    path = workbook(
        tmp_path / "book.xlsx",
        ["n", "x", "day", "time", "lasts"],
        [1, 0.5, (45000, DAY), (0.5, TIME), (1.5, LASTS)],
        [2.5, 1, (45000, DAY), (0.5, TIME), (1.5, LASTS)],
        ["007", 1, (45000, DAY), (0.5, TIME), (1.5, LASTS)],
        [4, "007", (45000, DAY), (0.5, TIME), (1.5, LASTS)],
        [5, 1, (45000.5, MOMENT), (0.5, TIME), (1.5, LASTS)],
        [6, 1, "2024-02-29", (45000.5, MOMENT), (1.5, LASTS)],
        [7, 1, (45000, DAY), (0.5, TIME), "soon"],
        [8, 1, 45000, (0.5, TIME), (1.5, LASTS)],
        [9, None, "2024-02-29", None, None],
    )
    got, rejects = everything(source(path, sample_rows=1))
    assert got["n"].to_pylist() == [1, 9]
    assert got["day"].to_pylist()[1] == dt.date(2024, 2, 29)
    assert [(r.location.rpartition(" ")[2], r.reason.partition(":")[0]) for r in rejects] == [
        ("3", "column 'n'"),
        ("4", "column 'n'"),
        ("5", "column 'x'"),
        ("6", "column 'day'"),
        ("7", "column 'time'"),
        ("8", "column 'lasts'"),
        ("9", "column 'day'"),
    ]
    assert rejects[5].reason == "column 'lasts': not a duration"
    assert not any("soon" in r.reason for r in rejects)


def test_more_than_a_batch_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("importers.sources.files.excel.ROWS", 7)
    rows = [[n, "=NA()" if n % 10 == 3 else n / 2] for n in range(40)]
    path = workbook(tmp_path / "book.xlsx", ["id", "x"], *rows)
    got, rejects = everything(source(path))
    assert got["id"].to_pylist() == [n for n in range(40) if n % 10 != 3]
    assert got["x"].to_pylist() == [n / 2 for n in range(40) if n % 10 != 3]
    assert [r.location.rpartition(" ")[2] for r in rejects] == ["5", "15", "25", "35"]


@pytest.mark.parametrize(
    ("sheets", "ids"),
    [(1, [1, 2]), ("Two", [3]), ([3, "One"], [1, 2, 4]), ("all", [1, 2, 3, 4]), (["Two", 2], [3]), ([4], None)],
)
def test_sheets(tmp_path, sheets, ids):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        add(book, [["id", "x"], [1, "a"], [2, "b"]], "One")
        add(book, [["x", "id"], ["c", 3]], "Two", start=(5, 3))
        add(book, [["id", "x"], [4, "d"]], "Three")
        add(book, [], "Empty")
    if ids is None:
        with pytest.raises(ContractError, match="has no cells where they are looked for"):
            everything(source(path, sheets=sheets))
        return
    got, rejects = everything(source(path, sheets=sheets))
    assert (sorted(got["id"].to_pylist()), rejects) == (ids, [])


def test_a_sheet_that_is_not_there_or_has_other_columns(tmp_path):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        add(book, [["id", "x"], [1, "a"]], "One")
        add(book, [["id", "email"], [3, "c"]], "Two")
    with pytest.raises(ConfigError, match="no sheet 3, 'Nine'"):
        source(path, sheets=["One", 3, "Nine"]).streams()
    with pytest.raises(ContractError, match=r"other columns.*more: email; fewer: x"):
        source(path, sheets="all").streams()


@pytest.mark.parametrize(
    ("said", "names", "rows"),
    [
        (None, ["title", "column_2", "column_3"], 4),
        ("B3", ["id", "x"], 2),
        ("A3:C4", None, 1),
        ("B3:B4", ["id"], 1),
        ("C:C", None, None),
        ("3:5", None, 2),
    ],
)
def test_ranges(tmp_path, said, names, rows):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        at = add(book, [["id", "x"], [1, "a"], [2, "b"]], "One", start=(2, 1))
        at.write(0, 0, "title")
        at.write(6, 0, "made by somebody")
    if said == "C:C":
        got, _ = everything(source(path, range=said))
        assert got.to_pydict() == {"x": ["a", "b"]}
        return
    got, _ = everything(source(path, range=said))
    assert got.schema.names[-2:] == (["id", "x"] if names is None else names[-2:])
    assert got.num_rows == rows


@pytest.mark.parametrize("wrong", ["", "B3:", "B3:A9", "B9:C3", "1B", "$"])
def test_a_range_that_is_none(tmp_path, wrong):
    with pytest.raises(ValueError, match="range"):
        source(tmp_path / "book.xlsx", range=wrong)


def test_headers(tmp_path):
    path = workbook(tmp_path / "book.xlsx", ["id", None, "x"], [1, 2, 3])
    assert everything(source(path))[0].to_pydict() == {"id": [1], "column_2": [2], "x": [3]}
    got, _ = everything(source(path, header=False))
    assert got.to_pydict() == {"column_1": ["id", "1"], "column_2": [None, 2], "column_3": ["x", "3"]}
    got, _ = everything(source(path, column_names=["a", "b", "c"]))
    assert got.to_pydict() == {"a": [1], "b": [2], "c": [3]}
    with pytest.raises(ContractError, match=r"has 3 columns.*2 `column_names`"):
        source(path, column_names=["a", "b"]).streams()
    workbook(path, ["id", "ada@example.org"], [1, 2])
    with pytest.raises(ContractError, match="doesn't look like names") as caught:
        source(path).streams()
    assert "ada@" not in str(caught.value)
    workbook(path, ["id", "x", "id"], [1, 2, 3])
    with pytest.raises(ContractError, match="more than once, in columns 1, 3"):
        source(path).streams()


def test_merged_cells_and_a_header_without_rows(tmp_path):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        at = add(book, [["a", "b"]], "One")
        at.merge_range(1, 0, 2, 0, "both")
        at.write(1, 1, 1)
        at.write(2, 1, 2)
    assert everything(source(path))[0].to_pydict() == {"a": ["both", None], "b": [1, 2]}
    workbook(path, ["a", "b"])
    got, rejects = everything(source(path))
    assert (got.schema.names, got.num_rows, rejects) == (["a", "b"], 0, [])


def test_the_tenant_may_say_a_type(tmp_path):
    path = workbook(tmp_path / "book.xlsx", ["n", "day"], ["007", (45000, DAY)], ["8", (45000.25, MOMENT)])
    got, rejects = everything(source(path, types={"n": "integer", "day": "timestamp"}))
    assert not rejects
    assert got["n"].to_pylist() == [7, 8]
    assert got["day"].to_pylist()[1].hour == 6


def test_xls_as_xlwt_writes_it(tmp_path):
    book = xlwt.Workbook()
    at = book.add_sheet("One")
    day = xlwt.easyxf(num_format_str="YYYY-MM-DD")
    for y, row in enumerate(
        [["id", "text", "day", "ok"], [1, "ü", dt.date(2024, 2, 29), True], [2.5, "", None, False]]
    ):
        for x, cell in enumerate(row):
            at.write(y, x, cell, day if isinstance(cell, dt.date) else xlwt.Style.default_style)
    book.save(str(tmp_path / "book.xls"))
    got, rejects = everything(source(tmp_path / "book.xls"))
    assert not rejects
    assert got.to_pydict() == {
        "id": [1.0, 2.5],
        "text": ["ü", None],
        "day": [dt.date(2024, 2, 29), None],
        "ok": [True, False],
    }


def test_ods_as_odfpy_writes_it(tmp_path):
    book = OpenDocumentSpreadsheet()
    table = Table(name="One")
    for row in [["id", "text", "day"], [1, "ü", dt.date(2024, 2, 29)], [2.5, "x", dt.date(1899, 1, 1)]]:
        line = TableRow()
        for cell in row:
            if isinstance(cell, str):
                made = TableCell(valuetype="string")
                made.addElement(P(text=cell))
            elif isinstance(cell, dt.date):
                made = TableCell(valuetype="date", datevalue=cell.isoformat())
            else:
                made = TableCell(valuetype="float", value=str(cell))
            line.addElement(made)
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.save(str(tmp_path / "book.ods"))
    got, rejects = everything(source(tmp_path / "book.ods"))
    assert not rejects
    assert got["id"].to_pylist() == [1.0, 2.5]
    assert got["text"].to_pylist() == ["ü", "x"]
    assert got["day"].to_pylist() == [dt.date(2024, 2, 29), dt.date(1899, 1, 1)]


def test_times_of_an_ods_sheet_are_durations_and_text_beside_text(tmp_path):
    book = OpenDocumentSpreadsheet()
    table = Table(name="One")
    for row in [["id", "time", "some"], [1, "PT01H02M03S", "PT23H59M00S"], [2, "PT26H00M00.5S", "noon"]]:
        line = TableRow()
        for cell in row:
            if isinstance(cell, int):
                line.addElement(TableCell(valuetype="float", value=str(cell)))
            elif cell.startswith("PT"):
                line.addElement(TableCell(valuetype="time", timevalue=cell))
            else:
                line.addElement(made := TableCell(valuetype="string"))
                made.addElement(P(text=cell))
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.save(str(tmp_path / "book.ods"))
    got, rejects = everything(source(tmp_path / "book.ods"))
    assert not rejects
    assert got["time"].to_pylist() == [
        dt.timedelta(hours=1, minutes=2, seconds=3),
        dt.timedelta(days=1, hours=2, milliseconds=500),
    ]
    assert got["some"].to_pylist() == ["1899-12-31 23:59:00", "noon"]


# -- what isn't whole


def test_a_password(tmp_path):
    plain = workbook(tmp_path / "plain.xlsx", ["id"], [1])
    with plain.open("rb") as file, (tmp_path / "book.xlsx").open("wb") as out:
        OOXMLFile(file).encrypt("secret", out)
    with pytest.raises(ContractError, match="protected by a password"):
        source(tmp_path / "book.xlsx").streams()
    assert not source(tmp_path / "book.xlsx").check().ok


@pytest.mark.parametrize("keep", [0, 4, 1000, -1, -30])
def test_a_workbook_that_was_cut_off(tmp_path, keep):
    path = workbook(tmp_path / "book.xlsx", ["id"], [1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ContractError, match=r"book\.xlsx' isn't a whole workbook"):
        source(path).streams()


def test_a_sheet_that_is_damaged_inside(tmp_path):
    whole = workbook(tmp_path / "whole.xlsx", ["id"], ["secret"])
    path, made = tmp_path / "book.xlsx", io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data[: len(data) // 2] if name.endswith("sheet1.xml") else data)
    path.write_bytes(made.getvalue())
    with pytest.raises(ContractError, match="isn't a whole workbook") as caught:
        everything(source(path))
    assert "secret" not in str(caught.value)


def test_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("importers.sources.files._unpacking.UNPACKED", 1000)
    path = workbook(tmp_path / "book.xlsx", ["id"], *[[1]] * 3000)
    assert everything(source(path))[0].num_rows == 3000
    with pytest.raises(ContractError, match="unpacks to more than 2 times its size"):
        source(path, max_ratio=2).streams()


def lying(data, name, size):
    """The archive with another size of that member in its central directory (APPNOTE 4.3.12)."""
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


COMPOUND = bytes.fromhex("D0CF11E0A1B11AE1")


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (lambda data: lying(data, "xl/worksheets/sheet1.xml", 100), "unpacks to more than 2 times"),
        (lambda data: data + bytes(70_000), "isn't a whole workbook"),
        (lambda data: b"x" + data + bytes(70_000), "isn't a whole workbook"),
        (lambda data: COMPOUND + data + bytes(70_000), "unpacks to more than 2 times"),
    ],
)
def test_a_bomb_that_hides_what_it_unpacks_to_is_not_parsed(tmp_path, monkeypatch, hidden, said):
    monkeypatch.setattr("importers.sources.files._unpacking.UNPACKED", 1000)
    path = workbook(tmp_path / "book.xlsx", ["id"], *[[1]] * 9000)
    path.write_bytes(hidden(path.read_bytes()))
    monkeypatch.setattr("fastexcel.read_excel", lambda _: pytest.fail("parsed"))
    with pytest.raises(ContractError, match=said):
        source(path, max_ratio=2).streams()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_workbook_of_another_compression_is_not_unpacked(tmp_path, monkeypatch, method):
    whole = workbook(tmp_path / "whole.xlsx", ["id"], [1])
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "book.xlsx", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ContractError, match="isn't a whole workbook"):
        source(tmp_path / "book.xlsx").streams()


def test_a_workbook_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = workbook(tmp_path / "book.xlsx", ["id"], [1])
    monkeypatch.setattr("importers.sources.files.excel.LARGEST", path.stat().st_size)
    assert everything(source(path))[0].num_rows == 1
    monkeypatch.setattr("importers.sources.files.excel.LARGEST", path.stat().st_size - 1)
    with pytest.raises(ContractError, match="held in memory whole"):
        source(path).streams()


# -- what would take more memory than there is


def with_sheet(path, cells, dimension=b"A1"):
    """A workbook with these rows behind its first, which names the columns `id` and `x`."""
    with zipfile.ZipFile(workbook(path, ["id", "x"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    text, count = re.subn(rb'ref="A1:B1"', b'ref="' + dimension + b'"', members[sheet])
    members[sheet] = text.replace(b"</sheetData>", cells + b"</sheetData>")
    assert count == 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


FIRST = b'<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c></row>'
STRAY = b'<row r="1048576"><c r="XFD1048576"><v>5</v></c></row>'
FAR = [
    (STRAY, b"A1"),
    (STRAY, b"A1:XFD1048576"),
    (STRAY, b"A1:CV1048576"),
    (STRAY, b"A1:AG1000"),
    (STRAY.replace(b"c r=", b"c s='0' r="), b"A1"),
    (STRAY.replace(b'"', b"'"), b"A1"),
    (STRAY.replace(b"c r=", b"c\nr = "), b"A1"),
    (STRAY.replace(b"XFD", b"xfd"), b"A1"),
    (STRAY.replace(b"<c", b"<x:c xmlns:x='http://schemas.openxmlformats.org/spreadsheetml/2006/main'"), b"A1"),
    (STRAY.replace(b"<v>5</v>", b"<f>A2</f>"), b"A1"),
    (STRAY.replace(b"<v>", b"<!-- <v> --><v>"), b"A1"),
    (b'<row r="16777217"><c r="A16777217"><v>5</v></c></row>', b"A1"),  # the library counts on
    (b'<row r="16777217"><c><v>5</v></c></row>', b"A1"),
    (b'<row r="1048576"/><row>' + b"<c/>" * 40 + b"<c><v>5</v></c></row>", b"A1"),
    (b'<row r="1048575">' + b"<c/>" * 40 + b"<!-- </row> --><c><v>5</v></c></row>", b"A1"),
    (b"""<row r="9"><c x='<' r="XFD1048576"><v>5</v></c></row>""", b"A1"),
    (b'<row r="9"><c r="ABCD1048576"><v>5</v></c></row>', b"A1"),
]


@pytest.mark.parametrize("piece", [7, 1 << 20])
@pytest.mark.parametrize(("cells", "dimension"), FAR)
def test_a_sheet_whose_cells_are_too_far_apart_is_not_parsed(tmp_path, monkeypatch, cells, dimension, piece):
    monkeypatch.setattr("importers.sources.files._unpacking.PIECE", piece)
    monkeypatch.setattr("importers.sources.files._extent.PIECE", max(piece, 200))
    monkeypatch.setattr("importers.sources.files._sheets.Workbook._loaded", lambda *_: pytest.fail("parsed"))
    path = with_sheet(tmp_path / "book.xlsx", FIRST + cells, dimension)
    with pytest.raises(ContractError, match=r"sheet 'Sheet1' of .*book\.xlsx' has cells too far apart.*Ctrl\+End"):
        source(path).streams()


COUNTED = b"<row><c><v>1</v></c><c><v>2</v></c></row>"


@pytest.mark.parametrize(
    "cells",
    [
        FIRST + b'<row r="1048576"><c r="XFD1048576" s="0"/></row>',  # formatted, and empty
        FIRST + b'<row r="1048576"><c r="C1048576" s="0"/></row>',
        COUNTED,
        FIRST.replace(b"c r=", b"c s='0' r="),
        FIRST.replace(b"</row>", b'<c r="AZ2" t="str"><v>a :c b:c </v></c></row>'),
    ],
)
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_a_sheet_that_only_looks_as_if_its_cells_were_far_apart(tmp_path, monkeypatch, cells, piece):
    monkeypatch.setattr("importers.sources.files._unpacking.PIECE", piece)
    monkeypatch.setattr("importers.sources.files._extent.PIECE", max(piece, 200))
    got, rejects = everything(source(with_sheet(tmp_path / "book.xlsx", cells)), only=["id", "x"])
    assert (got.to_pydict(), rejects) == ({"id": [1], "x": [2]}, [])


def test_another_sheet_may_reach_too_far(tmp_path):
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        add(book, [["id"], [1]], "One")
        add(book, [["id"], [2]], "Two").write(1048575, 16383, 5)
    assert everything(source(path))[0].to_pydict() == {"id": [1]}
    with pytest.raises(ContractError, match=r"1,048,576 rows of 16,384 columns from the first to the last"):
        source(path, sheets="all").streams()


def test_five_thousand_columns(tmp_path):
    names = [f"c{number}" for number in range(5000)]
    path = workbook(tmp_path / "book.xlsx", names, range(5000), [None, *range(1, 5000)])
    got, rejects = everything(source(path))
    assert (got.schema.names, rejects) == (names, [])
    assert got["c4999"].to_pylist() == [4999] * 2
    assert got["c0"].to_pylist() == [0, None]


@pytest.mark.parametrize("above", [0, 5, 8, 9, 30])
def test_a_table_far_down_is_sampled_from_its_first_row(tmp_path, monkeypatch, above):
    monkeypatch.setattr("importers.sources.files._sheets.BLANK", 8)
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as book:
        at = add(book, [["id", "x"], *[[n, n / 2] for n in range(9)], ["last", 1]], "One", start=(above, 1))
        at.write(above + 20, 3, "=1")
    (stream,) = source(path, sample_rows=9).streams()
    types = {column.name: column.type for column in stream.columns}
    assert types == {"id": pa.int64(), "x": pa.float64(), "column_3": pa.string()}
    (stream,) = source(path, sample_rows=10).streams()
    assert stream.columns[0].type == pa.string()


def test_a_plan_reads_a_workbook_once(tmp_path, monkeypatch):
    path = workbook(tmp_path / "book.xlsx", ["id"], [1])
    of, reads = source(path), []
    opened = type(of)._workbook
    monkeypatch.setattr(type(of), "_workbook", lambda *args: reads.append(args) or opened(*args))
    (stream,) = of.streams()
    (part,) = of.plan(stream, Window(), {}).partitions
    assert len(reads) == 1
    assert sum(batch.rows.num_rows for batch in of.read(stream, part)) == 1
    assert len(reads) == 2


SHEETS = {
    "plays": ["id", 1],
    "spare": [],
    "Costs": ["id", 1],
    "Anna Müller": ["id", 1],
    "49170123456": ["id", 1],
    "Header": ["id"],
}


def of_sheets(path):
    """Of the sheets one has a format and no value, two are called as people may be, and the last has a header alone."""
    if path.suffix == ".xlsx":
        with xlsxwriter.Workbook(path) as book:
            for name, holds in SHEETS.items():
                sheet = book.add_worksheet(name)
                sheet.write_column(0, 0, holds) if holds else sheet.write_blank(
                    0, 0, None, book.add_format({"bold": True})
                )
            chart = book.add_chart({"type": "line"})
            chart.add_series({"values": "=plays!$A$2:$A$2"})
            book.add_chartsheet("Chart").set_chart(chart)
        return
    if path.suffix == ".xls":
        book = xlwt.Workbook()
        for name, holds in SHEETS.items():
            sheet = book.add_sheet(name)
            for row, value in enumerate(holds or [" ", "  "]):
                sheet.write(row, 0, value)
        book.save(str(path))
        return
    book = OpenDocumentSpreadsheet()
    for name, holds in SHEETS.items():
        table = Table(name=name)
        for number in map(str, range(len(holds))):
            line = TableRow()
            line.addElement(TableCell(valuetype="float", value=number))
            table.addElement(line)
        book.spreadsheet.addElement(table)
    book.save(str(path))


@pytest.mark.parametrize("kind", ["xlsx", "xls", "ods"])
def test_sheets_that_are_not_read_are_told_until_a_setting_says_which_are(tmp_path, kind):
    of_sheets(tmp_path / f"a.{kind}")
    shutil.copy(tmp_path / f"a.{kind}", tmp_path / f"b.{kind}")

    def notes(**said):
        of = source(tmp_path / f"*.{kind}", column_names=["id"], **said)
        return of.plan(of.streams()[0], Window(), {}).notes

    (note,) = notes()
    assert f"a.{kind}' the first sheet alone is read, and not 3 (Costs), 4, 5." in note
    assert "by `sheets`" in note
    assert not notes(sheets=1)
    assert not notes(sheets=["plays"])


def test_a_sheet_that_can_t_be_read_and_isn_t_stops_nothing(tmp_path, monkeypatch):
    of_sheets(tmp_path / "a.xls")
    read = Workbook.holds

    def refuses(workbook, sheet, rows):
        monkeypatch.setattr(
            workbook, "_reader", Mock(load_sheet=Mock(side_effect=fastexcel.FastExcelError("not a worksheet")))
        )
        return read(workbook, sheet, rows)

    monkeypatch.setattr(Workbook, "holds", refuses)
    assert everything(source(tmp_path / "a.xls", header=True))[0].num_rows == 1
