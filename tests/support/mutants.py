"""Real files with something broken in them, and what a reader of each format must make of that."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastavro
import polars as pl
import pyarrow as pa
import xlsxwriter
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

from importers.core.model import LoadMode, Stream, Window
from importers.core.registry import source_class
from importers.exceptions import ImporterError

SONGS = Path(__file__).parents[2] / "include/samples/classic-rock/classic-rock-song-list.csv"
ROWS = 300
MANY = 60 * ROWS
TOKENS = (b"\x00", b"\xff", b"\n", b"\r\n", b'"', b",", b";", b"{", b"}", b"null", b"\xef\xbb\xbf", b"-1", b"1e999")


def songs() -> pl.DataFrame:
    return pl.read_csv(SONGS, infer_schema=False).head(ROWS)


@dataclass(frozen=True)
class Format:
    """How a table is written, by another library than the reader's, and how many records its bytes have.

    `records` counts them without any parser of ours; None where a broken file doesn't tell.
    """

    source: str
    suffix: str
    write: Callable[[pl.DataFrame], bytes]
    records: Callable[[bytes], int | None]
    settings: dict[str, object]
    rows: int = ROWS


def _lines(data: bytes) -> int:
    return sum(bool(line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r")) for line in data.split(b"\n"))


def _unquoted(data: bytes) -> int:
    """Of CSV without quotes: every line that isn't empty, but for the header."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return sum(bool(line) for line in text.split(b"\n")) - 1


def _avro(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    fields = [{"name": f"c{n}", "type": ["null", "string"]} for n, _ in enumerate(frame.columns)]
    rows = frame.rename(dict(zip(frame.columns, (f"c{n}" for n in range(frame.width)), strict=True))).to_dicts()
    fastavro.writer(out, {"type": "record", "name": "song", "fields": fields}, rows, codec="deflate")
    return out.getvalue()


def _parquet(frame: pl.DataFrame, rows: int = ROWS) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, row_group_size=rows)
    return out.getvalue()


