import datetime as dt
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.tenant import Expectation, Quarantine
from importers.exceptions import ConfigError, ContractError, StagingError
from importers.quality import Rules, Telling, Verdict, checker, duplicates, judge
from importers.quality.hashing import keyed

KEY = b"\x01" * 32
NEW_YEAR = dt.datetime.fromisoformat("2024-01-01T00:00")
LAX = Quarantine(max_fraction=1.0)
SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float64()), ("who", pa.string()), ("at", pa.timestamp("us"))])


def expect(type_: str, /, mostly: float | None = None, **kwargs) -> Expectation:
    return Expectation(type=f"expect_{type_}", kwargs=kwargs, mostly=mostly)


UNIQUE = expect("column_values_to_be_unique", column="id")
PAIR = expect("compound_columns_to_be_unique", column_list=["id", "who"])
EVERYTHING = [
    UNIQUE,
    PAIR,
    expect("column_values_to_not_be_null", column="who"),
    expect("column_values_to_be_between", mostly=0.7, column="x", min_value=0),
    expect("column_sum_to_be_between", column="id", min_value=0),
    expect("column_mean_to_be_between", column="id", max_value=3),
    expect("column_min_to_be_between", column="at", min_value="2024-01-02"),
    expect("column_max_to_be_between", column="who", max_value="c"),
    expect("column_unique_value_count_to_be_between", column="id", min_value=4),
    expect("column_proportion_of_non_null_values_to_be_between", column="x", min_value=0.5),
    expect("table_row_count_to_be_between", min_value=5),
    expect("column_stdev_to_be_between", column="x", min_value=0.7),
    expect("column_median_to_be_between", column="x", min_value=-0.7, max_value=0.9),
    expect(
        "column_quantile_values_to_be_between",
        column="id",
        quantile_ranges={"quantiles": [0.25, 0.75], "value_ranges": [[-1, 2], [1, None]]},
    ),
    expect("column_distinct_values_to_contain_set", column="who", value_set=["a", "ä"]),
    expect("column_distinct_values_to_be_in_set", column="who", value_set=["a", "b", ""]),
    expect("column_most_common_value_to_be_in_set", column="who", value_set=["a", "b"], ties_okay=True),
    expect("column_max_to_be_recent", column="at", within="P1D"),
]


def run(expectations, parts, quarantine=LAX, rejects=0, schema=SCHEMA, telling=None):
    """Check each part (a list of batches), send the verdicts through bytes, judge."""
    rules = Rules.compile(expectations, schema)
    verdicts = {}
    for number, batches in parts.items():
        check = rules.checker(KEY)
        for batch in batches:
            check.check(batch)
        verdicts[number] = Verdict.from_bytes(check.verdict(rejects).to_bytes())
    return verdicts, judge(
        rules, verdicts, quarantine, lambda number: iter(parts[number]), KEY, telling=telling or Telling()
    )


def table(rows):
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def whole(verdicts, judgement, starts):
    """The bad rows by number in the whole, with the rules that the second look found."""
    bad = {int(row) + starts[n] for n, verdict in verdicts.items() for row in verdict.bad_rows}
    extra = {
        int(row) + starts[n]: set(labels)
        for n, found in judgement.extra_bad.items()
        for row, labels in zip(found.rows, found.broken.to_pylist(), strict=True)
    }
    return bad, extra


ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-2, 4) | st.sampled_from([2**53, 2**53 + 1, -(2**63)]),
        st.none() | st.sampled_from([0.0, -0.0, -1.5, 2.0, math.nan]),
        st.none() | st.sampled_from(["a", "b", "ä", ""]),
        st.none() | st.datetimes(NEW_YEAR - dt.timedelta(days=2), NEW_YEAR + dt.timedelta(days=4)),
    ),
    max_size=25,
)


