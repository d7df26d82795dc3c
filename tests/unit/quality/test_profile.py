"""What a profile says, beside what polars and NumPy say of all values at once."""

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from importers.exceptions import StagingError
from importers.quality.columns import root
from importers.quality.profile import LEAST_HASHES, SAMPLE, Profile
from importers.quality.profiler import Profiler
from importers.quality.told import told

NOON = dt.datetime.fromisoformat("2026-02-28T12:00:00+00:00")


def profile(table: pa.Table, size: int = 1000):
    profiler = Profiler()
    for batch in table.to_batches(max_chunksize=size):
        profiler.add(batch)
    return {column.path: column for column in profiler.finish()}


def test_values_that_no_number_stands_between_are_one_bar():
    """A moment of 2113, in microseconds, plus and minus a half is itself; so is 1e300."""
    far = dt.date(2113, 1, 1)
    found = profile(pa.table({"d": [far, None, far], "x": [1e300, 1e300, None]}))
    (day,), (number,) = found["d"].histogram, found["x"].histogram
    moment = dt.datetime(2113, 1, 1, tzinfo=dt.UTC)
    assert (day.low, day.high, day.rows) == (moment, moment, 2)
    assert (number.low, number.high, number.rows) == (1e300, 1e300, 2)


@pytest.mark.parametrize("days", [3_000_000, -800_000])
def test_of_years_that_python_can_t_say_nothing_is_told(days: int):
    """PostgreSQL has them: 10183 and 221 before Christ."""
    found = profile(pa.table({"d": pa.array([0, days, 1], pa.int32()).cast(pa.date32())}))["d"]
    assert (found.nulls, found.distinct) == (0, 3)
    assert (found.least, found.greatest, found.deciles, found.histogram) == (None, None, (), ())


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
    assert sum(bar.rows for bar in found["n"].histogram) == 4


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
    assert sum(bar.rows for bar in found["x"].histogram) == SAMPLE
    assert found["place"].frequent == pytest.approx({"Berlin": 0.7, "Bonn": 0.3}, abs=0.015)  # too few are in Köln


def test_a_column_that_widens_in_mid_file_stays_one_column():
    profiler = Profiler()
    for values in ([1, 2], [0.5, None], ["text", None]):
        profiler.add(pa.record_batch({"x": values}))
    (one,) = profiler.finish()
    assert (one.rows, one.nulls, one.distinct, one.deciles) == (6, 2, 4, ())


def test_a_type_is_told_without_keys_that_may_be_data():
    found = profile(pa.table({"scores": [[{"ada@example.org": 5, "n": 1}]]}))
    assert found["scores"].type == "list<item: struct<…: int64, n: int64>>"


def test_nothing_is_profiled_as_nothing():
    assert profile(pa.table({"x": pa.array([], pa.int64())})) == {}


def orders(rows: int = 30_000) -> pa.Table:
    random = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "id": random.permutation(rows),
            "amount": random.lognormal(3, 1, rows),
            "place": random.choice(["Berlin", "Bonn", None], rows),
            "on": pl.Series(random.integers(0, 400, rows)).cast(pl.Int32).cast(pl.Date),
        }
    ).to_arrow()


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_add_up_to_what_they_are_together(parts):
    """And a part may be empty."""
    rows = orders()
    whole = profile(rows)
    total = None
    for number, start in enumerate([0, *range(0, rows.num_rows, math.ceil(rows.num_rows / parts))]):
        profiler = Profiler(seed=number)
        length = math.ceil(rows.num_rows / parts) if number else 0
        for batch in rows.slice(start, length).to_batches(max_chunksize=1000):
            profiler.add(batch)
        part = Profile.from_bytes(profiler.profile.to_bytes())
        total = part if total is None else total + part
    for one in total.told():
        same = whole[one.path]
        exact = (one.rows, one.nulls, one.distinct, one.least, one.greatest)
        assert exact == (same.rows, same.nulls, same.distinct, same.least, same.greatest)
        assert one.mean == pytest.approx(same.mean)
    amounts = rows["amount"].to_numpy()
    (amount,) = (one for one in total.told() if one.path == "amount")
    for tenth, value in enumerate(amount.deciles[1:10], start=1):
        assert (amounts <= value).mean() == pytest.approx(tenth / 10, abs=0.015)


