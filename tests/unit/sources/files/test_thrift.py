"""Expected bytes are put together by hand from the specification of Thrift's compact protocol; Arrow reads footers of
them in test_parquet_texts.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.sources.files._thrift import I64, read, written

WRITTEN = [
    ({}, b"\0"),
    ({1: 0, 2: -1, 3: 1, 4: 300}, b"\x15\x00\x15\x01\x15\x02\x15\xd8\x04\0"),
    ({1: 2**31 - 1, 2: -(2**31)}, b"\x15\xfe\xff\xff\xff\x0f\x15\xff\xff\xff\xff\x0f\0"),
    ({5: I64(64), 20: I64(2**62)}, b"\x56\x80\x01\xf6\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0"),
    ({1: True, 3: False, 4: None, 5: 1}, b"\x11\x22\x25\x02\0"),
    ({2: b"abc"}, b"\x28\x03abc\0"),
    ({1: {1: 1, 2: {}}, 2: 3}, b"\x1c\x15\x02\x1c\0\0\x15\x06\0"),
    ({1: [1, 2], 2: [b"a"], 3: [{1: 5}, {}]}, b"\x19\x25\x02\x04\x19\x18\x01a\x19\x2c\x15\x0a\0\0\0"),
    ({1: [0] * 14}, b"\x19\xe5" + b"\0" * 14 + b"\0"),
    ({1: [0] * 15}, b"\x19\xf5\x0f" + b"\0" * 15 + b"\0"),
]


@pytest.mark.parametrize(("struct", "expected"), WRITTEN)
def test_structs_are_written(struct, expected):
    assert written(struct) == expected


@pytest.mark.parametrize(
    "passed_over",
    [
        b"\x18\x03abc",  # binary
        b"\x13\x07",  # byte
        b"\x14\xd8\x04",  # i16
        b"\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # i64
        b"\x17ABCDEFGH",  # double
    ],
)
def test_what_nobody_asks_for_is_passed_over(passed_over):
    assert read(passed_over + b"\x15\x02\x11\x12\0rest") == ({2: 1, 3: True, 4: False}, len(passed_over) + 5)


def test_a_number_that_is_far_from_the_one_before_is_said():
    assert read(b"\x05\xd0\x0f\x02\0") == ({1000: 1}, 5)


@pytest.mark.parametrize("kind", [9, 10, 11, 13, 14, 15])
def test_a_list_a_set_a_map_and_what_there_is_not_are_refused(kind):
    with pytest.raises(ValueError, match=rf"^type {kind}$"):
        read(bytes([0x10 | kind, 0, 0, 0]))


STRUCTS = st.recursive(
    st.integers(-(2**31), 2**31 - 1) | st.booleans(),
    lambda value: st.dictionaries(st.integers(1, 15), value).map(lambda of: dict(sorted(of.items()))),
).map(lambda of: of if isinstance(of, dict) else {1: of})


@given(STRUCTS, st.data())
def test_what_was_written_is_read_and_half_of_it_is_not(struct, data):
    whole = written(struct)
    assert read(b"xy" + whole + b"z", 2) == (struct, 2 + len(whole))
    with pytest.raises(IndexError):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_structs_in_structs_without_end_are_refused():
    with pytest.raises(RecursionError):
        read(b"\x1c" * 16384)


def test_a_text_that_is_longer_than_all_there_is_ends_nothing():
    with pytest.raises(IndexError):
        read(b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 100)
