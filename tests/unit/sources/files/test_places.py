"""A row's place leads to it: whoever goes there finds the record, whatever stands before it."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from importers.core.model import Window
from importers.core.places import located
from importers.sources.files.avro import Avro, AvroConfig
from importers.sources.files.csv import Csv, CsvConfig
from importers.sources.files.excel import Excel, ExcelConfig
from importers.sources.files.json import Json, JsonConfig
from importers.sources.files.jsonl import Jsonl, JsonlConfig
from importers.sources.files.parquet import Parquet, ParquetConfig


def placed(kind, config, column="k", whole_below=1, block=64):
    """(value, place) of each row, and the places of the rejects."""
    small = type("Small", (kind,), {"whole_below": whole_below, "block": block, "__doc__": "As if few were many."})
    source = small(config, tenant="acme")
    (stream,) = source.streams()
    found, rejects = [], []
    for partition in source.plan(stream, Window(), {}).partitions:
        for batch in source.read(stream, partition):
            where = located(batch.places, np.arange(batch.rows.num_rows)).to_pylist()
            found += zip(batch.rows[column].to_pylist(), where, strict=True)
            rejects += [reject.location for reject in batch.rejects]
    return [(value, Path(place).name if place else None) for value, place in found], [Path(r).name for r in rejects]


CSV = {
    "plain": "k,v\n" + "".join(f"{n},x\n" for n in range(40)),
    "no last newline": "k,v\n" + "\n".join(f"{n},x" for n in range(40)),
    "windows": "k,v\r\n" + "".join(f"{n},x\r\n" + "\r\n" * (n % 3 == 0) for n in range(40)),
    "newlines in quotes": "k,v\n" + "".join(f'{n},"x{chr(10) * (n % 4)}y"\n' for n in range(40)),
    "empty lines": "k,v\n" + "".join(f"{n},x\n" + "\n" * (n % 3) for n in range(40)),
    "a header of two lines": 'k,"v\nw"\n' + "".join(f"{n},x\n" for n in range(40)),
    "untidy": "k,v\n" + "".join(f'{n},5" pipe\n' + "\n" * (n % 2) for n in range(40)),
    "rejects": "k,v\n" + "".join(f"{n},x\n" if n % 5 else f"{n},x,y\n" for n in range(40)),
    "odd cells": "k,v\n" + "".join(f"{n},{n if n % 7 else 'odd'}\n" for n in range(40)),
}


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("case", CSV)
def test_of_csv_it_is_the_line(tmp_path, case, partitions):
    path = tmp_path / "rows.csv"
    path.write_bytes(CSV[case].encode())
    types = {"v" if case != "a header of two lines" else "v\nw": "integer" if case == "odd cells" else "string"}
    config = CsvConfig(path=str(path), types=types, max_partitions=partitions, delimiter=",")
    rows, rejects = placed(Csv, config)
    lines = path.read_bytes().decode().split("\n")
    assert len(rows) + len(rejects) == 40
    by_line = [place for _, place in rows if place.startswith("rows.csv:line ")]
    assert len(by_line) == len(rows)
    assert all(lines[int(place.rpartition(" ")[2]) - 1].startswith(f"{key},") for key, place in rows)


PACKED = {
    "cp1252": lambda text: text.encode("cp1252"),
    "utf-16": lambda text: text.encode("utf-16"),
    "gz": lambda text: gzip.compress(text.encode()),
    "zip": lambda text: zip_of("rows.csv", text.encode()),
}


def zip_of(name, data):
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as written:
        written.writestr(name, data)
    return archive.getvalue()


@pytest.mark.parametrize("written", PACKED)
def test_what_is_no_row_stands_in_its_line_however_the_file_is_written(tmp_path, written):
    """Of blocks so long that who reads what is before them doesn't get it at once."""
    path = tmp_path / "rows.csv"
    cells = [f'{n},"{"x" * 600}M\u00fcller{chr(10) * (n % 3)}"\n' for n in range(5000)]
    text = "k,v\n" + "".join(cell + "broken\n" * (n % 700 == 1) for n, cell in enumerate(cells))
    path.write_bytes(PACKED[written](text))
    config = CsvConfig(path=str(path), encoding=written if written in ("cp1252", "utf-16") else "auto")
    rows, rejects = placed(Csv, config, block=2 << 20)
    lines = list(enumerate(text.split("\n"), 1))
    numbers = [int(place.rpartition(":line ")[2]) for place in rejects]
    assert numbers == [number for number, line in lines if line == "broken"]
    numbers = [int(place.rpartition(":line ")[2]) for _, place in rows]
    assert numbers == [number for number, line in lines if line[:1].isdigit()]


