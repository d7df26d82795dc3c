import csv
import io
import os
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.model import Column, LoadMode, Plan, Reads, Stream, Window
from importers.exceptions import ConfigError, ContractError, EmptySourceError, FatalSourceError
from importers.sources.files import _records
from importers.sources.files.csv import Csv, CsvConfig

SONGS = Path(__file__).parents[4] / "include/samples/classic-rock/classic-rock-song-list.csv"


class Small(Csv):
    """As if a few bytes were many: every seam of the reader shows on small input."""

    whole_below = 1
    block = 24


NOT_ENCODED = "not in the file's encoding: set `encoding`, to `cp1252` or `guess` for example"


def source(path, kind=Csv, **config):
    return kind(CsvConfig(path=str(path), **config), tenant="acme")


def everything(of, *, only=None, mode=LoadMode.APPEND):
    """(rows, rejects, plan) of a first incremental run."""
    stream = of.streams()[0]
    columns = tuple(c for c in stream.columns if only is None or c.name in only)
    stream = Stream(stream.name, columns, stream.reads, load_mode=mode)
    plan = of.plan(stream, Window(), {})
    batches = [batch for part in plan.partitions for batch in of.read(stream, part)]
    rows = [tuple(row.values()) for batch in batches for row in batch.rows.to_pylist()]
    return rows, [reject for batch in batches for reject in batch.rejects], plan


def by_python(data, **options):
    return [row for row in csv.reader(io.StringIO(data.decode(), newline=""), **options) if row]


def text_types(names):
    return dict.fromkeys(names, "string")


# what a real file gives


def test_the_real_songs_are_those_that_python_reads():
    rows, rejects, plan = everything(source(SONGS, types=text_types(by_python(SONGS.read_bytes())[0])))
    assert [tuple(cell or "" for cell in row) for row in rows] == [tuple(r) for r in by_python(SONGS.read_bytes())[1:]]
    assert len(rows) == 2229
    assert not rejects
    assert len(plan.partitions) == 1


def test_a_real_year_that_is_no_number_is_refused_and_named_without_its_value():
    rows, rejects, _ = everything(source(SONGS, types={"Release Year": "integer"}))
    (reject,) = rejects
    assert len(rows) == 2228
    lines = SONGS.read_bytes().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if b"SONGFACTS" in line)
    assert reject.raw == lines[number - 1]
    assert reject.location == f"{SONGS}:line {number}"
    assert reject.reason == "column 'Release Year': not a whole number"


def test_the_stream_is_named_after_the_file(tmp_path):
    assert source(SONGS).streams()[0].name == "classic_rock_song_list"
    (tmp_path / "plays-2024.csv").write_bytes(b"a\n1\n")
    assert source(tmp_path / "plays-*.csv").streams()[0].name == "plays"
    assert source(tmp_path / "*.csv").streams()[0].name == "rows"


# cutting


CELLS = st.text(alphabet='ab5é,"\n\r \t\x00\U0001f3b5', max_size=6)


def written(cell, always):
    """RFC 4180; Python's own writer leaves a lone carriage return bare."""
    return '"' + cell.replace('"', '""') + '"' if always or set(cell) & set(',"\r\n') else cell


@settings(max_examples=examples(30))
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=30),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    always=st.booleans(),
    partitions=st.integers(1, 9),
    block=st.integers(1, 60),
    scan=st.integers(1, 60),
    ended=st.booleans(),
    data=st.data(),
)
def test_slices_hold_each_row_once_whatever_is_cut_where(
    tmp_path_factory, rows, newline, always, partitions, block, scan, ended, data
):
    sink = io.StringIO()
    for row in [["x", "y", "z"], *rows]:
        sink.write(",".join(written(cell, always) for cell in row) + newline)
        sink.write(newline * data.draw(st.integers(0, 2)))
    text = sink.getvalue().encode()
    text = text if ended else text.removesuffix(newline.encode())
    path = tmp_path_factory.mktemp("cut") / "rows.csv"
    path.write_bytes(text)
    small = type("Smaller", (Small,), {"block": block})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_records, "SCAN", scan)
        got, rejects, plan = everything(
            source(path, small, max_partitions=partitions, types=text_types("xyz")), only="xyz"
        )
    assert not rejects
    assert len(plan.partitions) <= partitions
    assert all(part["tidy"] for partition in plan.partitions for part in partition["slices"])
    assert sorted(tuple(cell or "" for cell in row) for row in got) == sorted(map(tuple, by_python(text)[1:]))


