"""Great Expectations itself is the second source: same rows, same counts, same verdict."""

import datetime as dt
import math
import re
import sqlite3
from collections import defaultdict
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, Telling, divergence, judge, observed
from importers.quality.gx import ROW_LEVEL
from importers.quality.vocabulary import COMPILED, OWN, UNSAID

pytestmark = pytest.mark.filterwarnings("ignore:Possible:FutureWarning")  # [a&&b] may be a set operation one day
KEY = b"k" * 32
NAN = math.nan
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime.fromisoformat("2024-02-29T12:00")

TEXTS = ["", "a", "ab", None, "ÄÖ", "日本語", "🎸", "a\nb", "A", "1", "a@b.example", "a\n", " a ", "é", "e\u0301"]
FILLED = pa.table(
    {
        "i": pa.array([0, 1, None, -5, 2**53 + 1, 7, 7, None, 10, 11, 3, 3, 2, 1, 0], pa.int64()),
        "j": pa.array([0, 2, None, -6, 2**53, None, 7, 4, 10, 12, 2, 3, 2, 1, None], pa.int64()),
        "k": pa.array([1, 2, None, -6, 5, None, 8, 4, 10, 13, 2, 4, 1, 1, None], pa.int64()),
        "whole": pa.array(range(15), pa.int32()),
        "f": pa.array([0.0, -0.0, NAN, None, 1.5, math.inf, -math.inf, 2.5, 1e300, 0.1, 3.0, 3.0, 7.0, 1.0, 2.0]),
        "s": TEXTS,
        "t": pa.array([*TEXTS[1:], "z"], pa.large_string()),
        "b": [True, False, None] * 5,
        "ts": [NOON + dt.timedelta(hours=h) if h % 4 else None for h in range(15)],
        "u": pa.array([NOON + dt.timedelta(hours=h) for h in range(15)], pa.timestamp("us", "UTC")),
        "d": [DAY + dt.timedelta(days=n) if n % 5 else None for n in range(15)],
        "dec": [Decimal(n) / 4 if n % 3 else None for n in range(15)],
        "json": ['{"n": 1}', "[]", None, '"x"', "{}"] * 3,
        "none": pa.array([None] * 15, pa.string()),
    }
)
TABLES = {
    "filled": FILLED,
    "empty": FILLED.slice(0, 0),
    "one null": FILLED.slice(3, 1),
    "only nulls": pa.table({name: pa.nulls(5, FILLED.schema.field(name).type) for name in FILLED.column_names}),
    "backwards and again": pa.concat_tables([FILLED.take(list(range(14, -1, -1))), FILLED]),
}