def test_of_columns_that_are_not_shown_no_value_is_in_the_profile():
    profiler = Profiler({"n"})
    rows = pa.record_batch({"n": [1, 2], "who": ["canary-7391", "canary-7392"], "born": [19_391, 19_392]})
    profiler.add(rows)
    n, who, born = profiler.finish()
    assert (who.distinct, born.distinct) == (2, 2)
    assert n.least == 1
    assert (born.least, born.deciles, born.histogram, born.frequent) == (None, (), (), {})
    data = profiler.profile.to_bytes()
    assert b"canary" not in data
    assert (19_391).to_bytes(8, "little") not in data


def test_of_bad_rows_no_value_is_told():
    profiler = Profiler()
    profiler.add(pa.record_batch({"n": [5, -99, 7, None]}), np.array([False, True, False, False]))
    (n,) = profiler.finish()
    assert (n.rows, n.nulls, n.least, n.greatest, n.mean) == (4, 1, 5, 7, 6)
    assert sorted(profiler.profile.values("n").to_list()) == [5, 7]


def test_in_passing_distinct_values_are_looked_for_in_fewer_rows_and_nulls_in_all():
    rows = orders(400_000)
    profiler = Profiler({"amount"}, in_passing=True)
    for batch in rows.to_batches(max_chunksize=10_000):
        profiler.add(batch)
    found = {one.path: one for one in profiler.finish()}
    looked = 100_000 + 400_000 / 16
    assert found["id"].among == pytest.approx(looked, abs=20_000)
    assert found["id"].distinct == pytest.approx(found["id"].among, rel=4 / math.sqrt(LEAST_HASHES / 4))
    assert (found["place"].distinct, found["place"].nulls) == (2, rows["place"].null_count)
    amounts = rows["amount"].to_numpy()
    assert (found["amount"].least, found["amount"].greatest) == (amounts.min(), amounts.max())
    for tenth, value in enumerate(found["amount"].deciles[1:10], start=1):
        assert (amounts <= value).mean() == pytest.approx(tenth / 10, abs=0.03)


def test_the_rows_that_are_all_looked_at_are_shared_out_among_the_parts():
    """Of each at least the first batch: eight parts of 50,000 rows look at 10,000, and at one in sixteen, each."""
    rows, total = orders(400_000), None
    for part in range(8):
        profiler = Profiler(in_passing=True, seed=part, parts=8)
        for batch in rows.slice(part * 50_000, 50_000).to_batches(max_chunksize=10_000):
            profiler.add(batch)
        assert profiler.profile.looked == 20_000  # 12,500 aren't reached by the first
        total = profiler.profile if total is None else total + profiler.profile
    found = {one.path: one for one in total.told()}
    assert (found["id"].rows, found["id"].among) == (400_000, 160_000)
    assert found["id"].distinct == pytest.approx(160_000, rel=4 / math.sqrt(LEAST_HASHES / 4))
    assert (found["place"].distinct, found["place"].distinct_exact) == (2, True)


def test_nothing_is_asked_of_columns_of_which_nothing_can_be_told():
    """And a bad row is one of those whose columns nobody looks at."""
    profiler = Profiler(())
    profiler.add(pa.record_batch({"s": ["a", None], "n": pa.nulls(2)}), np.array([True, False]))
    assert [(one.nulls, one.distinct, one.among) for one in profiler.finish()] == [(1, 1, 2), (2, None, 0)]
    profiler = Profiler()
    profiler.add(pa.record_batch({"n": pa.nulls(3)}), np.array([True, False, False]))
    assert (profiler.profile.rows, profiler.profile.looked) == (3, 3)


