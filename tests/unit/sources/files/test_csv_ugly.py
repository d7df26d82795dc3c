"""CSV as it arrives: other encodings, delimiters and numbers, odd headers, and input that is broken on purpose."""

from datetime import date
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.properties import examples
from tests.unit.sources.files.test_csv import everything, source

from importers.exceptions import ContractError
from importers.sources.files import _detect
from importers.sources.files._headers import numbered_apart
from importers.sources.files.csv import CsvConfig

NAMES = "id,name\n1,Björk Guðmundsdóttir\n2,Sigur Rós\n3,Mötley Crüe\n4,Beyoncé Knowles\n5,Antonín Dvořák\n"

NOT_ENCODED = "not in the file's encoding: set `encoding`, to `cp1252` or `guess` for example"


def one(tmp_path, data, **said):
    (tmp_path / "x.csv").write_bytes(data)
    return everything(source(tmp_path / "x.csv", **said))


def rows(tmp_path, data, **said):
    found, rejects, _ = one(tmp_path, data, **said)
    assert not rejects
    return found


# encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_an_encoding_that_the_bytes_say(tmp_path, encoding):
    said = {"encoding": "utf-16-le"} if encoding == "utf-16-le" else {}
    found = rows(tmp_path, NAMES.encode(encoding), **said)
    assert found == [(int(line[0]), line[2:]) for line in NAMES.splitlines()[1:]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ["id,name\n1,Zoë\n2,Eve\n", "ключ,имя,город\n1,Женя,Вологда\n2,一,一一一\n", "id,name"]
)
def test_utf_16_without_a_mark_says_what_to_set(tmp_path, encoding, text):
    with pytest.raises(ContractError, match=f"{encoding[:6].upper()} without a byte order mark") as failed:
        one(tmp_path, text.encode(encoding))
    assert failed.value.do == f"set `encoding: {encoding}`"
    expected = rows(tmp_path, text.encode())
    assert rows(tmp_path, text.encode(encoding), encoding=encoding) == expected
    assert rows(tmp_path, text.encode(encoding), encoding="guess") == expected


PAGE = "<!DOCTYPE html>\n<html><head><title>Log in, please</title></head></html>\n"


@pytest.mark.parametrize("text", [PAGE, "\ufeff \n" + PAGE.lower(), "<HTML lang=en>\n<p>a,b\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_page_in_place_of_a_file_is_told(tmp_path, text, encoding):
    with pytest.raises(ContractError, match=r"x\.csv' is an HTML page") as failed:
        one(tmp_path, text.encode(encoding))
    assert "Log in" not in str(failed.value)


@pytest.mark.parametrize("name", ["<htmlish>", "html", "<!doctype>", "a <html>"])
def test_a_name_of_a_column_is_no_page(tmp_path, name):
    assert rows(tmp_path, f"{name},b\n1,2\n".encode()) == [(1, 2)]


def test_utf_16_that_is_read_as_something_else_says_what_to_set(tmp_path):
    with pytest.raises(ContractError, match="looks like UTF-16; got NUL bytes") as failed:
        one(tmp_path, b"\xff\xfe" + "id,name\n1,Zoe\n".encode("utf-16-le"), encoding="cp1252")
    assert failed.value.do == "set `encoding: utf-16`"


@pytest.mark.parametrize("cells", [b"1,a\0b\n", b"1,\n\0,b\n", b"1,ab\n\0,\n"])
def test_a_nul_among_letters_is_no_utf_16(tmp_path, cells):
    """Beside a newline it may look like one of UTF-16, but the header's has none."""
    found, rejects, _ = one(tmp_path, b"i,n\n" + cells)
    assert (len(found), len(rejects)) == (cells.count(b"\n"), 0)


def test_an_encoding_is_guessed_only_if_somebody_says_so(tmp_path):
    text = "id,name\n" + "1,Mötley Crüe\n2,Beyoncé Knowles\n3,Édith Piaf\n4,Die Ärzte\n" * 5
    data = text.encode("cp1252")
    assert rows(tmp_path, data, encoding="guess")[:4] == [
        (1, "Mötley Crüe"),
        (2, "Beyoncé Knowles"),
        (3, "Édith Piaf"),
        (4, "Die Ärzte"),
    ]
    found, rejects, _ = one(tmp_path, data)
    assert not found
    assert {reject.reason for reject in rejects} == {NOT_ENCODED}
    assert _detect.guessed(text.encode()) == "utf-8"


def test_of_mixed_encodings_the_most_counts_and_the_rest_is_kept_apart(tmp_path):
    data = NAMES.encode() + "6,Café\n".encode("latin-1")
    found, rejects, _ = one(tmp_path, data, encoding="guess")
    assert len(found) == 5
    (reject,) = rejects
    assert (reject.raw, reject.reason) == (b"6,Caf\xe9", NOT_ENCODED)


def test_a_sample_that_ends_within_a_character_is_still_utf_8():
    assert _detect.guessed(("x" * 10 + "ö").encode()[:-1]) == "utf-8"


# delimiters


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a;b\n1,5;x\n2,5;y\n", [("1,5", "x"), ("2,5", "y")]),
        (b"a\tb\n1\tx, y\n2\tz\n", [(1, "x, y"), (2, "z")]),
        (b"a|b|c\n1|2|3\n", [(1, 2, 3)]),
        (b'a,b\n"x;y",1\n"z;w",2\n', [("x;y", 1), ("z;w", 2)]),
        (b"a\n1;2\n3;4\n", [("1;2",), ("3;4",)]),
        (b"a;b\n1;2\n3\n4;5\n6;7\n8;9\n1;2\n", [(1, 2), (4, 5), (6, 7), (8, 9), (1, 2)]),
    ],
)
def test_a_delimiter_that_the_text_says(tmp_path, data, expected):
    assert one(tmp_path, data)[0] == expected