ROWWISE = [
    *(("column_values_to_not_be_null", {"column": c}) for c in FILLED.column_names),
    *(("column_values_to_be_null", {"column": c}) for c in FILLED.column_names),
    ("column_values_to_be_between", {"column": "i", "min_value": 0, "max_value": 7}),
    ("column_values_to_be_between", {"column": "i", "min_value": 0, "max_value": 7, "strict_min": True}),
    ("column_values_to_be_between", {"column": "i", "min_value": 0, "max_value": 7, "strict_max": True}),
    ("column_values_to_be_between", {"column": "i", "min_value": 0, "strict_min": True, "strict_max": True}),
    ("column_values_to_be_between", {"column": "i", "max_value": 2**53, "strict_max": True}),
    ("column_values_to_be_between", {"column": "i", "min_value": 0.5, "max_value": 7.5}),
    ("column_values_to_be_between", {"column": "f", "min_value": 0}),
    ("column_values_to_be_between", {"column": "f", "max_value": 1.5, "strict_max": True}),
    ("column_values_to_be_between", {"column": "f", "max_value": 1e300}),
    ("column_values_to_be_between", {"column": "ts", "min_value": "2024-02-29T15:00:00"}),
    ("column_values_to_be_between", {"column": "ts", "max_value": NOON, "strict_max": True}),
    ("column_values_to_be_between", {"column": "u", "max_value": "2024-02-29T15:00:00+02:00"}),
    ("column_values_to_be_between", {"column": "d", "min_value": DAY, "max_value": dt.date(2024, 3, 5)}),
    ("column_values_to_be_between", {"column": "dec", "min_value": 1, "max_value": 2.5}),
    ("column_values_to_be_in_set", {"column": "i", "value_set": [0, 7, None]}),
    ("column_values_to_be_in_set", {"column": "i", "value_set": [1.0, 2.5]}),
    ("column_values_to_be_in_set", {"column": "i", "value_set": []}),
    ("column_values_to_be_in_set", {"column": "f", "value_set": [0, 1.5]}),
    ("column_values_to_be_in_set", {"column": "s", "value_set": ["a", "日本語", "é"]}),
    ("column_values_to_be_in_set", {"column": "s", "value_set": ["a", "日本語", "é", "x" * 13]}),
    ("column_values_to_be_in_set", {"column": "b", "value_set": [True]}),
    ("column_values_to_be_in_set", {"column": "d", "value_set": [dt.date(2024, 3, 1)]}),
    ("column_values_to_be_in_set", {"column": "dec", "value_set": [Decimal("0.5"), Decimal("0.254"), 1e300, 10**40]}),
    ("column_values_to_not_be_in_set", {"column": "i", "value_set": [0, 7, 2**70]}),
    ("column_values_to_not_be_in_set", {"column": "s", "value_set": ["a", ""]}),
    ("column_values_to_match_regex", {"column": "s", "regex": "^[a-z]"}),
    ("column_values_to_match_regex", {"column": "s", "regex": "@"}),
    ("column_values_to_match_regex", {"column": "s", "regex": "^.$"}),
    ("column_values_to_match_regex", {"column": "whole", "regex": "^1"}),
    ("column_values_to_match_regex", {"column": "s", "regex": "a(?!b)"}),
    ("column_values_to_match_regex", {"column": "s", "regex": "^a$"}),
    ("column_values_to_match_regex", {"column": "s", "regex": r"^\w+$"}),
    ("column_values_to_match_regex", {"column": "s", "regex": "[a&&b]"}),
    ("column_values_to_not_match_regex", {"column": "s", "regex": "[a-z--b]"}),
    ("column_values_to_not_match_regex", {"column": "s", "regex": "a"}),
    ("column_values_to_not_match_regex", {"column": "t", "regex": "(?i)A$"}),
    ("column_values_to_match_regex_list", {"column": "s", "regex_list": ["^a", "b$"]}),
    ("column_values_to_match_regex_list", {"column": "s", "regex_list": ["^a", "b$"], "match_on": "all"}),
    ("column_values_to_not_match_regex_list", {"column": "s", "regex_list": ["^a", "1"]}),
    ("column_value_lengths_to_be_between", {"column": "s", "min_value": 1, "max_value": 2}),
    ("column_value_lengths_to_be_between", {"column": "s", "min_value": 1, "strict_min": True}),
    ("column_value_lengths_to_be_between", {"column": "whole", "max_value": 1}),
    ("column_value_lengths_to_be_between", {"column": "s", "min_value": 0, "max_value": 3, "strict_max": True}),
    ("column_value_lengths_to_equal", {"column": "s", "value": 1}),
    *(
        ("column_pair_values_a_to_be_greater_than_b", {"column_A": "i", "column_B": "j"} | more)
        for more in (
            {},
            {"or_equal": True},
            {"ignore_row_if": "either_value_is_missing"},
            {"ignore_row_if": "neither", "or_equal": True},
        )
    ),
    ("column_pair_values_a_to_be_greater_than_b", {"column_A": "i", "column_B": "f"}),
    *(
        ("column_pair_values_to_be_equal", {"column_A": a, "column_B": b} | more)
        for a, b in (("i", "j"), ("s", "t"), ("i", "f"))
        for more in ({}, {"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})
    ),
    *(
        ("select_column_values_to_be_unique_within_record", {"column_list": ["i", "j", "k"]} | more)
        for more in ({}, {"ignore_row_if": "any_value_is_missing"}, {"ignore_row_if": "never"})
    ),
    ("column_values_to_be_json_parseable", {"column": "s"}),
    ("column_values_to_be_dateutil_parseable", {"column": "s"}),
    ("column_values_to_match_strftime_format", {"column": "s", "strftime_format": "%d"}),
    ("column_values_to_match_json_schema", {"column": "json", "json_schema": {"type": "object"}}),
    (
        "column_pair_values_to_be_in_set",
        {"column_A": "s", "column_B": "t", "value_pairs_set": [("a", "ab"), ("", "a")]},
    ),
    *(
        ("column_pair_values_to_be_in_set", {"column_A": a, "column_B": b, "value_pairs_set": pairs} | more)
        for a, b, pairs in (
            ("s", "t", [("a", "ab"), ("a", "x"), ("日本語", "🎸"), (None, "ÄÖ"), ("é", None)]),
            ("i", "j", [(0, 0), (7.0, None), (None, None), (None, 4), (3, 2)]),
            ("b", "whole", []),
        )
        for more in ({}, {"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})
    ),
    *(
        (type_, {"column_list": columns} | said | more)
        for type_, columns, said in (
            ("multicolumn_sum_to_equal", ["whole", "j"], {"sum_total": 3}),
            ("multicolumn_sum_to_equal", ["whole", "i", "k"], {"sum_total": 4.0}),
            ("multicolumn_sum_to_equal", ["whole", "f"], {"sum_total": 8.5}),
            ("multicolumn_sum_to_equal", ["dec", "whole"], {"sum_total": 6.25}),
            ("multicolumn_values_to_be_equal", ["whole", "i"], {}),
            ("multicolumn_values_to_be_equal", ["i", "j", "k"], {}),
            ("multicolumn_values_to_be_equal", ["s", "t", "none"], {}),
        )
        for more in ({}, {"ignore_row_if": "any_value_is_missing"}, {"ignore_row_if": "never"})
    ),
]
CONDITIONS = [
    *(f'col("whole") {operator} 7' for operator in ("==", "!=", "<", "<=", ">", ">=")),
    'col("whole") < 6.5',
    'col("whole") > -1',
    'col("whole") == 2.5',
    'col("f") != 3.0',
    'col("f") >= +1.5e0',
    'col("s") == "a"',
    "col(\"s\") != 'a'",
    'col("s").notnull()',
    'col("f").NotNull()',
    'col("i").notnull()',
    'col("ts") > "2024-02-29T15:00:00"',
    {"type": "nullity", "column": {"name": "s"}, "is_null": True},
    {"type": "comparison", "column": {"name": "s"}, "operator": "NOT_IN", "parameter": ["a", "ab", "日本語"]},
    {"type": "comparison", "column": {"name": "whole"}, "operator": "IN", "parameter": [0, 3.0, 14, 99]},
    {"type": "comparison", "column": {"name": "whole"}, "operator": "IN", "parameter": []},
    *(
        {
            "type": type_,
            "conditions": [
                {"type": "comparison", "column": {"name": "whole"}, "operator": ">", "parameter": 3},
                {"type": "comparison", "column": {"name": "f"}, "operator": "!=", "parameter": 3.0},
                {"type": "nullity", "column": {"name": "j"}, "is_null": False},
            ],
        }
        for type_ in ("and", "or")
    ),
]
UNIQUE = [
    ("column_values_to_be_unique", {"column": "i"}),
    ("column_values_to_be_unique", {"column": "f"}),
    ("column_values_to_be_unique", {"column": "s"}),
    ("column_values_to_be_unique", {"column": "ts"}),
    ("column_values_to_be_unique", {"column": "b"}),
    ("column_values_to_be_unique", {"column": "d"}),
    ("compound_columns_to_be_unique", {"column_list": ["i", "j"]}),
    ("compound_columns_to_be_unique", {"column_list": ["b", "i"], "ignore_row_if": "any_value_is_missing"}),
    ("compound_columns_to_be_unique", {"column_list": ["b", "i"], "ignore_row_if": "never"}),
    ("compound_columns_to_be_unique", {"column_list": ["b", "none"]}),
]
RUNWIDE = [
    ("table_row_count_to_be_between", {"min_value": 1, "max_value": 15}),
    ("table_row_count_to_be_between", {"min_value": 15, "strict_min": True}),
    ("table_row_count_to_equal", {"value": 15}),
    ("column_min_to_be_between", {"column": "i", "min_value": -5}),
    ("column_min_to_be_between", {"column": "i", "min_value": -5, "strict_min": True}),
    ("column_max_to_be_between", {"column": "i", "max_value": 2**53 + 2}),
    ("column_max_to_be_between", {"column": "i", "max_value": 2**53 - 2}),
    ("column_max_to_be_between", {"column": "ts", "max_value": "2024-03-01T02:00:00"}),
    ("column_max_to_be_between", {"column": "ts", "max_value": "2024-03-01T01:59:59"}),
    ("column_mean_to_be_between", {"column": "j", "min_value": 6.9e14, "max_value": 7.6e14}),
    ("column_mean_to_be_between", {"column": "whole", "min_value": 7, "max_value": 7}),
    ("column_mean_to_be_between", {"column": "whole", "min_value": 7, "strict_min": True}),
    ("column_sum_to_be_between", {"column": "whole", "min_value": 105, "max_value": 105}),
    ("column_sum_to_be_between", {"column": "whole", "max_value": 104.5}),
    ("column_proportion_of_non_null_values_to_be_between", {"column": "i", "min_value": 13 / 15}),
    ("column_proportion_of_non_null_values_to_be_between", {"column": "f", "min_value": 14 / 15}),
    ("column_unique_value_count_to_be_between", {"column": "i", "min_value": 9, "max_value": 9}),
    ("column_unique_value_count_to_be_between", {"column": "i", "min_value": 10}),
    ("column_unique_value_count_to_be_between", {"column": "f", "max_value": 11}),
    ("column_proportion_of_unique_values_to_be_between", {"column": "i", "max_value": 9 / 13}),
    ("column_proportion_of_unique_values_to_be_between", {"column": "i", "min_value": 0.7}),
    *(
        ("column_stdev_to_be_between", {"column": "whole"} | more)
        for more in (
            {"min_value": 4.47, "max_value": 4.48},
            {"min_value": 4.48},
            {"max_value": 4.47},
            {"min_value": 0, "strict_min": True},
        )
    ),
    ("column_stdev_to_be_between", {"column": "j", "max_value": 2.4e15}),
    *(
        ("column_median_to_be_between", {"column": column} | more)
        for column in ("i", "j", "whole", "dec")
        for more in (
            {"min_value": 2, "max_value": 2},
            {"min_value": 3, "strict_min": True},
            {"max_value": 7, "strict_max": True},
            {"min_value": 7, "max_value": 7},
            {"max_value": 1.75},
        )
    ),
    *(
        (
            "column_quantile_values_to_be_between",
            {"column": column, "quantile_ranges": {"quantiles": quantiles, "value_ranges": ranges}} | more,
        )
        for column, quantiles, ranges, kinds in (
            ("i", [0.0, 0.5, 1.0], [[-5, 0], [2, 3], [None, 2**54]], [False]),
            ("whole", [0.0, 1.0], [[0, None], [14.0001, 14.01]], [False]),
            ("whole", [0.1], [[1.3999, 1.3999]], [False, "linear"]),
            ("k", [0.1, 0.25, 0.75], [[0.4, 1.4], [1, 3.5], [7, 10.5]], [False]),
            ("whole", [0.1, 0.25], [[1, 1.4], [3.5, 3.5]], ["linear", "lower", "higher", "midpoint"]),
        )
        for more in ({} if kind is False else {"allow_relative_error": kind} for kind in kinds)
    ),
    *(
        (type_, {"column": column, "value_set": value_set})
        for type_ in (
            "column_distinct_values_to_be_in_set",
            "column_distinct_values_to_contain_set",
            "column_distinct_values_to_equal_set",
            "column_most_common_value_to_be_in_set",
        )
        for column, value_set in (
            ("b", [True]),
            ("b", [True, False]),
            ("i", [0, 1, -5, 2**53 + 1, 7, 10, 11, 3, 2]),
            ("i", [0, 1, 7]),
            ("i", [0.5, 1]),
            ("f", [3.0, 99]),
            ("f", [3.0, 0]),
            ("s", ["日本語", "é"]),
            ("none", ["x"]),
        )
    ),
    *(
        ("column_most_common_value_to_be_in_set", {"column": column, "value_set": value_set, "ties_okay": True})
        for column, value_set in (("i", [0, 99]), ("b", [True, False]), ("s", ["a"]), ("s", ["日本語", "é"]))
    ),
    ("table_column_count_to_equal", {"value": 14}),
    ("table_column_count_to_equal", {"value": 13}),
    ("table_column_count_to_be_between", {"min_value": 14, "max_value": 14}),
    ("table_column_count_to_be_between", {"max_value": 13}),
    ("table_columns_to_match_ordered_list", {"column_list": FILLED.column_names}),
    ("table_columns_to_match_ordered_list", {"column_list": FILLED.column_names[::-1]}),
    *(
        ("table_columns_to_match_set", {"column_set": columns} | more)
        for columns in (FILLED.column_names[::-1], ["i", "j"], ["i", "nowhere"])
        for more in ({}, {"exact_match": True}, {"exact_match": False})
    ),
    ("column_to_exist", {"column": "i"}),
    ("column_to_exist", {"column": "nowhere"}),
    ("column_to_exist", {"column": "j", "column_index": 1}),
    ("column_to_exist", {"column": "j", "column_index": 2}),
    ("column_values_to_be_of_type", {"column": "whole", "type_": "int32"}),
    ("column_values_to_be_of_type", {"column": "whole", "type_": "int64"}),
    ("column_values_to_be_of_type", {"column": "f", "type_": "float64"}),
    ("column_values_to_be_of_type", {"column": "f", "type_": "float"}),
    ("column_values_to_be_of_type", {"column": "s", "type_": "str"}),
    ("column_values_to_be_in_type_list", {"column": "f", "type_list": ["int64", "float"]}),
    ("column_values_to_be_in_type_list", {"column": "f", "type_list": ["int64", "str"]}),
    ("column_type_to_be", {"column": "f", "type_": "float64"}),
    ("column_type_to_be", {"column": "f", "type_": "int64"}),
]
KL = "column_kl_divergence_to_be_less_than"
EVENLY = {"bins": [0, 5, 10, 14], "weights": [5 / 15, 5 / 15, 5 / 15]}
DIVERGING = [
    *(
        (KL, {"column": column, "partition_object": expected, "threshold": threshold} | more)
        for column, expected, more in (
            ("whole", EVENLY, {}),
            ("whole", {"bins": [0, 5, 10, 14], "weights": [0.2, 0.5, 0.3]}, {}),
            ("whole", {"bins": [2, 5, 10], "weights": [0.2, 0.5], "tail_weights": [0.1, 0.2]}, {}),
            ("whole", {"bins": [2, 5, 10], "weights": [0.4, 0.6]}, {}),
            ("whole", {"bins": [2, 5, 10], "weights": [0.4, 0.6]}, {"tail_weight_holdout": 0.3}),
            ("whole", {"bins": [2, 5, 10, 12], "weights": [0.4, 0.6, 0]}, {"internal_weight_holdout": 0.1}),
            ("whole", {"bins": [2, 5, 10, 12], "weights": [0.4, 0.6, 0]}, {"tail_weight_holdout": 0.2}),
            ("f", {"bins": [-math.inf, 1, 3, math.inf], "weights": [0.2, 0.5, 0.3]}, {}),
            ("f", {"bins": [-math.inf, 1, 3], "weights": [0.4, 0.6]}, {"tail_weight_holdout": 0.2}),
            ("f", {"bins": [1, 3, math.inf], "weights": [0.4, 0.6]}, {"tail_weight_holdout": 0.2}),
            ("f", {"bins": [0, 3], "weights": [1]}, {}),
            ("b", {"values": [True, False], "weights": [0.5, 0.5]}, {}),
            ("b", {"values": [True, False], "weights": [0.9, 0.1]}, {}),
            ("b", {"values": [True], "weights": [1]}, {}),
            ("json", {"values": ['{"n": 1}', "[]", '"x"', "{}", "日本"], "weights": [0.2] * 5}, {}),
            ("i", {"values": [0, 1, -5, 2**53 + 1, 7, 10, 11, 3, 2], "weights": [1 / 9] * 9}, {}),
            ("none", {"values": ["x"], "weights": [1]}, {}),
        )
        for threshold in (0.02, 0.6)
    ),
]
Z = "column_value_z_scores_to_be_less_than"
COUNTED = [
    *(
        (Z, {"column": column, "threshold": threshold, "double_sided": both}, mostly)
        for column, threshold, both, mostly in (
            ("whole", 0.5, True, None),
            ("whole", 1.4, True, 0.6),
            ("whole", 1.4, False, None),
            ("k", 1.4, True, None),
            ("j", 3.0, False, 0.95),
            ("f", 0.1, True, None),
        )
    ),
    *(
        (f"column_values_to_be_{way}", {"column": column} | more, mostly)
        for way in ("increasing", "decreasing")
        for column, more, mostly in (
            ("i", {}, 0.5),
            ("f", {}, None),
            ("k", {"strictly": True}, None),
            ("dec", {"strictly": False}, None),
            ("ts", {}, 0.7),
            ("u", {"strictly": True}, None),
        )
    ),
]
SPEAK_OF_NO_ROWS = (
    "expect_table",
    "expect_column_to_exist",
    "expect_column_unique_value_count",
    "expect_column_values_to_be",
)


@pytest.fixture(scope="module")
def peer():
    """Great Expectations' results for expectations on a table, all of them in one go."""
    gx = pytest.importorskip("great_expectations")
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    rows = context.data_sources.add_pandas("p").add_dataframe_asset("p").add_batch_definition_whole_dataframe("p")

    def judged(table: pa.Table, expectations: list[Expectation]) -> list:
        frame = table.to_pandas(integer_object_nulls=True) if table.num_rows else table.to_pandas()
        batch = rows.get_batch(batch_parameters={"dataframe": frame.astype({"f": "float64"})})
        theirs, together = {}, gx.ExpectationSuite(name="s")
        for number, wanted in enumerate(expectations):
            more = {} if wanted.mostly is None else {"mostly": wanted.mostly}
            one = get_expectation_impl(wanted.type)(**wanted.kwargs, **more, meta={"number": number})
            if "quantile_ranges" in wanted.kwargs:
                theirs[number] = batch.validate(one, result_format="COMPLETE")  # in a suite it mixes such ones up
            else:
                together.expectations.append(one)
        for result in batch.validate(together, result_format="COMPLETE").results if together.expectations else ():
            theirs[result.expectation_config.meta["number"]] = result
        return [theirs[number] for number in range(len(expectations))]

    return judged


def expectation(type_: str, kwargs: dict, mostly: float | None = None) -> Expectation:
    return Expectation(type=f"expect_{type_}", kwargs=kwargs, mostly=mostly)


def checked(table: pa.Table, *wanted: Expectation):
    """The bad rows' numbers by rule, and the judgement, the table cut in two partitions of uneven batches."""
    rules = Rules.compile(wanted, table.schema)
    cut = table.num_rows // 3
    halves, starts = {0: table.slice(0, cut), 4: table.slice(cut)}, {0: 0, 4: cut}
    verdicts, bad = {}, {labelled.label: [] for labelled in rules.rules}

    def note(start: int, rows, broken: pa.ListArray) -> None:
        for row, labels in zip(rows, broken.to_pylist(), strict=True):
            for label in labels:
                bad[label].append(start + int(row))

    for number, half in halves.items():
        checker, seen = rules.checker(KEY), 0
        for batch in half.to_batches(max_chunksize=4):
            found = checker.check(batch)
            note(starts[number] + seen, np.flatnonzero(found.bad), found.broken)
            seen += batch.num_rows
        verdicts[number] = checker.verdict(0)
        assert {starts[number] + int(row) for row in verdicts[number].bad_rows} == {
            row for rows in bad.values() for row in rows if row >= starts[number]
        }
    judgement = judge(
        rules,
        verdicts,
        Quarantine(max_fraction=1.0),
        lambda n: iter(halves[n].to_batches(max_chunksize=3)),
        KEY,
        telling=Telling(table.column_names, of_persons=False),
    )
    for number, extra in judgement.extra_bad.items():
        note(starts[number], extra.rows, extra.broken)
    return {label: sorted(rows) for label, rows in bad.items()}, judgement


def alone(table: pa.Table, wanted: Expectation):
    """The bad rows' numbers and the judgement of one rule."""
    bad, judgement = checked(table, wanted)
    return bad[wanted.label], judgement


def by_type(cases: list[tuple[str, dict]]) -> dict[str, list[Expectation]]:
    found = defaultdict(list)
    for type_, kwargs in cases:
        found[type_].append(expectation(type_, kwargs))
    return found


def labels(wanted: list[Expectation]) -> list[str]:
    """How a judgement of all of them together tells them apart."""
    return [labelled.label for labelled in Rules.compile(wanted, FILLED.schema).rules]


@pytest.fixture(scope="module")
def both(peer):
    """What Great Expectations and the rules say of all cases of a kind on a table; each is asked once for a table."""

    @cache
    def judged(name: str, kind: str):
        wanted = [expectation(*case) for case in {"rows": ROWWISE, "run": RUNWIDE}[kind]]
        return list(zip(wanted, labels(wanted), peer(TABLES[name], wanted), strict=True)), checked(
            TABLES[name], *wanted
        )

    return judged


def same_rows(bad: list[int], counts: dict, theirs, one: Expectation) -> None:
    assert not theirs.exception_info.get("exception_message"), theirs.exception_info
    assert bad == sorted(theirs.result.get("unexpected_index_list") or []), one
    assert counts["unexpected"] == theirs.result["unexpected_count"], one
    assert counts["evaluated"] == theirs.result["element_count"] - theirs.result.get("missing_count", 0), one


# Row by row, the last table says all that the first and the row alone say: it has their rows, twice.
@pytest.mark.parametrize("name", ["backwards and again", "only nulls", "empty"])
@pytest.mark.parametrize("type_", by_type(ROWWISE))
def test_the_same_rows_are_bad(both, name, type_):
    cases, (bad, judgement) = both(name, "rows")
    for one, label, theirs in cases:
        if one.type == f"expect_{type_}":
            same_rows(bad[label], judgement.counts()["rules"][label], theirs, one)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("wanted", by_type(UNIQUE).values(), ids=by_type(UNIQUE))
def test_the_same_rows_have_a_key_that_others_have(peer, table, wanted):
    for one, theirs in zip(wanted, peer(table, wanted), strict=True):
        bad, judgement = alone(table, one)
        same_rows(bad, judgement.counts()["rules"][one.label], theirs, one)


@pytest.mark.parametrize("mostly", [0.0, 0.5, 0.6, 8 / 13, 0.75, 0.8, 13 / 15, 1.0])
@pytest.mark.parametrize(
    ("type_", "kwargs"),
    [
        ("column_values_to_be_between", {"column": "i", "min_value": 2}),
        ("column_values_to_not_be_null", {"column": "f"}),
        ("column_values_to_be_unique", {"column": "i"}),
        ("column_pair_values_to_be_equal", {"column_A": "i", "column_B": "j"}),
        ("column_values_to_be_json_parseable", {"column": "s"}),
    ],
)
def test_mostly_is_the_same_fraction(peer, type_, kwargs, mostly):
    wanted = expectation(type_, kwargs, mostly)
    assert bool(peer(FILLED, [wanted])[0].success) == (not alone(FILLED, wanted)[1].failures)


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        pytest.param(type_, name, id=f"{type_} {name}")
        for type_ in by_type(RUNWIDE)
        for name, table in TABLES.items()
        # of no rows we say less, on purpose (test_gate); of nothing but nulls pandas knows no type
        if (table.num_rows or f"expect_{type_}".startswith(SPEAK_OF_NO_ROWS))
        and not (name == "only nulls" and "type" in type_)
    ],
)
def test_the_run_gets_the_same_verdict(both, type_, name):
    cases, (_, judgement) = both(name, "run")
    failed = {failure.label for failure in judgement.failures}
    for one, label, theirs in cases:
        if one.type == f"expect_{type_}":
            assert not theirs.exception_info.get("exception_message"), theirs.exception_info
            assert bool(theirs.success) == (label not in failed), one


def test_what_a_rule_says_that_it_saw_is_what_great_expectations_observed(peer, monkeypatch):
    monkeypatch.setattr(observed, "FEWEST", 1)
    table = TABLES["backwards and again"]
    kinds = ("mean", "sum", "stdev", "min", "max", "proportion_of_non_null_values", "unique_value_count")
    wanted = [expectation(f"column_{kind}_to_be_between", {"column": "whole", "min_value": 0}) for kind in kinds]
    _, judgement = checked(table, *wanted)
    for one, theirs in zip(wanted, peer(table, wanted), strict=True):
        said = re.match(r"[\d.]+", judgement.observed[one.label])
        assert float(said[0]) == pytest.approx(float(theirs.result["observed_value"])), one


@pytest.mark.parametrize(("kind", "told"), [("us", "10000-01-01 00:00:00"), ("ms", "10000-01-01 00:00:00.123000")])
def test_a_moment_beyond_those_that_python_has_is_told(monkeypatch, kind, told):
    monkeypatch.setattr(observed, "FEWEST", 1)
    moment = {"us": 253402300800000000, "ms": 253402300800123}[kind]
    table = pa.table({"x": pa.array([moment], pa.timestamp(kind))})
    one = expectation("column_max_to_be_between", {"column": "x", "min_value": "2020-01-01"})
    _, judgement = checked(table, one)
    assert judgement.failures == ()
    assert judgement.observed[one.label].startswith(told)


PRECISE = {
    "long": (pa.decimal128(38, 0), [10**20 + n for n in range(9)]),
    "fine": (pa.decimal128(38, 10), [10**20 + Decimal(n) / 10**10 for n in range(9)]),
    "signed": (pa.decimal128(38, 0), [n * (2**64 - 1) - 1 for n in range(9)]),  # -1 is 2⁶⁴ - 1 to 64 bits
    "unsigned": (pa.uint64(), [2**64 - 9 + n for n in range(9)]),
    "big": (pa.int64(), [2**53 + n for n in range(9)]),
}


def precise(kind: str) -> pa.Table:
    """Nine values, the second of which is there twice."""
    type_, values = PRECISE[kind]
    return pa.table({"x": pa.array([*values[:2], *values[1:]], type_), "f": [0.0] * 10})


@pytest.mark.parametrize("kind", PRECISE)
def test_numbers_are_told_apart_that_a_double_does_not_tell_apart(peer, kind):
    values = PRECISE[kind][1]
    cases = [
        *(("unique_value_count_to_be_between", {"min_value": n, "max_value": n}) for n in (8, 9)),
        ("proportion_of_unique_values_to_be_between", {"max_value": 0.8}),
        *(
            (f"values_to_be_{way}", {"strictly": strictly})
            for way in ("increasing", "decreasing")
            for strictly in (False, True)
        ),
        *(("most_common_value_to_be_in_set", {"value_set": [values[n]]}) for n in (1, 2)),
        *(("distinct_values_to_equal_set", {"value_set": values[:n]}) for n in (8, 9)),
        ("distinct_values_to_contain_set", {"value_set": [values[3], values[-1] + 1]}),
        ("values_to_be_in_set", {"value_set": values[2:4]}),
        ("values_to_not_be_in_set", {"value_set": values[2:4]}),
        ("values_to_be_unique", {}),
    ]
    wanted = [expectation(f"column_{type_}", {"column": "x"} | said) for type_, said in cases]
    for one, theirs in zip(wanted, peer(precise(kind), wanted), strict=True):
        bad, judgement = alone(precise(kind), one)
        assert not theirs.exception_info.get("exception_message"), theirs.exception_info
        assert bool(theirs.success) == (not judgement.failures and not bad), one
        if one.type.startswith("expect_column_values"):
            assert judgement.counts()["rules"][one.label]["unexpected"] == theirs.result["unexpected_count"], one


@pytest.mark.parametrize("kind", PRECISE)
def test_bounds_are_what_was_written(kind):
    """Great Expectations takes them for doubles, and adds up decimals as such."""
    values, table = PRECISE[kind][1], precise(kind)
    rows = [*values[:2], *values[1:]]

    def says(type_: str, **said) -> tuple[bool, list[int]]:
        bad, judgement = alone(table, expectation(f"column_{type_}_to_be_between", {"column": "x"} | said))
        return not judgement.failures, bad

    for end in values[3], Decimal(values[3]) + Decimal("0.00001"):
        assert says("values", min_value=end) == (True, [n for n, x in enumerate(rows) if not x >= end])
        assert says("values", max_value=end, strict_max=True) == (True, [n for n, x in enumerate(rows) if not x < end])
    median = (Fraction(rows[4]) + Fraction(rows[5])) / 2
    for step in -1, 0, 1:
        assert says("max", max_value=values[-1] + step)[0] == (step >= 0)
        assert says("min", min_value=values[0] + step)[0] == (step <= 0)
        assert says("sum", max_value=sum(map(Fraction, rows)) // 1 + step)[0] == (
            sum(map(Fraction, rows)) // 1 + step >= sum(map(Fraction, rows))
        )
        middle = Decimal(values[4]) + step
        assert says("median", max_value=middle)[0] == (Fraction(middle) >= median)
        assert says("median", min_value=middle)[0] == (Fraction(middle) <= median)


def test_a_float_is_what_was_written_beside_decimals():
    tenths = pa.table({"x": pa.array([Decimal("0.1")] * 10, pa.decimal128(38, 20)), "f": [0.0] * 10})
    for type_, at in (("max", 0.1), ("min", 0.1), ("median", 0.1), ("sum", 1.0), ("mean", 0.1)):
        one = expectation(f"column_{type_}_to_be_between", {"column": "x", "min_value": at, "max_value": at})
        assert not alone(tenths, one)[1].failures
    within = {"column": "x", "min_value": 0.1, "max_value": 0.1, "row_condition": 'col("x") >= 0.1'}
    _, judgement = alone(tenths, expectation("column_values_to_be_between", within))
    assert judgement.counts()["rules"]["expect_column_values_to_be_between(x)"] == {"evaluated": 10, "unexpected": 0}


@pytest.mark.parametrize("far", [1e300, -1e300, 10**400, -(10**400), 2**127, Decimal("1E300"), math.inf, 1e38, -1e38])
def test_a_bound_beyond_all_that_a_type_holds_is_one(far):
    for kind in PRECISE:
        bad, _ = alone(precise(kind), expectation("column_values_to_be_between", {"column": "x", "max_value": far}))
        assert len(bad) == (0 if far > 0 else 10), kind


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["filled", "only nulls"])
def test_the_distribution_is_as_far_from_what_is_expected(peer, name, monkeypatch):
    monkeypatch.setattr(divergence, "FEWEST", 1)
    table = TABLES[name]
    wanted = [expectation(*case) for case in DIVERGING]
    _, judgement = checked(table, *wanted)
    failed = {failure.label for failure in judgement.failures}
    for one, label, theirs in zip(wanted, labels(wanted), peer(table, wanted), strict=True):
        assert not theirs.exception_info.get("exception_message"), theirs.exception_info
        assert bool(theirs.success) == (label not in failed), one
        found = judgement.divergences.get(label)
        assert (found is None) == (name == "only nulls" or one.kwargs["column"] == "none")
        if found is not None:
            seen = theirs.result["observed_value"]
            assert found.nats == (math.inf if seen is None else pytest.approx(seen, abs=1e-12))
            for which, cells in (("observed", 1), ("expected", 2)):
                told = theirs.result["details"][f"{which}_partition"]
                below, above = told.get("tail_weights", (0, 0))
                shares = [share for share in (below, *told["weights"], above) if share]
                assert [cell[cells] for cell in found.cells if cell[cells]] == pytest.approx(shares)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["only nulls", "backwards and again"])
