"""What is kept beside a partition of its quality: a batch with a head of JSON, as an Arrow IPC stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from importers.exceptions import StagingError

T = TypeVar("T")
_DECIMAL = "\0decimal"  # a name that nothing else has


def pack(what: str, head: dict[str, Any], batch: pa.RecordBatch) -> bytes:
    """To be sealed wherever it is stored: it may hold values."""
    batch = batch.replace_schema_metadata({what: json.dumps(head, default=_decimal_said)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpack(what: str, data: bytes, make: Callable[[dict[str, Any], pa.RecordBatch], T]) -> T:
    """What `make` makes of head and batch. Raises StagingError for bytes that aren't a `what`."""
    try:
        batch = pa.ipc.open_stream(data).read_next_batch()
        return make(json.loads(batch.schema.metadata[what.encode()], object_hook=_decimal_read), batch)
    except (pa.ArrowException, pl.exceptions.PolarsError, KeyError, TypeError, ValueError, StopIteration):
        raise StagingError(f"a {what} can't be read", do="run the partition's validation again") from None


def _decimal_said(value: Any) -> dict[str, str]:
    """A decimal as JSON has it, which knows none; nothing else that it doesn't know is kept."""
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    raise TypeError(f"{type(value).__name__} isn't kept")


def _decimal_read(said: dict[str, Any]) -> Any:
    return Decimal(said[_DECIMAL]) if said.keys() == {_DECIMAL} else said
