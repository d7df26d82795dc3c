"""What a partition's check leaves: bad rows by number, mergeable counts and states, hashes of keys. No rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.model import JSON
from importers.quality.runwide import State, merged
from importers.quality.stored import pack, unpack

Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one partition or of several. `states` may hold values (a minimum is one): only for sealed places."""

    rows: int = 0
    rejects: int = 0
    bad: int = 0
    evaluated: Mapping[str, int] = field(default_factory=dict)
    unexpected: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict, repr=False)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.rows + other.rows,
            self.rejects + other.rejects,
            self.bad + other.bad,
            _sum(self.evaluated, other.evaluated),
            _sum(self.unexpected, other.unexpected),
            {
                label: merged([self.states.get(label, {}), other.states.get(label, {})])
                for label in {**self.states, **other.states}
            },
        )

    def counts(self) -> dict[str, JSON]:
        """The counts alone, which may go anywhere."""
        rules: dict[str, JSON] = {**self.by_rule()}
        return {"rows": self.rows, "rejects": self.rejects, "bad": self.bad, "rules": rules}

    def by_rule(self) -> dict[str, dict[str, JSON]]:
        """By rule its counts."""
        return {
            label: {"evaluated": n, "unexpected": self.unexpected.get(label, 0)} for label, n in self.evaluated.items()
        }


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {label: one.get(label, 0) + other.get(label, 0) for label in {**one, **other}}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One partition's verdict. `bad_rows` are row numbers within it, ascending; `keys` sorted hashes by rule.

    To be sealed wherever it is stored: hashes and states come from values.
    """

    rules: str
    """The fingerprint of the rules that were applied."""
    bad_rows: Numbers
    tally: Tally
    keys: Mapping[str, Numbers] = field(repr=False)

    def to_bytes(self) -> bytes:
        """An Arrow IPC stream: a row of lists; tally and labels as JSON in its metadata."""
        arrays = [self.bad_rows, *self.keys.values()]
        lists = [pa.LargeListArray.from_arrays([0, len(array)], pa.array(array, pa.uint64())) for array in arrays]
        tally = self.tally
        head = {
            "rules": self.rules,
            "keys": list(self.keys),
            "tally": [tally.rows, tally.rejects, tally.bad, tally.evaluated, tally.unexpected, tally.states],
        }
        names = [str(number) for number in range(len(lists))]
        return pack("verdict", head, pa.record_batch(lists, names))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises StagingError for bytes that aren't a verdict."""
        return unpack("verdict", data, cls._from_parts)

    @classmethod
    def _from_parts(cls, head: Mapping[str, Any], batch: pa.RecordBatch) -> Self:
        arrays = [column.values.to_numpy() for column in batch.columns]
        keys = dict(zip(head["keys"], arrays[1:], strict=True))
        return cls(head["rules"], arrays[0], Tally(*head["tally"]), keys)
