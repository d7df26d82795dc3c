"""Records that were no rows are read again as their own file, and their own part of it, says."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from importers.core.model import VERSION, LoadMode, Reject, Stream, Window
from importers.sources._text.json_lines import Lines
from importers.sources.files import _again
from importers.sources.files._files import FileSource
from importers.sources.files._rows import Rows
from importers.sources.files.csv import Csv, CsvConfig
from importers.sources.files.json import Json, JsonConfig
from importers.sources.files.jsonl import Jsonl, JsonlConfig

DAY_ONE = 1_767_225_600_000_000  # microseconds of 2026-01-01T00:00Z: `date -ud 2026-01-01 +%s`
JANUARY = Window("2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00")
EVERYTHING = Window()


def small(kind: type[FileSource[Any]], settings: Any) -> FileSource[Any]:
    """As if few bytes were many: then even they are cut."""
    made = type("Small", (kind,), {"whole_below": 1, "block": 64, "__doc__": "Cuts small files."})
    source: FileSource[Any] = made(settings, tenant="acme")
    return source


def planned(source: FileSource[Any], window: Window) -> tuple[Stream, Any]:
    (offered,) = source.streams()
    stream = replace(offered, load_mode=LoadMode.APPEND)
    (partition,) = source.plan(stream, window, {}).partitions
    return stream, partition


def rejects(source: FileSource[Any], stream: Stream, partition: Any) -> list[Reject]:
    return [reject for batch in source.read(stream, partition) for reject in batch.rejects]


def rows(found: Any) -> list[dict[str, Any] | None]:
    return [None if row is None else row.to_pylist()[0] for row in found]


def csv(path: Path, **more: Any) -> FileSource[Any]:
    return small(Csv, CsvConfig(path=[str(path)], sample_rows=1, max_partitions=1, delimiter=",", **more))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Of members whose columns are in another order, so that the one's records are rows by the other's header too."""
    path = tmp_path / "plays.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.csv", "id,paid\n1,1.5\n")
        made.writestr("b.csv", "paid,id\nn/a,2\n")
        made.writestr("c.csv", "id,paid\n3,n/a\n")
        made.writestr("d.csv", "id,paid\n4,4.5\n")
    return path


def test_a_member_is_read_by_its_own_header(archive: Path) -> None:
    stream, partition = planned(csv(archive), EVERYTHING)
    refused = rejects(csv(archive), stream, partition)
    assert [reject.location for reject in refused] == [f"{archive}!b.csv:line 2", f"{archive}!c.csv:line 2"]
    again = csv(archive, null_values=["n/a"]).reread(stream, partition, refused)
    assert rows(again) == [{"id": 2, "paid": None}, {"id": 3, "paid": None}]


def test_a_place_without_a_member_is_read_only_where_there_is_one_member(archive: Path) -> None:
    stream, partition = planned(csv(archive), EVERYTHING)
    old = Reject(b"3,n/a", f"{archive}:line 2", "")
    lenient = csv(archive, null_values=["n/a"])
    assert rows(lenient.reread(stream, partition, [old])) == [None]
    only = {**partition, "slices": [part for part in partition["slices"] if part["member"] == "c.csv"]}
    assert rows(lenient.reread(stream, only, [old])) == [{"id": 3, "paid": None}]


def test_a_place_that_names_no_file_of_the_partition_is_nobody_s(archive: Path) -> None:
    stream, partition = planned(csv(archive), EVERYTHING)
    places = (f"{archive}!e.csv:line 2", f"{archive}!c.csv", f"{archive}!c.csv:row 2", "")
    found = csv(archive).reread(stream, partition, [Reject(b"3,1.5", place, "") for place in places])
    assert rows(found) == [None] * 4


RECORDS = {"csv": ("id\n", "{}\n", "x{}\n"), "jsonl": ("", '{{"id": {}}}\n', '{{"id": "x{}"}}\n')}


