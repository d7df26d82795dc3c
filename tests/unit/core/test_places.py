"""Where rows stood: what is said of stretches, asked of single rows."""

import numpy as np
import pyarrow as pa

from importers.core.places import ascending, from_bytes, located, named, numbered, stretch, to_bytes, together


def asked(places, *rows):
    return located(places, np.array(rows, np.int64)).to_pylist()


def test_rows_of_a_stretch_stand_one_after_the_other():
    assert asked(stretch("a.csv:line ", 2), 0, 46) == ["a.csv:line 2", "a.csv:line 48"]


def test_numbers_are_kept_by_their_stretches_in_whatever_order():
    numbers = np.array([5, 6, 9, 2, 3, 3])
    places = numbered("x@", numbers)
    assert places.num_rows == 4
    assert asked(places, *range(6)) == [f"x@{number}" for number in numbers]


def test_ascending_numbers_are_one_stretch_where_none_is_left_out():
    assert ascending("x@", np.array([7, 8, 9])).equals(stretch("x@", 7))
    gap = np.array([7, 8, 10])
    assert asked(ascending("x@", gap), 0, 1, 2) == ["x@7", "x@8", "x@10"]
    assert asked(ascending("x@", gap[:0]), 0) == [None]


def test_rows_of_several_batches_are_told_apart_and_of_some_nothing_is_known():
    own = named(pa.array(["elsewhere", None]))
    parts = [(stretch("a:", 1), 3), (None, 2), (own, 2), (numbered("b:", np.array([7, 9])), 2), (stretch("a:", 4), 1)]
    whole = from_bytes(to_bytes(together(parts)))
    told = ["a:1", "a:2", "a:3", None, None, "elsewhere", None, "b:7", "b:9", "a:4"]
    assert asked(whole, *range(10)) == told
    assert asked(whole, 8, 0) == ["b:9", "a:1"]


def test_nothing_is_known_of_rows_without_places():
    assert asked(None, 3, 4) == [None, None]
    assert asked(together([]), 0) == [None]
