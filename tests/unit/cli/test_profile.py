"""`importers profile`: what a file holds, without a value of what may be personal."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner, Result

from importers.cli.main import main
from importers.pipeline.profiling import profile_file
from importers.quality import profiler
from importers.quality.profile import widest

# Addresses that repeat would be frequent values, if the column didn't look personal.
HEADER = "id,email,reach,country,<b>note</b>\n"
LINES = [f"{n},canary{n % 2}@example.org,canary{n}@example.net,{'DE' if n % 4 else 'FR'},canary {n}" for n in range(40)]


def profile(*args: object) -> Result:
    return CliRunner().invoke(main, ["profile", *map(str, args)])


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    file = tmp_path / "people.csv"
    file.write_text(HEADER + "\n".join(LINES) + "\nshort line\n")
    return file


def test_json_has_counts_and_quantiles(sample: Path) -> None:
    said = json.loads(profile(sample, "--json").stdout)
    assert (said["importer"], said["rows"], said["rejects"]) == ("csv", 40, 1)
    assert said["rejects_by_reason"] == {"expected 5 columns, got 1": 1}
    by_name = {column["name"]: column for column in said["columns"]}
    assert by_name["id"] | {"personal": None} == by_name["id"]
    assert (by_name["id"]["deciles"][0], by_name["id"]["deciles"][5], by_name["id"]["deciles"][10]) == (0, 19, 39)
    assert by_name["country"]["frequent"] == [{"value": "DE", "share": 0.75}, {"value": "FR", "share": 0.25}]
    assert by_name["reach"]["why"] == "its values look like e-mail addresses"
    assert by_name["email"]["distinct"] == 2


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_no_value_of_a_personal_column_is_said(sample: Path, how: list[str]) -> None:
    done = profile(sample, *how)
    assert done.exit_code == 0
    assert "canary" not in done.output
    assert "DE" in done.output


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value for name, value in attrs if value and name in ("src", "href", "srcset", "action")]


def test_the_page_is_whole_and_asks_nobody(sample: Path, tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    assert profile(sample, "--html", place).exit_code == 0
    text = place.read_text()
    page = Page()
    page.feed(text)
    assert page.places == []
    assert "script" not in page.tags
    assert "b" not in page.tags  # a column's name is text
    assert "url(" not in text
    assert "1 lines or records are no rows: 1 × expected 5 columns, got 1." in text
    assert page.tags.count("section") == 5
    assert page.tags.count("svg") == 3  # a histogram of id, a bar for each country
    assert re.search(r"<div>DE</div>.*?>75\.0 %<.*?<div>FR</div>.*?>25\.0 %<", text, re.DOTALL)
    assert "canary" not in text


def test_a_page_that_can_not_be_written_is_told(sample: Path, tmp_path: Path) -> None:
    done = profile(sample, "--html", tmp_path / "nowhere" / "page.html")
    assert done.exit_code != 0
    assert "can't be written" in done.stderr


def test_that_case_seems_to_tell_identifiers_apart_is_told(tmp_path: Path) -> None:
    file = tmp_path / "plays.csv"
    file.write_text("listener_id,user_id,track\n4iV5W9uYEd,ann@x.org,4iV5W9uYEd\n4iv5w9uyed,ANN@x.org,4iV5W9uYED\n")
    (note,) = json.loads(profile(file, "--json").stdout)["notes"]
    assert note.startswith("upper and lower case seem to tell values of listener_id apart: ")
    assert "`domains: {DOMAIN: {case_sensitive: true}}`" in note


def test_why_records_are_no_rows_is_told(sample: Path) -> None:
    assert profile(sample).stderr == "40 rows, and 1 that are no rows: 1 × expected 5 columns, got 1\n"


def test_a_file_of_no_rows_is_an_error_that_says_which_setting_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_bytes("id,name\n1,Müller\n2,Jörg\n".encode("cp1252"))
    for how in ([], ["--json"]):
        done = profile(file, *how)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "none of 2 lines or records is a row; got 2 × not in the file's encoding" in done.stderr
        assert done.stderr.endswith("--set encoding=cp1252\n")
    said = json.loads(profile(file, "--set", "encoding=cp1252", "--json").stdout)
    assert (said["rows"], said["rejects"]) == (2, 0)


def test_a_header_alone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,name\n")
    assert profile(tmp_path / "new.csv").exit_code == 0


def test_a_name_that_is_there_twice_is_numbered_if_that_is_set(tmp_path: Path) -> None:
    file = tmp_path / "twice.csv"
    file.write_text("id,total,total\n1,2,3\n")
    refused = profile(file)
    assert refused.exit_code == 1
    assert "`duplicate_names: number`" in refused.stderr
    said = json.loads(profile(file, "--set", "duplicate_names=number", "--json").stdout)
    assert [column["name"] for column in said["columns"]] == ["id", "total", "total_2"]


@pytest.mark.parametrize(
    ("text", "settings", "columns"),
    [
        ("a|b\n1|2\n", ["delimiter=|"], {"a": "int64", "b": "int64"}),
        ("#x\na;b\n1;2,5\n", ["comment=#", "delimiter=;", "decimal=,"], {"a": "int64", "b": "double"}),
        ("a\tb\n1\t2\n", ['delimiter="\\t"'], {"a": "int64", "b": "int64"}),
        ("1,2\n", ["header=false", "column_names=[n, total]"], {"n": "int64", "total": "int64"}),
        ("day\n31.12.2026\n", ["date_format=%d.%m.%Y"], {"day": "date32[day]"}),
        ("a\n1\n", ["types={a: 'decimal(12,2)'}"], {"a": "decimal128(12, 2)"}),
        ("title\nb\n7\n", ["skip_lines=1"], {"b": "int64"}),
        ('a,b\n1,"\n', ["quote="], {"a": "int64", "b": "string"}),
    ],
)
def test_settings_are_the_importer_s(tmp_path: Path, text: str, settings: list[str], columns: dict[str, str]) -> None:
    (tmp_path / "a.csv").write_text(text)
    done = profile(tmp_path / "a.csv", *(part for one in settings for part in ("--set", one)), "--json")
    assert {column["name"]: column["type"] for column in json.loads(done.stdout)["columns"]} == columns


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("delimeter=;", "there is no setting `delimeter`. Did you mean 'delimiter'?"),
        ("skip_lines=many", "allowed: a whole number"),
        ("column_names=[a", "--set': column_names: this isn't valid YAML"),
        ("encoding", "write it as KEY=VALUE"),
        ("path=other.csv", "`path` is the FILE that is named"),
    ],
)
def test_a_setting_that_is_wrong_is_told(sample: Path, setting: str, told: str) -> None:
    done = profile(sample, "--set", setting)
    assert done.exit_code == 2
    assert told.lower() in done.stderr.lower()


def test_where_a_header_may_be_is_told(tmp_path: Path) -> None:
    """A title is in the first row, so that the names of the other columns are missing."""
    book = openpyxl.Workbook()
    table = [["Report of Jan"], [], [], ["id", "city", "total"], [1, "Ulm", 3], [2, "Bonn", 4]]
    for row in table:
        book.active.append(row)
    book.save(tmp_path / "report.xlsx")
    (tmp_path / "report.csv").write_text("Report of Jan,,\n,,\n,,\nid,city,total\n1,Ulm,3\n")
    for file, setting in (("report.xlsx", "range=A4"), ("report.csv", "skip_lines=3")):
        done = profile(tmp_path / file)
        assert done.stderr.endswith(
            f"2 of 3 columns have no name: the header may be further down. Say where it is: --set {setting}\n"
        )
        again = json.loads(profile(tmp_path / file, "--set", setting, "--json").stdout)
        assert [column["name"] for column in again["columns"]] == ["id", "city", "total"]
        assert again["notes"] == []


@pytest.mark.parametrize("header", [",total", "id,name,"])
def test_one_name_that_is_missing_is_no_matter(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n" + ",".join("1" * (header.count(",") + 1)) + "\n")
    assert "further down" not in profile(tmp_path / "a.csv").stderr


def test_of_several_streams_one_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [{"x": 1}], "b": [{"y": 2}]}')
    done = profile(tmp_path / "a.json", "--set", "records=[a, b]")
    assert done.exit_code == 2
    assert "got a, b" in done.stderr
    assert profile(tmp_path / "a.json", "--set", "records=b").exit_code == 0


def test_a_bucket_needs_the_environment_s_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    done = profile("s3://exports/a.csv")
    assert done.exit_code == 2
    assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.stderr


def test_a_column_that_odd_values_make_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text("total\n" + "1.5\n" * 99 + "n. a.\n")
    done = profile(tmp_path / "sums.csv", "--json", "--html", tmp_path / "page.html")
    (note,) = json.loads(done.stdout)["notes"]
    assert "99 of its 100 values are of type number, 1 is not" in note
    assert note in done.stderr
    assert "99 of its 100 values" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("columns", [3, 30])
def test_thousands_of_columns_cost_no_more_each_than_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """What is put together of all columns is so once, and not again for each: 5,000 took minutes."""
    asked: list[int] = []
    monkeypatch.setattr(profiler, "widest", lambda ends: (asked.append(len(ends)), widest(ends))[1])
    file = tmp_path / "wide.csv"
    file.write_text("\n".join(",".join(f"{name}{n}" for n in range(columns)) for name in ("c", "1", "2")))
    assert profile_file(str(file)).rows == 2
    assert len(asked) == 2  # of what was read, and of that for the profile


def test_where_the_records_of_a_document_may_be_is_told(tmp_path: Path) -> None:
    """Not of lists of words, nor within lists; and a key that may be a person's isn't told."""
    orders = [{"id": 1, "items": [{"of": 2}]}, {"id": 2, "items": []}]
    inner = {"data": {"orders": orders, "tags": ["a"]}, "people": [{"a": 1}], "jo@example.org": [{"a": 1}]}
    told = {"object.json": json.dumps(inner), "array.json": json.dumps([inner])}
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    done = profile(tmp_path / "object.json", "--json")
    note, _ = json.loads(done.stdout)["notes"]
    assert note.endswith("records: --set records=data.orders or --set records=people")
    again = json.loads(profile(tmp_path / "object.json", "--set", "records=data.orders", "--json").stdout)
    assert (again["rows"], again["notes"]) == (2, [])
    (untold,) = json.loads(profile(tmp_path / "array.json", "--json").stdout)["notes"]
    assert "look like values" in untold  # and no list within a record is the records


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_no_key_that_may_be_a_person_s_is_said(tmp_path: Path, how: list[str]) -> None:
    file = tmp_path / "scores.jsonl"
    records = [{"id": n, "scores": {f"canary{n}@example.org": n, "top": 2}} for n in range(5)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    page = tmp_path / "page.html"
    done = profile(file, "--html", page, *how)
    assert "keys of scores that look like values aren't shown: 5" in done.stderr
    assert "scores.top" in done.stdout
    assert "canary" not in done.output + page.read_text()
    file = tmp_path / "numbers.jsonl"
    file.write_text('{"id": 1, "canary@example.org": 2, "+49301234567": 3}\n')
    done = profile(file, *how)
    assert "names of columns that look like values aren't shown: 2" in done.stderr
    assert "canary" not in done.output
