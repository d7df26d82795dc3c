"""Drift beside the population stability index as SciPy's relative entropies give it, both ways round."""

import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from scipy.special import rel_entr

from importers.core.tenant import Expectation, Quarantine
from importers.exceptions import ConfigError
from importers.quality import Rules, judge
from importers.quality.drift import Earlier
from importers.quality.profiler import Profiler
from importers.quality.spread import Spread, stability
from importers.quality.told import told

ROWS = 4_000


def profiled(**columns):
    rows = pa.record_batch(columns)
    profiler = Profiler(in_passing=True)
    profiler.add(rows)
    return profiler.profile


def remembered(run: int = 7, **columns) -> Earlier:
    return Earlier(run, told(profiled(**columns), set(columns)))


def rules(threshold: float = 0.25, column: str = "x", kind: pa.DataType | None = None) -> Rules:
    said = Expectation(type="expect_column_drift_to_be_less_than", kwargs={"column": column, "threshold": threshold})
    return Rules.compile([said], pa.schema({"x": kind or pa.float64()}))


def drift_of(now, *earlier: Earlier):
    (found,) = rules().drifts(profiled(x=now), earlier).values()
    return found


def index(expected, actual) -> float:
    expected, actual = (np.maximum(shares, 0.0001) for shares in (expected, actual))
    return float(np.sum(rel_entr(expected, actual) + rel_entr(actual, expected)))


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([0.5, 0.5], [0.4, 0.6]),
        ([0.1] * 10, [0.05, 0.15] + [0.1] * 8),
        ([1.0, 0.0], [0.5, 0.5]),
        ([0.2, 0.8], [0.2, 0.8]),
    ],
)
def test_the_index_is_relative_entropy_both_ways(expected, actual):
    assert stability(expected, actual) == pytest.approx(index(expected, actual))


def test_numbers_are_held_against_the_earlier_run_s_deciles():
    random = np.random.default_rng(1)
    before, now = random.normal(0, 1, ROWS), random.normal(0.5, 1, ROWS)
    edges = np.sort(before)[[math.floor((ROWS - 1) * tenth / 10) for tenth in range(1, 10)]]
    shares = [np.histogram(-x, np.sort([-np.inf, *-edges, np.inf]))[0][::-1] / ROWS for x in (before, now)]
    found = drift_of(now, remembered(x=before))
    assert found.run == 7
    assert found.index == pytest.approx(index(*([0, *one] for one in shares)))
    assert 0.2 < found.index < 0.35
    assert drift_of(random.normal(0, 1, ROWS), remembered(x=before)).index < 0.02


def test_categories_that_come_and_go_and_missing_values_count():
    before = ["a"] * 2400 + ["b"] * 1200 + [None] * 400
    now = ["a"] * 1200 + ["c"] * 2000 + [None] * 800
    shares = np.array([400, 2400, 1200, 0]) / ROWS, np.array([800, 1200, 0, 2000]) / ROWS
    assert drift_of(now, remembered(x=before)).index == pytest.approx(index(*shares))
    assert drift_of(before, remembered(x=before)).index == pytest.approx(0)


def test_a_flag_and_a_column_of_one_value_have_a_spread_too():
    assert drift_of([True] * 600 + [False] * 400, remembered(x=[True, False] * 500)).index == pytest.approx(
        index([0, 0.5, 0.5], [0, 0.6, 0.4])
    )
    assert drift_of([3] * 1000, remembered(x=[3] * 1000)).index == pytest.approx(0)


FLAG = [0] * 930 + [1] * 70
HALF = [0.0] * 600 + [0.5 + n / 500 for n in range(400)]
MONTHS = [1 + n % 12 for n in range(1200)]
FAR = [math.inf] * 400 + [n / 600 for n in range(600)]