def test_lines_that_are_skipped_count(tmp_path):
    (tmp_path / "rows.csv").write_text("a report\n\nk,v\n1,x\n2,y\n")
    rows, _ = placed(Csv, CsvConfig(path=str(tmp_path / "rows.csv"), skip_lines=2))
    assert rows == [(1, "rows.csv:line 4"), (2, "rows.csv:line 5")]


@pytest.mark.parametrize("partitions", [1, 3])
def test_of_json_lines_it_is_the_line_from_where_its_part_begins(tmp_path, partitions):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"k": {n}}}\n' + "\n" * (n % 3 == 1) + "[]\n" * (n % 5 == 2) for n in range(30)))
    rows, rejects = placed(Jsonl, JsonlConfig(path=str(path), max_partitions=partitions))
    assert [key for key, _ in rows] == list(range(30))
    assert len(rejects) == 6
    data = path.read_bytes()
    for key, place in rows:
        byte = int(place.partition("@byte ")[2].partition(",")[0] or 0)
        line = data[byte:].split(b"\n")[int(place.rpartition(" ")[2]) - 1]
        assert json.loads(line) == {"k": key}
    assert any("@byte" in place for _, place in rows) == (partitions > 1)


def test_a_block_without_a_good_line_has_no_places(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"k": 1}\n' + '{"k": "one"}\n' * 12 + '{"k": 2}\n')
    config = JsonlConfig(path=str(tmp_path / "rows.jsonl"), sample_rows=1, max_partitions=1)
    rows, rejects = placed(Jsonl, config)
    assert rows == [(1, "rows.jsonl:line 1"), (2, "rows.jsonl:line 14")]
    assert rejects == [f"rows.jsonl:line {number}" for number in range(2, 14)]


def test_of_a_document_it_is_the_number_of_the_record(tmp_path):
    path = tmp_path / "rows.json"
    records = [{"k": n} if n % 4 else "none" for n in range(1, 31)]
    path.write_text(json.dumps(records, indent=1))
    rows, rejects = placed(Json, JsonConfig(path=str(path)))
    assert rows == [(n, f"rows.json:record {n}") for n in range(1, 31) if n % 4]
    assert rejects == [f"rows.json:record {n}" for n in range(1, 31) if not n % 4]


def test_of_a_sheet_it_is_the_row(tmp_path):
    path = tmp_path / "rows.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("plays")
        for at, cell in enumerate(["k", 1, 2, None, 3, None, None, 4], start=2):
            if cell is not None:
                sheet.write(at, 0, cell)
    rows, _ = placed(Excel, ExcelConfig(path=str(path)))
    assert rows == [(key, f"rows.xlsx!plays:row {row}") for key, row in ((1, 4), (2, 5), (3, 7), (4, 10))]


@pytest.mark.parametrize("partitions", [1, 3])
def test_of_parquet_it_is_the_row_of_the_file(tmp_path, partitions):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"k": range(1, 31)}), path, row_group_size=7)
    rows, _ = placed(Parquet, ParquetConfig(path=str(path), max_partitions=partitions))
    assert rows == [(n, f"rows.parquet:row {n}") for n in range(1, 31)]


def test_of_avro_it_is_the_record(tmp_path):
    path = tmp_path / "rows.avro"
    schema = {"type": "record", "name": "r", "fields": [{"name": "k", "type": "long"}]}
    with path.open("wb") as file:
        fastavro.writer(file, schema, [{"k": n} for n in range(1, 31)], sync_interval=16)
    rows, _ = placed(Avro, AvroConfig(path=str(path), max_partitions=1))
    assert rows == [(n, f"rows.avro:record {n}") for n in range(1, 31)]


@pytest.mark.parametrize(
    ("kind", "config", "write", "place"),
    [
        (Json, JsonConfig, lambda to, n: to.write(json.dumps([{"k": n}]).encode()), "record 1"),
        (Jsonl, JsonlConfig, lambda to, n: to.write(b'{"k": %d}\n' % n), "line 1"),
        (Parquet, ParquetConfig, lambda to, n: pq.write_table(pa.table({"k": [n]}), to), "row 1"),
        (Csv, CsvConfig, lambda to, n: to.write(b"k\n%d\n" % n), "line 2"),
        (
            Avro,
            AvroConfig,
            lambda to, n: fastavro.writer(
                to, {"type": "record", "name": "r", "fields": [{"name": "k", "type": "long"}]}, [{"k": n}]
            ),
            "record 1",
        ),
    ],
)
def test_of_an_archive_it_names_the_member(tmp_path, kind, config, write, place):
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in (1, 2):
            with archive.open(f"{n}.rows", "w") as member:
                write(member, n)
    rows, _ = placed(kind, config(path=str(path)), whole_below=1 << 20)
    assert rows == [(1, f"rows.zip!1.rows:{place}"), (2, f"rows.zip!2.rows:{place}")]
