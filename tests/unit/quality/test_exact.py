"""Decimals and large integers, by Python's own decimals: in hashes, in what partitions leave, in sums."""

from collections import defaultdict
from decimal import Context, Decimal

import polars as pl
import pyarrow as pa
import pytest

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, judge
from importers.quality.columns import Columns
from importers.quality.hashing import keyed
from importers.quality.verdict import Verdict

KEY = b"k" * 32
LONG = Context(prec=80)
TEXTS = (
    "0 1 -1 5 0.5 -0.5 0.1 -7.25 1E-18 1E-19 1E-20 1E-38 -1E-38 0.123456789012345678 0.1234567890123456789 1E37 "
    "9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 "
    "18446744073709551615 18446744073709551616 100000000000000000000 100000000000000000001 "
    "12345678901234567890.12 12345678901234567890.13"
)
SAID = TEXTS.split()


def columns(value: Decimal) -> list[pa.Array]:
    """The value in each type that holds it."""
    held = []
    for digits, scale in [(9, 0), (9, 2), (18, 0), (18, 18), (19, 0), (19, 2), (28, 10), *((38, s) for s in range(39))]:
        units = value.scaleb(scale, LONG)
        if units == units.to_integral_value(context=LONG) and abs(units) < 10**digits:
            held.append(pa.array([value], pa.decimal128(digits, scale)))
    if value == value.to_integral_value(context=LONG):
        ranges = {pa.int8(): (-128, 127), pa.int64(): (-(2**63), 2**63 - 1), pa.uint64(): (0, 2**64 - 1)}
        held += [pa.array([int(value)], kind) for kind, (low, high) in ranges.items() if low <= value <= high]
        held += [pa.array([float(value)])] if abs(value) < 2**53 else []
    return held


def hashed(values: pa.Array) -> int:
    table = pa.table({"x": values})
    x = Columns(table.schema, ["x"])("x")
    return pl.DataFrame(pl.from_arrow(table)).select(keyed([x], pl.lit(value=True), 7).alias("hash"))["hash"].item()


def test_a_value_hashes_alike_in_all_types_and_unlike_all_others():
    hashes = defaultdict(set)
    for text in SAID:
        for values in columns(Decimal(text)):
            hashes[Decimal(text)].add(hashed(values))
    assert {value: len(found) for value, found in hashes.items()} == dict.fromkeys(map(Decimal, SAID), 1)
    assert len(set.union(*hashes.values())) == len(SAID)


def fails(types: list[pa.DataType], parts: list[list[Decimal]], type_: str, **said) -> bool:
    """Whether a rule fails over partitions whose types differ, their verdicts stored and read again."""
    rules = Rules.compile(
        [Expectation(type=f"expect_column_{type_}", kwargs={"column": "x"} | said)], pa.schema({"x": types[0]})
    )
    verdicts = {}
    for number, (kind, values) in enumerate(zip(types, parts, strict=True)):
        checker = rules.checker(KEY)
        checker.check(pa.record_batch({"x": pa.array(values, kind)}))
        verdicts[number] = Verdict.from_bytes(checker.verdict(0).to_bytes())
    return bool(judge(rules, verdicts, Quarantine(), lambda _: iter(()), KEY).failures)


CENTS, FINE, LONGEST = pa.decimal128(18, 2), pa.decimal128(38, 10), pa.decimal128(38, 0)


@pytest.mark.parametrize(
    ("types", "parts"),
    [
        ([CENTS, FINE], [["0.10", "0.20"], ["0.0000000001", "12345678901234567890"]]),
        ([LONGEST, LONGEST], [["9" * 38, "9" * 38, "9" * 38], ["9" * 38, "-1"]]),
        ([CENTS, pa.int64()], [["0.10"], [2**62, 2**62]]),
        ([CENTS, CENTS], [["-99999.99", "0.01"], [None, "100000.00"]]),
    ],
)
def test_what_partitions_leave_is_exact_whatever_their_scales(types, parts):
    parts = [[None if value is None else Decimal(value) for value in part] for part in parts]
    there = sorted(value for part in parts for value in part if value is not None)
    total = Decimal(0)
    for value in there:
        total = LONG.add(total, value)
    step = Decimal(1) if LONGEST in types else Decimal("1E-10")
    for type_, seen in (("sum", total), ("min", there[0]), ("max", there[-1]), ("median", there[len(there) // 2])):
        if type_ == "median" and not len(there) % 2:
            continue
        name = f"{type_}_to_be_between"
        assert not fails(types, parts, name, min_value=seen, max_value=seen)
        assert fails(types, parts, name, min_value=LONG.add(seen, step))
        assert fails(types, parts, name, max_value=LONG.subtract(seen, step))


def test_values_are_in_order_over_partitions_of_other_scales():
    parts = [[Decimal(10**20)], [Decimal("100000000000000000000.0000000001")]]
    assert not fails([LONGEST, FINE], parts, "values_to_be_increasing", strictly=True)
    assert fails([FINE, LONGEST], parts[::-1], "values_to_be_increasing")
    assert fails([LONGEST, FINE], parts, "values_to_be_decreasing")
    assert not fails([FINE, LONGEST], parts[::-1], "values_to_be_decreasing", strictly=True)


def test_the_mean_of_decimals_is_the_double_nearest_to_it():
    parts = [[Decimal(10**20), Decimal(1)], [Decimal(-(10**20))]]
    assert not fails([LONGEST] * 2, parts, "mean_to_be_between", min_value=1 / 3, max_value=1 / 3)


def test_a_sum_of_columns_is_exact():
    rules = Rules.compile(
        [
            Expectation(
                type="expect_multicolumn_sum_to_equal", kwargs={"column_list": ["a", "b"], "sum_total": 2**53 + 1}
            )
        ],
        pa.schema({"a": pa.int64(), "b": pa.int64()}),
    )
    assert rules.checker(KEY).check(pa.record_batch({"a": [2**53, 2**53], "b": [1, 0]})).bad.tolist() == [False, True]