@pytest.mark.parametrize(
    ("before", "now", "shares"),
    [
        ([3] * 1000, [4] * 1000, ([1, 0], [0, 1])),
        ([3] * 1000, [2] * 1000, ([1, 0], [0, 1])),
        ([3.5] * 1000, [-1e300] * 1000, ([1, 0], [0, 1])),
        ([-math.inf] * 1000, [math.inf] * 1000, ([1, 0], [0, 1])),
        (FLAG, [2 if x else 0 for x in FLAG], ([0.93, 0.07, 0], [0.93, 0, 0.07])),
        (FLAG, [x - 1 for x in FLAG], ([0, 0.93, 0.07], [0.93, 0.07, 0])),
        (MONTHS, [x if x > 1 else -1000 for x in MONTHS], ([0, 1 / 12, 11 / 12], [1 / 12, 0, 11 / 12])),
        (MONTHS, [x if x < 12 else 1000 for x in MONTHS], ([0, 1 / 12, 11 / 12], [1 / 12, 0, 11 / 12])),
        (HALF, [x or -1000 for x in HALF], ([0, 0.6, 0.4], [0.6, 0, 0.4])),
        (FAR, [min(x, 1e9) for x in FAR], ([0.6, 0, 0.4], [0.6, 0.4, 0])),
    ],
)
def test_a_number_that_many_values_were_is_missed_whichever_way_they_went(before, now, shares):
    assert drift_of(now, remembered(x=before)).index == pytest.approx(index(*shares))
    assert drift_of(before, remembered(x=before)).index == pytest.approx(0)


def test_a_category_that_is_new_is_told_from_all_those_that_were_none():
    many = [f"text {n}" for n in range(2000)]
    same = ["n/a"] * 2000
    # one value in a hundred would have been a category
    assert drift_of(same, remembered(x=many)).index == pytest.approx(index([0.01, 0.99], [1, 0]))
    known, half = ["known"] * 1000, ["known"] * 1000 + same[:1000]
    assert drift_of(half, remembered(x=known + many[:1000])).index == pytest.approx(
        index([0.5, 0.01, 0.49], [0.5, 0.5, 0])
    )
    # of a few rows twenty
    few = drift_of(["n/a"] * 500, remembered(x=many[:500])).index
    assert few == pytest.approx(index([0.04, 0.96], [1, 0]))
    # as often as it may have been: nothing is told of that
    assert drift_of(many[:1980] + same[:20], remembered(x=many)).index == pytest.approx(0)
    assert drift_of([True, False] * 500, remembered(x=[True] * 1000)).index == pytest.approx(index([1, 0], [0.5, 0.5]))


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_column_that_has_hardly_a_value_any_more_is_compared_by_what_is_missing(missing):
    numbers = [float(n) for n in range(1000)]
    gone = drift_of(pa.array([missing] * 1000, pa.float64()), remembered(x=numbers))
    tenths = [0.1] * 10
    assert gone.index == pytest.approx(index([0, *tenths], [1, *[0] * 10]), rel=1e-3)
    nearly = [5.0] * 30 + [missing] * 970
    assert drift_of(nearly, remembered(x=numbers)).index == pytest.approx(
        index([0, *tenths], [0.97, 0.03, *[0] * 9]), rel=1e-3
    )
    assert drift_of([None] * 1000, remembered(x=numbers)).index == gone.index
    assert drift_of(["a"] * 1000, remembered(x=pa.nulls(1000, pa.string()))).index == pytest.approx(
        index([1, 0], [0, 1])
    )
    assert drift_of([1.0] * 10 + [missing] * 990, remembered(x=[None] * 1000)).index == pytest.approx(
        index([1, 0], [0.99, 0.01])
    )


def test_a_column_that_was_not_shown_is_passed_over():
    hidden = Earlier(9, told(profiled(x=np.arange(1000.0)), {"x"}, ()))
    assert drift_of(np.arange(1000.0), hidden, remembered(8, x=np.arange(1000.0))).run == 8


@pytest.mark.parametrize(
    ("now", "shares"), [([9] * 600, ([1, 0], [0, 1])), ([5] * 600, ([1], [1])), ([4] * 600, ([1], [1]))]
)
def test_bins_that_were_told_before_numbers_had_their_own_are_still_compared(now, shares):
    spread = {"edges": [5.0], "categories": [], "shares": [1.0, 0.0]}
    old = Earlier(7, {"rows": 600, "columns": [{"name": "x", "nulls": 0, "spread": spread}]})
    assert drift_of(now, old).index == pytest.approx(index(*shares))


def test_categories_that_were_told_without_how_many_make_one_are_still_compared():
    spread = {"edges": [], "categories": ["a"], "shares": [0.5, 0.5]}
    old = Earlier(7, {"rows": 1000, "columns": [{"name": "x", "nulls": 0, "spread": spread}]})
    now = ["a"] * 300 + ["b"] * 500 + [str(n) for n in range(200)]
    assert drift_of(now, old).index == pytest.approx(index([0.5, 0.5], [0.3, 0.7]))


