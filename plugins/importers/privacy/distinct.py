"""Works on distinct values where values repeat: a listener's id is hashed once, not once a row.

Texts are remembered from batch to batch. A function that is kept as long as a partition is read computes each of them
once, and whoever comes back in every batch costs no more than finding their number: see `_Numbers`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

Values: TypeAlias = Callable[[pa.Array], pa.Array]
"""From array to array, value by value; nulls stay null."""
Integers: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]

_SAMPLE = 4096
_NEARLY_ALL = 0.97  # of a sample this distinct, a batch of 64k is 3/4 distinct or more: looking for repeats costs more
_MOST = 1 << 18
"""Texts to remember, about 80 bytes each with what was made of them; then all are forgotten, and it begins anew."""
_FEW = 256
"""So few values are worked on sooner than looked up: a micro-batch has no more where rows come in milliseconds."""
_WORTH = 0.1  # of the texts asked for must have been known when the memory is full, or it only costs

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


class OverDistinct:
    """`apply`, computed from the distinct values where there are few."""

    def __init__(self, apply: Values, most: int = _MOST, few: int = _FEW) -> None:
        self._apply, self._most, self._few = apply, most, few
        self._made: pa.Array
        self._known: _Numbers
        self._worth = True
        """Whether texts recur from batch to batch. A sample of one batch doesn't tell where they are many."""
        self._forget()

    def __call__(self, values: pa.Array) -> pa.Array:
        """`apply(values)`."""
        if t.is_dictionary(values.type):
            return pc.take(self._apply(values.dictionary), values.indices)
        if values.type in _VIEWS:  # Arrow doesn't look for repeats in views
            values = values.cast(_VIEWS[values.type])
        if values.null_count == len(values) or len(values) < self._few:
            return self._apply(values)
        if (t.is_string(values.type) or t.is_large_string(values.type)) and (self._worth or _repeats(values)):
            return self._remembering(values)
        if not _repeats(values):
            return self._apply(values)
        encoded = values.dictionary_encode()
        return pc.take(self._apply(encoded.dictionary), encoded.indices)

    def _remembering(self, texts: pa.Array) -> pa.Array:
        """Each text has a number, the same in every batch; what was made of number n stands at n."""
        if texts.null_count:
            filled = np.asarray(texts.is_valid())
            places = pa.array(np.cumsum(filled) - 1, pa.int64(), mask=~filled)
            return self._remembering(texts.drop_null()).take(places)
        numbers, unseen = self._known.find(pl.Series(values=texts))
        self._asked += len(texts)
        if len(unseen):
            new = texts.take(pa.array(unseen)).dictionary_encode()
            made = self._apply(new.dictionary)  # may fail: nothing is remembered before it is made
            numbers[unseen] = self._known.add(pl.Series(values=new.dictionary))[np.asarray(new.indices)]
            self._made = pa.concat_arrays([self._made, made]) if len(self._made) else made
        result = pc.take(self._made, pa.array(numbers))
        if len(self._made) > self._most:
            self._worth = len(self._made) < (1 - _WORTH) * self._asked
            self._forget()
        return result

    def _forget(self) -> None:
        self._known = _Numbers()
        self._made = pa.nulls(0)
        self._asked = 0


class _Numbers:
    """A hash table from texts to the numbers 0, 1, 2 …, asked column-wise. Exact: hashes find texts, texts decide.

    Open addressing with linear probing, in arrays. A categorical's, polars' own, takes several times as long.
    """

    def __init__(self) -> None:
        self._bits = 12
        self._texts = pl.Series(dtype=pl.String)
        self._hashes = np.empty(0, np.uint64)  # by number
        self._slots = np.full(1 << self._bits, -1, np.int32)  # numbers
        self._seed = secrets.randbits(64)  # nobody can choose texts that collide

    def find(self, texts: pl.Series) -> tuple[Integers, Integers]:
        """Each text's number, -1 if it has none; and the places of those."""
        if not len(self._texts):
            return np.full(len(texts), -1), np.arange(len(texts))
        hashes = texts.hash(self._seed).to_numpy()
        slots = self._home(hashes)
        numbers = self._slots[slots].astype(np.int64)
        at = np.flatnonzero((self._hashes[numbers] != hashes) & (numbers >= 0))
        while len(at):  # somebody else is there: look behind them
            slots[at] = (slots[at] + 1) & (len(self._slots) - 1)
            numbers[at] = self._slots[slots[at]]
            at = at[(self._hashes[numbers[at]] != hashes[at]) & (numbers[at] >= 0)]
        numbers[~(self._texts.gather(np.maximum(numbers, 0)) == texts).to_numpy()] = -1
        return numbers, np.flatnonzero(numbers < 0)

    def add(self, texts: pl.Series) -> Integers:
        """Number texts that are new and distinct."""
        numbers = np.arange(len(self._texts), len(self._texts) + len(texts))
        hashes = texts.hash(self._seed).to_numpy()
        self._texts = pl.concat([self._texts, texts], rechunk=True)
        self._hashes = np.concatenate([self._hashes, hashes])
        if 2 * len(self._hashes) > len(self._slots):  # a quarter full is where nearly all are found at once
            self._bits = (4 * len(self._hashes)).bit_length()
            self._slots = np.full(1 << self._bits, -1, np.int32)
            self._put(np.arange(len(self._hashes)))
        else:
            self._put(numbers)
        return numbers

    def _home(self, hashes: Hashes) -> Integers:
        return (hashes >> np.uint64(64 - self._bits)).astype(np.int64)

    def _put(self, numbers: Integers) -> None:
        slots = self._home(self._hashes[numbers])
        while len(numbers):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = numbers[free]
            left = self._slots[slots] != numbers  # of several that want one slot the last has it
            slots, numbers = (slots[left] + 1) & (len(self._slots) - 1), numbers[left]


def _repeats(values: pa.Array) -> bool:
    sample = values.slice(len(values) // 3, _SAMPLE)
    return bool(pc.count_distinct(sample, mode="all").as_py() < _NEARLY_ALL * len(sample))
