"""Dates and times that aren't written as ISO 8601 has them. Expected values are Python's own strptime's."""

import datetime as dt

import pyarrow as pa
import pytest
from pydantic import ValidationError

from importers.core.model import Window
from importers.exceptions import ConfigError
from importers.sources._text.cells import arrow_type
from importers.sources._text.times import DIRECTIVES, kind_of, legal, read
from importers.sources.files.csv import Csv, CsvConfig


def got(path, text, **config):
    """The columns' types, the rows, and why others are none."""
    path.write_text(text)
    source = Csv(CsvConfig(path=str(path), **config), tenant="acme")
    (stream,) = source.streams()
    batches = [b for part in source.plan(stream, Window(), {}).partitions for b in source.read(stream, part)]
    rows = [tuple(row.values()) for batch in batches for row in batch.rows.to_pylist()]
    return stream.schema.types, rows, [reject.reason for batch in batches for reject in batch.rejects]


DAY, MOMENT = dt.date(2026, 12, 31), dt.datetime.fromisoformat("2026-12-31 23:59")


@pytest.mark.parametrize("quoted", [False, True])
def test_a_files_formats_say_how_all_its_dates_and_times_are_written(tmp_path, quoted):
    rows = [("day", "at", "n"), ("31.12.2026", "31.12.2026 23:59", "1"), ("", "", "")]
    mark = '"' if quoted else ""
    text = "".join(";".join(f"{mark}{cell}{mark}" for cell in row) + "\n" for row in rows)
    formats = {"date_format": "%d.%m.%Y", "timestamp_format": "%d.%m.%Y %H:%M"}
    types, rows, reasons = got(tmp_path / "a.csv", text, **formats)
    assert types == [pa.date32(), pa.timestamp("us"), pa.int64()]
    assert (rows, reasons) == ([(DAY, MOMENT, 1), (None, None, None)], [])


def test_a_column_may_have_a_format_of_its_own_and_a_type(tmp_path):
    text = "a,b,c\n12/31/2026,31-12-26,31.12.2026 23:59 +0100\n"
    formats = {"a": "%m/%d/%Y", "b": "%d-%m-%y", "c": "%d.%m.%Y %H:%M %z"}
    types, rows, _ = got(tmp_path / "a.csv", text, formats=formats, types={"b": "timestamp"})
    assert types == [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")]
    assert rows == [(DAY, dt.datetime.fromisoformat("2026-12-31"), dt.datetime(2026, 12, 31, 22, 59, tzinfo=dt.UTC))]


def test_what_is_written_otherwise_or_is_no_day_is_refused_with_the_format(tmp_path):
    cells = ["31.12.2026", "31.02.2026", "2026-12-31", "31.12.2026x", "soon", "31.12.2026"]
    text = "k,day\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))
    config = {"date_format": "%d.%m.%Y", "types": {"day": "date"}}
    _, rows, reasons = got(tmp_path / "a.csv", text, **config)
    assert rows == [(0, DAY), (5, DAY)]
    assert reasons == ["column 'day': not a date written as %d.%m.%Y"] * 4


def test_a_date_past_the_sample_that_is_written_otherwise_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "a.csv"
    types, rows, reasons = got(path, "day\n31.12.2026\n2026-12-31\n", date_format="%d.%m.%Y", sample_rows=1)
    assert (types, rows) == ([pa.date32()], [(DAY,)])
    by = "which the column is by the sample or the run before: see `types`"
    assert reasons == [f"column 'day': not a date written as %d.%m.%Y, {by}"]


def test_where_a_format_is_set_other_dates_are_text(tmp_path):
    """%Y-%d-%m reads 2026-01-02 as the first of February: what it doesn't read mustn't be read otherwise."""
    types, rows, _ = got(tmp_path / "a.csv", "a,b\n2026-13-01,2026-01-13\n", date_format="%Y-%d-%m")
    assert types == [pa.date32(), pa.string()]
    assert rows == [(dt.date(2026, 1, 13), "2026-01-13")]


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%d.%m.%Y", "1.2.2026"),
        ("%d %b %Y", "31 Dec 2026"),
        ("%d %B %Y", "31 December 2026"),
        ("%y%m%d", "690101"),
        ("%y%m%d", "700101"),
        ("%d/%m/%Y %I:%M:%S %p", "31/12/2026 12:00:01 AM"),
        ("%Y%m%dT%H%M%S", "20261231T235959"),
    ],
)
def test_formats_mean_what_they_mean_elsewhere(format_, text):
    expected = dt.datetime.strptime(text, format_)  # noqa: DTZ007
    if format_.startswith("%y"):  # POSIX, and so Python, changes the century a year earlier than 1970
        expected = expected.replace(year=2069 if text.startswith("69") else 1970)
    assert read(pa.array([text, None]), pa.timestamp("us"), legal(format_)).to_pylist()[1] is None
    if pa.types.is_date(kind_of(format_)):
        assert read(pa.array([f" {text} "]), pa.date32(), format_).to_pylist() == [expected.date()]
    else:
        assert read(pa.array([f" {text} "]), pa.timestamp("us"), format_).to_pylist() == [expected]


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%d.%m.%Y", "31.12.26"),
        ("%d.%m.%Y", "31.12.+2026"),
        ("%d.%m.%Y", "31. 12. 2026"),
        ("%d.%m.%Y", "31.12.20261"),
        ("%Y%m%d", "2026123"),
        ("%d.%m.%Y %H:%M:%S", "31.12.2026 23:59:60"),
        ("%d.%m.%Y %H:%M:%S%.f", "31.12.2026 23:59:59.123456789"),
        ("%d.%m.%Y %H:%M", "31.12.2026"),
    ],
)
def test_what_is_nearly_so_is_nothing(format_, text):
    assert read(pa.array([text]), kind_of(format_), legal(format_)).to_pylist() == [None]


