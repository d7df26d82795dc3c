"""Our readers of each format beside the bare readers of it, on the same rows, interleaved in one run.

A bare reader may use every core and gives one table. Ours types the rows, and would tell what is none; it reads the
partitions side by side in as many processes as a run has, which keep what they read, as they do in a run, and once
more one after another in one process. Processor seconds are of all processes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import fastavro
import fastexcel
import polars as pl
import pyarrow.parquet as pq
import xlsxwriter
from loky import ProcessPoolExecutor
from pyarrow import json as arrow_json

from bench.listening import write_history
from importers.core.model import JSON, Stream, Window
from importers.core.registry import source_class
from importers.core.source import Source
from importers.pipeline.run import MAX_PROCESSES

PROCESSES = min(os.cpu_count() or 1, MAX_PROCESSES)

Reader: TypeAlias = Callable[[], tuple[int, float]]
"""Reads everything: how many rows there were, and the processor seconds of other processes."""


@dataclass(frozen=True)
class Seconds:
    """Minima over the rounds."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Measured:
    """One format: the file, what planning it and reading its partitions took us, and what each bare reader took."""

    rows: int
    bytes: int
    partitions: int
    plan: Seconds
    side_by_side: Seconds
    one_process: Seconds
    bare: Mapping[str, Seconds]

    @property
    def fastest(self) -> str:
        return min(self.bare, key=lambda name: self.bare[name].wall)

    @property
    def ratio(self) -> float:
        """Of reading alone."""
        return self.side_by_side.wall / self.bare[self.fastest].wall

    @property
    def ratio_with_planning(self) -> float:
        """A bare reader finds out the columns and reads in one go."""
        return (self.plan.wall + self.side_by_side.wall) / self.bare[self.fastest].wall


def measure(rows: int, excel_rows: int, rounds: int) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory(prefix="importers-bench-") as name:
        home = Path(name)
        every = _history(home / "history.csv", max(rows, excel_rows))
        frame = every.head(rows)
        files = {
            "jsonl": home / "h.jsonl",
            "parquet": home / "h.parquet",
            "avro": home / "h.avro",
            "excel": home / "h.xlsx",
        }
        frame.with_columns(pl.col("played_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(files["jsonl"])
        frame.write_parquet(files["parquet"])
        _write_avro(frame, files["avro"])
        _write_excel(every.head(excel_rows), files["excel"])
        del frame, every
        with ProcessPoolExecutor(PROCESSES, env={"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}) as pool:
            return {
                kind: _measured(pool, kind, file, excel_rows if kind == "excel" else rows, rounds)
                for kind, file in files.items()
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


def _bare(kind: str, file: Path) -> dict[str, Callable[[], int]]:
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


def _measured(pool: ProcessPoolExecutor, kind: str, file: Path, rows: int, rounds: int) -> Measured:
    source = _source(kind, file)
    stream, partitions = _planned(source)

    def plan() -> tuple[int, float]:
        _planned(_source(kind, file))
        return rows, 0.0

    def side_by_side() -> tuple[int, float]:
        read = list(pool.map(partial(_read, kind, file, stream), partitions))
        return sum(many for many, _ in read), sum(spent for _, spent in read)

    def one_process() -> tuple[int, float]:
        return sum(_rows(source, stream, part) for part in partitions), 0.0

    bare: dict[str, Reader] = {name: partial(_alone, read) for name, read in _bare(kind, file).items()}
    ours: dict[str, Reader] = {"plan": plan, "side by side": side_by_side, "one process": one_process}
    side_by_side()  # the first to ask starts the processes
    taken: dict[str, list[Seconds]] = {name: [] for name in ours | bare}
    for _ in range(rounds):
        for name, work in (ours | bare).items():
            taken[name].append(_timed(name, work, rows))
    best = {name: Seconds(min(s.wall for s in of), min(s.processor for s in of)) for name, of in taken.items()}
    planned, shared, alone = (best.pop(name) for name in ours)
    return Measured(rows, file.stat().st_size, len(partitions), planned, shared, alone, best)


def _alone(read: Callable[[], int]) -> tuple[int, float]:
    return read(), 0.0


def _source(kind: str, file: Path) -> Source[Any]:
    cls = source_class(kind)
    return cls(cls.config_model.model_validate({"path": str(file)}), tenant="bench")


def _planned(source: Source[Any]) -> tuple[Stream, list[JSON]]:
    (stream,) = source.streams()
    return stream, list(source.plan(stream, Window(), {}).partitions)


def _read(kind: str, file: Path, stream: Stream, partition: JSON) -> tuple[int, float]:
    """In a process of the pool: a partition's rows, and the processor seconds that they took."""
    began = time.process_time()
    return _rows(_source(kind, file), stream, partition), time.process_time() - began


def _rows(source: Source[Any], stream: Stream, partition: JSON) -> int:
    return sum(batch.rows.num_rows for batch in source.read(stream, partition))


def _timed(name: str, work: Reader, rows: int) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    got, elsewhere = work()
    took = Seconds(time.perf_counter() - wall, time.process_time() - processor + elsewhere)
    if got != rows:
        raise SystemExit(f"{name} read {got} rows of {rows}")
    return took


def as_record(measured: Mapping[str, Measured]) -> dict[str, Any]:
    return {"formats": {kind: asdict(of) | _ratios(of) for kind, of in measured.items()}}


def _ratios(of: Measured) -> dict[str, Any]:
    ratios = {"ratio": round(of.ratio, 3), "ratio_with_planning": round(of.ratio_with_planning, 3)}
    return {"fastest": of.fastest, **ratios}


def show(measured: Mapping[str, Measured]) -> str:
    """A table for people."""
    lines = [
        f"seconds by the clock: our partitions side by side in {PROCESSES} processes, and in one;",
        "× the fastest bare reader: side by side by the clock, the same with planning, which a bare reader does as it",
        "reads, and in one process by processor seconds",
        "format       rows      MB  parts    plan  ours  in one  bare",
    ]
    for kind, of in measured.items():
        bare = of.bare[of.fastest]
        lines.append(
            f"{kind:8}{of.rows:>9,}{of.bytes / 1e6:>8,.0f}{of.partitions:>7}{of.plan.wall:>8.2f}"
            f"{of.side_by_side.wall:>6.2f}{of.one_process.wall:>8.2f}{bare.wall:>6.2f}"
            f"  {of.ratio:.2f}, {of.ratio_with_planning:.2f} with planning, and"
            f" {of.one_process.processor / bare.processor:.2f} × {of.fastest}"
        )
    return "\n".join(lines)
