"""Columns that a few odd values of the sample make text. How many there are was counted by whoever wrote the file."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
import xlsxwriter

from importers.core.model import Window
from importers.core.registry import source_class

DAYS = [(date(2026, 1, 1) + timedelta(days=n)).isoformat() for n in range(300)]
NUMBERS = [str(n) for n in range(300)]


def noted(kind, path, *, only=None, held_to=(), **config):
    """What a plan says of the file; of these columns, if not of all. What it is `held_to` are the runs before."""
    cls = source_class(kind)
    of = cls(cls.config_model(path=str(path), **config), tenant="acme")
    (stream,) = of.streams()
    columns = tuple(column for column in stream.columns if only is None or column.name in only)
    unread = tuple(column for column in stream.columns if column not in columns)
    return of.plan(replace(stream, columns=columns, unread=unread, held_to=held_to), Window(), {}).notes


def csv(path, values, name="v"):
    file = path / "rows.csv"
    file.write_text(f"id,{name}\n" + "".join(f'{n},"{value}"\n' for n, value in enumerate(values)))
    return file


@pytest.mark.parametrize(
    ("odd", "others", "kind"),
    [
        (["n/a"], NUMBERS, "integer"),
        (["12,5", "O3"], [f"{n}.25" for n in range(300)], "number"),
        (["n/a"], [*NUMBERS, "0.5"], "number"),
        (["-"], DAYS, "date"),
        (["-"], [f"{day} 12:00:00" for day in DAYS], "timestamp"),
        (["-"], [f"{day}T12:00:00Z" for day in DAYS], "timestamp_tz"),
        (["maybe"], ["true", "false"] * 100, "boolean"),
        (["007"], NUMBERS, "integer"),
    ],
)
def test_a_column_that_odd_values_make_text_is_told(tmp_path, odd, others, kind):
    (note,) = noted("csv", csv(tmp_path, [*others[:20], *odd, *others[20:]]))
    isnt = f"{len(odd)} {'is' if len(odd) == 1 else 'are'} not"
    assert f"{len(others)} of its {len(others) + len(odd)} values are of type {kind}, {isnt}." in note
    assert note.startswith("the column 'v' is text by the sample")
    assert f"`v: {kind}`" in note
    assert "`null_values`" in note
    assert not any(value in note for value in odd)


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS,
        ["n/a", *NUMBERS[:8]],  # one of nine
        [f"{n:05}" for n in range(5000, 99_999, 333)],  # one in 20 begins with a zero, as codes of places do
        [f"0{n}" for n in NUMBERS],
        [f"+{n}" for n in NUMBERS],
        [f"song {n}" for n in NUMBERS],
        ["one", "two"] * 10,
        [f"10.0.0.{n}" for n in range(256)],
    ],
)
def test_what_is_text_or_isn_t_is_no_matter(tmp_path, values):
    assert noted("csv", csv(tmp_path, values)) == ()


def test_nothing_is_said_of_what_is_settled(tmp_path):
    file = csv(tmp_path, ["n/a", *NUMBERS])
    assert len(noted("csv", file)) == 1
    for settled in (
        {"types": {"v": "string"}},
        {"types": {"v": "integer"}},
        {"null_values": ["n/a"]},
        {"only": ["id"]},
    ):
        assert noted("csv", file, **settled) == ()


def test_a_known_column_of_numbers_needs_no_note(tmp_path):
    """A run before took it for one: the odd value is quarantined."""
    cls = source_class("csv")
    of = cls(cls.config_model(path=str(csv(tmp_path, ["n/a", *NUMBERS]))), tenant="acme")
    (stream,) = of.streams()
    known = [type(c)(c.name, pa.int64(), c.personal, readable_as=c.readable_as) for c in stream.columns]
    assert of.plan(type(stream)(stream.name, tuple(known), stream.reads), Window(), {}).notes == ()


def test_numbers_and_days_are_read_as_the_file_writes_them(tmp_path):
    (note,) = noted("csv", csv(tmp_path, ["?", *(f"1.{n},5" for n in range(100, 400))]), decimal=",", thousands=".")
    assert "300 of its 301 values are of type number" in note
    (note,) = noted("csv", csv(tmp_path, ["?", *(f"Jan {n}, 2{n:03}" for n in range(1, 31))]), date_format="%b %d, %Y")
    assert "30 of its 31 values are of type date" in note
    german = [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]
    (note,) = noted("csv", csv(tmp_path, ["?", *german]), date_format="%d.%m.%Y")
    assert "300 of its 301 values are of type date" in note


def test_a_name_that_looks_like_a_value_isn_t_told(tmp_path):
    (note,) = noted("csv", csv(tmp_path, ["?", *NUMBERS], name="jo@example.org"), header=True)
    assert "jo@" not in note


def test_many_columns_are_told_in_short(tmp_path):
    file = tmp_path / "wide.csv"
    names = [f"c{n}" for n in range(13)]
    file.write_text("\n".join(",".join(row) for row in [names, ["?"] * 13, *([n] * 13 for n in NUMBERS[:50])]))
    notes = noted("csv", file)
    assert len(notes) == 11
    assert notes[-1] == "and so are 3 more columns"


@pytest.mark.parametrize(("written", "kind"), [("{}", "date"), ("{}T10:30:00", "timestamp")])
def test_cells_of_a_workbook_are_told_likewise(tmp_path, written, kind):
    with xlsxwriter.Workbook(tmp_path / "rows.xlsx", {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["n", "day"])
        for row, day in enumerate(DAYS, 1):
            sheet.write(row, 0, row if row != 5 else "n/a")
            when = datetime.fromisoformat(written.format(day))
            sheet.write(row, 1, when if row != 7 else "soon")
    number, day = noted("excel", tmp_path / "rows.xlsx")
    assert "299 of its 300 values are of type integer, 1 is not" in number
    assert f"299 of its 300 values are of type {kind}, 1 is not" in day


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize(("end", "type_"), [("", "timestamp"), ("Z", "timestamp_tz")])
def test_text_among_times_of_json_is_told(tmp_path, kind, end, type_):
    rows = [{"at": f"{day}T10:30:00{end}", "n": str(n), "o": {"at": day}} for n, day in enumerate(DAYS)]
    rows[3]["at"], rows[4]["at"], rows[5]["n"], rows[6]["n"] = "soon", None, "x", "half a character: \ud800"
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "rows").write_text(f"[{','.join(lines)}]" if kind == "json" else "\n".join(lines))
    for config in ({}, {"nested": "flatten"}) if kind == "json" else ({},):
        (note,) = noted(kind, tmp_path / "rows", **config)
        assert f"298 of its 299 values are of type {type_}, 1 is not" in note
        assert "null_values" not in note
        assert noted(kind, tmp_path / "rows", types={"at": "string"}, **config) == ()


def without_values(kind, path):
    """A file of that kind, in which `a` and `b` have no value, `c` is words, and a nested `d.e` has no value either."""
    file = path / f"rows.{kind}"
    rows = [{"id": n, "a": None, "b": None, "c": "x"} for n in range(3)]
    if kind == "csv":
        file.write_text("id,a,b,c\n" + "".join(f"{row['id']},,,x\n" for row in rows))
    elif kind == "excel":
        with xlsxwriter.Workbook(file.with_suffix(".xlsx")) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, list(rows[0]))
            for number, row in enumerate(rows, 1):
                sheet.write_row(number, 0, list(row.values()))
        return file.with_suffix(".xlsx")
    else:
        rows = [row | {"d": {"e": "x"}} for row in rows]
        file.write_text("\n".join(map(json.dumps, rows)) if kind == "jsonl" else json.dumps(rows))
    return file


@pytest.mark.parametrize("kind", ["csv", "excel", "json", "jsonl"])
def test_a_column_without_a_value_is_told_before_its_type_is_agreed_on(tmp_path, kind):
    file = without_values(kind, tmp_path)
    (note,) = noted(kind, file)
    assert note.startswith("the sample has no value of a, b: they are text from the first run on")
    assert "by `types`" in note
    (note,) = noted(kind, file, types={"b": "integer"})
    assert note.startswith("the sample has no value of a: it is text")
    assert noted(kind, file, only=["id", "c"]) == ()
    assert noted(kind, file, held_to=(7,)) == ()
    assert noted(kind, file, types={"a": "string", "b": "integer"}) == ()


def test_flattened_columns_have_values(tmp_path):
    (tmp_path / "rows.json").write_text('[{"of": {"a": "x", "b": null}, "n": 1}]')
    assert noted("json", tmp_path / "rows.json", nested="flatten") == ()


def test_of_a_name_that_looks_like_a_value_it_isn_t_told(tmp_path):
    (tmp_path / "rows.csv").write_text("id,jo@example.org\n1,\n")
    (note,) = noted("csv", tmp_path / "rows.csv", header=True)
    assert "jo@" not in note


def test_of_a_header_alone_every_column_is_told(tmp_path):
    (note,) = noted("csv", csv(tmp_path, []))
    assert note.startswith("the sample has no value of id, v: they are text")


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["0.1", "0.10000000000000001", "1e-05", "12.50000000000000000000"], False),
        (["1.000000000000000056e-01", "0.1000000000000000055511151231257827", "inf"], False),  # a double's own digits
        (["99999999999999.9", "-99999999999999.9", "nan"], False),
        (["1234567890123456.78", "1"], True),
        (["0.33333333333333333333"], True),  # as PostgreSQL writes an average
        (["0.5", "1.5e-400"], True),
        (["0.5", "1e-99999999999999999999"], True),
    ],
)
@pytest.mark.parametrize(("decimal", "delimiter"), [(".", ","), (",", ";")])
def test_fractions_that_a_double_rounds_are_told(tmp_path, cells, told, decimal, delimiter):
    file, how = csv(tmp_path, []), {"decimal": decimal, "delimiter": delimiter}
    file.write_text("".join(f"1{delimiter}{cell}\n" for cell in ("v", *cells)).replace(".", decimal))
    notes = noted("csv", file, header=True, **how)
    assert [note.partition(",")[0] for note in notes] == (
        ["fractions of v have more digits than a double gives back"] if told else []
    )
    assert noted("csv", file, header=True, types={"v": "decimal"}, **how) == ()
    assert noted("csv", file, header=True, held_to=(7,), **how) == ()
