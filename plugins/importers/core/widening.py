"""Which type takes another's place where a sample of the data misled: one that holds its values and means the same."""

from __future__ import annotations

import pyarrow as pa

_WIDER = {pa.int64(): pa.float64(), pa.date32(): pa.timestamp("us")}
"""Not text: one typing error would turn a column of amounts into text, and no table's column becomes it."""


def wider(kind: pa.DataType) -> pa.DataType | None:
    """Fractions among integers, times among dates; None for what doesn't widen."""
    return _WIDER.get(kind)
