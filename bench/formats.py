"""Our readers of each format beside the bare readers of it, on the same rows, interleaved in one run.

A bare reader may use every core and gives one table; ours reads the partitions one after another in one process, types
them, and would tell what is no row. Processor seconds are given too, since only ours leaves the other cores free.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastavro
import fastexcel
import polars as pl
import pyarrow.parquet as pq
import xlsxwriter
from pyarrow import json as arrow_json

from bench.listening import write_history
from importers.core.model import Window
from importers.core.registry import source_class

Reader = Callable[[], int]
"""Reads everything; how many rows there were."""


@dataclass(frozen=True)
class Seconds:
    """Minima over the rounds."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Measured:
    """One format: the file, what planning and reading took us, and what each bare reader took."""

    rows: int
    bytes: int
    plan: Seconds
    read: Seconds
    bare: Mapping[str, Seconds]

    @property
    def fastest(self) -> str:
        return min(self.bare, key=lambda name: self.bare[name].wall)

    @property
    def ratio(self) -> float:
        return self.read.wall / self.bare[self.fastest].wall


def measure(rows: int, excel_rows: int, rounds: int) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory(prefix="importers-bench-") as name:
        home = Path(name)
        frame = _history(home / "history.csv", rows)
        files = {
            "jsonl": home / "h.jsonl",
            "parquet": home / "h.parquet",
            "avro": home / "h.avro",
            "excel": home / "h.xlsx",
        }
        frame.with_columns(pl.col("played_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(files["jsonl"])
        frame.write_parquet(files["parquet"])
        _write_avro(frame, files["avro"])
        _write_excel(frame.head(excel_rows), files["excel"])
        del frame
        return {
            kind: _measured(kind, file, excel_rows if kind == "excel" else rows, rounds) for kind, file in files.items()
        }


def _history(file: Path, rows: int) -> pl.DataFrame:
    write_history(file, rows)
    return pl.read_csv(file, try_parse_dates=True)


def _write_avro(frame: pl.DataFrame, file: Path) -> None:
    plain = {pl.String: "string", pl.Int64: "long", pl.Boolean: "boolean"}
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    fields = [{"name": name, "type": ["null", plain.get(type(kind), moment)]} for name, kind in frame.schema.items()]
    schema = fastavro.parse_schema({"type": "record", "name": "Play", "fields": fields})
    with file.open("wb") as out:
        fastavro.writer(out, schema, frame.iter_rows(named=True), codec="snappy")


def _write_excel(frame: pl.DataFrame, file: Path) -> None:
    with xlsxwriter.Workbook(file, {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, frame.columns)
        for number, row in enumerate(frame.with_columns(pl.col("played_at").dt.replace_time_zone(None)).iter_rows(), 1):
            sheet.write_row(number, 0, row)


def _bare(kind: str, file: Path) -> dict[str, Reader]:
    return {
        "jsonl": {
            "polars.read_ndjson": lambda: len(pl.read_ndjson(file)),
            "pyarrow.json.read_json": lambda: int(arrow_json.read_json(file).num_rows),
        },
        "parquet": {
            "polars.read_parquet": lambda: len(pl.read_parquet(file)),
            "pyarrow.parquet.read_table": lambda: int(pq.read_table(file).num_rows),
        },
        "avro": {
            "polars.read_avro": lambda: len(pl.read_avro(file)),
            "fastavro.reader": lambda: _fastavro(file),
        },
        "excel": {"fastexcel": lambda: int(fastexcel.read_excel(file).load_sheet(0).to_arrow().num_rows)},
    }[kind]


def _fastavro(file: Path) -> int:
    with file.open("rb") as opened:
        return sum(1 for _ in fastavro.reader(opened))


def _measured(kind: str, file: Path, rows: int, rounds: int) -> Measured:
    cls = source_class(kind)
    source = cls(cls.config_model(path=str(file)), tenant="bench")
    (stream,) = source.streams()
    partitions = source.plan(stream, Window(), {}).partitions

    def plan() -> int:
        fresh = cls(cls.config_model(path=str(file)), tenant="bench")
        fresh.plan(fresh.streams()[0], Window(), {})
        return rows

    def read() -> int:
        return sum(batch.rows.num_rows for part in partitions for batch in source.read(stream, part))

    contenders = {"plan": plan, "read": read} | _bare(kind, file)
    taken: dict[str, list[Seconds]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            taken[name].append(_timed(name, work, rows))
    best = {name: Seconds(min(s.wall for s in of), min(s.processor for s in of)) for name, of in taken.items()}
    return Measured(rows, file.stat().st_size, best.pop("plan"), best.pop("read"), best)


def _timed(name: str, work: Reader, rows: int) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    got = work()
    took = Seconds(time.perf_counter() - wall, time.process_time() - processor)
    if got != rows:
        raise SystemExit(f"{name} read {got} rows of {rows}")
    return took


def as_json(measured: Mapping[str, Measured]) -> dict[str, Any]:
    libraries = ("pyarrow", "polars", "fastavro", "fastexcel", "airflow-provider-importers")
    formats = {k: asdict(m) | {"fastest": m.fastest, "ratio": round(m.ratio, 3)} for k, m in measured.items()}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"formats": formats, "versions": {name: version(name) for name in libraries}, "machine": machine}


def show(measured: Mapping[str, Measured]) -> str:
    """A table for people."""
    lines = ["format       rows      MB   plan s   read s  × fastest bare reader (s; processor s: ours, its)"]
    for kind, of in measured.items():
        bare = of.bare[of.fastest]
        lines.append(
            f"{kind:8}{of.rows:>9,}{of.bytes / 1e6:>8,.0f}{of.plan.wall:>9.2f}{of.read.wall:>9.2f}"
            f"  {of.ratio:.2f} × {of.fastest} ({bare.wall:.2f}; {of.read.processor:.2f}, {bare.processor:.2f})"
        )
    return "\n".join(lines)