def _many(frame: pl.DataFrame) -> bytes:
    """A row group of many rows, and not compressed: nothing but the reader of its pages looks at the bytes."""
    out = io.BytesIO()
    pl.concat([frame] * (MANY // ROWS)).write_parquet(out, row_group_size=MANY, compression="uncompressed")
    return out.getvalue()


def _excel(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([frame.columns, *frame.iter_rows()]):
            for column, text in enumerate(row):
                sheet.write_string(number, column, text or "")
    return out.getvalue()


def _old_excel(frame: pl.DataFrame) -> bytes:
    out, book = io.BytesIO(), xlwt.Workbook()
    sheet = book.add_sheet("songs")
    for number, row in enumerate([frame.columns, *frame.iter_rows()]):
        for column, text in enumerate(row):
            sheet.write(number, column, text or "")
    book.save(out)
    return out.getvalue()


def _open_document(frame: pl.DataFrame) -> bytes:
    out, book, table = io.BytesIO(), OpenDocumentSpreadsheet(), Table(name="songs")
    for row in [frame.columns, *frame.iter_rows()]:
        line = TableRow()
        for text in row:
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=text or ""))
            line.addElement(cell)
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.write(out)
    return out.getvalue()


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("songs.csv", data)
    return out.getvalue()


def _zst(frame: pl.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(_plain(frame))
    return sink.getvalue().to_pybytes()


def _packed(suffix: str, pack: Callable[[bytes], bytes]) -> Format:
    """Lines in a container with a checksum: all of them, or the file is refused."""
    return Format("csv", f"csv.{suffix}", lambda frame: pack(_plain(frame)), lambda _: ROWS, UNQUOTED)


def _plain(frame: pl.DataFrame) -> bytes:
    return frame.with_columns(pl.all().str.replace_all('[",]', "")).write_csv(quote_style="never").encode()


def _quoted(data: bytes) -> int | None:
    """Of CSV by the standard library, but for the header; None where it isn't UTF-8 or a quote is misplaced."""
    try:
        text = data.decode("utf-8-sig")
        return sum(bool(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)) - 1
    except (UnicodeDecodeError, csv.Error):
        return None


def _blocks(data: bytes) -> int | None:
    """Of Avro what each block says that it holds; None where another library can't find the next one."""
    try:
        return sum(block.num_records for block in fastavro.block_reader(io.BytesIO(data)))
    except Exception:  # whatever it makes of broken bytes
        return None


def _documents(data: bytes) -> int | None:
    """Of an array; None for what the standard library doesn't read."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return len(found) if isinstance(found, list) else None


UNQUOTED: dict[str, object] = {"quote": "", "delimiter": ",", "encoding": "utf-8", "header": True}
FORMATS = {
    "csv": Format("csv", "csv", lambda frame: frame.write_csv().encode(), _quoted, {}),
    "csv without quotes": Format(
        "csv",
        "csv",
        _plain,
        _unquoted,
        UNQUOTED,
    ),
    "jsonl": Format("jsonl", "jsonl", lambda frame: frame.write_ndjson().encode(), _lines, {"unknown_keys": "ignore"}),
    "json": Format("json", "json", lambda frame: frame.write_json().encode(), _documents, {"unknown_keys": "ignore"}),
    "parquet": Format("parquet", "parquet", _parquet, lambda _: ROWS, {}),
    "parquet in row groups": Format("parquet", "parquet", lambda frame: _parquet(frame, 100), lambda _: ROWS, {}),
    "parquet of many rows": Format("parquet", "parquet", _many, lambda _: MANY, {}, MANY),
    "avro": Format("avro", "avro", _avro, _blocks, {}),
    "excel": Format("excel", "xlsx", _excel, lambda _: ROWS, {}),  # each part of it has a checksum
    "ods": Format("excel", "ods", _open_document, lambda _: ROWS, {}),
    "xls": Format("excel", "xls", _old_excel, lambda _: None, {}),
    "csv.gz": _packed("gz", gzip.compress),
    "csv.bz2": _packed("bz2", bz2.compress),
    "csv.xz": _packed("xz", lzma.compress),
    "csv.zst": Format("csv", "csv.zst", _zst, lambda _: None, UNQUOTED),  # Arrow gives it no checksum
    "csv.zip": _packed("zip", _zipped),
}
"""A format that is added here is put to all of it."""


def mutant(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to three things done to them."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice([1, 2, 7, 64, 4000]))
        match chance.randrange(6):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + chance.choice(TOKENS) + data[at:]
            case 3:
                data = data[:at] + data[at:end] + data[at:]
            case 4:
                data = data[:at] + chance.randbytes(end - at) + data[end:]
            case _:
                data = data[: max(at, 1)] if chance.random() < 0.3 else data
    return data


def outcome(kind: Format, path: Path) -> int | None:
    """How many rows and rejects a file came to; None if it was refused as a whole, with an error that we raise."""
    cls = source_class(kind.source)
    of = cls(cls.config_model.model_validate({"path": str(path), **kind.settings}), tenant="acme")
    try:
        (found,) = of.streams()
        stream = Stream(found.name, found.columns, found.reads, load_mode=LoadMode.APPEND)
        plan = of.plan(stream, Window(), {})
        batches = (batch for part in plan.partitions for batch in of.read(stream, part))
        return sum(batch.rows.num_rows + len(batch.rejects) for batch in batches)
    except ImporterError:
        return None


def hunt(name: str, directory: Path, mutants: int, seed: int) -> None:
    """Read so many mutants of a format's file. Raises AssertionError for one whose records aren't all accounted for."""
    kind, chance = FORMATS[name], random.Random(seed)
    whole, path = kind.write(songs()), directory / f"songs.{kind.suffix}"
    path.write_bytes(whole)
    assert outcome(kind, path) == kind.rows
    for number in range(mutants):
        data = mutant(whole, chance)
        path.write_bytes(data)
        try:
            came = outcome(kind, path)
        except Exception as error:
            kept = directory / f"crashed-{number}.{kind.suffix}"
            kept.write_bytes(data)
            raise AssertionError(f"{name}: mutant {number} of seed {seed} crashed the reader, see {kept}") from error
        expected = kind.records(data)
        assert came is None or expected is None or came == expected, (
            f"{name}: mutant {number} of seed {seed}: {came} of {expected} records are accounted for"
        )
