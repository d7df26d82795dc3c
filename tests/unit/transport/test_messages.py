"""Messages as columns. What is expected is what each of the client's own messages says when it is asked alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from hypothesis import given
from hypothesis import strategies as st

from importers.transport import messages
from importers.transport.messages import Gathering, Messages, Part

HEADED = [("trace", b"7"), ("trace", None)]


def message(partition: int, offset: int, **said: Any) -> Message:
    return Message("t", partition, offset, **{"timestamp": (TIMESTAMP_NOT_AVAILABLE, 0), **said})


def gathered(*parts: list[Message], partition: int | None = None) -> Messages:
    held = Gathering(Part)
    for part in parts:
        held.add(part, partition)
    return held.gathered()


PARTIAL = st.none() | st.binary(max_size=3)
MESSAGES = st.lists(
    st.builds(
        lambda partition, key, value, headers, at: message(
            partition,
            0,
            key=key,
            value=value,
            headers=headers,
            timestamp=(TIMESTAMP_NOT_AVAILABLE, 0) if at is None else (TIMESTAMP_CREATE_TIME, at),
        ),
        st.integers(0, 2),
        PARTIAL,
        PARTIAL,
        st.sampled_from([None, HEADED]),
        st.none() | st.integers(0, 2**41),
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.integers(1, 3), min_size=8, max_size=8), st.integers(0, 8))
def test_each_column_has_what_each_message_says(found: list[Message], steps: list[int], cut: int) -> None:
    at = [0, 10, 20]
    placed = []
    for each, step in zip(found, steps, strict=False):  # with gaps, and partitions in any turn
        number = each.partition() or 0
        placed.append(
            message(
                number,
                at[number],
                key=each.key(),
                value=each.value(),
                headers=each.headers(),
                timestamp=each.timestamp(),
            )
        )
        at[number] += step
    got = gathered(placed[:cut], placed[cut:])
    assert got.values.to_pylist() == [each.value() for each in placed]
    assert got.keys.to_pylist() == [each.key() for each in placed]
    assert list(got.headers) == [each.headers() for each in placed]
    assert got.times.to_pylist() == [time if kind else None for kind, time in map(Message.timestamp, placed)]
    assert got.partitions.tolist() == [each.partition() for each in placed]
    assert got.offsets.tolist() == [each.offset() for each in placed]
    last = {each.partition(): each.offset() + 1 for each in placed}  # type: ignore[operator]
    assert got.after() == last


def test_of_one_partition_each_offset_is_told_with_its_gaps() -> None:
    got = gathered([message(3, 7), message(3, 8), message(3, 10)], [message(3, 11)], partition=3)
    assert (got.partitions.tolist(), got.offsets.tolist()) == ([3] * 4, [7, 8, 10, 11])
    assert (list(got.stretches()), got.after()) == ([(3, 0, 4)], {3: 12})


def test_stretches_are_of_one_partition_and_leave_nothing_out() -> None:
    got = gathered([message(0, 5), message(0, 6), message(1, 0)], [message(1, 1), message(0, 7)])
    assert list(got.stretches()) == [(0, 0, 2), (1, 2, 4), (0, 4, 5)]
    assert all(ends == begins for (_, _, ends), (_, begins, _) in pairwise(got.stretches()))
    assert list(gathered().stretches()) == []


def test_what_is_taken_keeps_all_that_is_said_of_it() -> None:
    said = [message(0, at, value=b"%d" % at, key=b"k%d" % at, headers=[("n", b"%d" % at)]) for at in range(4)]
    got = gathered(said).take([1, 3])
    assert (got.values.to_pylist(), got.keys.to_pylist(), got.offsets.tolist()) == (
        [b"1", b"3"],
        [b"k1", b"k3"],
        [1, 3],
    )
    assert [pairs and pairs[0][1] for pairs in got.headers] == [b"1", b"3"]
    assert (len(got), got.times.to_pylist(), len(gathered(said).take([]))) == (2, [None, None], 0)


def test_what_nobody_asks_for_isn_t_there() -> None:
    held = Gathering({Part.KEY})
    held.add([message(0, 0, key=b"k", value=b"v", headers=HEADED)])
    got = held.gathered()
    assert (got.keys.to_pylist(), len(got.values), len(got.headers), len(got.times)) == ([b"k"], 0, 0, 0)
    assert len(held) == 0
    assert len(held.gathered()) == 0


@pytest.mark.parametrize("part", [Part.VALUE, Part.KEY])
def test_it_is_full_by_the_bytes_that_it_holds(part: Part) -> None:
    held = Gathering({part})
    with patch.object(messages, "MOST", 10_000):
        held.add([message(0, 0, value=b"x" * 9_000, key=b"x" * 9_000)])
        assert not held.is_full
        held.add([message(0, 1, value=b"x" * 1_000, key=b"x" * 1_000)])
        assert held.is_full
        held.gathered()
        assert not held.is_full