@pytest.mark.parametrize(("kind", "config"), [(Csv, CsvConfig), (Jsonl, JsonlConfig)])
def test_a_record_is_as_new_as_its_part_of_the_file(tmp_path: Path, kind: Any, config: Any) -> None:
    """Of one file's parts a later one is newer, by a microsecond; every second record was refused."""
    header, number, text = RECORDS[kind.__name__.lower()]
    path = tmp_path / "plays-2026-01-01"
    path.write_text(header + "".join((text if n % 2 else number).format(n) for n in range(20)))
    setting = {"path": [str(path)], "interval": "plays-%Y-%m-%d", "max_partitions": 4, "sample_rows": 1}
    strict, lenient = (small(kind, config(types={"id": said}, **setting)) for said in ("integer", "string"))
    stream, today = (replace(*source.streams(), load_mode=LoadMode.APPEND) for source in (strict, lenient))
    parts: list[Any] = list(strict.plan(stream, JANUARY, {}).partitions)
    refused = [rejects(strict, stream, part) for part in parts]
    versions = [DAY_ONE + number for number, some in enumerate(refused) for _ in some]
    assert set(versions) == {DAY_ONE + number for number in range(4)}
    whole = {**parts[0], "slices": [piece for part in parts for piece in part["slices"]]}
    found = lenient.reread(today, whole, [reject for some in refused for reject in some])
    texts = [f"x{n}" for n in range(1, 20, 2)]
    assert rows(found) == [{"id": id_, VERSION: version} for id_, version in zip(texts, versions, strict=True)]


GOOD, BAD = {"v": 1, "user": {"id": "ann", "n": 1}}, {"v": 2, "user": {"id": "bob", "n": "many"}}


@pytest.mark.parametrize(
    ("settings", "column", "whose"),
    [
        ({"nested": "flatten"}, "user_id", "bob"),
        ({}, "user", None),  # an object is read whole
        ({"records": ["few", "data.plays"], "nested": "flatten"}, "user_id", "bob"),
    ],
)
def test_a_column_of_a_document_s_record_is_read_though_another_does_not_fit(
    tmp_path: Path, settings: Any, column: str, whose: str | None
) -> None:
    document = {"few": [{"v": 1}], "data": {"plays": [GOOD, BAD]}}
    path = tmp_path / "plays.json"
    path.write_text(json.dumps(document if isinstance(settings.get("records"), list) else [GOOD, BAD]))
    source = Json(JsonConfig(path=[str(path)], sample_rows=1, **settings), tenant="acme")
    stream = replace(source.streams()[-1], load_mode=LoadMode.APPEND)
    (partition,) = source.plan(stream, EVERYTHING, {}).partitions
    refused = rejects(source, stream, partition)
    assert [reject.location for reject in refused] == [f"{path}:record 2"]
    found = source.reread(stream.narrowed({column}), partition, refused)
    assert rows(found) == [None if whose is None else {column: whose}]
    assert rows(source.reread(stream.narrowed({"v"}), partition, refused)) == [{"v": 2}]
    assert rows(source.reread(stream, partition, refused)) == [None]
    types = {("plays." if "records" in settings else "") + ("user_n" if column != "user" else "user.n"): "string"}
    today = Json(JsonConfig(path=[str(path)], sample_rows=1, types=types, **settings), tenant="acme")
    (row,) = rows(today.reread(today.streams()[-1], partition, refused))
    assert row == ({"v": 2, "user_id": "bob", "user_n": "many"} if column != "user" else BAD)


@pytest.mark.parametrize("nested", ["struct", "flatten"])
@pytest.mark.parametrize(
    "record",
    [
        '{"v": 2, "new": 1}',
        '{"v": 2, "user": {"id": "bob", "new": 1}}',
        '{"v": 2, "v": 3}',
        '{"v": 2, "user": {}, "user": {"id": "bob"}}',
        '{"v": 2, "user": {"id": "bob", "id": "cyd"}}',
    ],
)
def test_of_a_record_with_a_key_that_is_new_or_there_twice_nothing_is_read(
    tmp_path: Path, nested: str, record: str
) -> None:
    path = tmp_path / "plays.json"
    path.write_text(json.dumps([GOOD]))
    source = Json(JsonConfig(path=[str(path)], nested=nested), tenant="acme")
    stream, partition = planned(source, EVERYTHING)
    found = source.reread(stream, partition, [Reject(record.encode(), f"{path}:record 2", "")])
    assert rows(found) == [None]


@pytest.mark.parametrize("change", ["other bytes", "a minute later", "gone"])
def test_of_a_file_that_has_changed_nothing_is_read(tmp_path: Path, change: str) -> None:
    """Though the record would be a row by the header that it has now, and another one."""
    path = tmp_path / "plays.csv"
    path.write_text("id,paid\n1,1.5\n2,n/a\n")
    stream, partition = planned(csv(path), EVERYTHING)
    refused = rejects(csv(path), stream, partition)
    was = path.stat().st_mtime_ns
    lenient = csv(path, null_values=["n/a"])
    assert rows(lenient.reread(stream, partition, refused)) == [{"id": 2, "paid": None}]
    if change == "other bytes":
        path.write_text("paid,id\nn/a,22\n")
        os.utime(path, ns=(was, was))
    elif change == "a minute later":
        path.write_text("paid,id\n1.5,1\nn/a,2\n")
        os.utime(path, ns=(was, was + 60 * 10**9))
    else:
        path.unlink()
    assert rows(csv(path, null_values=["n/a"]).reread(stream, partition, refused)) == [None]


