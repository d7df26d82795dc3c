"""`importers profile`: what a file holds, without a value of what may be personal."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from importers.cli.main import main

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
    assert page.tags.count("section") == 5
    assert page.tags.count("svg") == 3  # a histogram of id, a bar for each country
    assert re.search(r"<div>DE</div>.*?>75\.0 %<.*?<div>FR</div>.*?>25\.0 %<", text, re.DOTALL)
    assert "canary" not in text


def test_a_page_that_can_not_be_written_is_told(sample: Path, tmp_path: Path) -> None:
    done = profile(sample, "--html", tmp_path / "nowhere" / "page.html")
    assert done.exit_code != 0
    assert "can't be written" in done.stderr
