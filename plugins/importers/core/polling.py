"""A source is followed by its `plan` and `read` alone: whatever has come is planned and read, again and again."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from importers.core.coded import decoded
from importers.core.model import Batch, Pace, Position, Stream, Window
from importers.core.places import together
from importers.exceptions import ContractError

if TYPE_CHECKING:
    from importers.core.source import Source

HELD = 1 << 30
"""How many bytes of rows are given together at most: more would be no batch of Arrow's, nor fit into a worker."""


def polled(source: Source[Any], stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
    """As `Source.follow`. The position moves with a plan's last batch, and with each that says how far it `reached`;
    others are given together with those that come after them, in one: what is loaded without a position is loaded again
    after a crash. Raises ContractError where that is too much for one.
    """
    nothing = Batch(pa.RecordBatch.from_pylist([], stream.schema))
    plan = source.plan(stream, Window(), position)
    # Something is unread, too, where a source can't say how much: whoever drains it would take it for empty.
    yield replace(nothing, position=position, behind=_unread(source, position) or len(plan.partitions))
    while True:
        held: list[Batch] = []
        for partition in plan.partitions:
            for batch in source.read(stream, partition):
                if held and (reached := held[-1].reached) is not None:
                    position = {**position, **reached}
                    yield replace(_joined(held), position=reached, reached=None, behind=_unread(source, position))
                    held = []
                held.append(replace(batch, rows=decoded(batch.rows)))
                _check(held, stream)
        position = {**position, **plan.position}
        yield replace(_joined(held) if held else nothing, position=plan.position, reached=None)
        while not source.comes(position, pace.idle):
            yield nothing
        time.sleep(pace.linger)
        plan = source.plan(stream, Window(), position)


def _unread(source: Source[Any], position: Position) -> int:
    return sum(source.lag(position).values())


def _check(held: Sequence[Batch], stream: Stream) -> None:
    if len(held) > 1 and sum(batch.rows.nbytes for batch in held) > HELD:
        raise ContractError(
            "more is unread than a stream loads at once, and the importer doesn't say how far each batch reaches",
            got=f"more than {HELD:,} bytes in {len(held)} batches",
            do="run the pipeline once with `importers run`, then follow it; or let the importer give `Batch.reached`",
            stream=stream.name,
        )


def _joined(held: Sequence[Batch]) -> Batch:
    if len(held) == 1:
        return held[0]
    # The type of a column may have become wider from one batch to the next.
    rows = pa.concat_tables([pa.Table.from_batches([each.rows]) for each in held], promote_options="permissive")
    rejects = tuple(reject for each in held for reject in each.rejects)
    places = together([(each.places, each.rows.num_rows) for each in held])
    return Batch(pa.concat_batches(rows.to_batches() or [held[0].rows]), rejects, places=places)
