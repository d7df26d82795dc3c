"""Of files that are read together a later one may have more columns; what it may lack, the tenant's file says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest

from importers.core.model import Stream, Window
from importers.exceptions import ContractError
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


def read(source: FileSource[Any], position: Any = None, only: str = "", **said: str) -> list[dict[str, Any]]:
    """As the pipeline does: `new` and `optional` are names of columns, `only` those that are wanted."""
    (offered,) = source.streams()
    stream: Stream = source.delivered(offered, Window(), position or {})
    marked = (
        replace(c, new=c.name in said.get("new", ""), optional=c.name in said.get("optional", ""))
        for c in stream.columns
    )
    stream = replace(stream, columns=tuple(c for c in marked if not only or c.name in only))
    plan = source.plan(stream, Window(), position or {})
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
    with pytest.raises(ContractError, match=r"m-1\.\w+' has other columns than the files before it: fewer: c"):
        read(source)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_that_was_there_is_missed_unless_it_is_optional(tmp_path: Path, suffix: str) -> None:
    source = months(tmp_path, suffix, "abc", "ab", "abc")
    with pytest.raises(ContractError, match=r"m-2\.\w+' has other columns than the files before it: fewer: c"):
        read(source, new="abc")
    assert read(source, optional="c")[1] == {"a": 2, "b": 2, "c": None}


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