def test_as_many_values_break_what_only_the_run_can_judge(peer, name):
    table, wanted = TABLES[name], [expectation(*case) for case in COUNTED]
    bad, judgement = checked(table, *wanted)
    failed = {failure.label for failure in judgement.failures}
    counts = judgement.counts()["rules"]
    for one, label, theirs in zip(wanted, labels(wanted), peer(table, wanted), strict=True):
        assert not theirs.exception_info.get("exception_message"), theirs.exception_info
        assert counts[label]["unexpected"] == theirs.result["unexpected_count"], one
        assert counts[label]["evaluated"] == theirs.result["element_count"] - theirs.result["missing_count"], one
        assert bool(theirs.success) == (label not in failed), one
        assert not bad[label]


CONDITIONAL = [
    ("column_values_to_not_be_null", {"column": "i"}),
    ("column_values_to_be_between", {"column": "whole", "min_value": 2, "max_value": 11}),
    ("column_pair_values_to_be_equal", {"column_A": "i", "column_B": "j"}),
    ("select_column_values_to_be_unique_within_record", {"column_list": ["i", "j", "k"]}),
    ("column_values_to_be_json_parseable", {"column": "s"}),
    ("column_values_to_be_unique", {"column": "k"}),
    ("compound_columns_to_be_unique", {"column_list": ["b", "k"]}),
    ("table_row_count_to_equal", {"value": 4}),
    ("column_min_to_be_between", {"column": "whole", "min_value": 3}),
    ("column_mean_to_be_between", {"column": "whole", "max_value": 7}),
    ("column_stdev_to_be_between", {"column": "whole", "max_value": 3}),
    ("column_median_to_be_between", {"column": "whole", "max_value": 7}),
    ("column_proportion_of_non_null_values_to_be_between", {"column": "s", "min_value": 0.9}),
    ("column_unique_value_count_to_be_between", {"column": "k", "max_value": 3}),
    ("column_distinct_values_to_contain_set", {"column": "whole", "value_set": [4, 5]}),
    ("column_most_common_value_to_be_in_set", {"column": "b", "value_set": [True], "ties_okay": True}),
]


