"""Whose the records are that were no rows: one cell of the wrong type hides nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from importers.core.exact import exactly, lost
from importers.core.model import Reject, Run, RunKind
from importers.exceptions import ImporterError
from importers.pipeline import replay
from importers.pipeline.job import Job
from importers.privacy.pseudonyms import TYPE as TOKEN

READ_AGAIN = 10_000
"""So many of a partition's records a source is asked to read again, one by one. If there are more, the reading is
wrong, and whose those are nobody knows."""


def tokens(job: Job, run: Run, partition: int, rejects: Sequence[Reject], before: int = 0) -> pa.Array | None:
    """The subject's token of each, null where a record doesn't say it; None if the rows concern nobody.

    A source may be able to read that one column of the record again; a record of JSON says it by itself; and what is
    replayed has said it before. `before`: how many of the partition's came before these.
    """
    column = job.policy.subject_column
    if column is None:
        return None
    asked = job.asked.narrowed({column})
    found: list[pa.RecordBatch | None] = [_of_json(each.raw, column, asked.schema) for each in rejects]
    planned = run.plan.partitions[partition : partition + 1]  # nothing of a live run
    replays = run.kind is RunKind.REPLAY
    for part in replay.origin(job, planned[0]) if replays else planned:
        again = job.source.reread(asked, part, rejects[: max(0, READ_AGAIN - before)])
        whole = [row if row is not None and column in row.schema.names else None for row in again]
        found = [row if row is not None else known for row, known in zip_longest(whole, found)]
    known = replay.subjects(job, planned[0]) if replays else {}
    said: list[bytes | None] = [known.get((each.raw, each.location)) for each in rejects]
    alike: dict[pa.DataType, list[int]] = {}
    for number, row in enumerate(found):
        if row is not None:
            alike.setdefault(row[column].type, []).append(number)
    for numbers in alike.values():
        values = pa.concat_arrays([row[column] for number in numbers if (row := found[number]) is not None])
        for number, token in zip(numbers, _tokens(job, column, values), strict=True):
            said[number] = token or said[number]
    return pa.array(said, TOKEN.storage_type)


def _tokens(job: Job, column: str, values: pa.Array) -> list[bytes | None]:
    try:
        found = job.tokens(pa.RecordBatch.from_arrays([values], names=[column]))
    except (ImporterError, pa.ArrowException):  # an object without the subject's field, or a list in its place
        found = None
    return [None] * len(values) if found is None else found.to_pylist()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError for a key that is there twice: which of two persons is meant?"""
    said = dict(pairs)
    if len(said) < len(pairs):
        raise ValueError("a key is there twice")
    return said


def _of_json(raw: bytes, column: str, asked: pa.Schema) -> pa.RecordBatch | None:
    """The column of a record that is an object of JSON, in the type that the stream has, where it fits."""
    try:
        said: Any = json.loads(raw, object_pairs_hook=_once)
        values = pa.array([said[column]])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, pa.ArrowException):
        return None
    fit = exactly(values, asked.field(column).type)
    return pa.RecordBatch.from_arrays([values if lost(values, fit).any() else fit], names=[column])
