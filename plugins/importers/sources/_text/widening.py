"""A column's cells as the type that the plan took it to have, or as a wider one if the sample misled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importers.core.widening import wider

Refused: TypeAlias = list[tuple[pa.Array, str]]
"""Which cells aren't of a type, and why."""
Typed: TypeAlias = tuple[pa.Array, Refused]


def fitting(typed: Callable[[pa.DataType], Typed], kind: pa.DataType, *, widens: bool) -> tuple[pa.DataType, Typed]:
    """The cells as `kind`; as the wider type if that takes a cell which `kind` refuses, and refuses none that it takes.

    So no row is refused for its neighbour's sake: beside an integer that a double can't hold, fractions stay out.
    """
    values, refused = typed(kind)
    wide = wider(kind) if widens and refused else None
    if wide is None:
        return kind, (values, refused)
    again, still = typed(wide)
    before, after = (_any(masks, len(values)) for masks in (refused, still))
    if (after & ~before).any() or after.sum() == before.sum():
        return kind, (values, refused)
    return wide, (again, still)


def _any(refused: Refused, rows: int) -> npt.NDArray[np.bool_]:
    found = np.zeros(rows, np.bool_)
    for mask, _ in refused:
        found |= mask.to_numpy(zero_copy_only=False)
    return found
