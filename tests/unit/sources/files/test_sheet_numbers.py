"""Numbers of workbooks: what openpyxl reads of the same file, or what was written, of 15 digits if not as a double."""

import datetime as dt
from decimal import ROUND_HALF_UP, Context, Decimal

import openpyxl
import pyarrow as pa
import pytest
import xlwt
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P
from tests.support.reading import everything

from importers.core.model import Window
from importers.sources.files._sheet_numbers import significant
from importers.sources.files._sheets import Workbook
from importers.sources.files.excel import Excel, ExcelConfig

UGLY = [
    *(1 / 3, 1e-10, 1.5e-7, 1e-300, 5e-324, -0.0, 0.0, 0.1 + 0.2, 29.020000000000003, -1 / 7, 1e15 + 0.3),
    *(5.0000000001, 123456789.12, 9.87654321e-9, 2.0**53 + 2, 1e22, 1e300, -1.7976931348623157e308),
]


def source(path, **config):
    return Excel(ExcelConfig(path=str(path), **config), tenant="acme")


def xls(path, rows):
    book = xlwt.Workbook()
    sheet = book.add_sheet("One")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.write(y, x, cell)
    book.save(str(path))
    return path


def ods(path, rows):
    book = OpenDocumentSpreadsheet()
    table = Table(name="One")
    for row in rows:
        line = TableRow()
        for cell in row:
            if isinstance(cell, str):
                line.addElement(made := TableCell(valuetype="string"))
                made.addElement(P(text=cell))
            else:
                line.addElement(TableCell(valuetype="float", value=repr(cell)))
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.save(str(path))
    return path


def xlsx(path, rows):
    """By openpyxl, with all digits that Python has, of which it writes 16; a pair is a number and its format."""
    book = openpyxl.Workbook()
    for y, row in enumerate(rows, 1):
        for x, value in enumerate(row, 1):
            value, shown = value if isinstance(value, tuple) else (value, None)
            cell = book.active.cell(y, x, repr(value) if isinstance(value, float) else value)
            cell.data_type = "n" if isinstance(value, float) else "e" if value == "#N/A" else cell.data_type
            cell.number_format = shown or cell.number_format
    book.save(path)
    return path


WRITERS = {"xlsx": xlsx, "xls": xls, "ods": ods}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("beside", [[], ["-"]], ids=["alone", "beside a text"])
def test_numbers_are_what_was_written(tmp_path, kind, beside):
    path = WRITERS[kind](tmp_path / f"book.{kind}", [["id", "x"], *enumerate([*UGLY, *beside])])
    got, rejects, _ = everything(source(path, types={"x": "number"}))
    read = [number if kind != "xls" else abs(number) for number in UGLY if number == 0]  # xlwt writes -0.0 as 0
    assert [repr(number) for number in got["x"].to_pylist()] == [repr(x) if x else repr(read.pop(0)) for x in UGLY]
    assert len(rejects) == len(beside)


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_what_openpyxl_reads(tmp_path_factory, numbers):
    path = xlsx(tmp_path_factory.mktemp("any") / "book.xlsx", [["id", "x"], *enumerate(numbers)])
    got, rejects, _ = everything(source(path, types={"x": "number"}))
    read = openpyxl.load_workbook(path).active.iter_rows(min_row=2, min_col=2, values_only=True)
    assert (got["x"].to_pylist(), rejects) == ([float(value) for (value,) in read], [])


@settings(max_examples=300, deadline=None)
@given(number=st.floats(allow_nan=False, allow_infinity=False, max_value=1e15, min_value=-1e15))
@example(0.1 + 0.2)
@example(29 - 2**-48)
@example(123456789012345.5)  # a tie, to the even one
@example(999.9999999999999)
@example(5e-324)
@example(1e-8 / 3)
def test_digits_that_excel_neither_shows_nor_compares_are_rounded_away(number):
    (got,) = significant(pa.array([number])).to_pylist()
    assert f"{got!r}" == repr(float("%.15g" % number))  # noqa: UP031 - as Excel's digits are told


@settings(max_examples=300, deadline=None)
@given(digits=st.integers(10**14, 10**15 - 1), power=st.integers(1, 25))
def test_what_lies_between_two_numbers_of_fifteen_digits_is_rounded_as_it_is(digits, power):
    """A product with a power of ten is rounded, too: to a half where there is a bit less, or more."""
    number = float(f"{digits}5e-{power}")
    assert significant(pa.array([number, None])).to_pylist() == [float(f"{number:.15g}"), None]


def test_whole_numbers_have_all_digits_whatever_there_are():
    whole = [9007199254740991.0, -1234567890123457.0, 2.0**53 + 2, 1e300, -0.0, float("inf")]
    assert significant(pa.array([*whole, 1e15 + 0.25])).to_pylist() == [*whole, 1e15]


