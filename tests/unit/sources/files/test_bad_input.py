"""What goes wrong in any format, put to each of them. Files are written by other libraries than the readers'."""

import bz2
import gzip
import json
import tarfile
import zipfile
from datetime import UTC, datetime
from math import inf, isnan

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from tests.support import reading

from importers.core.model import Window
from importers.core.registry import source_class
from importers.exceptions import ContractError


def _csv(path, rows):
    texts = [",".join(str(value) for value in row.values()) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *texts, ""]))


def _avro(path, rows):
    kinds = {int: "long", str: "string", float: "double"}
    fields = [{"name": name, "type": kinds[type(value)]} for name, value in rows[0].items()]
    with path.open("wb") as out:
        fastavro.writer(out, {"type": "record", "name": "row", "fields": fields}, rows, codec="deflate")


def _excel(path, rows):
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, list(rows[0]))
        for number, row in enumerate(rows, 1):
            sheet.write_row(number, 0, list(row.values()))


WRITE = {
    "csv": _csv,
    "jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "json": lambda path, rows: path.write_text(json.dumps(rows)),
    "parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "avro": _avro,
    "excel": _excel,
}
EVERY = pytest.mark.parametrize("kind", WRITE)


def written(tmp_path, kind, rows):
    path = tmp_path / f"rows.{'xlsx' if kind == 'excel' else kind}"
    WRITE[kind](path, rows)
    return path


def source(kind, path, **config):
    cls = source_class(kind)
    return cls(cls.config_model(path=str(path), **config), tenant="acme")


def rows_of(of):
    table, rejects, _ = reading.everything(of)
    return table.to_pylist(), [reject.raw for reject in rejects]


@pytest.mark.parametrize("kind", sorted(WRITE.keys() - {"excel"}))  # whose cells hold 32,767 characters
def test_a_field_of_ten_megabytes(tmp_path, kind):
    rows = [{"id": 1, "s": "a"}, {"id": 2, "s": "x" * (10 << 20)}, {"id": 3, "s": "b"}]
    assert rows_of(source(kind, written(tmp_path, kind, rows))) == (rows, [])


@EVERY
def test_nothing_at_all(tmp_path, kind):
    path = written(tmp_path, kind, [{"id": 1}])
    path.write_bytes(b"")
    with pytest.raises(ContractError, match=r"rows\."):
        source(kind, path).streams()


@EVERY
def test_a_file_that_changes_while_it_is_read(tmp_path, kind):
    path = written(tmp_path, kind, [{"id": 1}])
    of = source(kind, path)
    (stream,) = of.streams()
    (part,) = of.plan(stream, Window(), {}).partitions
    batches = of.read(stream, part)
    assert next(batches).rows.to_pylist() == [{"id": 1}]
    WRITE[kind](path, [{"id": 1}, {"id": 2}])
    with pytest.raises(ContractError, match="changed while it was read"):
        list(batches)
    with pytest.raises(ContractError, match="changed while it was read"):  # nor is it read in the plan's name
        next(of.read(stream, part))


@pytest.mark.parametrize("kind", sorted(WRITE.keys() - {"excel"}))  # a workbook is an archive itself
@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_an_archive_that_was_cut_off(tmp_path, kind, suffix, pack):
    path = written(tmp_path, kind, [{"id": n, "s": f"{n * 7919 % 1009}"} for n in range(2000)])
    packed = path.with_name(f"{path.name}.{suffix}")
    packed.write_bytes(pack(path.read_bytes()))
    assert len(rows_of(source(kind, packed))[0]) == 2000
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(ContractError, match=r"rows\."):
        rows_of(source(kind, packed))


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_numbers_that_json_has_no_right_to(tmp_path, kind):
    """Python writes NaN and Infinity, and reads 1e400 as one; Arrow doesn't. No number becomes another."""
    lines = ['{"i": 1, "n": 0.5}', '{"i": 2, "n": NaN}', '{"i": 3, "n": -Infinity}', '{"i": 4, "n": 1e400}']
    lines += [
        '{"i": 9223372036854775808, "n": 1.5}',
        '{"i": 5.0, "n": 1.5}',
        '{"i": 6, "n": -1e308}',
        '{"i": 7, "n": "1"}',
    ]
    path = tmp_path / f"rows.{kind}"
    path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]")
    rows, rejects = rows_of(source(kind, path, sample_rows=1))
    assert [row["i"] for row in rows] == [1, 2, 3, 6]
    assert [row["n"] for row in rows if not isnan(row["n"])] == [0.5, -inf, -1e308]
    assert rejects == [lines[n].encode() for n in (3, 4, 5, 7)]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_key_twice_and_a_nul(tmp_path, kind):
    lines = ['{"id": 1, "s": "a"}', '{"id": 2, "id": 3, "s": "b"}', '{"id": 4, "s": "\\u0000"}', '{"id": 5, "s": "\0"}']
    path = tmp_path / f"rows.{kind}"
    path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]")
    rows, rejects = rows_of(source(kind, path, sample_rows=1))
    assert rows == [{"id": 1, "s": "a"}, {"id": 4, "s": "\0"}]
    assert rejects == [lines[1].encode(), lines[3].encode()]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_moments_before_1900_and_of_odd_zones(tmp_path, kind):
    said = [
        "1899-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:00",
        "2024-01-01T00:00:00+05:45",
        "1582-10-10T12:00:00-03:30",
    ]
    got, rejects = rows_of(source(kind, written(tmp_path, kind, [{"at": text} for text in said])))
    assert [row["at"] for row in got] == [datetime.fromisoformat(text).astimezone(UTC) for text in said]
    assert not rejects


def test_a_zone_of_parquet_s_own_is_the_same_moment(tmp_path):
    moments = [datetime(1899, 12, 31, 12, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)]
    table = pa.table({"at": pa.array(moments, pa.timestamp("us", "Asia/Kathmandu"))})
    pq.write_table(table, tmp_path / "rows.parquet")
    got, _ = rows_of(source("parquet", tmp_path / "rows.parquet"))
    assert [row["at"].astimezone(UTC) for row in got] == moments


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_of_text_is_said_what_a_file_is_that_is_none(tmp_path, kind):
    (tmp_path / "a.csv").write_text("id\n1\n")
    with tarfile.open(tmp_path / "rows.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.csv", "a.csv")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "rows.parquet")
    _excel(tmp_path / "rows.xlsx", [{"id": 1}])
    for name, said in (("tar.gz", "a tar archive"), ("parquet", "Parquet"), ("xlsx", "a workbook")):
        path = tmp_path / f"rows.{name}"
        with pytest.raises(ContractError) as raised:
            source(kind, path, **({"header": False} if kind == "csv" else {})).streams()
        assert raised.value.got == said


def test_text_that_begins_as_another_format_is_text(tmp_path):
    (tmp_path / "rows.csv").write_text("PAR1,b\n1,2\n")
    assert rows_of(source("csv", tmp_path / "rows.csv"))[0] == [{"PAR1": 1, "b": 2}]
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("mimetypes.csv", "a,b\n1,2\n")
    assert rows_of(source("csv", tmp_path / "rows.zip"))[0] == [{"a": 1, "b": 2}]