def test_of_persons_no_number_beyond_the_outer_deciles_is_an_edge():
    values = pl.Series([-7] * 80 + list(range(1, 841)) + [9999] * 80)
    assert {-7, 9999} < set(Spread.of(values).edges)
    edges = Spread.of(values, of_persons=True).edges
    assert (min(edges), max(edges)) == (values.sort()[99], values.sort()[899])


def test_of_a_run_without_a_row_nothing_is_compared():
    nothing = Profiler(in_passing=True).profile
    (found,) = rules().drifts(nothing + nothing, [remembered(x=np.arange(1000.0))]).values()
    assert found.why == "fewer than 500 rows in this run"
    assert told(nothing, {"x"}) == {"rows": 0, "columns": []}


def test_what_cannot_be_compared_is_said_and_holds():
    many, few = np.arange(1000.0), np.arange(499.0)
    assert drift_of(many).why == "no earlier run has 500 rows"
    assert drift_of(many, remembered(x=few)).why == "no earlier run has 500 rows"
    assert drift_of(few, remembered(x=many)).why == "fewer than 500 rows in this run"
    assert drift_of(["a"] * 1000, remembered(x=many)).why == "the column had values of another kind"
    assert drift_of(many, remembered(9, x=few), remembered(8, x=many), remembered(7, x=many + 99)).run == 8


@pytest.mark.parametrize(("threshold", "fails"), [(0.1, True), (9.0, False)])
def test_a_run_fails_from_the_threshold_on(threshold, fails):
    made = rules(threshold)
    checker = made.checker(b"k" * 32)
    drifts = made.drifts(profiled(x=np.arange(1000.0) + 300), [remembered(x=np.arange(1000.0))])
    judgement = judge(made, {0: checker.verdict(0)}, Quarantine(), lambda _: iter(()), b"k" * 32, drifts)
    assert bool(judgement.failures) == fails
    label = "expect_column_drift_to_be_less_than(x)"
    assert judgement.told()["drifts"][label]["run"] == 7
    if fails:
        (failure,) = judgement.failures
        assert failure.label == label
        assert "threshold: 0.1; got an index of" in str(failure)
        assert failure.got.endswith("against run 7")


@pytest.mark.parametrize(
    ("kind", "threshold", "column"),
    [(pa.date32(), 0.1, "x"), (pa.list_(pa.int64()), 0.1, "x"), (pa.float64(), 0, "x"), (pa.float64(), 0.1, "y")],
)
def test_a_rule_that_cannot_work_is_refused(kind, threshold, column):
    with pytest.raises(ConfigError):
        rules(threshold, column, kind)


def test_what_is_told_is_no_value_of_few_and_nothing_that_json_lacks():
    columns = {
        "few": [*range(19)] + [None] * 1981,
        "odd": [math.inf, -math.inf] + [0.5] * 1998,
        "rare": ["canary-7391"] * 19 + ["often"] * 1981,
        "hidden": ["canary-7391"] * 2000,
    }
    profiler = Profiler({"few", "odd", "rare"}, in_passing=True)
    profiler.add(pa.record_batch(columns))
    said = told(profiler.profile, {"few", "odd", "rare", "hidden"})
    found = {one["name"]: one for one in said["columns"]}
    assert set(found["few"]) == set(found["hidden"]) == {"name", "type", "nulls", "distinct", "distinct_exact", "among"}
    assert (found["odd"]["deciles"][0], found["odd"]["deciles"][5], found["odd"]["deciles"][10]) == (None, 0.5, None)
    assert found["rare"]["spread"]["categories"] == ["often"]
    assert "canary" not in str(said)
    assert [one["name"] for one in told(profiler.profile, {"odd"})["columns"]] == ["odd"]


def test_an_edge_far_out_is_an_integer_to_the_ledger():
    said = Spread.of(pl.Series([-math.inf] * 500 + [0.0] * 400 + [math.inf] * 600)).said()
    kept = said | {"edges": [int(edge) if edge.is_integer() else edge for edge in said["edges"]]}
    assert (Spread.read(kept).edges, type(kept["edges"][0])) == (tuple(said["edges"]), int)
    assert Spread.read(kept).beside(pl.Series([1.0]))[1] == (0, 0, 0, 0, 1, 0, 0)


def test_a_spread_is_read_as_it_was_said():
    values = Profiler(in_passing=True)
    values.add(pa.record_batch({"x": np.arange(1000.0)}))
    spread = Spread.of(values.profile.values("x"))
    assert Spread.read(spread.said()).said() == spread.said()
    assert sum(spread.shares) == pytest.approx(1)
