"""Whether a value is one of another type: Python's comparisons, exact over int, float and Decimal, say it, too."""

import datetime as dt
from decimal import Decimal
from math import isnan, nan, nextafter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.exact import akin, exactly, lost

I64, F32, F64, TEXT, US, NS, DAY = (
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.date32(),
)
MIDNIGHT = dt.datetime.fromisoformat("2024-02-29")
MICRO = dt.datetime.fromisoformat("1970-01-01T00:00:00.000001")
A, AB = pa.struct([("a", I64)]), pa.struct([("a", I64), ("b", TEXT)])


@pytest.mark.parametrize(
    ("came", "values", "kind", "kept"),
    [
        # a double that a float rounds, or hasn't
        (F64, [16777217.0, 1e300, 0.1, 0.5, None, -0.0], F32, [None, None, None, 0.5, None, -0.0]),
        (F64, [0.123, 0.12, float("inf"), 1e9], pa.decimal128(10, 2), [None, Decimal("0.12"), None, None]),
        (pa.decimal128(38, 0), [10**29 + 1, 2**70, 7], F64, [None, float(2**70), 7.0]),
        (I64, [1, 10**8, -(10**8) + 1], pa.decimal128(10, 2), [Decimal(1), None, Decimal(-(10**8) + 1)]),
        (I64, [2**53 + 1, 2**53], F64, [None, 2.0**53]),
        (pa.uint64(), [2**63, 7], I64, [None, 7]),
        # codes aren't numbers, whoever stands beside them
        (TEXT, ["007", "0010", "+5", "-0", "7", "x"], I64, [None, None, None, None, 7, None]),
        (TEXT, ["007", "00.5", "0.50", "-00", "1E5"], F64, [None, None, 0.5, None, 1e5]),
        (TEXT, ["01.50", "1.50", "1.55", "15e-1"], pa.decimal128(4, 1), [None, Decimal("1.5"), None, Decimal("1.5")]),
        (TEXT, ["1.6186206036765249e-43", "1e3"], pa.decimal128(38, 0), [None, Decimal(1000)]),
        (TEXT, ["9007199254740993", "9007199254740992", "1e999", "1e-999"], F64, [None, 2.0**53, None, None]),
        (TEXT, ["0.10000000000000001", "0.3000000000000000445", "Infinity"], F64, [0.1, None, float("inf")]),
        (TEXT, ["16777217", "0.1", "1e300", "0.100000001"], F32, [None, pytest.approx(0.1), None, pytest.approx(0.1)]),
        (TEXT, ["true", "1"], pa.bool_(), [None, None]),
        (I64, [1, 5], pa.bool_(), [None, None]),
        (pa.bool_(), [True], I64, [None]),
        # moments
        (NS, [1000, 1001, -1], US, [MICRO, None, None]),
        (US, [MIDNIGHT, MIDNIGHT + dt.timedelta(hours=1)], DAY, [MIDNIGHT.date(), None]),
        (DAY, [MIDNIGHT.date()], US, [MIDNIGHT]),
        (US, [MIDNIGHT.replace(year=9996)], NS, [None]),
        (US, [MIDNIGHT], pa.timestamp("us", "UTC"), [None]),
        (pa.timestamp("us", "UTC"), [0], DAY, [None]),
        # binary
        (pa.binary(), [b"ab", b"abc"], pa.binary(2), [b"ab", None]),
        (pa.binary(), [b"ab", b"\xff"], TEXT, ["ab", None]),
        # objects: by what is in them
        (AB, [{"a": 1, "b": None}, {"a": 2, "b": "x"}, None], A, [{"a": 1}, None, None]),
        (A, [{"a": 1}, None], AB, [None, None]),
        (
            pa.struct([("a", TEXT)]),
            [{"a": "7"}, {"a": "007"}, {"a": None}, None],
            A,
            [{"a": 7}, None, {"a": None}, None],
        ),
        (pa.list_(TEXT), [["1"], ["1", "a"], [], None, [None]], pa.list_(I64), [[1], None, [], None, [None]]),
        (pa.list_(AB), [[{"a": 1, "b": None}], [{"a": 1, "b": "x"}]], pa.large_list(A), [[{"a": 1}], None]),
        (TEXT, ["{}"], A, [None]),
        (A, [{"a": 1}], TEXT, [None]),
        (pa.null(), [None], AB, [None]),
    ],
)
def test_a_value_is_one_of_the_type_exactly_or_none(came, values, kind, kept):
    array = pa.array(values, came)
    found = exactly(array, kind)
    found.validate(full=True)
    assert (found.type, found.to_pylist()) == (kind, kept)
    assert lost(array, found).tolist() == [v is not None and k is None for v, k in zip(values, kept, strict=True)]
    around = pa.concat_arrays([array, array, array])[len(array) : 2 * len(array)]  # an offset beneath it
    assert exactly(around, kind).to_pylist() == kept


def test_an_object_that_has_grown_has_nulls_where_it_was_less():
    assert exactly(pa.array([{"a": 1}, None], A), AB, grown=True).to_pylist() == [{"a": 1, "b": None}, None]
    lists = exactly(pa.array([[{"a": 1}], None, []], pa.list_(A)), pa.list_(AB), grown=True)
    assert lists.to_pylist() == [[{"a": 1, "b": None}], None, []]


