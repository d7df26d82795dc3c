"""Files that were loaded and lie elsewhere now, or that another `path` names otherwise."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from importers.core.model import LoadMode, Window
from importers.exceptions import ContractError
from importers.sources.files.csv import Csv, CsvConfig
from importers.transport import files


def source(path, **config):
    return Csv(CsvConfig(path=str(path), stream="rows", **config), tenant="acme")


@pytest.fixture
def two(tmp_path):
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.csv").write_bytes(b"n,m\n%d,0\n" % number)
    return tmp_path


def read(of, position):
    """What a run from there on reads, and its plan."""
    stream = of.streams()[0]
    delivered = of.delivered(stream, Window(), position)
    plan = of.plan(delivered, Window(), position)
    new = {lane for lane, known in plan.position.items() if "loaded_as" not in known}
    assert {part.name for part in of.parts(delivered, Window(), position)} == new
    return [row["n"] for p in plan.partitions for batch in of.read(stream, p) for row in batch.rows.to_pylist()], plan


def goes_on(position, plan):
    return {**position, **plan.position}


NOT_READ = "{} moved since loaded, or named otherwise by `path`, and not read again, such as '{}'"


@pytest.mark.parametrize("pattern", ["*/*.csv", "**/*.csv", "in/[a-c].csv", "in/**/*.csv"])
def test_files_that_path_names_otherwise_are_loaded_already(two, pattern):
    (two / "in").mkdir()
    for file in sorted(two.glob("*.csv")):
        file.rename(two / "in" / file.name)
    _, first = read(source(two / "in" / "*.csv"), {})
    of = source(two / pattern)
    rows, plan = read(of, first.position)
    prefix = "" if pattern.startswith("in") else "in/"
    moved = {f"{prefix}{lane}": {**known, "loaded_as": lane} for lane, known in first.position.items() if prefix}
    told = (NOT_READ.format("2 files are", two / "in" / "a.csv"),) if prefix else ()
    assert (rows, dict(plan.position), plan.notes) == ([], moved, told)
    (two / "in" / "c.csv").write_bytes(b"n,m\n3,0\n")
    rows, more = read(of, first.position)
    assert (rows, {*more.position}, more.notes) == ([3], {*moved, f"{prefix}c.csv"}, told)
    rows, after = read(of, goes_on(first.position, more))
    assert (rows, dict(after.position), after.notes) == ([], {}, ())


def test_a_loaded_file_that_is_moved_within_the_pattern_is_loaded_already_and_again_when_it_is_moved_on(two):
    of = source(two / "**" / "*.csv")
    rows, plan = read(of, {})
    assert rows == [1, 2]
    position, at = plan.position, two / "a.csv"
    for directory in ("x", "y/z"):
        (two / directory).mkdir(parents=True)
        at = at.rename(two / directory / "a.csv")
        rows, plan = read(of, position)
        assert (rows, plan.notes) == ([], (NOT_READ.format("a file is", at),))
        position = goes_on(position, plan)
    assert {lane: known.get("loaded_as") for lane, known in position.items()} == {
        "a.csv": None,
        "b.csv": None,
        "x/a.csv": "a.csv",
        "y/z/a.csv": "a.csv",
    }
    shutil.copy2(at, two / "a.csv")  # an old lane, which is loaded
    assert read(of, position)[0] == []
    (two / "w").mkdir()
    shutil.copy2(at, two / "w" / "a.csv")  # beside the one that was loaded it is another
    assert read(of, position)[0] == [1]


def test_files_of_equal_content_that_are_there_are_two(tmp_path):
    for day in (1, 2):
        (tmp_path / f"dt={day}").mkdir()
    (tmp_path / "dt=1" / "part-0.csv").write_bytes(b"n\n1\n")
    of = source(tmp_path / "dt=*" / "*.csv")
    rows, plan = read(of, {})
    shutil.copy2(tmp_path / "dt=1" / "part-0.csv", tmp_path / "dt=2" / "part-0.csv")
    assert (rows, *read(of, {})[0]) == ([1], 1, 1)
    rows, more = read(of, plan.position)
    assert (rows, more.notes) == ([1], ())
    (tmp_path / "dt=1" / "part-0.csv").unlink()
    assert read(of, goes_on(plan.position, more))[0] == []


def test_where_one_has_gone_and_two_may_be_it_the_run_stops(two):
    of = source(two / "**" / "*.csv")
    position = of.plan(of.streams()[0], Window(), {}).position
    for directory in ("x", "y"):
        (two / directory).mkdir()
        shutil.copy2(two / "a.csv", two / directory / "a.csv")
    (two / "a.csv").unlink()
    either = r"x/a\.csv' and '.*y/a\.csv' are both like .* loaded as 'a\.csv' and has gone.*`[Tt]ouch` each"
    for asked in (of.plan, of.parts, of.delivered):
        with pytest.raises(ContractError, match=either):
            asked(of.streams()[0], Window(), position)
    os.utime(two / "y" / "a.csv", ns=(0, 1))
    assert read(of, position)[0] == [1]


@pytest.mark.parametrize("change", ["name", "size", "time"])
def test_another_name_size_or_time_is_another_file(two, change):
    of = source(two / "**" / "*.csv")
    position = of.plan(of.streams()[0], Window(), {}).position
    (two / "x").mkdir()
    at = (two / "a.csv").rename(two / "x" / ("c.csv" if change == "name" else "a.csv"))
    seen = at.stat()
    if change == "size":
        at.write_bytes(b"n,m\n1,10\n")
    os.utime(at, ns=(0, seen.st_mtime_ns + (change == "time")))
    (two / "y").mkdir()
    (two / "y" / "a.csv").write_bytes(b"n,m\n3,22\n")
    rows, plan = read(of, position)
    assert (rows, plan.notes) == ([1, 3], ())


def test_a_file_that_makes_room_for_one_of_its_name_is_loaded_already(two):
    """As where logs are rotated. What is there now has only new rows: so `reload` says."""
    of = source(two / "**" / "a.csv", on_change="reload")
    position = of.plan(of.streams()[0], Window(), {}).position
    for number, directory in enumerate(("x", "y"), 2):
        (two / directory).mkdir()
        if number == 3:
            (two / "x" / "a.csv").rename(two / "y" / "a.csv")
        else:
            (two / "a.csv").rename(two / "x" / "a.csv")
            (two / "a.csv").write_bytes(b"n,m\n%d,22\n" % number)
        rows, plan = read(of, position)
        assert rows == ([2] if number == 2 else [])
        position = goes_on(position, plan)


def test_a_window_reads_a_file_that_was_moved(two):
    of = source(two / "**" / "*.csv")
    stream = of.streams()[0]
    position = of.plan(stream, Window(), {}).position
    (two / "x").mkdir()
    (two / "a.csv").rename(two / "x" / "a.csv")
    plan = of.plan(replace(stream, load_mode=LoadMode.MERGE), Window("1970-01-01T00:00:00+00:00"), position)
    assert ([part["path"] for p in plan.partitions for part in p["slices"]], plan.position) == (
        [str(two / "b.csv"), str(two / "x" / "a.csv")],
        {},
    )


@pytest.mark.parametrize("same_time", [True, False])
def test_an_object_is_loaded_already_if_its_time_says_so_too(two, monkeypatch, same_time):
    """A bucket's copy has another time: it may as well be another day's of equal content, and is read, and told of."""
    etags = {"a.csv": "1", "b.csv": "2"}
    look = files.look
    monkeypatch.setattr(files, "look", lambda path: replace(look(path), etag=etags[Path(path).name]))
    of = source(two / "**" / "*.csv")
    position = of.plan(of.streams()[0], Window(), {}).position
    for directory in ("x", "y"):
        (two / directory).mkdir()
    shutil.copy2(two / "a.csv", two / "x" / "a.csv")
    rows, plan = read(of, position)
    assert (rows, plan.notes) == ([1], ())  # both are there
    shutil.copy2(two / "a.csv", two / "y" / "a.csv")
    (two / "a.csv").unlink()
    (two / "z").mkdir()
    shutil.copy2(two / "x" / "a.csv", two / "z" / "a.csv")
    for directory in ("z",) if same_time else ("x", "y", "z"):
        os.utime(two / directory / "a.csv", ns=(0, 1))
    rows, plan = read(of, position)
    again = (
        "3 files are like a loaded one that has gone, of equal content but another time, and read as a new one, such as"
    )
    told = NOT_READ.format("a file is", two / "x" / "a.csv") if same_time else f"{again} '{two / 'x' / 'a.csv'}'"
    assert (rows, plan.notes) == ([1, 1] if same_time else [1, 1, 1], (told,))
