"""Keys that ascend are unique: their hashes needn't be made, sorted, stored and carried to the gate.

The numbers are kept while the partition is read, which takes as much memory as their hashes: where one is out of order,
all are hashed after all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from importers.quality.columns import Family, Operand, spelt
from importers.quality.hashing import keyed
from importers.quality.verdict import Numbers

Span = list[int]
"""The first and the last of keys that ascend."""


def may_ascend(operands: Sequence[Operand], domain: pl.Expr | None) -> bool:
    """Whether the key is one whole number, wherever there is one."""
    return len(operands) == 1 and domain is None and operands[0].dtype.is_integer()


class Ascending:
    """A partition's keys, as long as each is greater than the one before."""

    def __init__(self) -> None:
        self._kept: list[npt.NDArray[np.integer[Any]]] = []

    def take(self, keys: npt.NDArray[np.integer[Any]]) -> bool:
        """Keep the next keys if they ascend, too."""
        if len(keys):
            if not (keys[1:] > keys[:-1]).all() or (self._kept and int(keys[0]) <= int(self._kept[-1][-1])):
                return False
            self._kept.append(keys.copy())  # not the batch that they are part of
        return True

    @property
    def span(self) -> Span | None:
        """None without a key."""
        return [int(self._kept[0][0]), int(self._kept[-1][-1])] if self._kept else None

    def hashes(self, seed: int) -> list[Numbers]:
        """Of all of them, as if they had been hashed at once."""
        return [_hashed(pl.Series("key", keys), seed) for keys in self._kept]


def _hashed(keys: pl.Series, seed: int) -> Numbers:
    operand = Operand(keys.name, keys.dtype, Family.NUMBER, pl.col(spelt(keys.name)))
    found: Numbers = keys.to_frame().select(keyed([operand], None, seed).alias("hash"))["hash"].to_numpy()
    return found


def apart(spans: Iterable[Span]) -> bool:
    """Whether no number is in two of them."""
    ordered = sorted(spans)
    return all(one[1] < following[0] for one, following in pairwise(ordered))
