"""A file source, read as a run does it: streams, plan, every partition."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from importers.core.coded import decoded
from importers.core.model import Plan, Reject, Window
from importers.core.source import Source


def everything(of: Source[Any], only: Collection[str] | None = None) -> tuple[pa.Table, list[Reject], Plan]:
    """All rows of the stream, or of some of its columns. Every batch has to be of the types that were announced."""
    (stream,) = of.streams()
    stream = stream if only is None else stream.narrowed(only)
    plan = of.plan(stream, Window(), {})
    batches = [batch for part in plan.partitions for batch in of.read(stream, part)]
    rows = [decoded(batch.rows) for batch in batches]
    assert all(each.schema == stream.schema for each in rows)
    rejects = [reject for batch in batches for reject in batch.rejects]
    return pa.Table.from_batches(rows, stream.schema), rejects, plan
