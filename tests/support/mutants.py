"""Real files with something broken in them, and what a reader of each format must make of that."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastavro
import polars as pl
import xlsxwriter

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


def _documents(data: bytes) -> int | None:
    """Of an array; None for what the standard library doesn't read."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return len(found) if isinstance(found, list) else None


FORMATS = {
    "csv": Format("csv", "csv", lambda frame: frame.write_csv().encode(), lambda _: None, {}),
    "csv without quotes": Format(
        "csv",
        "csv",
        lambda frame: frame.with_columns(pl.all().str.replace_all('[",]', "")).write_csv(quote_style="never").encode(),
        _unquoted,
        {"quote": "", "delimiter": ",", "encoding": "utf-8", "header": True},
    ),
    "jsonl": Format("jsonl", "jsonl", lambda frame: frame.write_ndjson().encode(), _lines, {"unknown_keys": "ignore"}),
    "json": Format("json", "json", lambda frame: frame.write_json().encode(), _documents, {"unknown_keys": "ignore"}),
    "parquet": Format("parquet", "parquet", _parquet, lambda _: ROWS, {}),
    "parquet in row groups": Format("parquet", "parquet", lambda frame: _parquet(frame, 100), lambda _: ROWS, {}),
    "parquet of many rows": Format("parquet", "parquet", _many, lambda _: MANY, {}, MANY),
    "avro": Format("avro", "avro", _avro, lambda _: None, {}),
    "excel": Format("excel", "xlsx", _excel, lambda _: ROWS, {}),  # each part of it has a checksum
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
