"""Of files that are read together a later one may have more columns; what it may lack, the tenant's file says."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest

from importers.core.model import Column, Plan, Reads, Stream, Window
from importers.core.parts import Place, dated, undated
from importers.exceptions import ContractError
from importers.sources.files._columns import Growth, mark
from importers.sources.files._files import FileSource
from importers.sources.files.avro import Avro, AvroConfig
from importers.sources.files.csv import Csv, CsvConfig
from importers.sources.files.excel import Excel, ExcelConfig
from importers.sources.files.parquet import Parquet, ParquetConfig
from importers.transport.files import File


def as_avro(rows: pl.DataFrame, path: Path) -> None:
    fields = [{"name": name, "type": "long"} for name in rows.columns]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "r", "fields": fields}, rows.to_dicts())


FORMATS: dict[str, tuple[Any, Any, Callable[[pl.DataFrame, Path], Any]]] = {
    "csv": (Csv, CsvConfig, lambda rows, path: rows.write_csv(path)),
    "xlsx": (Excel, ExcelConfig, lambda rows, path: rows.write_excel(path)),
    "parquet": (Parquet, ParquetConfig, lambda rows, path: rows.write_parquet(path)),
    "avro": (Avro, AvroConfig, as_avro),
}


def months(root: Path, suffix: str, *columns: str) -> FileSource[Any]:
    """A file a month with one row, in which each of the columns that it has holds the month's number."""
    kind, config, write = FORMATS[suffix]
    for month, names in enumerate(columns, 1):
        write(pl.DataFrame({name: [month] for name in names}), root / f"m-{month}.{suffix}")
    source: FileSource[Any] = kind(config(path=str(root / f"m-*.{suffix}")), tenant="acme")
    return source


def planned(
    source: FileSource[Any],
    position: Any = None,
    only: str = "",
    new: str = "",
    optional: str = "",
    since: Mapping[str, str] | None = None,
    loaded: Any = None,
) -> tuple[Stream, Plan]:
    """As the pipeline does: `new`, `optional` and `only` are names of columns, the last of those that are wanted."""
    (offered,) = source.streams()
    stream: Stream = source.delivered(offered, Window(), position or {})
    marked = tuple(
        replace(
            c,
            since=None if c.name in [*new.split(), *new] else (since or {}).get(c.name, ""),
            optional=c.name in optional,
        )
        for c in stream.columns
    )
    stream = replace(stream, columns=marked, loaded=loaded or {}).narrowed(only or stream.schema.names)
    return stream, source.plan(stream, Window(), position or {})


def read(source: FileSource[Any], position: Any = None, **said: Any) -> list[dict[str, Any]]:
    stream, plan = planned(source, position, **said)
    return [row for part in plan.partitions for batch in source.read(stream, part) for row in batch.rows.to_pylist()]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_later_file_brings_is_null_before(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "ab", "bac", "cab")
    assert read(source, new="c") == [
        {"a": 1, "b": 1, "c": None},
        {"a": 2, "b": 2, "c": 2},
        {"a": 3, "b": 3, "c": 3},
    ]
    assert read(source, only="c", new="c") == [{"c": None}, {"c": 2}, {"c": 3}]
    with pytest.raises(ContractError, match=r"m-1\.\w+' has other columns than it or a file before it had: fewer: c"):
        read(source)


@pytest.mark.parametrize("suffix", FORMATS)
def test_only_a_file_that_came_before_a_column_may_lack_it_again(tmp_path: Path, suffix: str) -> None:
    _, plan = planned(months(tmp_path, suffix, "ab", "abc", "abc"), new="abc")
    assert plan.since == {"a": f"m-1.{suffix}", "b": f"m-1.{suffix}", "c": f"m-2.{suffix}"}
    loaded = plan.position
    again = planned(months(tmp_path, suffix, "ab", "abc", "abc"), only="a", since=plan.since, loaded=loaded)[1]
    assert again.since == plan.since  # of what nobody wants, too: a policy may change
    for columns, known in ("abd", loaded), ("ab", {}):  # it may be `c` that has another name; and which file is older?
        with pytest.raises(ContractError, match=r"m-1.*fewer: c"):
            planned(months(tmp_path, suffix, columns, "abc", "abc"), since=plan.since, new="d", loaded=known)
    planned(months(tmp_path, suffix, "abd", "abc", "abc"), since=plan.since, new="d", optional="d", loaded=loaded)
    for columns, lacking in (("a", "abc", "abc"), "m-1.*b"), (("ab", "ab", "abc"), "m-2.*c"):
        with pytest.raises(ContractError, match=f"{lacking[:3]}.*fewer: {lacking[-1]};"):
            read(months(tmp_path, suffix, *columns), since=plan.since, loaded=loaded)
    (row, *_) = read(months(tmp_path, suffix, "a", "abc", "abc"), since=plan.since, optional="b", loaded=loaded)
    assert row == {"a": 1, "b": None, "c": None}


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_may_have_each_what_the_other_lacks_where_it_is_optional(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "ab", "ac")
    with pytest.raises(ContractError, match=r"m-2\.\w+' .* than the files before it: more: c; fewer: b;"):
        read(source, new="abc")
    assert read(source, new="abc", optional="b") == [{"a": 1, "b": 1, "c": None}, {"a": 2, "b": None, "c": 2}]