@pytest.mark.filterwarnings(
    "ignore:.*row_condition.*:DeprecationWarning", "ignore:The condition_parser:DeprecationWarning"
)
@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=map(str, CONDITIONS))
def test_a_rule_is_about_the_rows_that_its_condition_names(peer, number):
    """For each kind of rule: those on rows, on keys, on the run, and those that Great Expectations judges itself.

    Each condition meets five of them, each of them at least six conditions.
    """
    condition = CONDITIONS[number]
    said = {"row_condition": condition} | (
        {"condition_parser": "great_expectations"} if isinstance(condition, str) else {}
    )
    chosen = [CONDITIONAL[(5 * number + more) % len(CONDITIONAL)] for more in range(5)]
    wanted = [expectation(type_, kwargs | said) for type_, kwargs in chosen]
    for one, theirs in zip(wanted, peer(FILLED, wanted), strict=True):
        bad, judgement = alone(FILLED, one)
        assert not theirs.exception_info.get("exception_message"), theirs.exception_info
        counts = judgement.counts()["rules"][one.label]
        if "unexpected_count" in theirs.result:
            same_rows(bad, counts, theirs, one)
        elif counts["evaluated"] or "count" in one.type:  # of no rows we say less, on purpose
            assert bool(theirs.success) == (not judgement.failures), one