def test_what_is_set_isn_t_looked_for(tmp_path):
    assert rows(tmp_path, b"a;b\n1;2\n", delimiter=",") == [("1;2",)]


# numbers


def test_decimal_commas_and_thousands(tmp_path):
    data = b"n;f;when;text\n1.234;1.234,5;2024-01-31;1,5 l\n12;-0,25;2024-02-01;x\n1.000.000;3;2024-02-02;y\n"
    found = rows(tmp_path, data, decimal=",", thousands=".")
    assert found == [
        (1234, 1234.5, date(2024, 1, 31), "1,5 l"),
        (12, -0.25, date(2024, 2, 1), "x"),
        (1_000_000, 3.0, date(2024, 2, 2), "y"),
    ]


def test_a_number_in_another_notation_is_kept_apart(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"f;x\n1,5;a\n2.5;b\n12.34,5;c\n3,5;d\n")
    of = source(tmp_path / "x.csv", decimal=",", types={"f": "number"})
    found, rejects, _ = everything(of)
    assert [f for f, _ in found] == [1.5, 3.5]
    assert [reject.raw for reject in rejects] == [b"2.5;b", b"12.34,5;c"]


UNGROUPED = (
    "0.500",
    "-0.500",
    "00.500",
    "012.345",
    "000.000.001",
    "0.123",
    "1.23.456",
    "1.00.000",
    "12.34",
    "1.2345",
    "1.234.56",
    "1..234",
    ".123",
    "1.234E+03",
    "1.234,5e3",
)
GROUPED = {"1.234": 1234, "-1.234": -1234, "123.456.789": 123456789, "0": 0, "1000": 1000}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("integer", "a whole number written as 1.234"),
        ("number", "a number written as 1.234,5"),
        ("decimal(12,2)", "a decimal number of at most 10 digits before the point and 2 after it written as 1.234,5"),
    ],
)
def test_what_isn_t_well_grouped_is_no_number(tmp_path, kind, words):
    """`0.500` was 500: nobody groups behind a zero. Groups of two, as of lakhs, are of another notation, too."""
    cells = [*GROUPED, *UNGROUPED]
    (tmp_path / "x.csv").write_text("".join(f"{line}\n" for line in ["v;x", *(f"{cell};a" for cell in cells)]))
    found, rejects, _ = everything(source(tmp_path / "x.csv", decimal=",", thousands=".", types={"v": kind}))
    assert [value for value, _ in found] == list(GROUPED.values())
    assert [reject.raw.decode() for reject in rejects] == [f"{cell};a" for cell in UNGROUPED]
    assert {reject.reason for reject in rejects} == {f"column 'v': not {words}"}