@pytest.mark.parametrize("block", [8, 1 << 20])
def test_many_records_are_read_as_each_is_alone(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, of which only some records are rows: the others have one cell more, text, or an open quote."""
    monkeypatch.setattr(_again, "BLOCK", block)
    path = tmp_path / "plays.csv"
    path.write_text("id,paid\n1,1.5\n")
    stream, partition = planned(csv(path), EVERYTHING)
    raws = {
        b"2,n/a": (2, None),
        b"3,4,5": None,
        b"x,6": None,
        b'4,"n/a"': (4, None),
        b'5,"7': None,
        b"": None,
        b"8,9\n10,11": None,
        b'"9","8"': (9, 8.0),
        b'6,"1\n2"': None,
        b"7,7": (7, 7.0),
    }
    refused = [Reject(raw, f"{path}:line 2", "") for raw in raws]
    expected = [said and dict(zip(("id", "paid"), said, strict=True)) for said in raws.values()]
    source = csv(path, null_values=["n/a"], types={"id": "integer", "paid": "number"})
    assert rows(source.reread(stream, partition, refused)) == expected
    assert [rows(source.reread(stream, partition, [each])) for each in refused] == [[row] for row in expected]


def test_records_of_csv_are_read_again_by_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = tmp_path / "plays.csv", []
    path.write_text("id,paid\n1,1.5\n")
    stream, partition = planned(csv(path), EVERYTHING)
    batch = Rows.batch
    monkeypatch.setattr(Rows, "batch", lambda *args, **more: calls.append(args) or batch(*args, **more))
    refused = [Reject(f"{n},{n}".encode(), f"{path}:line 2", "") for n in range(20_000)]
    again = csv(path).reread(stream, partition, refused)
    assert [row is None or row["id"][0].as_py() for row in again] == list(range(20_000))
    assert len(calls) < 5


@pytest.mark.parametrize("nested", ["struct", "flatten"])
@pytest.mark.parametrize("block", [8, 1 << 20])
def test_many_objects_are_read_as_each_is_alone(
    tmp_path: Path, nested: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_again, "BLOCK", block)
    path = tmp_path / "plays.json"
    path.write_text(json.dumps([GOOD]))
    source = Json(JsonConfig(path=[str(path)], nested=nested), tenant="acme")
    stream, partition = planned(source, EVERYTHING)
    column = "user_id" if nested == "flatten" else "user"
    raws = {
        b'{"user": {"id": "bob"}, "v": "many"}': "bob",
        b"": None,
        b'{"user": {"id": 7}}': None,
        b'{"user": {"id": "cyd"}} {"user": {}}': None,
        b'{"user": {"id": "\xff"}}': None,
        b'{"user":\n{"id": "dan"}}': None,
        b'{"user": {"id": "eve", "n": 2}, "v": []}': "eve",
    }
    more = {b'{"user": {"id": "fay"}, "new": 1}': None}
    for those in (raws, raws | more):
        refused = [Reject(raw, f"{path}:record 2", "") for raw in those]
        found = rows(source.reread(stream.narrowed({column}), partition, refused))
        ids = [row and (row[column] if nested == "flatten" else row[column]["id"]) for row in found]
        assert ids == list(those.values())


def test_objects_are_read_again_by_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = tmp_path / "plays.json", []
    path.write_text(json.dumps([GOOD]))
    source = Json(JsonConfig(path=[str(path)], nested="flatten"), tenant="acme")
    stream, partition = planned(source, EVERYTHING)
    read = Lines.read
    monkeypatch.setattr(Lines, "read", lambda *args: calls.append(args) or read(*args))
    text = '{{"user": {{"id": "{}"}}, "v": "x"}}'
    refused = [Reject(text.format(n).encode(), f"{path}:record 2", "") for n in range(20_000)]
    again = source.reread(stream.narrowed({"user_id"}), partition, refused)
    assert source.rereads_at_once()
    assert [row is None or row["user_id"][0].as_py() for row in again] == list(map(str, range(20_000)))
    assert len(calls) < 5