@pytest.mark.parametrize(
    ("before", "later"),
    [
        (("a.csv", ""), ("b.csv", "")),
        (("z.csv", ""), ("2//a.csv", "")),  # below a second directory
        (("2//z.csv", ""), ("10//a.csv", "")),
        (("x//1.csv", ""), ("x//2.csv", "")),  # an object's key
        (("plays_9.csv", ""), ("plays_10.csv", "")),
        (("2026-9/9.csv", ""), ("2026-10/1.csv", "")),
        (("a.csv", ""), ("a1.csv", "")),  # else as the bytes
        (("a-1.csv", ""), ("a1.csv", "")),
        (("07.csv", ""), ("7.csv", "")),  # in some order: two files don't stand in one place
        (("a.zip", "9.csv"), ("a.zip", "10.csv")),
        (("a.zip", "x.csv"), ("a.zip", "y.csv")),
    ],
)
def test_the_first_file_of_a_column_is_the_first_in_order_also_if_it_came_later(before: Any, later: Any) -> None:
    """A file that came before a column may lack it, one that had it may not, in whatever order they were loaded."""
    one, other = (mark(File("", 1, 1, lane=lane, member=member)) for lane, member in (before, later))

    def growth(since: str | None) -> Growth:
        columns = [Column("a", pa.int64(), None), Column("b", pa.int64(), None, since=since)]
        return Growth(pa.schema([("a", pa.int64()), ("b", pa.int64())]), Stream("s", tuple(columns), Reads.POSITION))

    def lacking(growth: Growth, name: str, got: str) -> list[str]:
        return growth.lacking(Place(name, sure=True), name, got)

    came = growth(None)
    lacking(came, other, "ab")
    assert lacking(growth(came.since["b"]), one, "a") == ["b"]
    for late in (one, other):
        with pytest.raises(ContractError, match="fewer: b"):
            lacking(growth(came.since["b"]), other, "a")
        lacking(came, late, "ab")
    with pytest.raises(ContractError, match="fewer: b"):
        lacking(growth(came.since["b"]), one, "a")


def test_files_and_members_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("m_9.csv", "m_11.csv"):
        (tmp_path / name).write_text("a\n1\n")
    with zipfile.ZipFile(tmp_path / "m_10.csv", "w") as archive:
        for name in ("10.csv", "9.csv"):
            archive.writestr(name, "a\n1\n")
    source = Csv(CsvConfig(path=str(tmp_path / "m_*.csv"), max_partitions=1), tenant="acme")
    names = ["m_9.csv", "m_10.csv!9.csv", "m_10.csv!10.csv", "m_11.csv"]
    stream, plan = planned(source, new="a")
    assert [place.name for place in source.parts(stream, Window(), {})] == names
    (part,) = plan.partitions
    assert [File.of(each).shown.rpartition("/")[2] for each in part["slices"]] == names


@pytest.mark.parametrize("first", ["z", "a"])
def test_directories_come_one_after_the_other_as_they_are_named(tmp_path: Path, first: str) -> None:
    """Whatever the plan: one that took what another had refused would be refused by the next."""
    second = "a" if first == "z" else "z"
    for directory, text in ((first, "a\n1\n"), (second, "a,b\n2,2\n")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "1.csv").write_text(text)
    paths = [str(tmp_path / directory / "*.csv") for directory in (first, second)]
    source = Csv(CsvConfig(path=paths), tenant="acme")
    _, plan = planned(source, new="ab")
    assert plan.since == {"a": "1.csv", "b": "2//1.csv"}
    assert sorted(row["a"] for row in read(source, since=plan.since, loaded=plan.position)) == [1, 2]
    turned = Csv(CsvConfig(path=paths[::-1]), tenant="acme")
    with pytest.raises(ContractError, match=r"1\.csv' has other columns than the files before it: fewer: b"):
        planned(turned, new="ab")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("since", [{}, {"a": "m-1", "b": "m-2", "c": "m-1"}])
