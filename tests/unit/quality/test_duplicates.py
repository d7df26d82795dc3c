"""What a survey of sorted hashes finds is what counting them finds."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from importers.quality.duplicates import survey

HASHES = st.sampled_from([0, 1, 2, 3, 2**57, 2**57 + 1, 2**58 - 1, 2**58, 2**63, 2**64 - 2, 2**64 - 1])
"""Several to a bucket, on both sides of a bucket's edge, and at the ends of what 64 bits hold."""


@given(st.lists(st.lists(HASHES, max_size=12), max_size=4))
def test_what_counting_finds(partitions: list[list[int]]) -> None:
    times = Counter(hash_ for keys in partitions for hash_ in keys)
    most = max(times.values(), default=0)
    found = survey([np.sort(np.array(keys, np.uint64)) for keys in partitions], modes=True)
    assert found.distinct == len(times)
    assert found.repeated.tolist() == sorted(hash_ for hash_, many in times.items() if many > 1)
    assert found.most_common.tolist() == sorted(hash_ for hash_, many in times.items() if many == most)


def test_which_come_most_often_is_told_to_who_asks() -> None:
    assert survey([np.array([5, 5, 6], np.uint64)]).most_common.tolist() == []