@settings(max_examples=examples(20), deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 25), max_size=4), size=st.integers(1, 7))
def test_however_it_is_cut_the_run_is_judged_alike(rows, cuts, size):
    everything = table(rows)
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    one = run(EVERYTHING, {0: everything.to_batches()})
    slices = {n: everything.slice(a, b - a) for n, (a, b) in enumerate(pairwise(edges))}
    many = run(EVERYTHING, {n: part.to_batches(max_chunksize=size) for n, part in slices.items()})
    assert whole(*one, {0: 0}) == whole(*many, dict(enumerate(edges)))
    assert one[1].failures == many[1].failures
    assert one[1].told() == many[1].told()


@settings(max_examples=examples(20), deadline=None)
@given(rows=ROWS, cut=st.integers(0, 25))
def test_duplicates_are_those_that_counting_finds(rows, cut):
    parts = {3: table(rows[:cut]).to_batches(), 1: table(rows[cut:]).to_batches()}
    _, extra = whole(*run([UNIQUE, PAIR], parts), {3: 0, 1: cut})
    ids = Counter(row[0] for row in rows if row[0] is not None)
    pairs = Counter((row[0], row[2]) for row in rows if (row[0], row[2]) != (None, None))
    for number, row in enumerate(rows):
        assert (UNIQUE.label in extra.get(number, ())) == (ids[row[0]] > 1)
        assert (PAIR.label in extra.get(number, ())) == (pairs[row[0], row[2]] > 1)


def test_only_rows_of_one_delivery_are_held_against_each_other():
    ids = [[1, 2], [2, 3], [3, 2]]
    parts = {n: table([(row, None, "a", None) for row in rows]).to_batches() for n, rows in enumerate(ids)}
    verdicts, _ = run([UNIQUE], parts)
    rules = Rules.compile([UNIQUE], SCHEMA)
    judgement = judge(rules, verdicts, LAX, lambda n: iter(parts[n]), KEY, deliveries={0: 8, 1: 9, 2: 8})
    assert {n: found.rows.tolist() for n, found in judgement.extra_bad.items()} == {0: [1], 2: [1]}
    followed = judge(rules, verdicts, LAX, lambda n: iter(parts[n]), KEY, deliveries=dict.fromkeys(parts))
    assert followed.extra_bad == {}


def test_colliding_hashes_are_told_apart_by_the_values(monkeypatch):
    def few(operands, domain, seed):
        return keyed(operands, domain, seed) % 3 + pl.lit(2**64 - 3, dtype=pl.UInt64)

    monkeypatch.setattr(checker, "keyed", few)
    monkeypatch.setattr(duplicates, "keyed", few)
    parts = {0: table([(n, None, "a", None) for n in range(40)]).to_batches(max_chunksize=7)}
    parts[1] = table([(n + 38, None, "a", None) for n in range(40)]).to_batches(max_chunksize=9)
    verdicts, judgement = run([UNIQUE, PAIR], parts)
    assert len(np.unique(np.concatenate([v.keys[UNIQUE.label] for v in verdicts.values()]))) == 3
    assert {n: d.rows.tolist() for n, d in judgement.extra_bad.items()} == {0: [38, 39], 1: [0, 1]}
    assert judgement.extra_bad[0].broken.to_pylist() == [[UNIQUE.label, PAIR.label]] * 2


def test_only_partitions_with_a_repeated_hash_are_read_again():
    parts = {n: table([(n, None, "a", None), (n + 10, None, "b", None)]).to_batches() for n in range(4)}
    parts[7] = table([(12, None, "c", None)]).to_batches()
    rules = Rules.compile([UNIQUE], SCHEMA)
    verdicts, read = {}, []
    for number, batches in parts.items():
        check = rules.checker(KEY)
        check.check(batches[0])
        verdicts[number] = check.verdict(0)

    def again(number):
        read.append(number)
        return iter(parts[number])

    judgement = judge(rules, verdicts, LAX, again, KEY)
    assert sorted(read) == [2, 7]
    assert sorted(judgement.extra_bad) == [2, 7]