def test_a_file_may_not_have_what_it_lacks_under_another_name(
    tmp_path: Path, suffix: str, since: dict[str, str]
) -> None:
    """Nobody wants `c`: it may be `b`, unless somebody says that it isn't. Also where the months were loaded so."""
    source = months(tmp_path, suffix, "ac", "ab")
    loaded = planned(source, only="ab", new="abc", optional="c")[1].position
    said: dict[str, Any] = {"only": "ab", "loaded": loaded, "since": {k: f"{v}.{suffix}" for k, v in since.items()}}
    said |= {} if since else {"new": "abc"}
    with pytest.raises(ContractError) as raised:
        planned(source, **said)
    assert re.search(r"m-1\.\w+' lacks b, and has c, which a file with b lacks: it may be the same", str(raised.value))
    assert re.fullmatch(r"\S+m-1\.\w+: a, c; \S+m-2\.\w+: a, b", raised.value.got or "")
    assert "say `c: drop` in `privacy.columns`; or name b in `load.optional`" in (raised.value.do or "")
    for settled in "bc":
        assert read(source, **said, optional=settled) == [{"a": 1, "b": None}, {"a": 2, "b": 2}]


def test_names_that_may_be_data_are_not_told(tmp_path: Path) -> None:
    """As those of a file whose header is a row of somebody's."""
    (tmp_path / "m-1.csv").write_text("a,anna@example.org\n1,2\n")
    (tmp_path / "m-2.csv").write_text("a,b\n1,2\n")
    source = Csv(CsvConfig(path=str(tmp_path / "m-*.csv"), header=True), tenant="acme")
    with pytest.raises(ContractError, match="lacks b, and has 1 that isn't shown, which a file with b lacks") as raised:
        planned(source, only="ab", new="anna@example.org b")
    assert "say `NAME: drop` in `privacy.columns`" in str(raised.value)
    assert "anna" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "only", "refused"),
    [
        (("ac", "abc"), "ab", ""),  # each file with it has the other, too
        (("a", "ab", "abc"), "ab", ""),
        (("acd", "abd"), "ab", "has c,"),
        (("acd", "ab"), "ab", "has c, d, which a file with b lacks: some may be the same"),
        (("ac", "acb", "ab"), "ab", "has c,"),  # for a while it has both names
        (("ac", "a", "ab"), "ab", "has c,"),
        (("aef", "abc"), "abc", "lacks b, c, and has e, f, which a file with b, c lacks"),
        (("ac", "ab"), "a", ""),
        (("ac", "ad"), "a", ""),
    ],
)
def test_what_all_files_with_a_column_have_is_no_other_name_of_it(
    tmp_path: Path, columns: tuple[str, ...], only: str, refused: str
) -> None:
    source = months(tmp_path, "csv", *columns)
    if not refused:
        assert len(read(source, only=only, new="abcdef")) == len(columns)
        return
    with pytest.raises(ContractError, match=refused):
        read(source, only=only, new="abcdef")


def test_columns_without_a_header_have_no_other_name(tmp_path: Path) -> None:
    for name, text in ("1.csv", "1,x\n"), ("2.csv", "2,x,3\n"):
        (tmp_path / name).write_text(text)
    source = Csv(CsvConfig(path=str(tmp_path / "*.csv"), header=False), tenant="acme")
    assert read(source, only="column_3", new="column_3") == [{"column_3": None}, {"column_3": 3}]


def test_who_reads_everything_knows_which_file_was_the_first(tmp_path: Path) -> None:
    """An older version didn't say."""
    source = months(tmp_path, "csv", "ab", "abc", "abc")
    _, plan = planned(source, since={}, optional="c")
    assert plan.since == {"a": "m-1.csv", "b": "m-1.csv", "c": "m-2.csv"}
    stream, _ = planned(source, since=plan.since, loaded=plan.position)
    growth = source._lacking(source.files.find(source.config.path), stream.schema, stream, everything=False)
    assert growth[1] == plan.since
    unsaid, _ = planned(source, since={}, optional="c")
    assert source._lacking(source.files.find(source.config.path), stream.schema, unsaid, everything=False)[1]["c"] == ""


def test_a_way_of_reading_is_named_as_older_versions_named_it() -> None:
    """What those left in quarantine ends when its file is read again. The names are those of revision d0a29f5."""
    ways = {
        Csv(CsvConfig(path="x"), tenant="a"): "b42cbd9bb47c8f71",
        Avro(AvroConfig(path="x"), tenant="a"): "e5d4802727da5501",
    }
    ways |= {Excel(ExcelConfig(path="x"), tenant="a"): "8435f8e496d71582"}
    ways |= {Parquet(ParquetConfig(path="x"), tenant="a"): "d4ee75d47d106358"}
    assert [source._way_of_reading for source in ways] == list(ways.values())


