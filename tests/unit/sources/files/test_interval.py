"""Files whose path says which time their rows are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from importers.core.model import VERSION, LoadMode, Reads, Stream, Window
from importers.exceptions import ContractError
from importers.sources.files.csv import Csv, CsvConfig

JANUARY = Window("2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
DAY_ONE = 1_767_225_600_000_000  # microseconds of 2026-01-01T00:00Z: `date -ud 2026-01-01 +%s`
DAY = 86_400_000_000


def source(path: Path, interval: Any = "plays-%Y-%m-%d", glob: str = "*.csv") -> Csv:
    return Csv(CsvConfig(path=[f"{path}/{glob}"], interval=interval), tenant="acme")


def write(path: Path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("id\n1\n")


def stream(of: Csv, mode: LoadMode = LoadMode.APPEND) -> Stream:
    (found,) = of.streams()
    return replace(found, load_mode=mode)


def planned(of: Csv, window: Window, mode: LoadMode = LoadMode.APPEND) -> list[tuple[str, int]]:
    """Names of the files that are read, and the version of their rows."""
    made = of.plan(stream(of, mode), window, {})
    slices = [part for partition in made.partitions for part in _slices(partition)]
    return [(Path(part["path"]).name, part["from"]) for part in slices]


def _slices(partition: Any) -> list[Mapping[str, Any]]:
    return list(partition["slices"])


def test_a_window_reads_its_files_and_replaces_what_is_of_it(tmp_path: Path) -> None:
    write(tmp_path, *(f"plays-2026-01-0{day}.csv" for day in (1, 2, 3)), "plays-2025-12-31.csv")
    of = source(tmp_path)
    assert stream(of).reads is Reads.WINDOW
    assert planned(of, JANUARY) == [("plays-2026-01-01.csv", DAY_ONE), ("plays-2026-01-02.csv", DAY_ONE + DAY)]
    made = of.plan(stream(of), JANUARY, {})
    assert made.covers == (DAY_ONE, DAY_ONE + 2 * DAY)
    assert made.position == {}
    assert of.plan(stream(of, LoadMode.MERGE), JANUARY, {}).covers is None


def test_a_window_without_files_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path, "plays-2026-02-01.csv")
    of = source(tmp_path)
    made = of.plan(stream(of), JANUARY, {})
    assert (made.partitions, made.covers) == ([], None)


def test_rows_are_as_new_as_their_file(tmp_path: Path) -> None:
    write(tmp_path, "plays-2026-01-01.csv", "plays-2026-01-01-late.csv")
    of = source(tmp_path)
    made = of.plan(stream(of), JANUARY, {})
    batches = [batch for partition in made.partitions for batch in of.read(stream(of), partition)]
    versions = sorted(version for batch in batches for version in batch.rows.column(VERSION).to_pylist())
    assert versions == [DAY_ONE, DAY_ONE + 1]


def test_a_local_midnight_is_another_moment_in_summer(tmp_path: Path) -> None:
    write(tmp_path, "plays-2026-03-29.csv", "plays-2026-03-30.csv")
    of = source(tmp_path, {"pattern": "plays-%Y-%m-%d", "timezone": "Europe/Berlin"})
    night = Window("2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00")  # the 29th has 23 hours
    assert [name for name, _ in planned(of, night)] == ["plays-2026-03-29.csv"]


@pytest.mark.parametrize(
    ("pattern", "name", "start"),
    [
        ("%Y/%m/%d/%H", "2026/01/02/13/part.csv", "2026-01-02T13:00:00+00:00"),
        ("year=%Y/month=%m", "year=2026/month=02/part.csv", "2026-02-01T00:00:00+00:00"),
        ("%d.%m.%Y", "1.1.26/31.12.2025.csv", "2025-12-31T00:00:00+00:00"),
        ("%Y", "2020/2021.csv", "2021-01-01T00:00:00+00:00"),
    ],
)
def test_dates_in_any_order_and_directory(tmp_path: Path, pattern: str, name: str, start: str) -> None:
    write(tmp_path, name)
    of = source(tmp_path, pattern, "**/*.csv")
    moment = datetime.fromisoformat(start)
    assert planned(of, Window(start, None)) == [(Path(name).name, int(moment.timestamp()) * 1_000_000)]
    assert planned(of, Window(None, start)) == []


@pytest.mark.parametrize("name", ["plays.csv", "plays-2026-02-30.csv", "plays-20260101.csv"])
def test_a_file_that_is_of_no_time_stops_the_run(tmp_path: Path, name: str) -> None:
    write(tmp_path, "plays-2026-01-01.csv", name)
    of = source(tmp_path)
    with pytest.raises(ContractError, match=name):
        of.plan(stream(of), JANUARY, {})


@pytest.mark.parametrize("pattern", ["plays", "%d", "%Y-%d", "%Y-%Y", "%Y-%m-%d %S", "%y"])
def test_a_pattern_needs_a_whole_date(pattern: str) -> None:
    with pytest.raises(ValidationError, match="write the date"):
        CsvConfig(path=["x"], interval=pattern)