def test_rows_that_are_bad_anyway_are_no_ones_duplicate():
    parts = {0: table([(1, None, None, None), (1, None, "a", None), (2, None, None, None)]).to_batches()}
    verdicts, judgement = run([UNIQUE, expect("column_values_to_not_be_null", column="who")], parts)
    assert verdicts[0].bad_rows.tolist() == [0, 2]
    assert judgement.extra_bad == {}
    parts[1] = table([(1, None, None, None), (1, None, "a", None), (2, None, None, None)]).to_batches(max_chunksize=1)
    _, judgement = run([UNIQUE, expect("column_values_to_not_be_null", column="who")], parts)
    assert {n: d.rows.tolist() for n, d in judgement.extra_bad.items()} == {0: [1], 1: [1]}


def test_keys_that_widened_to_floats_still_meet():
    parts = {
        0: [pa.record_batch({"id": pa.array([1, 2, 2**60], pa.int64())})],
        1: [pa.record_batch({"id": pa.array([2.0, 0.5, None])})],
        2: [pa.record_batch({"id": pa.nulls(2)})],
    }
    _, judgement = run([UNIQUE], parts)
    assert {n: d.rows.tolist() for n, d in judgement.extra_bad.items()} == {0: [1], 1: [0]}


def test_a_key_that_turns_into_text_fails_closed():
    parts = {0: [pa.record_batch({"id": [1]})], 1: [pa.record_batch({"id": ["1"]})]}
    with pytest.raises(ContractError, match=r"unique\(id\): 'id' changes its type within the run; got number and text"):
        run([UNIQUE], parts)


@pytest.mark.parametrize(
    ("duplicates", "limit", "fails"), [(0, 0.0, False), (2, 0.2, False), (2, 0.19, True), (4, 0.3, True)]
)
def test_duplicates_count_for_the_quarantine(duplicates, limit, fails):
    ids = [0] * duplicates + list(range(1, 11 - duplicates))
    _, judgement = run(
        [UNIQUE], {0: table([(n, None, "a", None) for n in ids]).to_batches()}, Quarantine(max_fraction=limit)
    )
    assert judgement.tally.bad == duplicates
    assert [f.label for f in judgement.failures] == ["quarantine.max_fraction"] * fails


def test_what_could_not_be_read_counts_for_the_quarantine():
    parts = {0: table([(1, None, None, None)] + [(2, None, "a", None)] * 7).to_batches()}
    rule = [expect("column_values_to_not_be_null", column="who")]
    assert run(rule, parts, Quarantine(max_fraction=0.3), rejects=2)[1].failures == ()  # (1 + 2) of (8 + 2)
    (failure,) = run(rule, parts, Quarantine(max_fraction=0.29), rejects=2)[1].failures
    assert str(failure) == (
        "quarantine.max_fraction: more than 0.29 of the records are bad or unreadable; got 1 bad and 2 unreadable of 10"
    )


def test_only_where_extremes_lie_far_out_rows_are_read_again():
    parts = {n: table([(0, x, None, None) for x in xs]).to_batches() for n, xs in enumerate([[0, 1] * 9, [0, 99], [1]])}
    rules = Rules.compile([expect("column_value_z_scores_to_be_less_than", column="x", threshold=3)], SCHEMA)
    verdicts, read = {}, []
    for number, batches in parts.items():
        check = rules.checker(KEY)
        for batch in batches:
            assert not check.check(batch).bad.any()
        verdicts[number] = check.verdict(0)

    def again(number):
        read.append(number)
        return iter(parts[number])

    judgement = judge(rules, verdicts, LAX, again, KEY)
    assert [str(failure) for failure in judgement.failures] == [
        "expect_column_value_z_scores_to_be_less_than(x): values lie too far from the mean; wanted threshold: 3.0; "
        "got 1 of 21 break it"
    ]
    assert read == [1]
    assert judgement.extra_bad == {}


