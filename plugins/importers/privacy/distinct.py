"""Works on distinct values where values repeat: a listener's id is hashed once, not once a row."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

_SAMPLE = 4096
_NEARLY_ALL = 0.97  # of a sample this distinct, a batch of 64k is 3/4 distinct or more: looking for repeats costs more

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def over_distinct(values: pa.Array, apply: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """`apply(values)`, computed from the distinct values if there are few. `apply` goes value by value."""
    if t.is_dictionary(values.type):
        return pc.take(apply(values.dictionary), values.indices)
    if values.type in _VIEWS:  # Arrow doesn't look for repeats in views
        values = values.cast(_VIEWS[values.type])
    if not _repeats(values):
        return apply(values)
    encoded = values.dictionary_encode()
    return pc.take(apply(encoded.dictionary), encoded.indices)


def _repeats(values: pa.Array) -> bool:
    if len(values) == 0 or t.is_null(values.type):
        return False
    sample = values.slice(len(values) // 3, _SAMPLE)
    return bool(pc.count_distinct(sample, mode="all").as_py() < _NEARLY_ALL * len(sample))
