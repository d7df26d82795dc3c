"""What a profile says, beside what polars and NumPy say of all values at once."""

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from importers.quality.profile import LEAST_HASHES, SAMPLE, Profiler

NOON = dt.datetime.fromisoformat("2026-02-28T12:00:00+00:00")


def profile(table: pa.Table, size: int = 1000):
    profiler = Profiler()
    for batch in table.to_batches(max_chunksize=size):
        profiler.add(batch)
    return {column.path: column for column in profiler.finish()}


def test_a_few_rows_are_told_exactly():
    found = profile(
        pa.table(
            {
                "n": [3, None, 1, 3, 7],
                "x": [math.nan, 0.5, None, 2.5, -1.0],
                "s": ["a", "a", "b", None, "ß"],
                "at": pa.array([NOON, None, NOON + dt.timedelta(days=1), NOON, NOON], pa.timestamp("us", "UTC")),
                "d": [Decimal("1.50"), Decimal("1.50"), None, None, Decimal("2.00")],
                "b": [True, False, None, True, True],
                "inside": [
                    {"k": 1, "tags": ["x"]},
                    {"k": 2, "tags": []},
                    None,
                    {"k": None, "tags": None},
                    {"k": 2, "tags": []},
                ],
                "big": pa.array([None, None, None, None, 1], pa.decimal256(50, 2)),
                "none": pa.nulls(5),
            }
        ),
        size=2,
    )
    assert {path: (one.nulls, one.distinct) for path, one in found.items()} == {
        "n": (1, 3),
        "x": (2, 3),
        "s": (1, 3),
        "at": (1, 2),
        "d": (2, 2),
        "b": (1, 2),
        "inside.k": (2, 2),
        "inside.tags": (2, None),
        "big": (4, None),
        "none": (5, None),
    }
    assert (found["n"].least, found["n"].greatest, found["n"].mean) == (1, 7, 3.5)
    assert (found["x"].least, found["x"].greatest) == (-1.0, 2.5)
    assert found["at"].greatest == NOON + dt.timedelta(days=1)
    assert found["d"].mean == pytest.approx(5 / 3)
    assert found["s"].least is None
    assert found["s"].deciles == ()
    assert found["s"].frequent == {}
    assert sum(bar.count for bar in found["n"].histogram) == 4


def test_many_rows_are_told_within_the_bounds_that_the_module_names():
    random = np.random.default_rng(7)
    frame = pl.DataFrame(
        {
            "id": np.arange(300_000),
            "few": random.integers(0, 50, 300_000),
            "x": random.lognormal(3, 1, 300_000),
            "place": random.choice(["Berlin", "Bonn", "Köln"], 300_000, p=[0.7, 0.299, 0.001]),
        }
    )
    found = profile(frame.to_arrow(), size=50_000)
    assert not found["id"].distinct_exact
    assert found["id"].distinct == pytest.approx(300_000, rel=4 / math.sqrt(LEAST_HASHES))
    assert (found["few"].distinct, found["few"].distinct_exact) == (50, True)
    assert found["x"].mean == pytest.approx(frame["x"].mean())
    assert (found["x"].least, found["x"].greatest) == (frame["x"].min(), frame["x"].max())
    for tenth, value in enumerate(found["x"].deciles[1:10], start=1):
        assert (frame["x"] <= value).mean() == pytest.approx(tenth / 10, abs=0.015)
    assert sum(bar.count for bar in found["x"].histogram) == SAMPLE
    assert found["place"].frequent == pytest.approx({"Berlin": 0.7, "Bonn": 0.3}, abs=0.015)  # too few are in Köln


def test_a_column_that_widens_in_mid_file_stays_one_column():
    profiler = Profiler()
    for values in ([1, 2], [0.5, None], ["text", None]):
        profiler.add(pa.record_batch({"x": values}))
    (one,) = profiler.finish()
    assert (one.rows, one.nulls, one.distinct, one.deciles) == (6, 2, 4, ())


def test_nothing_is_profiled_as_nothing():
    assert profile(pa.table({"x": pa.array([], pa.int64())})) == {}