def test_rows_that_are_deleted_are_no_outliers():
    rows = table([(0, x, None, None) for x in [0.0, 1.0] * 9 + [99.0, 98.0]])
    parts = {0: rows.append_column("_deleted", pa.array([False] * 19 + [True])).to_batches()}
    schema = parts[0][0].schema
    _, judgement = run([expect("column_value_z_scores_to_be_less_than", column="x", threshold=3)], parts, schema=schema)
    assert judgement.counts()["rules"] == {
        "expect_column_value_z_scores_to_be_less_than(x)": {"evaluated": 19, "unexpected": 1}
    }


def test_deviations_of_huge_values_are_infinite_and_no_error():
    parts = {n: table([(0, x, None, None), (0, x / 2, None, None)]).to_batches() for n, x in enumerate([1.0, 1e300])}
    rules = [
        expect("column_stdev_to_be_between", column="x", max_value=1e308),
        expect("column_value_z_scores_to_be_less_than", column="x", threshold=3),
    ]
    assert [failure.label for failure in run(rules, parts)[1].failures] == ["expect_column_stdev_to_be_between(x)"]


def test_a_run_without_rows_fails_by_rules_on_numbers_of_rows_alone():
    for parts in ({}, {0: []}, {0: table([]).to_batches()}):
        _, judgement = run(EVERYTHING, parts, Quarantine(max_fraction=0))
        assert {f.label for f in judgement.failures} == {
            "expect_table_row_count_to_be_between()",
            "expect_column_unique_value_count_to_be_between(id)",
        }


def test_types_are_judged_by_what_arrived():
    rule = expect("column_values_to_be_of_type", column="id", type_="int64")
    parts = {0: [pa.record_batch({"id": [1, 2]})], 1: [pa.record_batch({"id": pa.nulls(1)})]}
    assert run([rule], parts)[1].failures == ()
    parts[2] = [pa.record_batch({"id": [0.5]})]
    (failure,) = run([rule], parts)[1].failures
    assert str(failure) == f"{rule.label}: the column has another type; wanted type_: int64; got double: 1 of 4 rows"


def test_failures_tell_counts_and_no_values():
    parts = {0: table([(1, 1.0, "canary", None)] * 3).to_batches()}
    _, judgement = run(
        [expect("column_max_to_be_between", column="who", max_value="b"),
         expect("column_sum_to_be_between", column="x", max_value=1, strict_max=True)], parts)  # fmt: skip
    assert [str(f) for f in judgement.failures] == [
        "expect_column_max_to_be_between(who): the greatest value is outside the range; wanted max_value: b; "
        "got 3 values in 3 rows; what `who` had is withheld: it is personal, a key, or may tell of a person",
        "expect_column_sum_to_be_between(x): the sum is outside the range; wanted max_value: 1, strict_max: true; "
        "got 3 values in 3 rows; what `x` had is withheld: it is personal, a key, or may tell of a person",
    ]
    assert "canary" not in repr(judgement) + str(judgement.told())


def test_sums_of_large_integers_do_not_wrap():
    parts = {n: table([(2**62, None, None, None)] * 4).to_batches() for n in range(2)}
    verdicts, judgement = run([expect("column_sum_to_be_between", column="id", min_value=2**65)], parts)
    assert judgement.failures == ()
    assert verdicts[0].tally.states["expect_column_sum_to_be_between(id)"]["sum"] == 2**64


def test_verdicts_of_other_rules_are_refused():
    rules, others = Rules.compile([UNIQUE], SCHEMA), Rules.compile([UNIQUE, PAIR], SCHEMA)
    verdict = rules.checker(KEY).verdict(0)
    with pytest.raises(ConfigError, match=r"\[5\]: the rules changed"):
        judge(others, {5: verdict}, LAX, lambda _: iter(()), KEY)


def test_a_verdict_survives_bytes():
    verdicts, _ = run(EVERYTHING, {0: table([(1, -1.0, None, NEW_YEAR), (1, math.inf, "ä", None)]).to_batches()})
    verdict = verdicts[0]
    again = Verdict.from_bytes(verdict.to_bytes())
    assert again.tally == verdict.tally
    assert again.bad_rows.tolist() == verdict.bad_rows.tolist() == [0]
    assert {k: v.tolist() for k, v in again.keys.items()} == {k: v.tolist() for k, v in verdict.keys.items()}


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\xff\xff\xff\x00\x00\x00\x00"])
def test_bytes_that_are_no_verdict_are_refused(data):
    with pytest.raises(StagingError, match="can't be read"):
        Verdict.from_bytes(data)