@settings(max_examples=examples(30))
@given(soup=st.text(alphabet='ab,,"\n\n\r \x00é', max_size=80), partitions=st.integers(1, 5), block=st.integers(1, 40))
def test_every_record_of_a_broken_file_becomes_a_row_or_a_reject(tmp_path_factory, soup, partitions, block):
    text = b"x,y\n" + soup.encode()
    path = tmp_path_factory.mktemp("soup") / "rows.csv"
    path.write_bytes(text)
    small = type("Smaller", (Small,), {"block": block})
    got, rejects, _ = everything(source(path, small, max_partitions=partitions, types=text_types("xy")))
    expected = by_python(text)[1:]
    assert len(got) + len(rejects) == len(expected)
    torn = [reject for reject in rejects if "never closed" in reject.reason]
    strays = [reject.raw for reject in rejects if "stand alone" in reject.reason]
    fit = Counter(tuple(row) for row in (expected[:-1] if torn else expected) if len(row) == 2)
    fit -= Counter(tuple(row) for raw in strays for row in by_python(raw))
    assert Counter(tuple(cell or "" for cell in row) for row in got) == fit
    for raw in strays:
        with pytest.raises(csv.Error, match="expected after"):
            by_python(raw, strict=True)
    assert all(reject.raw in text and reject.raw for reject in rejects)
    whole = everything(source(path, types=text_types("xy")))
    assert sorted(got, key=repr) == sorted(whole[0], key=repr)  # and nulls are nulls wherever a block ends


@settings(max_examples=examples(30))
@given(soup=st.text(alphabet='ab,"\\\n', max_size=60), block=st.integers(1, 40))
def test_with_an_escape_character_too(tmp_path_factory, soup, block):
    text = b"x,y\n" + soup.encode()
    path = tmp_path_factory.mktemp("escaped") / "rows.csv"
    path.write_bytes(text)
    small = type("Smaller", (Small,), {"block": block})
    one = source(path, small, types=text_types("xy"), escape="\\")
    whole = source(path, Csv, types=text_types("xy"), escape="\\")
    rows, rejects, _ = everything(one)
    assert (sorted(rows, key=repr), rejects) == (sorted(everything(whole)[0], key=repr), everything(whole)[1])
    assert all(reject.raw in text for reject in rejects)


def test_the_pitfall_of_the_naive_cut(tmp_path):
    """Forty rows with newlines in quotes: cut at the next newline, most of them broke."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,text\n" + b"".join(b'%d,"line one\nline, two\n\nof ""%d"""\n' % (i, i) for i in range(40)))
    for partitions in range(1, 20):
        rows, rejects, plan = everything(source(path, Small, max_partitions=partitions))
        assert len(plan.partitions) == partitions
        assert not rejects
        assert sorted(rows) == [(i, f'line one\nline, two\n\nof "{i}"') for i in range(40)]