@pytest.mark.parametrize(
    ("said", "format_"),
    [("date", "%d.%m.%Y %H:%M"), ("timestamp", "%d.%m.%Y %H:%M %z"), ("timestamp_tz", "%d.%m.%Y %H:%M")],
)
def test_no_type_cuts_a_time_or_moves_it(said, format_):
    with pytest.raises(ValidationError, match="by its format"):
        CsvConfig(path="x", types={"a": said}, formats={"a": format_})
    assert read(pa.array(["31.12.2026 23:59"]), arrow_type(said), format_).null_count == 1


@pytest.mark.parametrize(
    "wrong", ["%d.%m", "%d.%m.%Q", "%s", "%d.%m.%Y %I:%M", "%f %d.%m.%Y", "%d.%m.%Y %", "%d.%m.%Y %H"]
)
def test_a_format_that_says_no_whole_date_is_an_error_that_lists_what_is_allowed(wrong):
    with pytest.raises(ValidationError, match=r"allowed: %Y|needs"):
        CsvConfig(path="x", date_format=wrong)


def test_a_format_of_a_column_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="`formats` names a column 'dya'"):
        got(tmp_path / "a.csv", "day\n31.12.2026\n", formats={"dya": "%d.%m.%Y"})


def test_each_directive_is_told():
    assert all(f"`{each}`" in (CsvConfig.model_fields["date_format"].description or "") for each in DIRECTIVES)


def test_a_decimal_says_its_digits(tmp_path):
    text = "a,b\n12.34,1\n0.5,2\n123.456,3\n"
    types, rows, reasons = got(tmp_path / "a.csv", text, types={"a": "decimal(4,2)"})
    assert types[0] == pa.decimal128(4, 2)
    assert [str(row[0]) for row in rows] == ["12.34", "0.50"]
    assert reasons == ["column 'a': not a decimal number of at most 2 digits before the point and 2 after it"]


@pytest.mark.parametrize("wrong", ["decimal(39,2)", "decimal(2,3)", "decimal(0,0)", "money", "decimal(4)"])
def test_a_type_that_is_none_is_an_error(wrong):
    with pytest.raises(ValidationError, match=r"is no type|has 1 to 38 digits"):
        CsvConfig(path="x", types={"a": wrong})