@pytest.mark.parametrize(
    ("kind", "ages", "fresh"),
    [
        (pa.timestamp("us", "+02:00"), [5, 50], True),
        (pa.timestamp("ns", "UTC"), [7, 50], False),
        (pa.timestamp("s"), [5, None], True),
        (pa.timestamp("us"), [7], False),
        (pa.timestamp("us"), [-3], True),
        (pa.timestamp("us"), [None], False),
        (pa.date32(), [48], False),
        (pa.date32(), [-24], True),
    ],
)
def test_the_latest_moment_is_recent_or_the_run_fails(kind, ages, fresh):
    now = dt.datetime.now(dt.UTC)
    moments = [None if age is None else now - dt.timedelta(hours=age) for age in ages]
    zoned = getattr(kind, "tz", None) is not None
    schema = pa.schema([("at", kind)])
    parts = {}
    for number, moment in enumerate(moments):
        values = pa.array([moment], pa.timestamp("us", "UTC" if zoned else None)).cast(kind, safe=False)
        parts[number] = [pa.record_batch([values], schema)]
    _, judgement = run([expect("column_max_to_be_recent", column="at", within="PT6H")], parts, schema=schema)
    assert (not judgement.failures) == fresh
    for failure in judgement.failures:
        assert str(failure).endswith("the latest moment is too old; wanted within: PT6H; got " + failure.got)
        assert str(now.year) not in str(failure)


def test_a_run_without_rows_is_not_stale():
    assert not run([expect("column_max_to_be_recent", column="at", within="PT6H")], {0: []})[1].failures


def test_partitions_that_all_lack_the_same_member_lack_it_together():
    members = [f"member {number}" for number in range(8)]
    rule = expect("column_distinct_values_to_contain_set", column="who", value_set=members)
    part = table([(1, None, name, None) for name in members[:-1]])
    _, judgement = run([rule], {number: part.to_batches() for number in range(6)})
    assert [failure.label for failure in judgement.failures] == ["expect_column_distinct_values_to_contain_set(who)"]


CHANNELS = pa.table({"channel": ["web"] * 12 + ["shop"] * 6 + ["fax"] * 2})


def diverging(table, shown=(), **weights):
    partition = {"values": [*weights], "weights": [*weights.values()]}
    said = {"column": "channel", "partition_object": partition, "threshold": 0.05}
    rules = Rules.compile(
        [Expectation(type="expect_column_kl_divergence_to_be_less_than", kwargs=said)], CHANNELS.schema
    )
    checker = rules.checker(KEY)
    for batch in table.to_batches():
        checker.check(batch)
    return judge(rules, {0: checker.verdict(0)}, LAX, lambda _: iter(()), KEY, telling=Telling(shown))


def test_a_divergence_is_told_with_the_share_that_is_farthest_off():
    """0.6 · ln(0.6 / 0.25) + 0.3 · ln(0.3 / 0.55) + 0.1 · ln(0.1 / 0.2) = 0.274, by hand."""
    judgement = diverging(CHANNELS, ("channel",), web=0.25, shop=0.55, fax=0.2)
    (failure,) = judgement.failures
    assert failure.wanted == "threshold: 0.05"
    assert failure.got == "a divergence of 0.274; web: 60.0% where 25.0% was expected, of 20 values in 20 rows"
    told = judgement.told()["divergences"]
    assert told[failure.label] == {
        "divergence": pytest.approx(0.2741, abs=1e-4),
        "limit": 0.05,
        "cells": [
            {"cell": "web", "observed": 0.6, "expected": 0.25},
            {"cell": "shop", "observed": 0.3, "expected": 0.55},
            {"cell": "fax", "observed": 0.1, "expected": 0.2},
            {"cell": "anything else", "observed": 0.0, "expected": 0.0},
        ],
    }