@pytest.mark.parametrize("odd", UNGROUPED)
def test_a_sample_that_isn_t_well_grouped_is_text(tmp_path, odd):
    """A type gives each sampled text back."""
    german = f"v;x\n1.234;a\n{odd};b\n".encode()
    assert rows(tmp_path, german, decimal=",", thousands=".") == [("1.234", "a"), (odd, "b")]
    english = odd.translate(str.maketrans(",.", ".,"))
    assert rows(tmp_path, f"v;x\n{english};b\n1,234;a\n".encode(), thousands=",") == [(english, "b"), ("1,234", "a")]


@pytest.mark.parametrize(
    ("thousands", "written"),
    [
        (" ", "1 234\u00a0567"),
        (" ", "1\u202f234\u2009567"),
        ("'", "1'234\u2019567"),
        ("_", "1_234_567"),
    ],
)
def test_what_office_programs_write_between_thousands(tmp_path, thousands, written):
    found = rows(tmp_path, f"v;x\n{written};a\n0;b\n".encode(), thousands=thousands)
    assert found == [(1_234_567, "a"), (0, "b")]
    assert rows(tmp_path, f"v;x\n{written};a\n0{written};b\n".encode(), thousands=thousands)[0] == (written, "a")


@pytest.mark.parametrize("cells", [["1.50", "5.", "6"], ["1.5", "nan"], ["1.", "inf"], [".5", "-.5"], ["1.5?", "2"]])
def test_numbers_of_another_notation_are_text(tmp_path, cells):
    """With `decimal: ","` some stopped the run, whose error showed one: Arrow's own words."""
    data = "v;x\n" + "".join(f"{cell};a\n" for cell in cells)
    assert rows(tmp_path, data.encode(), decimal=",") == [(cell, "a") for cell in cells]


@pytest.mark.parametrize(("kind", "bad"), [("number", ""), ("number", "?;b\n"), ("decimal", ""), ("decimal", "?;b\n")])
def test_a_number_needs_digits_on_one_side_alone(tmp_path, kind, bad):
    """As with a point; `5,` was none beside a cell that is none."""
    (tmp_path / "x.csv").write_text(f"v;x\n5,;a\n,5;a\n-,5;a\n{bad}")
    found, rejects, _ = everything(source(tmp_path / "x.csv", decimal=",", types={"v": kind}))
    assert ([float(value) for value, _ in found], len(rejects)) == ([5, 0.5, -0.5], len(bad) // 4)
    assert rows(tmp_path, b"v;x\n5,;a\n,5;a\n", decimal=",") == [(5.0, "a"), (0.5, "a")]


PIECES = ["0", "1", "12", "123", "000", ".", ",", "e", "+", "-", "'", "?", "nan", "1.234", "1,234", "0.5"]
CELLS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@settings(max_examples=examples(30))
@given(
    cells=st.lists(CELLS, min_size=1, max_size=3),
    decimal=st.sampled_from(".,"),
    thousands=st.sampled_from(["", "'", ".", ","]),
)
def test_a_sample_of_anything_like_a_number_stops_nothing_and_gives_all_back(
    tmp_path_factory, cells, decimal, thousands
):
    thousands = "" if thousands == decimal else thousands
    path = tmp_path_factory.mktemp("like") / "x.csv"
    path.write_text("v|x\n" + "".join(f"{cell}|a\n" for cell in cells))
    found, rejects, _ = everything(source(path, decimal=decimal, thousands=thousands, delimiter="|"))
    assert (len(found), rejects) == (len(cells), [])


def test_decimals_of_a_declared_type_keep_every_digit(tmp_path):
    found = rows(tmp_path, b"d;x\n1.234,123456789;a\n", decimal=",", thousands=".", types={"d": "decimal"})
    assert str(found[0][0]) == "1234.123456789"


# headers and what stands before them


def test_names_twice(tmp_path):
    data = b"a,a,b,a\n1,2,3,4\n"
    with pytest.raises(ContractError, match="more than once, in columns 1, 2, 4"):
        one(tmp_path, data)
    (tmp_path / "x.csv").write_bytes(data)
    of = source(tmp_path / "x.csv", duplicate_names="number")
    assert [column.name for column in of.streams()[0].columns] == ["a", "a_2", "b", "a_3"]
    assert everything(of)[0] == [(1, 2, 3, 4)]
    assert numbered_apart(["a", "a", "a_2"]) == ["a", "a_3", "a_2"]


def test_lines_before_the_header(tmp_path):
    data = b'Report; of "today\n\na;b\n1;2\n'
    assert rows(tmp_path, data, skip_lines=2) == [(1, 2)]
    assert rows(tmp_path, ("ü\n" + "a,b\n1,2\n").encode("utf-16"), skip_lines=1) == [(1, 2)]
    with pytest.raises(ContractError, match="no text after its first 7 lines"):
        one(tmp_path, data, skip_lines=7)


@pytest.mark.parametrize("wrong", [{"decimal": ",", "thousands": ","}, {"decimal": ";"}, {"skip_lines": -1}])
def test_settings_that_can_t_be(wrong):
    with pytest.raises(ValidationError):
        CsvConfig(path="x", **wrong)


# bad input: a clear error, or every record in rows or rejects


def test_an_empty_file_and_only_a_header(tmp_path):
    with pytest.raises(ContractError, match="is empty"):
        one(tmp_path, b"")
    assert one(tmp_path, b"a,b\n")[:2] == ([], [])


def test_the_wrong_delimiter_is_told_by_the_columns_of_the_next_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "b.csv").write_bytes(b"a;b\n1;2\n")
    with pytest.raises(ContractError, match="other columns"):
        everything(source(tmp_path / "*.csv", delimiter=","))
    assert everything(source(tmp_path / "*.csv"))[0] == [(1, 2), (1, 2)]


