"""Whose the records are that were no rows: one cell of the wrong type hides nobody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import pyarrow as pa

from importers.core.exact import exactly, lost
from importers.core.model import JSON, Reject, Run, RunKind
from importers.exceptions import ImporterError
from importers.pipeline import replay
from importers.pipeline.job import Job
from importers.privacy.pseudonyms import TYPE as TOKEN

READ_AGAIN = 10_000
"""So many of a partition's records a source that reads them one by one is asked to read again. If there are more, the
reading is wrong, and whose those are nobody knows that don't say it by themselves."""


class Whose:
    """Tells of a partition's records, a batch after the other, whose they are."""

    def __init__(self, job: Job, run: Run, partition: int) -> None:
        self._job, self._seen = job, 0
        self._planned = run.plan.partitions[partition : partition + 1]  # nothing of a live run
        self._replays = run.kind is RunKind.REPLAY

    @cached_property
    def _origin(self) -> Sequence[JSON]:
        """What the records were read from."""
        return replay.origin(self._job, cast(Mapping[str, Any], self._planned[0])) if self._replays else self._planned

    @cached_property
    def _before(self) -> Mapping[tuple[bytes, str], bytes]:
        """What records that are replayed said when they came."""
        return replay.subjects(self._job, cast(Mapping[str, Any], self._planned[0])) if self._replays else {}

    def tokens(self, rejects: Sequence[Reject]) -> pa.Array | None:
        """The subject's token of each, null where a record doesn't say it; None if the rows concern nobody.

        A source may be able to read that one column of the record again; a record of JSON says it by itself.
        """
        column = self._job.policy.subject_column
        if column is None:
            return None
        said = [self._before.get((each.raw, each.location)) for each in rejects]
        alike: dict[pa.DataType, dict[int, pa.Array]] = {}
        for number, values in self._values(column, rejects):
            alike.setdefault(values.type, {})[number] = values
        for of_a_type in alike.values():
            found = _tokens(self._job, column, pa.concat_arrays(of_a_type.values()))
            for number, token in zip(of_a_type, found, strict=True):
                said[number] = token or said[number]
        return pa.array(said, TOKEN.storage_type)

    def _values(self, column: str, rejects: Sequence[Reject]) -> Iterator[tuple[int, pa.Array]]:
        """What is in the subject's column, of those records, by number, of which it can be said."""
        asked = self._job.asked.narrowed({column})
        again: dict[int, pa.Array] = {}
        source = self._job.source
        some = rejects if source.rereads_at_once() else rejects[: max(0, READ_AGAIN - self._seen)]
        for part in self._origin:
            rows = source.reread(asked, part, some)
            there = ((number, row) for number, row in enumerate(rows) if row is not None)
            again |= {number: row[column] for number, row in there if column in row.schema.names}
        self._seen += len(rejects)
        for number, each in enumerate(rejects):
            values = again[number] if number in again else _of_json(each.raw, column, asked.schema)
            if values is not None:
                yield number, values


def _tokens(job: Job, column: str, values: pa.Array) -> list[bytes | None]:
    try:
        found = job.tokens(pa.RecordBatch.from_arrays([values], names=[column]))
    except (ImporterError, pa.ArrowException):  # an object without the subject's field, or a list in its place
        found = None
    return [None] * len(values) if found is None else found.to_pylist()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which a key that is there twice says nothing: which of two persons is meant? The others do."""
    times = Counter(key for key, _ in pairs)
    return {key: value if times[key] == 1 else None for key, value in pairs}


def _of_json(raw: bytes, column: str, asked: pa.Schema) -> pa.Array | None:
    """The column of a record that is an object of JSON, in the type that the stream has, where it fits."""
    try:
        said: Any = json.loads(raw, object_pairs_hook=_once)
        values = pa.array([said[column]])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, pa.ArrowException):
        return None
    fit = exactly(values, asked.field(column).type)
    return values if lost(values, fit).any() else fit
