"""What a sample tells is what Arrow's own inference finds, where that finds anything."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import json as arrow_json

from importers.sources._text.json_keys import sampled
from importers.sources._text.json_sample import MAJORITY, textual, told

KEYS = st.sampled_from(["a", "b", "ü", "c d"])
SCALARS = {
    "number": st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5),
    "boolean": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.just("2026-01-01"),
}
VALUES = st.recursive(
    st.none() | st.one_of(*SCALARS.values()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def by_arrow(rows):
    data = "\n".join(map(json.dumps, rows)).encode()
    found = arrow_json.read_json(pa.BufferReader(data), arrow_json.ReadOptions(block_size=len(data) + 1)).schema
    return {field.name: textual(field.type) for field in found}


@given(st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_types_are_those_that_arrow_infers(rows):
    found = told(rows)
    try:
        expected = by_arrow(rows)
    except pa.ArrowInvalid:
        return
    assert {field.name: textual(field.type) for field in found.schema} == expected
    assert not found.untold
    assert not found.odd


@pytest.mark.parametrize("value", ["x", True, {"k": 1}, [1]])
@pytest.mark.parametrize("within", [lambda v: {"n": v}, lambda v: {"o": {"n": v}}, lambda v: {"l": [{"n": v}]}])
def test_a_few_values_of_another_type_are_odd_and_more_are_asked_about(value, within):
    path = {"n": "n", "o": "o.n", "l": "l[].n"}[next(iter(within(1)))]
    for good, bad in ((9, 1), (8, 2)):
        found = told([within(1)] * good + [within(value)] * bad, {})
        few = good >= MAJORITY * (good + bad)
        of = pa.int64() if few else pa.null()
        kinds = {"n": of, "o.n": pa.struct([("n", of)]), "l[].n": pa.list_(pa.struct([("n", of)]))}
        assert found.schema.types == [kinds[path]]
        assert (list(found.odd), list(found.untold)) == (([path], []) if few else ([], [path]))
        what = found.odd[path] if few else found.untold[path].what
        assert what.startswith(f"a number in {good} places" if few else f"it is a number in {good} places")
    assert told([within(1), within(value)], {path: pa.int64()}).untold == {}


def test_a_record_that_is_no_row_tells_its_keys_alone():
    good = [{"id": n, "at": "2026-01-01T00:00:00Z", "l": [1]} for n in range(20)]
    of_said = {"id": "x", "at": "soon", "note": "only here", "o": {"k": 1}}
    of_itself = {"id": 1, "at": "soon", "l": [1, "x"], "late": 1.5}
    found = told([*good, of_said, of_itself], {"id": pa.int64()})
    assert found.schema == pa.schema(
        [
            ("id", pa.int64()),
            ("at", pa.timestamp("us", "UTC")),
            ("l", pa.list_(pa.int64())),
            ("note", pa.string()),
            ("o", pa.struct([("k", pa.int64())])),
            ("late", pa.float64()),
        ]
    )
    assert (found.untold, found.odd) == ({}, {})


def test_what_json_cannot_have_tells_no_type():
    for wrong in (
        b'{"\\ud83d": 1, "n": 1.5}',
        b'{"n": 1.5, "m": 1e400}',
        b'{"n": 1.5, "m": NaN}',
        b'{"n": 1, "n": 1.5}',
    ):
        rows = [sampled(line) for line in (b'{"n": 1, "m": 1}', wrong, b'{"n": 1, "o": {"k": 1}}')]
        kinds = {"n": pa.int64(), "m": pa.int64(), "o": pa.struct([("k", pa.int64())])}
        assert told(rows).schema == pa.schema(kinds)
    assert told([sampled(b'{"o": {"k": 1, "k": 1.5}, "n": 1.5}'), *rows]).schema == pa.schema(kinds)


def test_a_record_with_an_odd_value_widens_no_column():
    """Its others are in quarantine with it; integers that a double would round were, too."""
    good = [{"id": 2**60 + n, "v": "x"} for n in range(1000)]
    found = told([*good, {"id": 1.5, "v": 7, "late": True}])
    assert found.schema == pa.schema([("id", pa.int64()), ("v", pa.string()), ("late", pa.bool_())])
    assert found.odd == {"v": "a string in 1,000 places and a number in one place"}


@pytest.mark.parametrize("fractions", [True, False])
def test_times_have_fractions_where_those_are_read(fractions):
    kinds = told([{"s": "2026-01-01T00:00:00", "f": "2026-01-01T00:00:00.5"}], fractions=fractions).schema
    moment = pa.timestamp("us")
    assert kinds == pa.schema([("s", moment), ("f", moment if fractions else pa.string())])