def test_what_was_never_expected_is_named_and_makes_no_json_that_is_none():
    judgement = diverging(CHANNELS, ("channel",), web=0.7, shop=0.3)
    (failure,) = judgement.failures
    assert failure.got.startswith("an infinite divergence; anything else: 10.0% where 0.0%")
    assert judgement.told()["divergences"][failure.label]["divergence"] is None


def test_of_a_column_whose_values_stay_inside_and_of_few_values_less_is_told():
    hidden = diverging(CHANNELS, web=0.25, shop=0.55, fax=0.2)
    assert hidden.failures[0].got == "a divergence of 0.274, of 20 values in 20 rows"
    assert hidden.told()["divergences"][hidden.failures[0].label]["cells"] == []
    few = diverging(CHANNELS.slice(0, 19), ("channel",), web=0.25, shop=0.55, fax=0.2)
    assert few.failures[0].got == "19 values in 19 rows"
    assert few.told()["divergences"] == {}


NUMBERS = [*range(1, 25)]  # 24 values: mean 12.5, sum 300, variance n(n + 1) / 12 = 50
DAYS = [dt.datetime.fromisoformat("2024-02-01T00:00") + dt.timedelta(hours=n) for n in NUMBERS]
MEASURED = table([(n, float(n), "a" if n < 20 else "b", day) for n, day in zip(NUMBERS, DAYS, strict=True)])
OF_THINGS = Telling(SCHEMA.names, of_persons=False)