def test_partitions_weigh_alike_and_small_input_is_one(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_bytes(b"n,m\n" + b"1234,5678\n" * 400)
    plan = everything(source(tmp_path / "*.csv", Small, max_partitions=4))[2]
    weights = [sum(part["weight"] for part in partition["slices"]) for partition in plan.partitions]
    assert len(weights) == 4
    assert max(weights) - min(weights) <= 2 * len(b"1234,5678\n")
    assert len(everything(source(tmp_path / "*.csv"))[2].partitions) == 1


def test_a_stray_quote_keeps_the_file_whole_and_its_neighbours_apart(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,what\n" + b'1,5" pipe\n2,"a\nb"\n' * 50)
    rows, rejects, plan = everything(source(path, Small))
    assert len(plan.partitions) == 1
    assert rows == [(1, '5" pipe'), (2, "a\nb")] * 50
    assert not rejects


# what can't become a row


def test_rejects_say_where_and_why_but_never_what(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"id,name,at\n"
        b"1,ann,2024-01-01\n"
        b'2,"two\nlines",2024-01-02\n'
        b"3,short\n"
        b"secret,bob,2024-01-03\n"
        b"99999999999999999999,eve,2024-01-04\n"
        b"\n"
        b"5,caf\xe9,2024-01-05\n"
        b"6,zoe,2024-13-45\n"
        b",nobody,\n"
        b'8,"torn,2024-01-01\n9,x,2024-01-01\n'
    )
    types = {"id": "integer", "name": "string", "at": "date"}
    rows, rejects, _ = everything(source(path, types=types))
    assert [row[:2] for row in rows] == [(1, "ann"), (2, "two\nlines"), (None, "nobody")]
    assert [(r.location.rpartition(":")[2], r.reason, r.raw[:9]) for r in rejects] == [
        ("line 5", "expected 3 columns, got 2", b"3,short"),
        ("line 6", "column 'id': not a whole number", b"secret,bo"),
        ("line 7", "column 'id': not a whole number", b"999999999"),
        ("line 9", NOT_ENCODED, b"5,caf\xe9,20"),
        ("line 10", "column 'at': not a date such as 2026-12-31", b"6,zoe,202"),
        ("line 12", "a quote is never closed", b'8,"torn,2'),
    ]


@pytest.mark.parametrize(
    ("partner", "lines", "taken"),
    [("", 150, 150), ('y",z,1\n', 120, 120), ('"y,1\n', 120, 120)],
    ids=["never closed", "closed by another, in a record that is too long", "closed by another, and text follows"],
)
def test_a_stray_quote_takes_no_hundred_lines_with_it(tmp_path, partner, lines, taken):
    """It would be one bad record of two hundred, whatever `max_fraction` says, and nobody would miss the others."""
    path = tmp_path / "rows.csv"
    after = "x,1\n" * lines
    path.write_text("a,b\n" + "x,1\n" * 49 + '"x,1\n' + after + (f"x,1,{partner}" if partner else ""))
    with pytest.raises(ContractError, match=rf"rows\.csv(:line 51|@byte 200) is none.*got {taken:,} lines"):
        everything(source(path, types=text_types("ab")))
    path.write_text("a,b\n" + "x,1\n" * 49 + '"x,1\n' + "x,1\n" * 99)
    rows, (reject,), _ = everything(source(path, types=text_types("ab")))
    assert (len(rows), reject.reason) == (49, "a quote is never closed")


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("block", [20, 1000])
@pytest.mark.parametrize("pipe", ["", '5" pipe'], ids=["tidy", "untidy"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_between_two_stray_quotes_are_no_cell(tmp_path, partitions, block, pipe, newline):
    """They would be loaded as one, under a policy that is another column's, and nobody would miss them."""
    lines = ["what,mail", "a,m1", '"b,m2', "c,m3", '"d,m4', '"e"s,m5', '"f"', '"f\nf" ,m6', f"{pipe},m7"]
    path = tmp_path / "rows.csv"
    path.write_bytes(newline.join(lines).encode())
    small = type("Smaller", (Small,), {"block": block})
    one = source(path, small, max_partitions=partitions, types=text_types(["what", "mail"]))
    rows, rejects, _ = everything(one)
    found = [("a", "m1"), ("es", "m5"), ("f\nf ", "m6"), (pipe or None, "m7")]
    assert sorted(rows, key=repr) == sorted(found, key=repr)
    stray, short = rejects
    assert stray.raw.decode() == newline.join(lines[2:5])
    assert stray.reason == "text follows the closing quote of a cell that has newlines: two quotes stand alone"
    assert short.reason == "expected 2 columns, got 1"


@pytest.mark.parametrize("newline", ["\n", "\r"])
def test_bare_carriage_returns_make_up_for_no_line_that_a_cell_swallows(tmp_path, newline):
    """As many rows as newlines: the second line was part of the first one's cell."""
    for returns in range(4):
        others = [("3", "d")] * returns + [("4", "e")]
        text = "id,v\n" + "3,d\r" * returns + f'4,e\n1,"a{newline}2,b"c\n'
        (tmp_path / "rows.csv").write_bytes(text.encode())
        rows, (stray,), _ = everything(source(tmp_path / "rows.csv", types=text_types(["id", "v"])))
        assert (rows, stray.raw) == (others, f'1,"a{newline}2,b"c'.encode())


@pytest.mark.parametrize("broken", ['1,"%s",z\n', '1,"%s'], ids=["too long", "torn"])
def test_a_broken_record_with_a_long_text_stops_nothing(tmp_path, broken):
    """Its lines have not the cells of a record."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "x,1\n" * 49 + broken % ("and, so, on\nof many lines\n" * 300))
    rows, (_,), _ = everything(source(path, types=text_types("ab")))
    assert len(rows) == 49


def test_a_place_is_a_line_in_a_later_part_of_a_file_too(tmp_path):
    path = tmp_path / "rows.csv"
    lines = [b"a,b\n", *[b"%d,x\n" % i for i in range(10, 60)], b"bad,x\n", *[b"%d,x\n" % i for i in range(10, 60)]]
    path.write_bytes(b"".join(lines))
    _, (reject,), _ = everything(source(path, Small, types={"a": "integer"}, max_partitions=4))
    assert reject.location == f"{path}:line {lines.index(b'bad,x' + bytes([10])) + 1}"


def test_a_block_with_one_bad_cell_means_the_same_as_one_without(tmp_path):
    """The slow way converts as the fast way does: spaces, signs, times, quoted nothing."""
    cells = b' 1,2.5 ,true,2024-01-01 10:00:00.5,"",\n-7,NaN,0,2024-02-29T23:59:59,,"x"\n,1e3,False,2024-01-01,a,b\n'
    types = {"i": "integer", "f": "number", "b": "boolean", "t": "timestamp", "s": "string", "u": "string"}
    (tmp_path / "good.csv").write_bytes(b"i,f,b,t,s,u\n" + cells)
    (tmp_path / "bad.csv").write_bytes(b"i,f,b,t,s,u\n" + cells + b"x,,,,,\n")
    good, none, _ = everything(source(tmp_path / "good.csv", types=types))
    bad, one, _ = everything(source(tmp_path / "bad.csv", types=types))
    assert repr(good) == repr(bad)
    assert (len(none), len(one)) == (0, 1)
    assert good[0][4:] == ("", None)  # a quoted nothing is text, an unquoted one is null


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_nothing_after_a_quote_is_null_at_the_end_of_the_file_too(tmp_path, end):
    path = tmp_path / "rows.csv"
    path.write_bytes(b'x,y\n"",' + end)
    assert everything(source(path))[0] == [("", None)]


def test_quoted_nothing_is_null_where_text_is_impossible(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b'"n","s"\n"1","a"\n"",""\n')
    assert everything(source(path))[0] == [(1, "a"), (None, "")]


def test_a_record_longer_than_a_block_and_one_longer_than_all(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n1," + b"x" * 5000 + b"\n2,y\n")
    assert [len(row[1]) for row in everything(source(path, Small))[0]] == [5000, 1]
    monkeypatch.setattr("importers.sources._text.blocks.LONGEST", 1024)
    with pytest.raises(ContractError, match="at byte 4"):
        everything(source(path, Small))


# types


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", ""], pa.int64()),
        (["1", "2.5"], pa.float64()),
        (["NaN", "1.5"], pa.float64()),
        (["007", "1"], pa.string()),
        (["+49301234", "1"], pa.string()),
        (["0x1F", "2"], pa.string()),
        (["1E5", "22"], pa.string()),
        (["99999999999999999999", "1"], pa.string()),
        (["true", "False"], pa.bool_()),
        (["2024-01-01", "2024-02-01"], pa.date32()),
        (["2024-01-01 10:00:00", "2024-02-01T10:00:00"], pa.timestamp("us")),
        (["2024-01-01 10:00:00.123456789"], pa.timestamp("ns")),
        (["2024-01-01T10:00:00Z"], pa.timestamp("us", "UTC")),
        (["03:45", "04:10"], pa.string()),
        (["", ""], pa.string()),
        (["NA", "1"], pa.string()),
    ],
)
def test_types_give_every_text_of_the_sample_back(tmp_path, cells, kind):
    path = tmp_path / "rows.csv"
    path.write_text("k,v\n" + "".join(f"k,{cell}\n" for cell in cells))
    stream = source(path).streams()[0]
    assert stream.columns == (Column("k", pa.string(), None), Column("v", kind, None))


@pytest.mark.parametrize(
    ("sampled", "kept", "code"),
    [
        ("12345", "0", "01234"),
        ("12345", "-10", "-01"),
        ("12345", "7", " 007"),
        ("12345", "7", '"007"'),
        ("1.5", "0.5", "01.5"),
        ("1.5", "-0.5", "+1.5"),
        ("1.5", "1e-5", "1E5"),
        ("1.5", "999999999999999", "1234567890123456"),
    ],
)
@pytest.mark.parametrize("place", ["first", "last", "far", "only"])
@pytest.mark.parametrize("quotes", [False, True])
def test_a_code_past_the_sample_is_refused_rather_than_changed(tmp_path, sampled, kept, code, place, quotes):
    path = tmp_path / "rows.csv"
    fill = 40_000 if place == "far" else 1  # more than are looked at together
    nothing = '"",""\n' if quotes else ""
    row = f"{code},x\n" if place == "first" else f"x,{code}\n"
    head, other = ("v,k", f"{sampled},k") if place == "first" else ("k,v", f"k,{sampled}")
    many = "" if place == "only" else f"{kept},{kept}\n" * fill
    path.write_text(f"{head}\n{other}\n{nothing}{many}{row}")
    rows, rejects, _ = everything(source(path, sample_rows=1))
    assert [(r.raw.decode(), r.reason.partition(" leading")[0]) for r in rejects] == [(row[:-1], "column 'v': a")]
    assert len(rows) == 1 + quotes + many.count("\n")
    kind = "number" if "." in sampled else "integer"
    assert not everything(source(path, sample_rows=1, types={"v": kind}))[1]
    assert not everything(source(path, sample_rows=1, types={"v": "string"}))[1]


def test_codes_in_columns_of_text_are_nobody_s_business(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"n,f,zip,at\n1,0.5,01234,2024-01-01 00:00:00\n0,-0.5,+49,2024-01-01 00:00:01\n-7,,1E5,\n")
    rows, rejects, _ = everything(source(path))
    assert [row[:3] for row in rows] == [(1, 0.5, "01234"), (0, -0.5, "+49"), (-7, None, "1E5")]
    assert not rejects


def test_types_come_from_the_first_and_the_last_file_and_from_the_tenant(tmp_path):
    (tmp_path / "1.csv").write_bytes(b"a,b,c\n1,1,\n")
    (tmp_path / "2.csv").write_bytes(b"c,b,a\nx,1,2.5\n")
    stream = source(tmp_path / "*.csv", types={"b": "decimal"}).streams()[0]
    assert stream.schema == pa.schema([("a", pa.float64()), ("b", pa.decimal128(38, 9)), ("c", pa.string())])
    with pytest.raises(ConfigError, match="Did you mean 'a'"):
        source(tmp_path / "*.csv", types={"aa": "decimal"}).streams()


def test_null_values_and_other_dialects(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"n\ts\n1\t'a\tb'\nNA\tNA\n")
    assert everything(source(path, delimiter="\t", quote="'", null_values=["NA"]))[0] == [(1, "a\tb"), (None, None)]
    path.write_bytes(b'1;"a\n2;b"\n')
    assert everything(source(path, delimiter=";", quote="", header=False))[0] == [(1, '"a'), (2, 'b"')]
    assert source(path, delimiter=";", quote="", header=False).streams()[0].schema.names == ["column_1", "column_2"]
    assert everything(source(path, delimiter=";", quote="", header=False, column_names=["x", "y"]), only="y")[0] == [
        ('"a',),
        ('b"',),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_bytes('"näme",n\nBjörk,1\n"é\nü",2\n'.encode(encoding))
    of = source(path, Small, encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    assert of.streams()[0].schema.names == ["näme", "n"]
    assert sorted(everything(of)[0]) == [("Björk", 1), ("é\nü", 2)]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp850"])
@pytest.mark.parametrize("text", ["\ufeffn,a\n1,x\n", "n,a\n1,Müller\n", "n,a\n1,ł\n2,€\n3,ł\n"])
def test_a_file_of_another_encoding_than_is_said_is_not_read_with_other_letters(tmp_path, encoding, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ContractError, match=r"(?s)is UTF-8 by its bytes.*`encoding: utf-8`; or `guess`"):
        source(path, encoding=encoding).streams()
    assert source(path, encoding="guess").streams()[0].schema.names == ["n", "a"]


@pytest.mark.parametrize("text", ["Müller", "Spaß…", "x", "Ã¼ Ü", "Müller" * 3])
def test_what_is_said_of_the_encoding_holds_where_the_bytes_allow_it(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(f"n,a\n1,{text}\n", "cp1252")
    assert everything(source(path, encoding="cp1252"))[0] == [(1, text)]


def test_a_byte_that_the_encoding_lacks_refuses_its_record_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n1,x\n2,\x81\n3,y\n")
    rows, (reject,), _ = everything(source(path, encoding="cp1252"))
    assert (len(rows), reject.raw, reject.location) == (2, b"2,\x81", f"{path}:line 3")
    path.write_bytes("a,b\n1,x\n".encode("utf-16")[:-1])
    with pytest.raises(ContractError, match="isn't utf-16"):
        everything(source(path, encoding="utf-16"))


# columns


def test_only_what_is_wanted_is_converted(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b,c\n" + b"1,x,2\n" * 3)
    of = source(path, types={"b": "integer"})
    rows, rejects, _ = everything(of, only="ca")
    assert rows == [(1, 2)] * 3  # b doesn't convert, and nobody asked
    assert not rejects


def test_columns_go_by_name_in_every_file(tmp_path):
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"b,a\n4,3\n")
    assert sorted(everything(source(tmp_path / "*.csv"))[0]) == [(1, 2), (3, 4)]


@pytest.mark.parametrize(("name", "header"), [("2.csv", "a,b,email"), ("2.csv", "a"), ("9.csv", "a")])
def test_a_file_with_other_columns_stops_the_run(tmp_path, header, name):
    for good in ("1.csv", "3.csv"):
        (tmp_path / good).write_bytes(b"a,b\n1,2\n")
    (tmp_path / name).write_text(header + "\n")
    with pytest.raises(ContractError, match=f"{name}.*other columns") as caught:
        everything(source(tmp_path / "*.csv"))
    assert ("more: email;" in str(caught.value)) == ("email" in header)
    assert "expected a, b" in str(caught.value)


@pytest.mark.parametrize("row", ["ann@example.org,Smith,1970-01-01", "Ann,Smith,Berlin"])
@pytest.mark.parametrize("name", ["2.csv", "9.csv"])
def test_a_file_without_a_header_does_not_tell_its_first_row(tmp_path, row, name):
    for good in ("1.csv", "3.csv"):
        (tmp_path / good).write_bytes(b"id,name,born\n1,x,y\n")
    (tmp_path / name).write_text(row + "\n")
    with pytest.raises(ContractError, match="3 columns, of which 0 are known") as caught:
        everything(source(tmp_path / "*.csv"))
    assert "more: 3 that aren't shown; fewer: id, name, born" in str(caught.value)
    assert not any(cell in str(caught.value) for cell in row.split(","))


def test_a_column_unlike_a_name_is_counted_but_not_told(tmp_path):
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"a,b,extra,ann@example.org,+49 170 1\n1,2,3,4,5\n")
    with pytest.raises(ContractError, match="more: extra, 2 that aren't shown; got 5 columns, of which 2") as caught:
        source(tmp_path / "*.csv").streams()
    assert not any(secret in str(caught.value) for secret in ("ann@", "+49"))


def test_a_name_twice_or_none(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b",a\n1,2\n")
    assert source(path).streams()[0].schema.names == ["column_1", "a"]
    path.write_bytes(b"a,a\n1,2\n")
    with pytest.raises(ContractError, match="more than once, in columns 1, 2"):
        source(path).streams()


def test_a_document_that_is_read_as_csv_is_told_of_in_a_line(tmp_path):
    path = tmp_path / "rows.csv"
    for cells, said in (
        ("a,b", "in columns 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9,990 more"),
        ("7,8.5", "and 9,990 more"),
    ):
        path.write_text(",".join([cells] * 5_000) + "\n")
        with pytest.raises(ContractError) as caught:
            source(path).streams()
        assert said in str(caught.value)
        assert len(str(caught.value)) < 400


def test_nothing_but_a_header_and_nothing_at_all(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b")
    rows, rejects, plan = everything(source(path))
    assert (rows, rejects, list(plan.position)) == ([], [], ["rows.csv"])
    path.write_bytes(b"")
    with pytest.raises(ContractError, match="is empty"):
        source(path).streams()
    (tmp_path / "zeros.csv").write_bytes(b"a,b\n1,2\n")
    rows, _, plan = everything(source(tmp_path / "*.csv"))
    assert rows == [(1, 2)]
    assert len(plan.position) == 2


# which files


@pytest.fixture
def two(tmp_path):
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.csv").write_bytes(b"n,m\n%d,0\n" % number)
    return tmp_path


def test_a_loaded_file_is_not_read_again_and_a_new_one_is(two):
    of = source(two / "*.csv")
    stream = of.streams()[0]
    first = of.plan(stream, Window(), {})
    assert set(first.position) == {"a.csv", "b.csv"}
    again = of.plan(stream, Window(), first.position)
    assert (list(again.partitions), again.position) == ([], {})
    (two / "c.csv").write_bytes(b"n,m\n3,0\n")
    third = of.plan(stream, Window(), first.position)
    assert list(third.position) == ["c.csv"]
    assert [b.rows.to_pylist() for b in of.read(stream, third.partitions[0])] == [[{"n": 3, "m": 0}]]


def test_a_loaded_file_that_changed(two):
    of = source(two / "*.csv")
    stream = of.streams()[0]
    first = of.plan(stream, Window(), {})
    position = first.position
    (two / "a.csv").write_bytes(b"n,m\n1,0\n9,0\n")
    with pytest.raises(ContractError, match=r"a\.csv.*double its rows"):
        of.plan(stream, Window(), position)
    merging = Stream(stream.name, stream.columns, stream.reads, primary_key=("n",), load_mode=LoadMode.MERGE)
    again = of.plan(merging, Window(), position)
    assert list(again.position) == ["a.csv"]
    assert (first.notes, again.notes) == (
        (),
        (f"the file '{two / 'a.csv'}' has changed since it was loaded, and is read again",),
    )
    reloading = source(two / "*.csv", on_change="reload")
    assert list(reloading.plan(stream, Window(), position).position) == ["a.csv"]


def test_a_directory_that_moved_holds_the_same_files(two):
    of = source(two / "in" / "**" / "*.csv")
    (two / "in" / "deep").mkdir(parents=True)
    (two / "a.csv").rename(two / "in" / "a.csv")
    (two / "b.csv").rename(two / "in" / "deep" / "b.csv")
    stream = of.streams()[0]
    position = of.plan(stream, Window(), {}).position
    assert set(position) == {"a.csv", "deep/b.csv"}
    (two / "in").rename(two / "moved")
    moved = source(two / "moved" / "**" / "*.csv")
    assert list(moved.plan(stream, Window(), position).partitions) == []


def test_files_of_one_name_in_two_directories_are_two_lanes_whichever_comes_first(two):
    for name in ("x", "y"):
        (two / name).mkdir()
    both = Csv(CsvConfig(path=[str(two / name / "*.csv") for name in ("x", "y")]), tenant="acme")
    (two / "y" / "a.csv").write_bytes(b"n,m\n1,0\n")
    stream = both.streams()[0]
    first = both.plan(stream, Window(), {}).position
    assert list(first) == ["2//a.csv"]
    (two / "x" / "a.csv").write_bytes(b"n,m\n1,0\n")
    assert list(both.plan(stream, Window(), first).position) == ["a.csv"]


def test_an_emptied_inbox_says_what_to_do(two):
    of = source(two / "*.csv")
    for file in two.glob("*.csv"):
        file.unlink()
    with pytest.raises(EmptySourceError, match=r"the directory is there.*Start the pipeline when there is a file") as e:
        of.streams()
    assert e.value.where["stream"] == of._name()


@pytest.mark.parametrize(
    ("pattern", "lane", "gone"),
    [
        ("*.csv", "a.csv", True),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "deep/er/a.csv", True),
        ("*.csv", "2//a.csv", True),
        ("x*.csv", "a.csv", False),
        ("*.csv", "a.txt", False),
    ],
)
def test_an_empty_plan_is_for_what_was_there_under_this_very_path(tmp_path, pattern, lane, gone):
    of = source(tmp_path / pattern)
    stream = Stream("rows", (), Reads.POSITION)
    if gone:
        assert of.plan(stream, Window(), {lane: {}}) == Plan(partitions=[])
        return
    with pytest.raises(EmptySourceError, match="no file matches"):
        of.plan(stream, Window(), {lane: {}})


def test_the_same_size_at_another_time_is_a_change(two):
    of = source(two / "*.csv", on_change="reload")
    stream = of.streams()[0]
    position = of.plan(stream, Window(), {}).position
    os.utime(two / "b.csv", ns=(0, 1))
    assert list(of.plan(stream, Window(), position).position) == ["b.csv"]


def test_a_file_of_another_time_alone_gets_it_back_by_what_the_error_says(two):
    of, path = source(two / "*.csv"), two / "b.csv"
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    stream = of.streams()[0]
    position = of.plan(stream, Window(), {}).position
    path.touch()
    with pytest.raises(ContractError, match="double its rows") as failed:
        of.plan(stream, Window(), position)
    now, loaded = failed.value.got.split("; ")
    assert loaded == "loaded 8 bytes, changed at 2023-11-14T22:13:20.123456Z"
    assert now.startswith("now 8 bytes, changed at 20")
    command = re.search("`(touch [^`]*)`; else put the old file back", failed.value.do)[1]
    subprocess.run(shlex.split(command), check=True)
    assert not of.plan(stream, Window(), position).partitions
    path.write_bytes(b"n,m\n2,0\n3,0\n")
    with pytest.raises(ContractError, match=r"now 12 bytes.*; loaded 8 bytes.*Z\. Put the old file back"):
        of.plan(stream, Window(), position)


def test_a_window_reads_what_changed_in_it_and_moves_nothing(two):
    day = 86_400 * 10**9
    os.utime(two / "a.csv", ns=(0, 10 * day))
    os.utime(two / "b.csv", ns=(0, 11 * day))
    of = source(two / "*.csv")
    stream = of.streams()[0]
    plan = of.plan(stream, Window("1970-01-11T00:00:00+00:00", "1970-01-12T00:00:00+00:00"), {})
    assert [part["path"] for p in plan.partitions for part in p["slices"]] == [str(two / "a.csv")]
    assert plan.position == {}
    position = of.plan(stream, Window(), {}).position
    with pytest.raises(ContractError, match="double"):
        of.plan(stream, Window("1970-01-11T00:00:00+00:00"), position)


def test_a_file_that_changes_while_it_is_read(two):
    of = source(two / "a.csv")
    stream = of.streams()[0]
    (partition,) = of.plan(stream, Window(), {}).partitions
    reading = of.read(stream, partition)
    next(reading)
    with (two / "a.csv").open("ab") as file:
        file.write(b"7,7\n")
    with pytest.raises(ContractError, match=r"a\.csv' changed while it was read"):
        list(reading)
    with pytest.raises(ContractError, match="changed"):
        next(of.read(stream, partition))
    (two / "a.csv").unlink()
    with pytest.raises(FatalSourceError, match="is gone"):
        next(of.read(stream, partition))


def test_no_file_at_all_names_what_lies_nearby(two):
    (two / "songs.csv").write_bytes(b"a\n1\n")
    with pytest.raises(ConfigError, match=r"no file matches.*song\.csv.*songs\.csv"):
        source(two / "song.csv").streams()
    with pytest.raises(ConfigError, match="is a directory"):
        source(two).streams()
    stream = Stream("rows", (), source(SONGS).streams()[0].reads)
    assert list(source(two / "x*.csv").plan(stream, Window(), {"xgone.csv": {}}).partitions) == []
    with pytest.raises(ConfigError, match="no file matches"):
        source(two / "x*.csv").plan(stream, Window(), {})


def test_a_name_in_another_case_is_told(tmp_path):
    (tmp_path / "DAY.CSV").write_bytes(b"n\n1\n")
    with pytest.raises(EmptySourceError, match=r"nearby: DAY\.CSV, whose name differs in upper and lower case"):
        source(tmp_path / "*.csv").streams()
    with pytest.raises(ConfigError, match=r"nearby: DAY\.CSV, whose name differs in upper and lower case"):
        source(tmp_path / "day.csv").streams()


def test_what_its_case_alone_keeps_out_is_told(tmp_path):
    for name in ("a.csv", "B.CSV", "c.txt"):
        (tmp_path / name).write_bytes(b"n\n1\n")
    (tmp_path / "D.CSV").mkdir()

    def notes(*paths):
        of = Csv(CsvConfig(path=[str(tmp_path / path) for path in paths]), tenant="acme")
        return of.plan(of.streams()[0], Window(), {}).notes

    (note,) = notes("*.csv")
    assert note.startswith("by `path` B.CSV is left out: upper and lower case differ")
    assert notes("*.[cC][sS][vV]") == notes("*.csv", "B*V") == notes("a.csv") == ()


def test_globs_lists_urls_and_odd_names(two):
    (two / "deep" / "er").mkdir(parents=True)
    (two / "deep" / "er" / "c [1] ü.csv").write_bytes(b"n,m\n3,0\n")
    deep = two / "deep" / "er" / "c [1] ü.csv"
    assert len(everything(source(two / "**" / "*.csv"))[0]) == 3
    assert everything(source(deep))[0] == [(3, 0)]
    assert everything(source(deep.as_uri()))[0] == [(3, 0)]
    both = Csv(CsvConfig(path=[str(two / "a.csv"), str(two / "?.csv")]), tenant="acme")
    assert sorted(everything(both)[0]) == [(1, 0), (2, 0)]
    with pytest.raises(ConfigError, match="ftp://"):
        source("ftp://host/x.csv").streams()


def test_check_never_raises(two):
    assert source(two / "*.csv").check().ok
    assert "2 files, 16 bytes" in source(two / "*.csv").check().detail
    assert not source(two / "nothing.csv").check().ok


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"column_names": ["a", "a"]},
    ],
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CsvConfig(path="x.csv", **wrong)


def test_every_setting_says_what_it_is_for():
    assert all(field.description for field in CsvConfig.model_fields.values())


def test_a_first_file_without_a_header_does_not_tell_its_first_row_either(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("4711,Ada,ada@example.org,1815-12-10\n4712,Bob,bob@example.org,1970-01-01\n")
    with pytest.raises(ContractError, match=r"got 4 cells; column 1, 3, 4.*Set `header: false`") as caught:
        source(file).streams()
    assert not any(word in str(caught.value) for word in ("Ada", "ada", "1815", "4711"))
    assert len(source(file, header=False).streams()[0].columns) == 4
    assert len(source(file, header=True).streams()[0].columns) == 4  # whoever says so must mean it


def test_years_may_name_columns(tmp_path):
    file = tmp_path / "wide.csv"
    file.write_text("country,2024,2025\nDE,1,2\n")
    assert [c.name for c in source(file).streams()[0].columns] == ["country", "2024", "2025"]