LIKES = [
    "a%",
    "%",
    "_",
    "a_",
    "%b%",
    "",
    "A",
    r"a\_",
    r"\%%",
    "%é",
    "_本%",
    "a\nb",
    "%\n%",
    " a ",
    "%.%",
    "[a-z]",
    "^a$",
]


@pytest.mark.parametrize("escape", ["\\", "!"])
@pytest.mark.parametrize("pattern", LIKES)
def test_like_is_what_a_database_finds(pattern, escape):
    """Great Expectations leaves LIKE to a database; SQLite's, told to mind the case, is PostgreSQL's."""
    texts = [*TEXTS, "a_", "a%", "%", "%x", r"a\_", "a!_", "a.b", "[a-z]", "^a$"]
    pattern = pattern.replace("\\", escape)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("pragma case_sensitive_like = on")
        theirs = [database.execute("select ? like ? escape ?", (t, pattern, escape)).fetchone()[0] for t in texts]
    table = pa.table({"s": texts})
    for type_, found in (("match", 0), ("not_match", 1)):
        said = {"column": "s", "escape": escape}
        one = expectation(f"column_values_to_{type_}_like_pattern", said | {"like_pattern": pattern})
        several = expectation(f"column_values_to_{type_}_like_pattern_list", said | {"like_pattern_list": [pattern]})
        bad = [place for place, like in enumerate(theirs) if like == found]
        assert alone(table, one)[0] == alone(table, several)[0] == bad