def test_nul_bytes_are_text(tmp_path):
    assert rows(tmp_path, b"a,b\nx\x00y,1\n") == [("x\x00y", 1)]


def test_a_field_of_ten_megabytes(tmp_path):
    long = b"x" * (10 << 20)
    assert rows(tmp_path, b'a,b\n1,2\n3,"' + long + b'"\n', types={"b": "string"}) == [(1, "2"), (3, long.decode())]
    with pytest.raises(ContractError, match="too long for a name"):
        one(tmp_path, long + b",b\n1,2\n", header=True)


def test_five_thousand_columns(tmp_path):
    names = ",".join(f"c{n}" for n in range(5000))
    found = rows(tmp_path, f"{names}\n{','.join(map(str, range(5000)))}\n".encode())
    assert found == [tuple(range(5000))]


def test_numbers_beyond_what_a_type_holds(tmp_path):
    data = b"i,f,d\n1,1.5,1.5\n9223372036854775808,1e400,1\n2,NaN,1e40\n3,Infinity,2\n-9223372036854775808,-inf,3\n"
    types = {"i": "integer", "f": "number", "d": "decimal"}
    found, rejects, _ = one(tmp_path, data, types=types)
    assert [row[0] for row in found] == [1, 3, -(2**63)]
    assert [row[1] for row in found] == [1.5, inf, -inf]
    assert [reject.raw[:2] for reject in rejects] == [b"92", b"2,"]


def test_old_dates_and_odd_zones(tmp_path):
    data = b"d,t\n0001-01-01,1899-12-31T23:59:59Z\n1582-10-10,2024-01-01T00:00:00+05:45\n9999-12-31,1900-01-01T00:00Z\n"
    found = rows(tmp_path, data, types={"d": "date", "t": "timestamp_tz"})
    assert [row[0] for row in found] == [date(1, 1, 1), date(1582, 10, 10), date(9999, 12, 31)]
    assert [row[1].isoformat() for row in found] == [
        "1899-12-31T23:59:59+00:00",
        "2023-12-31T18:15:00+00:00",
        "1900-01-01T00:00:00+00:00",
    ]


def test_formulas_stay_text(tmp_path):
    cells = ["=1+1", "@SUM(A1)", "-2+3", '=HYPERLINK("http://x","y")']
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    assert [cell for cell, _ in rows(tmp_path, b"a,b\n" + "".join(f"{q},1\n" for q in quoted).encode())] == cells