def test_names_that_differ_in_case_are_told_as_such(tmp_path: Path) -> None:
    source = months(tmp_path, "csv", "ab", "Ab")
    with pytest.raises(ContractError) as raised:
        read(source, new="ab")
    assert "upper and lower case differ, and count" in raised.value.do


def test_what_a_run_reads_is_named_as_its_plan_names_it(tmp_path: Path) -> None:
    """A column isn't missed where all of it comes before the column."""
    source = months(tmp_path, "csv", "a", "ab")
    with zipfile.ZipFile(tmp_path / "m-0.csv", "w") as archive:
        for name in ("y.csv", "x.csv"):
            archive.writestr(name, "a,c\n1,1\n")
    stream, plan = planned(source, new="abc", optional="c")
    names = ["m-0.csv!x.csv", "m-0.csv!y.csv", "m-1.csv", "m-2.csv"]
    assert source.parts(stream, Window(), {}) == [Place(name, sure=False) for name in names]
    assert plan.since == {"a": "m-0.csv!x.csv", "c": "m-0.csv!x.csv", "b": "m-2.csv"}
    assert source.parts(stream, Window(), plan.position) == []
    loaded = replace(stream, loaded=plan.position)
    assert source.parts(loaded, Window(), {}) == [Place(name, sure=True) for name in names]
    with zipfile.ZipFile(tmp_path / "m-0.csv", "w") as archive:  # nobody has loaded `w`
        for name in ("w.csv", "x.csv"):
            archive.writestr(name, "a,c\n1,1\n")
    elsewhere = {**plan.position, "m-1.csv": {**plan.position["m-1.csv"], "loaded_as": "old/m-1.csv"}}
    moved = source.parts(replace(stream, loaded=elsewhere), Window(), {})
    assert [place.sure for place in moved if place.name == "m-1.csv"] == [False]
    (tmp_path / "m-1.csv").write_text("a\n11\n")
    assert [place.sure for place in source.parts(loaded, Window(), {})] == [False, True, True, True]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_that_was_there_is_missed_unless_it_is_optional(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "abc", "ab", "abc")
    with pytest.raises(ContractError, match=r"m-2\.\w+' has other columns than the files before it: fewer: c"):
        read(source, new="abc")
    assert read(source, optional="c")[1] == {"a": 2, "b": 2, "c": None}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_that_only_a_file_between_has_is_read_in_a_run_of_its_own(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "ab", "abc", "ab")
    with pytest.raises(ContractError, match=r"m-2\.\w+' has other .* than the files before it: more: c; got") as told:
        read(source, optional="c")
    assert "or, if it is right, read it in a run of its own, by a `path`" in (told.value.do or "")
    kind, config, _ = FORMATS[suffix]
    alone = kind(config(path=str(tmp_path / f"m-2.{suffix}")), tenant="acme")
    assert read(alone, optional="c") == [{"a": 2, "b": 2, "c": 2}]
    _, plan = planned(alone, optional="c")
    assert read(source, plan.position, optional="c") == [{"a": 1, "b": 1}, {"a": 3, "b": 3}]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_loaded_and_isn_t_read_again_counts_for_nothing(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "ab")
    position = source.plan(source.streams()[0], Window(), {}).position
    source = months(tmp_path, suffix, "ab", "abc")
    loaded = {lane: source.files.find(source.config.path)[0].identity for lane in position}  # written once more here
    assert read(source, loaded) == [{"a": 2, "b": 2, "c": 2}]


def test_a_file_that_has_none_of_the_names_tells_none(tmp_path: Path) -> None:
    source = months(tmp_path, "csv", "ab", "ab")
    position = source.plan(source.streams()[0], Window(), {}).position
    (tmp_path / "m-1a.csv").write_text("ann,meyer\n1,2\n")
    with pytest.raises(ContractError, match=r"more: 2 that aren't shown") as told:
        read(source, position)
    assert "meyer" not in str(told.value)


def test_a_plan_looks_once_for_what_a_file_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = months(tmp_path, "avro", "ab", "ab", "ab")
    (stream,) = source.streams()
    asked: list[str] = []
    declared = Avro.declared

    def counted(self: Avro, file: File) -> pa.Schema:
        asked.append(Path(file.path).name)
        return declared(self, file)

    monkeypatch.setattr(Avro, "declared", counted)
    source.plan(stream, Window(), {})
    assert asked == ["m-1.avro", "m-2.avro", "m-3.avro"]


def test_a_part_that_is_of_a_time_is_told_by_its_own_name():
    assert undated(dated(datetime(2026, 11, 30, tzinfo=UTC), "a b.csv")) == "a b.csv"
    assert undated("2026 @.csv") == "2026 @.csv"