def test_what_lies_hidden_beneath_a_null_decides_nothing():
    hidden = pa.StructArray.from_arrays([pa.array(["7", "x"])], ["a"], mask=pa.array([False, True]))
    assert exactly(hidden, A).to_pylist() == [{"a": 7}, None]
    assert lost(hidden, exactly(hidden, A)).tolist() == [False, False]
    items = pa.ListArray.from_arrays([0, 1, 2, 3], pa.array(["7", "x", "8"]), mask=pa.array([False, True, False]))
    assert exactly(items, pa.list_(I64)).to_pylist() == [[7], None, [8]]


def test_a_dictionary_is_its_values():
    coded = pa.array(["7", "007", None, "7"]).dictionary_encode()
    assert exactly(coded, I64).to_pylist() == [7, None, None, 7]
    assert lost(coded, exactly(coded, I64)).tolist() == [False, True, False, False]


NUMBERS = {
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    I64: st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.sampled_from([2**53 + 1, 2**24 + 1]),
    pa.uint64(): st.integers(0, 2**64 - 1),
    F32: st.floats(width=32),
    F64: st.floats() | st.floats(width=32) | st.integers(-300, 300).map(float),
    pa.decimal128(12, 2): st.decimals(-(10**9), 10**9, places=2),
    pa.decimal128(38, 0): st.integers(-(10**37), 10**37).map(Decimal),
}
WRITTEN = st.from_regex(r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)


@st.composite
def columns(draw):
    came = draw(st.sampled_from([*NUMBERS, TEXT]))
    values = WRITTEN | NUMBERS[F64].map(repr) | NUMBERS[I64].map(str) if came == TEXT else NUMBERS[came]
    return pa.array(draw(st.lists(st.none() | values, max_size=6)), came), draw(st.sampled_from(list(NUMBERS)))


def same(value, found, came, kind):
    """Whether the number that was found is the value: Python compares int, float and Decimal without rounding."""
    if isnan(value):
        return isnan(found)
    if value == found:
        return True
    # a fraction of ten is no fraction of two: the double nearest to 0.1 is meant by 0.1, and the other way round
    if isinstance(value, float) and isinstance(found, Decimal):
        return (np.float32(found) if came == F32 else float(found)) == value
    if isinstance(value, Decimal) and pa.types.is_floating(kind):
        printed = {f"{found:.{len(value.as_tuple().digits)}g}", repr(found)}
        return value in map(Decimal, printed | ({str(np.float32(found))} if kind == F32 else set()))
    return False


@settings(max_examples=examples(400), deadline=None)
@given(columns())
def test_a_number_is_the_same_number_or_none_and_its_neighbours_have_no_say(column):
    values, kind = column
    found = exactly(values, kind)
    alone = [exactly(values[place : place + 1], kind)[0] for place in range(len(values))]
    assert [str(each) for each in found] == [str(each) for each in alone]
    for value, kept in zip(values.to_pylist(), found.to_pylist(), strict=True):
        if kept is not None:
            said = Decimal(value) if isinstance(value, str) else value
            assert same(said, kept, values.type, kind), (value, kept, kind)


WIDER = [
    (pa.int8(), I64), (pa.int8(), F32), (pa.int8(), TEXT), (I64, TEXT), (I64, pa.decimal128(38, 0)),
    (pa.uint64(), TEXT), (F32, F64), (F64, TEXT), (F32, TEXT), (pa.decimal128(12, 2), TEXT),
    (pa.decimal128(12, 2), F64), (pa.decimal128(12, 2), pa.decimal128(38, 10)),
]  # fmt: skip


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_what_a_wider_type_holds_comes_back(data):
    narrow, wide = data.draw(st.sampled_from(WIDER))
    values = pa.array(data.draw(st.lists(st.none() | NUMBERS[narrow], max_size=6)), narrow)
    there = exactly(values, wide)
    assert not lost(values, there).any()
    assert exactly(there, narrow).equals(values) or any(map(is_nan, values.to_pylist()))


def test_a_float_that_becomes_text_has_all_its_digits():
    """numpy, too, says 85701888."""
    floats = [np.float32(each) for each in (85701888, -85701888, 16777218, 1.5, 0.1, 1e-5, 3e20)]
    found = exactly(pa.array(floats, F32), TEXT).to_pylist()
    assert found[:4] == ["85701888", "-85701888", "16777218", "1.5"]
    assert [np.float32(text) for text in found] == floats
    doubles = pa.array([12345678901.0, -9007199254740991.0, 7.5, 1e300, nan, None], F64)
    assert exactly(doubles, TEXT).to_pylist() == ["12345678901", "-9007199254740991", "7.5", "1e+300", "nan", None]


def is_nan(value):
    return isinstance(value, float) and isnan(value)


def test_the_neighbours_of_a_double_are_others():
    near = [0.1, nextafter(0.1, 1), nextafter(0.1, 0)]
    assert exactly(pa.array([repr(each) for each in near]), F64).to_pylist() == near
    assert exactly(pa.array(near), pa.decimal128(10, 4)).to_pylist() == [Decimal("0.1000"), None, None]


@pytest.mark.parametrize(
    ("came", "kind", "may"),
    [
        (I64, F64, True),
        (I64, TEXT, True),
        (TEXT, I64, True),
        (pa.bool_(), I64, False),
        (TEXT, pa.bool_(), False),
        (US, DAY, True),
        (US, I64, False),
        (A, TEXT, False),
        (pa.binary(), pa.large_binary(), True),
    ],
)
def test_which_types_are_akin(came, kind, may):
    assert akin(came, kind) is may
