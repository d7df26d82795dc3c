"""Runs against a destination, handed over without a pipeline: streams, batches and the steps of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pyarrow as pa

from importers.core.destination import Destination
from importers.core.erasure import Outcome
from importers.core.model import (
    JSON,
    Column,
    Leaf,
    LoadMode,
    PersonalData,
    Plan,
    Position,
    Reads,
    Receipt,
    Run,
    RunKind,
    Staged,
    Stream,
    TableColumn,
    Window,
)

PLAYS = Stream(
    "plays",
    (Column("id", pa.int64(), PersonalData.NONE), Column("what", pa.string(), PersonalData.NONE)),
    Reads.POSITION,
)
MERGED = replace(PLAYS, load_mode=LoadMode.MERGE, primary_key=("id",))
HISTORY = replace(MERGED, load_mode=LoadMode.HISTORY)
ALWAYS = Window()
REPLACED = replace(PLAYS, load_mode=LoadMode.REPLACE)


def blind(tokens: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(token).digest()[:16] for token in tokens]


def rows(*values: tuple[Any, ...], names: Sequence[str] = ("id", "what")) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict(zip(names, value, strict=True)) for value in values])


def open_run(
    at: Destination,
    stream: Stream,
    key: str,
    partitions: Sequence[JSON] = (None,),
    position: Position | None = None,
    kind: RunKind = RunKind.INCREMENTAL,
    window: Window = ALWAYS,
    lease: float | None = None,
    covers: tuple[int, int] | None = None,
) -> Run:
    plan = Plan(partitions, position or {}, covers, stream)
    return at.open(stream, key, kind, window, lambda _: plan, b"sealed", lease)


def columns_of(batch: pa.RecordBatch) -> list[TableColumn]:
    return [TableColumn(f.name, f.type) for f in batch.schema if f.name not in ("_version", "_deleted")]


def staged(run: Run, partition: int, batch: pa.RecordBatch) -> Staged:
    return Staged(partition, "a", "file:///x", f"digest-{partition}", batch.num_rows, batch.schema)


def prepare(at: Destination, run: Run, stream: Stream, batches: Sequence[pa.RecordBatch]) -> Run:
    pins = {str(n): {"digest": f"digest-{n}"} for n in range(len(batches))}
    columns = columns_of(batches[0]) if batches else [TableColumn(c.name, c.type) for c in stream.columns]
    lineage = [Leaf(c.name, None, "keep", c.name) for c in columns]
    return at.prepare(run, stream, columns, lineage, pins)


def load(at: Destination, run: Run, stream: Stream, partition: int, batch: pa.RecordBatch) -> Receipt:
    return at.load(run, stream, staged(run, partition, batch), [batch])


def import_all(at: Destination, stream: Stream, key: str, *batches: pa.RecordBatch, **options: Any) -> Run:
    run = open_run(at, stream, key, [None] * len(batches), **options)
    try:
        run = prepare(at, run, stream, batches)
        for number, batch in enumerate(batches):
            load(at, run, stream, number, batch)
        at.commit(run, stream)
    finally:
        at.release(run)
    return run


A, B = rows((1, "a"), (2, "b")), rows((3, "c"))


CURSOR = replace(PLAYS, cursor="id")


def versioned(*values: tuple[int, str]) -> pa.RecordBatch:
    return rows(*((i, w, i) for i, w in values), names=("id", "what", "_version"))


def merged(*values: tuple[Any, ...]) -> pa.RecordBatch:
    return rows(*values, names=("id", "what", "_version", "_deleted"))


def erase(at: Destination, domain: str, *tokens: bytes) -> int:
    """How many rows of the tenant's tables went."""
    eraser = at.eraser()
    number = eraser.begin(domain, tokens, "tests", "").erasure
    places = [place for table in eraser.tables() for place in eraser.erase(number, table, domain, tokens)]
    return sum(place.rows for place in places if place.outcome is Outcome.CLEAR)


SUBJECTS = replace(PLAYS, subject="who", subject_domain="listener")


def token(number: int) -> UUID:
    return UUID(int=number)


def of_subjects(*values: tuple[int, int]) -> pa.RecordBatch:
    ids = pa.array([i for i, _ in values])
    who = pa.array([token(s).bytes for _, s in values], pa.binary(16))
    who = pa.ExtensionArray.from_storage(pa.uuid(), who)
    return pa.RecordBatch.from_arrays([ids, who, who], names=["id", "who", "_subject"])


def subject_run(at: Destination, stream: Stream, key: str, batch: pa.RecordBatch) -> Run:
    run = open_run(at, stream, key)
    columns = [TableColumn("id", pa.int64()), TableColumn("who", pa.uuid())]
    return at.prepare(run, stream, columns, [], {"0": {"digest": "digest-0"}})
