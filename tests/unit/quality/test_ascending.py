"""Keys that ascend are judged without hashes as all others are with them; counting the keys is the second source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.tenant import Expectation, Quarantine
from importers.quality import Rules, Verdict, judge
from importers.quality.duplicates import hashed
from importers.quality.hashing import seed

KEY = b"k" * 32
SCHEMA = pa.schema({"id": pa.int64(), "of": pa.string(), "_deleted": pa.bool_()})
UNIQUE = Expectation(type="expect_column_values_to_be_unique", kwargs={"column": "id"})
KNOWN = Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": "of"})
RULES = Rules.compile([UNIQUE, KNOWN], SCHEMA)

Row = tuple[int | None, str | None, bool]
IDS = st.none() | st.integers(-3, 12) | st.sampled_from([-(2**63), 2**63 - 1])
MESSY: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(IDS, st.sampled_from(["a", "a", "a", None]), st.sampled_from([False, False, False, True])), max_size=6
)
TIDY = st.sets(st.integers(-9, 30), max_size=6).map(lambda ids: [(id_, "a", False) for id_ in sorted(ids)])


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def verdict(batches: Sequence[pa.RecordBatch], rules: Rules = RULES, *, alone: bool = True) -> Verdict:
    """Of a partition, stored and read again."""
    checker = rules.checker(KEY, alone=alone)
    for rows in batches:
        checker.check(rows)
    return Verdict.from_bytes(checker.verdict(0).to_bytes())


def takes_part(row: Row) -> bool:
    return row[0] is not None and row[1] is not None and not row[2]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(st.lists(MESSY | TIDY, max_size=3), st.booleans()), min_size=1, max_size=4),
    st.lists(st.sampled_from([None, 0, 0, 1]), min_size=4, max_size=4),
)
def test_as_counting_has_it(parts: list[tuple[list[list[Row]], bool]], delivered: list[int | None]) -> None:
    """Whichever partitions are hashed from the start."""
    deliveries = dict(enumerate(delivered))
    batches = {number: [batch(rows) for rows in cut] for number, (cut, _) in enumerate(parts)}
    verdicts = {number: verdict(batches[number], alone=alone) for number, (_, alone) in enumerate(parts)}
    judged = judge(RULES, verdicts, Quarantine(max_fraction=1), lambda n: iter(batches[n]), KEY, deliveries=deliveries)
    keys = [
        (number, place, row[0], deliveries[number])
        for number, (cut, _) in enumerate(parts)
        for place, row in enumerate(row for rows in cut for row in rows)
        if takes_part(row)
    ]
    times = Counter((id_, delivery) for _, _, id_, delivery in keys)
    twice = [(n, place) for n, place, id_, delivery in keys if delivery is not None and times[id_, delivery] > 1]
    assert [(n, place) for n, found in judged.extra_bad.items() for place in found.rows.tolist()] == twice
    assert judged.tally.evaluated[UNIQUE.label] == len(keys)


def test_read_again_they_are_hashed_as_at_first() -> None:
    """Of the same rows, over several batches: neither bad ones nor tombstones take part."""
    rows: list[Row] = [(1, "a", False), (2, None, False), (3, "a", True), (None, "a", False), (4, "a", False)]
    more: list[Row] = [(5, None, False), (6, "a", True), (7, "a", False), (8, "a", False)]
    batches = [batch(rows), batch(more)]
    verdicts = {0: verdict(batches), 1: verdict(batches)}
    unique = [rule for rule in RULES.rules if rule.label == UNIQUE.label]
    again = hashed(unique, verdicts, lambda _: iter(batches), {UNIQUE.label: seed(KEY, UNIQUE.label)}, {})
    for found in again.values():
        assert len(found.keys[UNIQUE.label]) == 4
        assert np.array_equal(found.keys[UNIQUE.label], verdict(batches, alone=False).keys[UNIQUE.label])


def ids(*said: Any, kind: pa.DataType | None = None) -> pa.RecordBatch:
    column = pa.array(said, kind or pa.int64())
    return pa.record_batch({"id": column, "of": pa.array(["a"] * len(said))})


def test_of_keys_that_ascend_only_the_first_and_the_last_are_left() -> None:
    found = verdict([ids(None, 1, 2), ids(), ids(None), ids(5, None, 9)])
    assert found.keys[UNIQUE.label].tolist() == []
    assert found.tally.states[UNIQUE.label]["spans"] == [[1, 9]]
    assert found.tally.evaluated[UNIQUE.label] == 4


@pytest.mark.parametrize(
    "batches",
    [
        [ids(1, 2), ids(2, 3)],
        [ids(1, 2, 2)],
        [ids(1, 2), ids(9, 5), ids(10, 11)],
        [ids(2**62, 2**63 - 1), ids(2**63 - 1, 2**64 - 1, kind=pa.uint64())],
        [ids(1, 2, kind=pa.int8()), ids(3.0, 4.5, kind=pa.float64()), ids(5, 6)],
        [ids(1, 2), ids(Decimal(3), kind=pa.decimal128(9, 2))],
        [ids(1, 2), ids(None, None, kind=pa.null()), ids(3)],
    ],
    ids=str,
)
def test_what_does_not_ascend_is_hashed_after_all(batches: list[pa.RecordBatch]) -> None:
    found, at_once = verdict(batches), verdict(batches, alone=False)
    assert "spans" not in found.tally.states[UNIQUE.label]
    assert len(found.keys[UNIQUE.label]) == sum(len(rows) - rows["id"].null_count for rows in batches)
    assert np.array_equal(found.keys[UNIQUE.label], at_once.keys[UNIQUE.label])
    assert found.tally.evaluated == at_once.tally.evaluated


def test_keys_of_several_columns_and_of_chosen_rows_are_hashed() -> None:
    of_two = Expectation(type="expect_compound_columns_to_be_unique", kwargs={"column_list": ["id", "of"]})
    chosen = UNIQUE.model_copy(update={"kwargs": {"column": "id", "row_condition": 'col("of").notnull()'}})
    found = verdict([ids(1, 2, 3)], Rules.compile([of_two, chosen], SCHEMA))
    assert [len(keys) for keys in found.keys.values()] == [3, 3]


@pytest.mark.parametrize(
    ("parts", "read"),
    [
        ({0: [1, 5], 1: [6, 9], 2: [-4, 0]}, []),
        ({0: [1, 5], 1: [5, 9], 2: [10, 11]}, [0, 1, 2]),
        ({0: [1, 5], 1: [4, 3]}, [0]),
        ({0: [1, 5], 8: [1, 5]}, []),  # of another delivery
    ],
)
def test_partitions_are_read_again_where_another_may_have_the_key(parts: dict[int, list[int]], read: list[int]) -> None:
    verdicts = {number: verdict([ids(*said)]) for number, said in parts.items()}
    asked = []

    def again(number: int) -> Any:
        asked.append(number)
        return iter([ids(*parts[number])])

    judge(RULES, verdicts, Quarantine(max_fraction=1), again, KEY, deliveries={8: 8})
    assert list(dict.fromkeys(asked)) == read
