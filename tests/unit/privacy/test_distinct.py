"""Each distinct value is worked on once, and every row still gets what belongs to its value."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.privacy.distinct import OverDistinct

Seen = list[list[str | None]]


def upper(seen: Seen, most: int = 100) -> OverDistinct:
    def apply(values: pa.Array) -> pa.Array:
        seen.append(values.to_pylist())
        return pc.utf8_upper(values)

    return OverDistinct(apply, most=most, few=0)


def test_a_text_is_worked_on_once_in_all_batches() -> None:
    seen: Seen = []
    function = upper(seen)
    first = pa.array(["b", None, "a", "b"] * 5)
    assert function(first).to_pylist() == ["B", None, "A", "B"] * 5
    assert function(pa.array(["c", "a", None, "c", "a"] * 5)).to_pylist() == ["C", "A", None, "C", "A"] * 5
    assert function(first.slice(1)).to_pylist() == (["B", None, "A", "B"] * 5)[1:]
    assert seen == [["b", "a"], ["c"]]


def test_texts_that_recur_in_later_batches_only_are_worked_on_once() -> None:
    """More texts than a sample of a batch would show to repeat, and than the table begins with."""
    seen: Seen = []
    function = upper(seen, most=1 << 18)
    many = pa.array([f"user{i:05}" for i in range(20_000)])
    order = pa.array([i * 7919 % 20_000 for i in range(20_000)])
    for batch in (many, many.take(order), pa.array(["someone else", "user00007"])):
        assert function(batch).equals(pc.utf8_upper(batch))
    assert [len(values) for values in seen] == [20_000, 1]


def test_where_nothing_ever_recurred_nothing_is_remembered_any_more() -> None:
    seen: Seen = []
    function = upper(seen)
    for number in range(3):
        unlike = pa.array([f"user{number}-{i}" for i in range(90)])
        assert function(unlike).equals(pc.utf8_upper(unlike))
    assert function(pa.array(["user2-1", "user2-2"])).to_pylist() == ["USER2-1", "USER2-2"]
    assert [len(values) for values in seen] == [90, 90, 90, 2]


def test_what_recurs_too_seldom_is_given_up_before_the_memory_is_full() -> None:
    """Two batches fill a fifth of the memory, and with the third it is clear."""
    seen: Seen = []
    function = upper(seen, most=3_000)
    for number in range(4):
        unlike = pa.array([f"user{number}-{i}" for i in range(300)])
        assert function(unlike).equals(pc.utf8_upper(unlike))
    assert function(pa.array(["user0-1", "user3-2"] * 10)).to_pylist() == ["USER0-1", "USER3-2"] * 10
    assert [len(values) for values in seen] == [300, 300, 300, 300, 2]


def test_what_recurs_often_enough_is_remembered_until_the_memory_is_full() -> None:
    """15 of 200 were known, then 30 of 300: where 185 or 270 of 300 are held, 6.2 or 9 of a hundred are enough."""
    seen: Seen = []
    function = upper(seen, most=300)
    for start in (0, 85, 170):
        some = pa.array([f"user{i}" for i in range(start, start + 100)])
        assert function(some).equals(pc.utf8_upper(some))
    assert [len(values) for values in seen] == [100, 85, 85]


def test_where_nothing_repeats_nothing_is_looked_for() -> None:
    seen: Seen = []
    unlike = pa.array([f"user{i}" for i in range(1000)])
    assert upper(seen)(unlike).equals(pc.utf8_upper(unlike))
    assert [len(values) for values in seen] == [1000]


def test_a_few_are_worked_on_as_they_are() -> None:
    seen: Seen = []

    def apply(values: pa.Array) -> pa.Array:
        seen.append(values.to_pylist())
        return pc.utf8_upper(values)

    function = OverDistinct(apply, few=3)
    assert function(pa.array(["a", "a"])).to_pylist() == ["A", "A"]
    assert function(pa.array(["a", "a", "a"])).to_pylist() == ["A"] * 3
    assert function(pa.array(["a", None, "a"])).to_pylist() == ["A", None, "A"]
    assert function(pa.array(["a"])).to_pylist() == ["A"]
    assert seen == [["a", "a"], ["a"], ["a"]]


def test_no_more_is_remembered_than_it_may() -> None:
    seen: Seen = []
    function = upper(seen)
    many = pa.array([f"user{i % 101}" for i in range(1000)])
    for _ in range(2):
        assert function(many).equals(pc.utf8_upper(many))
    assert [len(values) for values in seen] == [101, 101]


@pytest.mark.parametrize("weak", [0, 1])
def test_texts_that_one_of_the_two_hashes_takes_for_equal_are_told_apart(
    weak: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds, whole = iter([0, 1] * 9), pl.Series.hash
    monkeypatch.setattr("secrets.randbits", lambda _: next(seeds))
    monkeypatch.setattr(pl.Series, "hash", lambda s, seed: whole(s, seed) % 3 if seed == weak else whole(s, seed))
    function = upper([])
    for start in (0, 20, 10):
        some = pa.array([f"user{i % 40}" for i in range(start, start + 50)])
        assert function(some).equals(pc.utf8_upper(some))


def test_what_a_failed_call_has_left_is_not_taken_for_a_result() -> None:
    calls: Seen = []

    def fails_first(values: pa.Array) -> pa.Array:
        calls.append(values.to_pylist())
        if len(calls) == 1:
            raise ValueError("not now")
        return pc.utf8_upper(values)

    function = OverDistinct(fails_first, few=0)
    with pytest.raises(ValueError, match="not now"):
        function(pa.array(["a", "b"] * 3))
    assert function(pa.array(["b", "c"] * 3)).to_pylist() == ["B", "C"] * 3


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.string_view(), pa.large_string()])
def test_any_type(kind: pa.DataType) -> None:
    values = pa.array([1, 2, None, 1] * 2).cast(pa.string()).cast(kind)
    got = OverDistinct(lambda distinct: distinct.cast(pa.large_string()), few=0)(values)
    assert got.to_pylist() == values.cast(pa.large_string()).to_pylist()
    assert got.type == pa.large_string()


@pytest.mark.parametrize("kind", [pa.string(), pa.null()])
def test_only_nulls(kind: pa.DataType) -> None:
    got = OverDistinct(lambda values: values.cast(pa.binary()))(pa.nulls(5, kind))
    assert got.equals(pa.nulls(5, pa.binary()))


@given(st.lists(st.lists(st.none() | st.text(max_size=3), max_size=40), max_size=6))
def test_as_if_it_went_row_by_row(batches: list[list[str | None]]) -> None:
    function = OverDistinct(pc.utf8_reverse, most=20, few=15)
    for batch in batches:
        array = pa.array(batch, pa.string())
        assert function(array).equals(pc.utf8_reverse(array))
