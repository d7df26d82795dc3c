"""Which rows share a key, over all partitions: hashes find the candidates, a second look at the rows decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from importers.core.destination import Mask
from importers.quality.binding import Bound, Labelled, bind
from importers.quality.checker import living
from importers.quality.hashing import keyed
from importers.quality.verdict import Numbers, Verdict

BUCKETS = 64
_ONE = 0
"""The delivery of partitions of which nothing else is said."""
Read = Callable[[int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class Survey:
    """Of hashes: how many are distinct, which occur more than once, and, if it was asked for, which most often."""

    distinct: int
    repeated: Numbers
    most_common: Numbers


def survey(sorted_keys: Sequence[Numbers], *, modes: bool = False) -> Survey:
    """A bucket at a time, so that memory stays small; `modes`: which occur most often is wanted."""
    distinct, repeated = 0, [np.empty(0, np.uint64)]
    highest, most_common = 0, [np.empty(0, np.uint64)]
    for found in _buckets(sorted_keys):
        again = found[1:] == found[:-1]
        distinct += len(found) - int(np.count_nonzero(again))
        if again.any():
            repeated.append(found[:-1][again > np.concatenate([[False], again[:-1]])])
        if modes:
            begin = np.flatnonzero(np.concatenate([[True], ~again]))
            times = np.diff(begin, append=len(found))
            if times.max() > highest:
                highest, most_common = times.max(), []
            most_common.append(found[begin[times == highest]])
    return Survey(distinct, np.concatenate(repeated), np.concatenate(most_common))


def _buckets(sorted_keys: Sequence[Numbers]) -> Iterator[Numbers]:
    """The keys of all partitions, sorted, in pieces none of which is empty: equal ones are in one piece."""
    edges = np.arange(1, BUCKETS, dtype=np.uint64) * np.uint64(2**64 // BUCKETS)
    cuts = [np.concatenate([[0], np.searchsorted(keys, edges), [len(keys)]]) for keys in sorted_keys]
    for bucket in range(BUCKETS):
        parts = [keys[cut[bucket] : cut[bucket + 1]] for keys, cut in zip(sorted_keys, cuts, strict=True)]
        parts = [part for part in parts if len(part)]
        if parts:
            yield parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def among(hashes: Numbers, wanted: Numbers) -> Mask:
    """Which hashes are among the wanted ones, which are sorted."""
    if not len(wanted):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(wanted, hashes)
    places[places == len(wanted)] = 0
    hit: Mask = wanted[places] == hashes
    return hit


def confirm(
    rules: Sequence[Labelled],
    repeated: Mapping[str, Numbers],
    verdicts: Mapping[int, Verdict],
    read: Read,
    seeds: Mapping[str, int],
    deliveries: Mapping[int, int | None],
) -> dict[int, dict[str, Numbers]]:
    """By partition and rule the rows that share a key with another one, compared by the values themselves.

    Partitions of another of the `deliveries` aren't held against each other, those of None against none, not even
    themselves; those that aren't in there are of one.

    Reads the partitions in which a repeated hash occurs, in the order in which they were checked. Holds the keys of
    candidates in memory: of all duplicates at once, as they may be anywhere.
    """
    candidates: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for partition, verdict in verdicts.items():
        delivery = deliveries.get(partition, _ONE)
        if delivery is None:
            continue
        hit = [r for r in rules if among(verdict.keys[r.label], repeated[r.label]).any()]
        start = 0
        for rows in read(partition) if hit else ():
            taking_part = _taking_part(rows, verdict.bad_rows, start)
            bound = bind(hit, rows.schema, rows.schema)
            frame = bound.frame(rows)
            for labelled in hit:
                label = labelled.label
                wanted = taking_part & _hits(frame, bound, label, repeated[label], seeds[label])
                if wanted.any():
                    values = _values(frame, bound, label, wanted, partition, start)
                    candidates[label].append(values.with_columns(pl.lit(delivery, pl.Int64).alias("delivery")))
            start += rows.num_rows
    found: dict[int, dict[str, Numbers]] = defaultdict(dict)
    for label, frames in candidates.items():
        for partition, numbers in _equal(frames):
            found[partition][label] = numbers
    return dict(found)


def _taking_part(rows: pa.RecordBatch, bad_rows: Numbers, start: int) -> Mask:
    taking_part = living(rows)
    if taking_part is None:
        taking_part = np.ones(rows.num_rows, dtype=np.bool_)
    first, last = np.searchsorted(bad_rows, np.array([start, start + rows.num_rows], np.uint64))
    taking_part[bad_rows[first:last] - np.uint64(start)] = False
    return taking_part


def _hits(frame: pl.DataFrame, bound: Bound, label: str, wanted: Numbers, seed: int) -> Mask:
    operands, domain = bound.keys[label]
    hashes = frame.select(keyed(operands, domain, seed).alias("hash"))["hash"]
    hit: Mask = among(hashes.fill_null(0).to_numpy(), wanted) & hashes.is_not_null().to_numpy()
    return hit


def _values(frame: pl.DataFrame, bound: Bound, label: str, wanted: Mask, partition: int, start: int) -> pl.DataFrame:
    """The keys of the wanted rows, and where these stand."""
    operands, _ = bound.keys[label]
    values = frame.select(x.expr.alias(str(place)) for place, x in enumerate(operands)).filter(pl.Series(wanted))
    rows = pl.Series("row", np.flatnonzero(wanted) + start, pl.UInt64)
    return values.with_columns(pl.lit(partition, pl.Int64).alias("partition"), rows)


def _equal(frames: Iterable[pl.DataFrame]) -> Iterator[tuple[int, Numbers]]:
    """The rows with equal keys, by partition; a type that widened is compared in the wider type, as it is loaded."""
    found = pl.concat(frames, how="vertical_relaxed")
    found = found.filter(found.drop("partition", "row").is_duplicated())
    for (partition,), rows in found.group_by("partition"):
        yield int(str(partition)), np.sort(rows["row"].to_numpy())