@pytest.mark.parametrize(
    ("type_", "more", "bad"),
    [
        ("match", {}, ["b"]),
        ("match", {"match_on": "all"}, ["a", "b", "ba"]),
        ("not_match", {}, ["a", "ab", "ba"]),
    ],
)
def test_of_several_like_patterns_any_or_all_or_none(type_, more, bad):
    texts = ["a", "b", "ab", "ba", None]
    said = {"column": "s", "like_pattern_list": ["a%", "%a", "%ab"][: 2 if more else 3]} | more
    if more:
        said["like_pattern_list"] = ["a%", "%b"]
    rows, _ = alone(pa.table({"s": texts}), expectation(f"column_values_to_{type_}_like_pattern_list", said))
    assert [texts[row] for row in rows] == bad


def test_every_type_of_great_expectations_is_judged_or_refused_and_every_judged_one_is_held_to_it(peer):
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    theirs = set(list_registered_expectation_implementations())
    judged = {*COMPILED, *ROW_LEVEL} - {*OWN}
    assert judged | set(UNSAID) == theirs
    assert not judged & set(UNSAID)
    held = {f"expect_{type_}" for type_, *_ in [*ROWWISE, *UNIQUE, *RUNWIDE, *DIVERGING, *COUNTED]}
    assert {name for name in judged - held if "like_pattern" not in name} == set()


def test_an_integer_column_with_nulls_is_compared_exactly():
    """pandas makes floats of such a column, and Great Expectations then can't tell 2⁵³ from 2⁵³ + 1."""
    table = pa.table({"i": pa.array([2**53, 2**53 + 1, None])})
    assert alone(table, expectation("column_values_to_be_between", {"column": "i", "max_value": 2**53}))[0] == [1]


def test_text_has_an_order_too():
    """Great Expectations 1.24 takes no text as a bound; here it is compared by code point, as Python does."""
    bad, _ = alone(
        FILLED, expectation("column_values_to_be_between", {"column": "s", "min_value": "a", "max_value": "é"})
    )
    assert bad == [n for n, text in enumerate(TEXTS) if text is not None and not "a" <= text <= "é"]


def test_the_peer_sees_a_missing_value_in_nan():
    assert pd.Series([NAN]).isnull().all()