COMPUTED = [0.29 * 100, 0.1 * 3 * 10, 1.1 * 1.1, 0.1 + 0.2, 19.99 * 3, 1 / 3, 12345678.1 + 0.2, 9007199254740991.0]
COMPUTED += [12345678901.13 + 0.1, 57600316221473.375, -123456789012345.6]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("beside", [[], ["n/a"], ["-", (45351, "yyyy-mm-dd")]], ids=["alone", "n/a", "beside others"])
def test_what_was_computed_is_loaded_as_people_see_it(tmp_path, kind, beside):
    if kind != "xlsx":
        beside = [cell for cell in beside if isinstance(cell, str)]
    path = WRITERS[kind](tmp_path / f"book.{kind}", [["id", "x"], *enumerate([*COMPUTED, *beside])])
    seen = [Decimal(f"{number:.15g}") if number % 1 else Decimal(int(number)) for number in COMPUTED]

    got, _, _ = everything(source(path, types={"x": "string"}))
    assert got["x"].to_pylist()[: len(seen)] == [str(number) for number in seen]
    got, rejects, _ = everything(source(path, types={"x": "integer"}))
    assert got["x"].to_pylist() == [int(number) for number in seen if number % 1 == 0]
    assert len(rejects) == len(seen) - 4 + len(beside)
    for precision, scale in ((30, 10), (20, 4), (20, 2), (20, 0), (38, 20)):
        got, rejects, _ = everything(source(path, types={"x": f"decimal({precision},{scale})"}))
        last, digits = Decimal(1).scaleb(-scale), Context(precision)
        assert got["x"].to_pylist() == [number.quantize(last, ROUND_HALF_UP, digits) for number in seen]
        assert len(rejects) == len(beside)


@pytest.mark.parametrize("computed", [28.999999999999996, 12345678.999999998])
def test_what_was_computed_to_be_whole_is_sampled_as_whole(tmp_path, computed):
    path = xlsx(tmp_path / "book.xlsx", [["id", "x"], *enumerate([computed, 3.0, computed])])
    got, rejects, _ = everything(source(path))
    assert (got["x"].type, got["x"].to_pylist(), rejects) == (pa.int64(), [round(computed), 3, round(computed)], [])


def test_texts_that_look_like_computed_numbers_are_left_alone(tmp_path):
    """Whoever writes more than 15 digits in a workbook takes a text for them."""
    cells = ["12345678.300000003", 12345678.300000003, "1234567.123456789", 1234567.123456789, "28.999999999999996"]
    path = xlsx(tmp_path / "book.xlsx", [["id", "x"], *enumerate([*cells, 0.5, "n/a"])])
    for config in ({}, {"types": {"x": "string"}}):
        got, _, _ = everything(source(path, **config))
        written = [cells[0], f"{cells[1]:.15g}", cells[2], f"{cells[3]:.15g}", cells[4], "0.5", "n/a"]
        assert got["x"].to_pylist() == written


def test_a_null_marker_is_none_before_it_is_rounded(tmp_path):
    path = xlsx(tmp_path / "book.xlsx", [["x", "y"], [-99.999, 1], [1.005, 2], [-2.675, 3], [1e-300, 4]])
    got, rejects, _ = everything(source(path, null_values=["-99.999"], types={"x": "decimal(6,2)"}))
    assert (got["x"].to_pylist(), rejects) == ([None, Decimal("1.01"), Decimal("-2.68"), 0], [])


def test_a_fraction_among_days_and_times_is_none_of_them(tmp_path):
    """A day is a number, too, that has a format."""
    days = [dt.date(2024, 2, 28), dt.date(2024, 2, 29)]
    path = xlsx(tmp_path / "book.xlsx", [["day", "x"], *zip(days, [1 / 3, 1e-10], strict=True), [45351.25, days[0]]])
    got, rejects, _ = everything(source(path, types={"day": "date", "x": "number"}))
    assert got.to_pydict() == {"day": days, "x": [1 / 3, 1e-10]}
    assert [reject.raw.decode() for reject in rejects] == ['{"day": "45351.25", "x": "2024-02-28 00:00:00"}']


DAY = "yyyy-mm-dd"