def got(rule, rows=MEASURED, telling=OF_THINGS, parts=2):
    """What a rule that fails says it got; the rows come in `parts`."""
    cut = max(len(rows) // parts, 1)
    batches = {n: rows.slice(n * cut, cut).to_batches() for n in range(-(-len(rows) // cut))}
    _, judgement = run([rule], batches, telling=telling)
    (failure,) = judgement.failures
    assert judgement.told()["rules"][rule.label]["observed"] == failure.got
    return failure.got


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (expect("column_mean_to_be_between", column="x", max_value=12), "12.5, of 24 values in 24 rows"),
        (expect("column_sum_to_be_between", column="id", min_value=301), "300, of 24 values in 24 rows"),
        (expect("column_stdev_to_be_between", column="x", max_value=7), "7.071067812, of 24 values in 24 rows"),
        (expect("column_min_to_be_between", column="id", min_value=2), "1, of 24 values in 24 rows"),
        (expect("column_max_to_be_between", column="x", max_value=23.5), "24, of 24 values in 24 rows"),
        (
            expect("column_max_to_be_between", column="at", max_value="2024-02-01"),
            "2024-02-02 00:00:00, of 24 values in 24 rows",
        ),
        (expect("column_max_to_be_between", column="who", max_value="a"), "24 values in 24 rows"),
        (
            expect("column_median_to_be_between", column="x", min_value=13, max_value=20),
            "12 less than 13, of 24 values in 24 rows",
        ),
        (
            expect(
                "column_quantile_values_to_be_between",
                column="id",
                quantile_ranges={"quantiles": [0.5, 1], "value_ranges": [[1, 20], [None, 23]]},
            ),
            "23 at most 23.00230001, of 24 values in 24 rows",
        ),
        (expect("table_row_count_to_be_between", max_value=20), "24 rows"),
        (
            expect("column_proportion_of_non_null_values_to_be_between", column="x", max_value=0.5),
            "1, of 24 values in 24 rows",
        ),
        (expect("column_unique_value_count_to_be_between", column="who", min_value=3), "2 distinct ones of 24"),
        (
            expect("column_proportion_of_unique_values_to_be_between", column="who", min_value=0.5),
            "a share of 0.08333333333, 2 distinct ones of 24",
        ),
        (
            expect("column_distinct_values_to_be_in_set", column="who", value_set=["a"]),
            "5 outside the set, of 24 values in 24 rows",
        ),
        (
            expect("column_distinct_values_to_contain_set", column="who", value_set=["a", "b", "c"]),
            "2 of 3 members, not c, of 24 values in 24 rows",
        ),
        (expect("column_most_common_value_to_be_in_set", column="who", value_set=["b"]), "1 most frequent ones of 24"),
        (expect("column_values_to_be_of_type", column="at", type_="int"), "timestamp[us]: 24 of 24 rows"),
        (expect("table_column_count_to_equal", value=3), "4 columns: 24 of 24 rows"),
        (
            expect("table_columns_to_match_set", column_set=["id", "x", "then"]),
            "then missing and at, who beyond them: 24 of 24 rows",
        ),
        (
            expect("table_columns_to_match_ordered_list", column_list=["x", "id", "who", "at"]),
            "the order id, x, who, at: 24 of 24 rows",
        ),
        (expect("column_to_exist", column="then"), "no such column: 24 of 24 rows"),
        (expect("column_to_exist", column="who", column_index=0), "index 2: 24 of 24 rows"),
    ],
)
def test_a_rule_on_the_whole_says_what_it_saw(rule, said):
    assert got(rule) == said


def test_an_age_is_told_and_no_moment():
    ago = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=40, hours=1)
    rows = table([(n, None, None, ago - dt.timedelta(days=n)) for n in range(20)])
    rule = expect("column_max_to_be_recent", column="at", within="P1D")
    assert got(rule, rows, Telling(("at",))) == "an age of 40 days, of 20 values in 20 rows"


@pytest.mark.parametrize(
    ("column", "rule", "rows", "telling", "why"),
    [
        ("id", "max", MEASURED, Telling(("x",), of_persons=False), "what `id` had is withheld: it is personal"),
        ("id", "mean", MEASURED, Telling(("x",), of_persons=False), "what `id` had is withheld: it is personal"),
        ("id", "mean", MEASURED[:19], OF_THINGS, "of fewer than 20 values"),
        ("id", "max", MEASURED, Telling(SCHEMA.names), "each row is somebody's"),
    ],
)
def test_what_would_tell_of_a_person_is_withheld(column, rule, rows, telling, why):
    said = got(expect(f"column_{rule}_to_be_between", column=column, max_value=-1), rows, telling)
    assert said.startswith(f"{len(rows)} values in {len(rows)} rows; ")
    assert why in said


def test_members_of_a_set_are_counted_where_the_column_stays_inside():
    rule = expect("column_distinct_values_to_contain_set", column="who", value_set=["a", "zoe@example.org"])
    _, judgement = run([rule], {0: MEASURED.to_batches()})
    (failure,) = judgement.failures
    assert (failure.wanted, failure.got) == ("value_set: 2 members", "1 of 2 members, of 24 values in 24 rows")
    shown = run([rule], {0: MEASURED.to_batches()}, telling=OF_THINGS)[1].failures[0]
    assert shown.wanted == "value_set: [a, zoe@example.org]"


def test_what_rules_on_rows_want_is_told_too():
    rule = expect("column_values_to_be_between", mostly=0.95, column="x", min_value=3)
    _, judgement = run([rule], {0: MEASURED.to_batches()})
    (failure,) = judgement.failures
    assert str(failure).endswith(
        "fewer than mostly: 0.95 of the values hold; wanted min_value: 3, mostly: 0.95; got 2 of 24 break it"
    )
    assert judgement.told()["rules"][rule.label] == {
        "evaluated": 24,
        "unexpected": 2,
        "wanted": "min_value: 3, mostly: 0.95",
        "observed": None,
        "of_values": False,
    }


@pytest.mark.parametrize(
    ("kind", "said"), [("median", "no number, of 0 values in 2 rows"), ("mean", "0 values in 2 rows")]
)
def test_of_no_value_a_rule_on_values_has_seen_none(kind, said):
    rows = table([(1, None, None, None)] * 2)
    assert got(expect(f"column_{kind}_to_be_between", column="x", min_value=0), rows) == said
