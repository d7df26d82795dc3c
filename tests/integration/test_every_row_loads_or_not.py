"""Whatever a batch holds: each row is either found unfit beforehand, or stands in the table. None fails the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any

import hypothesis.strategies as st
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.sql import SQL, Identifier
from tests.support.properties import examples
from tests.support.runs import blind, import_all

from importers.core.model import Column, Reads, Stream
from importers.destinations.postgresql import PostgresDestination

_tables = count()


def numbers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def moments(bits: int) -> st.SearchStrategy[int]:
    """Counts of the unit near 1970, and any others."""
    return st.integers(0, 10**6) | numbers(bits)


TEXTS = st.text(max_size=5) | st.just("a\0b")
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    *[(kind, numbers(kind.bit_width)) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())],
    *[(kind, numbers(kind.bit_width, signed=False)) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())],
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    *[(kind, TEXTS) for kind in (pa.string(), pa.large_string())],
    *[(kind, st.binary(max_size=4)) for kind in (pa.binary(), pa.large_binary())],
    (pa.binary(4), st.binary(min_size=4, max_size=4)),
    (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    (pa.decimal128(10, 2), st.decimals(-99_999_999, 99_999_999, places=2)),
    (pa.decimal256(30, 2), st.decimals(-(10**20), 10**20, places=2, allow_nan=False)),
    (pa.date32(), moments(32)),
    (pa.date64(), moments(32).map(lambda day: day * 86_400_000)),
    *[(kind, moments(32)) for kind in (pa.time32("s"), pa.time32("ms"))],
    *[(kind, moments(64)) for kind in (pa.time64("us"), pa.time64("ns"))],
    *[(pa.timestamp(unit, zone), moments(64)) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")],
    *[(pa.duration(unit), moments(64)) for unit in ("s", "ms", "us", "ns")],
]


@st.composite
def columns(draw: st.DrawFn, size: int) -> pa.Array:
    kind, values = draw(st.sampled_from(LEAVES))
    shape = draw(st.sampled_from(["plain", "plain", "struct", "list", "large_list", "map"]))

    def leaves(length: int) -> pa.Array:
        items = draw(st.lists(st.none() | values, min_size=length, max_size=length))
        if isinstance(kind, pa.DictionaryType):
            return pa.array(items, pa.string()).dictionary_encode().cast(kind)
        return pa.array(items, kind)

    if shape == "plain":
        return leaves(size)
    gaps = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=np.bool_)
    if shape == "struct":
        return pa.StructArray.from_arrays([leaves(size)], ["leaf"], mask=pa.array(gaps))
    lengths = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    items = leaves(int(offsets[-1]))
    if shape == "map":
        keys = pa.array([str(n) for n in range(len(items))])
        return pa.MapArray.from_arrays(pa.array(offsets), keys, items)
    if shape == "large_list":
        return pa.LargeListArray.from_arrays(pa.array(offsets.astype(np.int64)), items, mask=pa.array(gaps))
    return pa.ListArray.from_arrays(pa.array(offsets), items, mask=pa.array(gaps))


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    size = draw(st.integers(1, 5))
    found = [draw(columns(size)) for _ in range(draw(st.integers(1, 3)))]
    batch = pa.record_batch([pa.array(range(size)), *found], ["n", *(f"c{i}" for i in range(len(found)))])
    start = draw(st.integers(0, size - 1))
    return batch.slice(start)


@pytest.fixture
def acme(database: str) -> Iterator[PostgresDestination]:
    opened = PostgresDestination(database, tenant="acme", pipeline="any", blind=blind, key_fingerprint="k")
    with closing(opened):
        yield opened


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches())
def test_a_batch_loads_but_for_what_is_unfit(
    acme: PostgresDestination, sql: psycopg.Connection, batch: pa.RecordBatch
) -> None:
    bad = np.zeros(batch.num_rows, dtype=np.bool_)
    for reason, mask in acme.unfit(batch).items():
        assert reason.partition(":")[0] in batch.schema.names
        assert mask.any()
        bad |= mask
    good = batch.filter(pa.array(~bad))
    stream = Stream(f"t{next(_tables)}", tuple(Column(f.name, f.type, None) for f in batch.schema), Reads.POSITION)
    import_all(acme, stream, "r1", good)
    table = Identifier("acme", stream.name)
    found = sql.execute(SQL("select n from {} order by n").format(table)).fetchall()
    assert [n for (n,) in found] == good["n"].to_pylist()
    sql.execute(SQL("drop table {}").format(table))


@pytest.mark.parametrize(
    "wrong", ["date '4714-11-23 BC'", "timestamp '294277-01-01'", "time '24:00:01'", "'NaN'::jsonb"]
)
def test_the_server_too_refuses_what_is_unfit(sql: psycopg.Connection, wrong: str) -> None:
    with pytest.raises(psycopg.DataError):
        sql.execute(f"select {wrong}")  # type: ignore[arg-type]
    sql.execute("select date '4713-01-01 BC', timestamp '262141-12-31', timestamp '4713-01-01 BC'")


def test_what_an_ordinary_table_holds_is_fit(acme: PostgresDestination) -> None:
    """A bound that were wrong in one unit would quarantine what is right."""
    now, then = dt.datetime.fromisoformat("2026-11-22T19:01:02"), dt.datetime.fromisoformat("1582-10-04")
    arrays = [pa.array([now, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    arrays += [pa.array([then, None], pa.timestamp(unit)) for unit in ("s", "ms", "us")]
    arrays += [pa.array([day, None], kind) for day in (now.date(), then.date()) for kind in (pa.date32(), pa.date64())]
    arrays += [pa.array([dt.time(), dt.time(23, 59, 59)], pa.time64(unit)) for unit in ("us", "ns")]
    arrays += [pa.array([dt.time(), dt.time(23, 59, 59)], pa.time32(unit)) for unit in ("s", "ms")]
    arrays += [pa.array([dt.timedelta(-9), dt.timedelta(9)], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")]
    arrays += [pa.array([float("nan"), float("-inf")]), pa.array(["", "\u2003"]), pa.array([b"\0", b""])]
    assert acme.unfit(pa.record_batch(arrays, [f"c{n}" for n in range(len(arrays))])) == {}