def test_numbers_among_texts_are_text_with_all_digits_and_texts_are_left_alone(tmp_path):
    cells = ["007", "1.50", 1 / 3, 1e-10, True, (45351, DAY), "1e5", 29.020000000000003, 5, 123456789.12, 2**53]
    cells += ["0.333333333333333333", "123456789.120000001", "0", "12345678901234567890", "8.0", 0, -2.5e-10]
    path = xlsx(tmp_path / "book.xlsx", [["id", "x"], *enumerate(cells)])
    said = {True: "true", (45351, DAY): "2024-02-29 00:00:00"}
    expected = [said.get(cell) if isinstance(cell, bool | tuple) else str(cell) for cell in cells]
    expected = [f"{cell:.15g}" if isinstance(cell, float) else text for cell, text in zip(cells, expected, strict=True)]
    for config in ({}, {"types": {"x": "string"}}):
        got, rejects, _ = everything(source(path, **config))
        assert (got["x"].to_pylist(), rejects) == (expected, [])


def test_decimals_are_rounded_to_nine_digits_or_as_many_as_they_have(tmp_path):
    """123456789.12 was more than two decimals: the double is 123456789.12000000476837158203125."""
    path = xlsx(tmp_path / "book.xlsx", [["a", "b", "c"], [1 / 3, 123456789.12, 2.5e-12], [0.1 + 0.2, -0.5, 1.5]])
    got, rejects, _ = everything(source(path, types={"a": "decimal", "b": "decimal(12,2)", "c": "decimal(20,13)"}))
    assert not rejects
    assert got.to_pydict() == {
        "a": [Decimal("0.333333333"), Decimal("0.3")],
        "b": [Decimal("123456789.12"), Decimal("-0.5")],
        "c": [Decimal("2.5e-12"), Decimal("1.5")],
    }


def test_what_is_nearly_whole_is_no_integer(tmp_path):
    rows = [[number, number] for number in range(20)]
    path = xlsx(tmp_path / "book.xlsx", [["id", "x"], *rows, [20, 5.0000000001], [21, 1e-10]])
    got, rejects, _ = everything(source(path, sample_rows=10))
    assert (got["id"].to_pylist(), len(rejects)) == (list(range(20)), 2)
    got, rejects, _ = everything(source(path, sample_rows=10, types={"x": "number"}))
    assert (got["x"].to_pylist()[-2:], rejects) == ([5.0000000001, 1e-10], [])


def test_what_means_no_value_does_so_among_numbers(tmp_path):
    path = xlsx(tmp_path / "book.xlsx", [["x", "y"], [1 / 3, 1], [-999, 2], ["n/a", 3], ["", 4], [1e-10, "#N/A"]])
    got, rejects, _ = everything(source(path, null_values=["", "n/a", "-999"], errors="null"))
    assert (got["x"].to_pylist(), rejects) == ([1 / 3, None, None, None, 1e-10], [])
    assert got["y"].to_pylist() == [1, 2, 3, 4, None]


BESIDE = {
    "nothing": [],
    "a text": ["-"],
    "true": [True],
    "a day": [(45351, DAY)],
    "a code": ["007"],
    "n/a": ["n/a", ""],
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize(
    ("top", "config"),
    [
        ([], {}),
        ([[], []], {}),
        ([["a title"], []], {"range": "B3:E90"}),
        ([], {"header": False, "sample_rows": 5}),
        ([], {"column_names": ["a", "b", "c", "d"]}),
    ],
)
def test_a_partition_is_read_alike_where_its_plan_tells_the_columns_places(tmp_path, monkeypatch, top, config, beside):
    """Plans that were made before it did are run again."""
    rows = [[n, f"name {n}", 1 / (n + 3), (45351 + n / 7, "yyyy-mm-dd hh:mm:ss")] for n in range(30)]
    rows[7] = [7, None, "#N/A", None]
    rows[9] = [None] * 4
    rows += [[30 + n, "x", cell, None] for n, cell in enumerate(beside)] + [[40, "y", "=1+1", None]]
    table = [[None, *row] for row in ([] if config.get("header") is False else [["id", "name", "x", "at"]]) + rows]
    of = source(xlsx(tmp_path / "book.xlsx", [*top, *table]), **config)
    (stream,) = of.streams()
    (partition,) = of.plan(stream, Window(), {}).partitions
    with monkeypatch.context() as patched:
        if beside in (BESIDE["nothing"], BESIDE["n/a"]) and "header" not in config:  # else it takes the texts
            patched.delattr(Workbook, "cells")
        fast = list(of.read(stream, partition))
    assert partition["slices"][0].pop("first") == len(top) + (config.get("header") is not False) + 1
    assert list(partition["slices"][0].pop("columns").values()) == [1, 2, 3, 4]
    slow = list(of.read(stream, partition))
    tables = [pa.Table.from_batches([batch.rows for batch in read]) for read in (fast, slow)]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows > 25
    assert [batch.rejects for batch in fast] == [batch.rejects for batch in slow]
    assert [batch.places for batch in fast] == [batch.places for batch in slow]
