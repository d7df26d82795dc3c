"""Works on distinct values where values repeat: a listener's id is hashed once, not once a row.

Texts are remembered from batch to batch. A function that is kept as long as a partition is read computes each of them
once, and whoever comes back in every batch costs no more than finding their number: see `_Numbers`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

Values: TypeAlias = Callable[[pa.Array], pa.Array]
"""From array to array, value by value; nulls stay null."""
Integers: TypeAlias = npt.NDArray[np.signedinteger[Any]]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_SAMPLE = 4096
_NEARLY_ALL = 0.97  # of a sample this distinct, a batch of 64k is 3/4 distinct or more: looking for repeats costs more
_MOST = 1 << 18
"""Texts to remember, about 80 bytes each with what was made of them; then all are forgotten, and it begins anew."""
_FEW = 256
"""So few values are worked on sooner than looked up: a micro-batch has no more where rows come in milliseconds."""
_WORTH = 0.1  # of the texts asked for must have been known when the memory is full, or it only costs
_EARLY = 0.2  # as full as this it can tell: of texts drawn at random the share that is known grows with those that are

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
        numbers, new = self._known.number(pl.Series(values=texts))
        self._asked += len(texts)
        if len(new):
            try:
                made = self._apply(texts.take(pa.array(new)))
            except BaseException:
                self._forget()  # what has a number by now was not made
                raise
            self._made = pa.concat_arrays([self._made, made]) if len(self._made) else made
        result = pc.take(self._made, pa.array(numbers))
        full = len(self._made) / self._most
        if full > 1 or (full > _EARLY and self._asked > len(texts)):
            self._worth = len(self._made) < (1 - _WORTH * min(full, 1)) * self._asked
            if full > 1 or not self._worth:
                self._forget()
        return result

    def _forget(self) -> None:
        self._known = _Numbers()
        self._made = pa.nulls(0)
        self._asked = 0


class _Numbers:
    """A hash table from texts to the numbers 0, 1, 2 …, asked column-wise, that holds no text.

    Two hashes of 64 bits under secret seeds stand for a text. So two texts are taken for one no likelier than they have
    one pseudonym, which is 128 bits too; to look at the texts themselves took half of the time.
    Open addressing with linear probing, in arrays. A categorical's, polars' own, takes several times as long.
    """

    def __init__(self) -> None:
        self._bits, self._count = 12, 0
        self._one = self._two = np.empty(0, np.uint64)  # hashes, by number, with room for more
        self._slots = np.full(1 << self._bits, -1, np.int32)  # numbers
        self._seeds = secrets.randbits(64), secrets.randbits(64)  # nobody can choose texts that collide

    def number(self, texts: pl.Series) -> tuple[Integers, Integers]:
        """Each text's number, and the places of the texts that had none yet, once each and in their numbers' order."""
        one, two = (texts.hash(seed).to_numpy() for seed in self._seeds)
        numbers = self._find(one, two)
        unseen = np.flatnonzero(numbers < 0)
        if not len(unseen):
            return numbers, unseen
        numbers[unseen], first = self._add(one[unseen], two[unseen])
        return numbers, unseen[first]

    def _find(self, one: Hashes, two: Hashes) -> Integers:
        """Their numbers, -1 for those that have none."""
        if not self._count:
            return np.full(len(one), -1, np.int32)
        slots = self._home(one)
        numbers = self._slots.take(slots)
        at = np.flatnonzero(self._differ(numbers, one, two) & (numbers >= 0))
        while len(at):  # somebody else is there: look behind them
            slots[at] = self._next(slots[at])
            numbers[at] = self._slots[slots[at]]
            at = at[self._differ(numbers[at], one[at], two[at]) & (numbers[at] >= 0)]
        return numbers

    def _add(self, one: Hashes, two: Hashes) -> tuple[Integers, Integers]:
        """Number what has no number, alike what is equal. The numbers, and the places at which new ones come first."""
        known, most = self._count, self._count + len(one)
        self._make_room(most)
        self._one[known:most], self._two[known:most] = one, two
        each = np.arange(known, most, dtype=np.int32)
        slots = self._put(each)
        there = self._slots[slots]  # of equal ones the first
        first = np.flatnonzero(there == each)
        self._count += len(first)
        rank = np.empty(len(each), np.int32)
        rank[first] = each[: len(first)]
        self._slots[slots[first]] = rank[first]
        self._one[known : self._count], self._two[known : self._count] = one[first], two[first]
        return rank[there - known], first

    def _make_room(self, numbers: int) -> None:
        if numbers > len(self._one):
            more = np.empty(2 * numbers - len(self._one), np.uint64)
            self._one, self._two = np.append(self._one, more), np.append(self._two, more)
        if 4 * numbers > len(self._slots):  # up to a quarter full nearly all are found at once
            self._bits = (4 * numbers).bit_length()
            self._slots = np.full(1 << self._bits, -1, np.int32)
            self._put(np.arange(self._count, dtype=np.int32))

    def _put(self, numbers: Integers) -> Integers:
        """Take a free slot for each, one for equal ones: the first of them has it. Where they are."""
        slots, at = self._home(self._one[numbers]), np.arange(len(numbers))
        while len(at):
            free = at[self._slots[slots[at]] < 0][::-1]  # of several that want one slot the last has it
            self._slots[slots[free]] = numbers[free]
            there, own = self._slots[slots[at]], numbers[at]
            at = at[self._differ(there, self._one[own], self._two[own])]
            slots[at] = self._next(slots[at])
        return slots

    def _differ(self, numbers: Integers, one: Hashes, two: Hashes) -> Mask:
        """Whether those numbers are other texts'."""
        differ: Mask = (self._one.take(numbers) != one) | (self._two.take(numbers) != two)
        return differ

    def _home(self, hashes: Hashes) -> Integers:
        return (hashes >> np.uint64(64 - self._bits)).view(np.int64)

    def _next(self, slots: Integers) -> Integers:
        return (slots + 1) & (len(self._slots) - 1)


def _repeats(values: pa.Array) -> bool:
    sample = values.slice(len(values) // 3, _SAMPLE)
    return bool(pc.count_distinct(sample, mode="all").as_py() < _NEARLY_ALL * len(sample))
