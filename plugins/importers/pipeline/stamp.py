"""Which observation of a row is newer: `_version`, stamped when the row is read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.model import VERSION, Stream
from importers.core.names import shown_type
from importers.exceptions import ConfigError

_OLDEST = -(2**63)


def stamped(stream: Stream, rows: pa.RecordBatch, otherwise: int) -> pa.RecordBatch:
    """The rows with `_version` where the mode needs one: what the source gave, else the cursor, else `otherwise`."""
    cursor = stream.cursor
    if not stream.versioned or VERSION in rows.schema.names:
        return rows
    if cursor is None:
        version = pa.array(np.full(rows.num_rows, otherwise, dtype=np.int64))
    else:
        version = _as_version(rows.column(cursor), cursor)
    return rows.append_column(VERSION, version)


def _as_version(cursor: pa.Array, name: str) -> pa.Array:
    """Integers as they are, moments as microseconds since 1970; a row without a cursor is older than any other.

    What doesn't fit becomes anything: such a row is quarantined (see `Job.unfit`).
    """
    kind = cursor.type
    if pa.types.is_timestamp(kind):
        cursor = pc.cast(cursor, pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_date(kind):
        cursor = pc.cast(cursor, pa.timestamp("us"), safe=False)
    elif not pa.types.is_integer(kind):
        raise ConfigError(
            f"the cursor '{name}' must be a number or a moment", got=shown_type(kind), do="choose another column"
        )
    return pc.fill_null(pc.cast(cursor, pa.int64(), safe=False), _OLDEST)
