"""However a run is cut into partitions, and with empty ones among them, its verdict and its counts are the same."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, Verdict, judge
from importers.quality.members import MostCommonInSet
from importers.quality.runwide import CountedRule, DistinctBetween, RunRule
from importers.quality.vocabulary import COMPILED

KEY = b"k" * 32
SCHEMA = pa.schema({"n": pa.int64(), "x": pa.float64(), "s": pa.string(), "at": pa.timestamp("us")})
BOUNDS: dict[str, Any] = {"min_value": -1, "max_value": 2}
RULES: dict[str, dict[str, Any]] = {
    "expect_column_unique_value_count_to_be_between": {"column": "s", "min_value": 1, "max_value": 3},
    "expect_column_proportion_of_unique_values_to_be_between": {"column": "n", "max_value": 0.5},
    "expect_column_distinct_values_to_be_in_set": {"column": "s", "value_set": ["a", "b", "é"]},
    "expect_column_distinct_values_to_contain_set": {"column": "s", "value_set": ["a", "b"]},
    "expect_column_distinct_values_to_equal_set": {"column": "n", "value_set": [0, 1]},
    "expect_column_most_common_value_to_be_in_set": {"column": "s", "value_set": ["a"], "ties_okay": True},
    "expect_column_min_to_be_between": {"column": "n", **BOUNDS},
    "expect_column_max_to_be_between": {"column": "x", **BOUNDS},
    "expect_column_max_to_be_recent": {"column": "at", "within": "P1D"},
    "expect_column_mean_to_be_between": {"column": "n", **BOUNDS},
    "expect_column_sum_to_be_between": {"column": "n", **BOUNDS},
    "expect_column_stdev_to_be_between": {"column": "n", "max_value": 1.1},
    "expect_column_median_to_be_between": {"column": "n", **BOUNDS},
    "expect_column_quantile_values_to_be_between": {
        "column": "n",
        "quantile_ranges": {"quantiles": [0.25, 0.9], "value_ranges": [[-1, 1], [None, 2]]},
    },
    "expect_column_value_z_scores_to_be_less_than": {"column": "x", "threshold": 1.1},
    "expect_column_values_to_be_increasing": {"column": "n", "strictly": True},
    "expect_column_values_to_be_decreasing": {"column": "at"},
    "expect_column_kl_divergence_to_be_less_than": {
        "column": "n",
        "partition_object": {"bins": [-3, 0, 1], "weights": [0.5, 0.5]},
        "threshold": 0.5,
        "tail_weight_holdout": 0.1,
    },
    "expect_column_proportion_of_non_null_values_to_be_between": {"column": "x", "min_value": 0.5},
    "expect_table_row_count_to_be_between": {"min_value": 1, "max_value": 8},
    "expect_table_row_count_to_equal": {"value": 5},
}
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from([-1.5, 0.0, 2.0, 3.5, math.nan]),
        st.none() | st.sampled_from(["", "a", "b", "é", "日本"]),
        st.none() | st.datetimes(),
    ),
    max_size=14,
)


def test_every_rule_on_a_run_is_held_to_it() -> None:
    kinds = RunRule | CountedRule | DistinctBetween | MostCommonInSet
    on_runs = {name for name, rule in COMPILED.items() if issubclass(rule, kinds)}
    assert on_runs == set(RULES)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules.compile([Expectation(type=name, kwargs=kwargs) for name, kwargs in RULES.items()], SCHEMA)


def judged(rules: Rules, parts: list[pa.Table]) -> Any:
    verdicts = {}
    for number, part in enumerate(parts):
        checker = rules.checker(KEY)
        for batch in part.to_batches(max_chunksize=3):
            checker.check(batch)
        verdicts[number] = Verdict.from_bytes(checker.verdict(0).to_bytes())
    return judge(rules, verdicts, Quarantine(), lambda number: iter(parts[number].to_batches()), KEY).told()


def cut(table: pa.Table, ends: list[int], empty: int) -> list[pa.Table]:
    places = [0, *sorted(ends), table.num_rows]
    parts = [table.slice(low, high - low) for low, high in pairwise(places)]
    parts.insert(empty, table.slice(0, 0))
    return parts


@pytest.mark.parametrize("partitions", [1, 2, 7])
@settings(max_examples=examples(10), deadline=None)
@given(rows=ROWS, data=st.data())
def test_a_verdict_does_not_depend_on_partitions(rules: Rules, partitions: int, rows: list[Any], data: Any) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    ends = data.draw(st.lists(st.integers(0, len(rows)), min_size=partitions - 1, max_size=partitions - 1))
    parts = cut(table, ends, data.draw(st.integers(0, partitions)))
    assert judged(rules, parts) == judged(rules, [table])
