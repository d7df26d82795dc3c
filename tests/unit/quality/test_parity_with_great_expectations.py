"""Great Expectations itself is the second source: same rows, same counts, same verdict."""

import datetime as dt
import math
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, judge

KEY = b"k" * 32
NAN = math.nan
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime.fromisoformat("2024-02-29T12:00")

TEXTS = ["", "a", "ab", None, "ÄÖ", "日本語", "🎸", "a\nb", "A", "1", "a@b.example", None, " a ", "é", "e\u0301"]
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
TABLES = {"filled": FILLED, "empty": FILLED.slice(0, 0), "one null": FILLED.slice(3, 1).select(FILLED.column_names)}

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
    ("column_values_to_not_match_regex", {"column": "s", "regex": "a"}),
    ("column_values_to_not_match_regex", {"column": "t", "regex": "(?i)A$"}),
    ("column_values_to_match_regex_list", {"column": "s", "regex_list": ["^a", "b$"]}),
    ("column_values_to_match_regex_list", {"column": "s", "regex_list": ["^a", "b$"], "match_on": "all"}),
    ("column_values_to_not_match_regex_list", {"column": "s", "regex_list": ["^a", "1"]}),
    ("column_value_lengths_to_be_between", {"column": "s", "min_value": 1, "max_value": 2}),
    ("column_value_lengths_to_be_between", {"column": "s", "min_value": 1, "strict_min": True}),
    ("column_value_lengths_to_be_between", {"column": "whole", "max_value": 1}),
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
    ("multicolumn_sum_to_equal", {"column_list": ["whole", "j"], "sum_total": 3}),
    ("multicolumn_values_to_be_equal", {"column_list": ["whole", "i"]}),
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
]
SPEAK_OF_NO_ROWS = (
    "expect_table",
    "expect_column_to_exist",
    "expect_column_unique_value_count",
    "expect_column_values_to_be",
)


@pytest.fixture(scope="module")
def peer():
    """Great Expectations' result for one expectation on a table."""
    gx = pytest.importorskip("great_expectations")
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    rows = context.data_sources.add_pandas("p").add_dataframe_asset("p").add_batch_definition_whole_dataframe("p")

    def judged(table: pa.Table, expectation: Expectation):
        more = {} if expectation.mostly is None else {"mostly": expectation.mostly}
        frame = table.to_pandas(integer_object_nulls=True) if table.num_rows else table.to_pandas()
        frame = frame.astype({"f": "float64"})
        batch = rows.get_batch(batch_parameters={"dataframe": frame})
        kind = get_expectation_impl(expectation.type)
        return batch.validate(kind(**expectation.kwargs, **more), result_format="COMPLETE")

    return judged


def expectation(type_: str, kwargs: dict, mostly: float | None = None) -> Expectation:
    return Expectation(type=f"expect_{type_}", kwargs=kwargs, mostly=mostly)


def checked(table: pa.Table, wanted: Expectation):
    """The bad rows' numbers and the judgement, the table cut in two partitions of uneven batches."""
    rules = Rules.compile([wanted], table.schema)
    cut = table.num_rows // 3
    halves = {0: table.slice(0, cut), 4: table.slice(cut)}
    verdicts = {}
    for number, half in halves.items():
        checker = rules.checker(KEY)
        for batch in half.to_batches(max_chunksize=4):
            checker.check(batch)
        verdicts[number] = checker.verdict(0)
    judgement = judge(
        rules, verdicts, Quarantine(max_fraction=1.0), lambda n: iter(halves[n].to_batches(max_chunksize=3)), KEY
    )
    starts = {0: 0, 4: cut}
    bad = [int(row) + starts[n] for n, v in verdicts.items() for row in v.bad_rows]
    bad += [int(row) + starts[n] for n, d in judgement.extra_bad.items() for row in d.rows]
    return sorted(bad), judgement


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(("type_", "kwargs"), ROWWISE + UNIQUE, ids=str)
def test_the_same_rows_are_bad(peer, table, type_, kwargs):
    wanted = expectation(type_, kwargs)
    theirs = peer(table, wanted)
    bad, judgement = checked(table, wanted)
    assert not theirs.exception_info.get("exception_message"), theirs.exception_info
    assert bad == sorted(theirs.result.get("unexpected_index_list") or [])
    counts = judgement.counts()["rules"][wanted.label]
    assert counts["unexpected"] == theirs.result["unexpected_count"]
    assert counts["evaluated"] == theirs.result["element_count"] - theirs.result.get("missing_count", 0)


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
    assert bool(peer(FILLED, wanted).success) == (not checked(FILLED, wanted)[1].failures)


@pytest.mark.parametrize(
    ("type_", "kwargs", "table"),
    [
        pytest.param(type_, kwargs, table, id=f"{type_} {kwargs} {name}")
        for type_, kwargs in RUNWIDE
        for name, table in TABLES.items()
        if table.num_rows or f"expect_{type_}".startswith(SPEAK_OF_NO_ROWS)  # what differs is tested in test_gate
    ],
)
def test_the_run_gets_the_same_verdict(peer, table, type_, kwargs):
    wanted = expectation(type_, kwargs)
    theirs = peer(table, wanted)
    assert bool(theirs.success) == (not checked(table, wanted)[1].failures)


def test_an_integer_column_with_nulls_is_compared_exactly():
    """pandas makes floats of such a column, and Great Expectations then can't tell 2⁵³ from 2⁵³ + 1."""
    table = pa.table({"i": pa.array([2**53, 2**53 + 1, None])})
    assert checked(table, expectation("column_values_to_be_between", {"column": "i", "max_value": 2**53}))[0] == [1]


def test_text_has_an_order_too():
    """Great Expectations 1.24 takes no text as a bound; here it is compared by code point, as Python does."""
    bad, _ = checked(
        FILLED, expectation("column_values_to_be_between", {"column": "s", "min_value": "a", "max_value": "é"})
    )
    assert bad == [n for n, text in enumerate(TEXTS) if text is not None and not "a" <= text <= "é"]


def test_the_peer_sees_a_missing_value_in_nan():
    assert pd.Series([NAN]).isnull().all()
