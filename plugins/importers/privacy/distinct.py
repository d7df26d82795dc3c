"""Works on distinct values where values repeat: a listener's id is hashed once, not once a row.

Texts are remembered from batch to batch, as polars' categories. A function that is kept as long as a partition is
read computes each of them once, and whoever comes back in every batch costs no more than finding their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

Values: TypeAlias = Callable[[pa.Array], pa.Array]
"""From array to array, value by value; nulls stay null."""

_SAMPLE = 4096
_NEARLY_ALL = 0.97  # of a sample this distinct, a batch of 64k is 3/4 distinct or more: looking for repeats costs more
_MOST = 1 << 18
"""Texts to remember, about 80 bytes each with what was made of them; then all are forgotten, and it begins anew."""

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


class OverDistinct:
    """`apply`, computed from the distinct values where there are few."""

    def __init__(self, apply: Values, most: int = _MOST) -> None:
        self._apply, self._most = apply, most
        self._made: pa.Array
        self._known: pl.Series
        self._forget()

    def __call__(self, values: pa.Array) -> pa.Array:
        """`apply(values)`."""
        if t.is_dictionary(values.type):
            return pc.take(self._apply(values.dictionary), values.indices)
        if values.type in _VIEWS:  # Arrow doesn't look for repeats in views
            values = values.cast(_VIEWS[values.type])
        if not _repeats(values):
            return self._apply(values)
        if t.is_string(values.type) or t.is_large_string(values.type):
            return self._remembering(values)
        encoded = values.dictionary_encode()
        return pc.take(self._apply(encoded.dictionary), encoded.indices)

    def _remembering(self, texts: pa.Array) -> pa.Array:
        """Each text has a number, the same in every batch; what was made of number n stands at n."""
        numbers = pl.Series(values=texts).cast(self._known.dtype).to_physical().to_arrow()
        seen = np.asarray(numbers.drop_null())
        if len(seen) == 0:
            return self._apply(texts)
        unseen = np.flatnonzero(seen >= len(self._made))
        new, first = np.unique(seen[unseen], return_index=True)
        if len(new) and new[-1] + 1 != len(self._made) + len(new):  # a call that failed has left numbers behind
            self._forget()
            return self._remembering(texts)
        if len(new):
            made = self._apply(texts.drop_null().take(pa.array(unseen[first])))
            self._made = pa.concat_arrays([self._made, made]) if len(self._made) else made
        result = pc.take(self._made, numbers)
        if len(self._made) > self._most:
            self._forget()
        return result

    def _forget(self) -> None:
        # Categories of this function's own: numbered from 0, known as long as a series of theirs is there, then gone.
        self._known = pl.Series(dtype=pl.Categorical(pl.Categories.random()))
        self._made = pa.nulls(0)


def _repeats(values: pa.Array) -> bool:
    if len(values) == 0 or t.is_null(values.type):
        return False
    sample = values.slice(len(values) // 3, _SAMPLE)
    return bool(pc.count_distinct(sample, mode="all").as_py() < _NEARLY_ALL * len(sample))