def test_a_missing_word_of_a_dictionary_is_missing():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["a", None]))
    profiler = Profiler()
    profiler.add(pa.record_batch({"word": words}))
    (one,) = profiler.finish()
    assert (one.nulls, one.distinct, one.type) == (2, 1, "string")


def test_a_sample_is_drawn_across_batches_that_each_have_a_dictionary_of_their_own():
    profiler = Profiler()
    for values in (["a", "b", "a"], ["c", None, "b"], ["d"]):
        words = pa.array(values).dictionary_encode()
        profiler.add(pa.record_batch({"word": words, "in": pa.StructArray.from_arrays([words, words], ["x", "y.z"])}))
    found = {one.path: one for one in profiler.finish()}
    assert {path: (one.nulls, one.distinct) for path, one in found.items()} == {
        "word": (1, 4),
        "in.x": (1, 4),
        "in.y.z": (0, None),  # no rule or policy can say which of two ways it is inside
    }
    assert sorted(profiler.profile.values("word").to_list()) == ["a", "a", "b", "b", "c", "d"]
    assert sorted(profiler.profile.values("in.x").to_list()) == ["a", "a", "b", "b", "c", "d"]


def test_many_long_texts_of_a_batch_are_a_sample_too():
    """More than may wait to be sorted out: 12 MB in each batch."""
    profiler = Profiler()
    for first in ("a", "b", "c"):
        profiler.add(pa.record_batch({"s": pa.array([f"{first}{number:05}" + "x" * 1000 for number in range(12_000)])}))
    kept = profiler.profile.values("s")
    assert kept.len() == SAMPLE
    assert kept.n_unique() == SAMPLE
    assert kept.str.slice(0, 1).value_counts()["count"].to_list() == pytest.approx([SAMPLE / 3] * 3, rel=0.05)
    assert kept.str.len_chars().unique().to_list() == [64]


def test_a_long_text_is_cut_and_what_is_no_profile_is_refused():
    profiler = Profiler()
    profiler.add(pa.record_batch({"s": ["x" * 1000] * 5}))
    assert profiler.profile.values("s").to_list() == ["x" * 64] * 5
    with pytest.raises(StagingError):
        Profile.from_bytes(b"not a profile")


@pytest.mark.parametrize("name", ["*", r"^\w*$", "^a$", "count", "value", ""])
def test_names_that_mean_something_to_polars_are_names(name: str):
    """Beside decoys that the patterns would match. A batch whose values are texts makes all of them texts."""
    numbers, texts = list(range(1, 41)), ["two", "one"] * 20
    parts = []
    for seed, values in enumerate((numbers, texts)):
        profiler = Profiler(seed=seed, parts=2)
        inside = [{name: value, "k": None} for value in values]
        profiler.add(pa.RecordBatch.from_pydict({name: values, "a": [None] * 40, "at": inside}))
        parts.append(profiler.profile)
    of = [told(part, [name, f"at.{name}"])["columns"] for part in (parts[0], parts[0] + parts[1])]
    alone, both = ({one["name"]: one for one in columns} for columns in of)
    for path in (name, f"at.{name}"):
        assert (alone[path]["mean"], alone[path]["deciles"][0], alone[path]["deciles"][-1]) == (20.5, 1, 40)
        assert (both[path]["nulls"], both[path]["distinct"]) == (0, 42)
        assert both[path]["spread"]["categories"] == ["one", "two"]


class _Nameless:
    """A schema that nobody may ask for the list of all its names."""

    def __init__(self, schema: pa.Schema) -> None:
        self.field, self.get_all_field_indices = schema.field, schema.get_all_field_indices


def test_a_column_is_found_without_a_list_of_all_names():
    """Which was made anew for each path, and took half a minute of 5,000 columns."""
    schema = _Nameless(pa.schema([("a", pa.int64()), ("o.x", pa.int64()), ("o", pa.struct([("x", pa.int64())]))]))
    assert [root(schema, path) for path in ("a", "o.x", "o.y", "o")] == ["a", "o.x", "o", "o"]
