"""Objects of which a schema doesn't tell every key: what isn't told may be anything, and any other key is seen."""

import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.core import untold
from importers.exceptions import ContractError
from importers.sources._text.blocks import Block, of_few
from importers.sources._text.json_keys import Keys, unseen_keys
from importers.sources._text.json_lines import CELLS, Lines, UnknownKeys
from importers.sources._text.json_sample import MOST, told

ID = pa.field("id", pa.int64())
SCORES = pa.field("scores", pa.null())
TOTAL = pa.field("scores", pa.struct([("total", pa.int64()), untold.FIELD]))
ITEMS = pa.field("items", pa.list_(pa.struct([("id", pa.int64())])))


def block(*rows):
    data = bytearray(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return Block(0, data, len(data))


def read(schema, *rows, unknown=UnknownKeys.STOP):
    table, rejects, _ = Lines(pa.schema(schema), unknown).read(block(*rows), "byte {}".format)
    return table.to_pylist(), rejects


@pytest.mark.parametrize("unknown", UnknownKeys)
def test_what_is_not_told_may_be_anything_and_is_not_read(unknown):
    rows = [
        {"id": 1, "scores": {"ann": 5}},
        {"id": 2, "scores": [{"bob": "x"}]},
        {"id": 3, "scores": "none"},
        {"id": 4},
    ]
    assert read([ID, SCORES], *rows, unknown=unknown) == ([{"id": n} for n in (1, 2, 3, 4)], [])


@pytest.mark.parametrize("unknown", UnknownKeys)
def test_of_an_object_what_is_told_is_read(unknown):
    rows = [{"id": 1, "scores": {"ann": 5, "total": 7}}, {"id": 2, "scores": {"bob": {}}}, {"id": 3, "scores": None}]
    read_as = [{"id": 1, "scores": {"total": 7}}, {"id": 2, "scores": {"total": None}}, {"id": 3, "scores": None}]
    assert read([ID, TOTAL], *rows, unknown=unknown) == (read_as, [])


@pytest.mark.parametrize(
    ("row", "path"), [({"id": 1, "x": 2}, "got x;"), ({"items": [{"id": 1}, None, {"y": 1}]}, r"got items\[\]\.y;")]
)
def test_beside_what_is_not_told_another_key_stops(row, path):
    with pytest.raises(ContractError, match=path):
        read([ID, TOTAL, ITEMS], {"id": 1}, row)


def test_a_line_that_is_no_row_is_told_as_ever():
    good, bad = {"id": 1, "scores": {"ann": 5}}, {"id": "x", "scores": {"bob": 5}}
    rows, rejects = read([ID, SCORES], good, bad, b"nothing")
    assert rows == [{"id": 1}]
    assert [reject.reason for reject in rejects] == [
        "column 'id': not a whole number: see `types`",
        "not a JSON object",
    ]


def test_a_key_that_the_decoder_cannot_have_is_looked_for_line_by_line():
    schema = [ID, SCORES, pa.field('a "quoted" key', pa.int64())]
    assert read(schema, {"id": 1, 'a "quoted" key': 2})[0] == [{"id": 1, 'a "quoted" key': 2}]
    with pytest.raises(ContractError, match="got x;"):
        read(schema, {"id": 1, "x": 2})


values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "scores", "total", "ü", "…"]), inner)
    ),
    max_leaves=8,
)
KNOWN = pa.struct([ID, TOTAL, ITEMS, ("ü", pa.struct([("id", pa.string())]))])


@given(st.dictionaries(st.sampled_from(["id", "scores", "items", "ü", "x"]), values), st.booleans())
def test_the_decoder_sees_each_key_that_python_sees(row, escaped):
    line = json.dumps(row, ensure_ascii=escaped).encode()
    if list(unseen_keys(row, KNOWN)):
        assert not Keys(KNOWN).has_all_of(memoryview(line))


def test_an_object_of_many_keys_tells_none():
    keys = [f"k{n}" for n in range(MOST + 1)]
    records = [{"id": n, "m": {key: 1}, "u": {"n": n, "m": [{key: "x"}]}} for n, key in enumerate(keys)]
    few = pa.struct([(key, pa.int64()) for key in keys[:MOST]])
    u = pa.struct([("n", pa.int64()), ("m", pa.list_(pa.null()))])
    assert told(records).schema.equals(pa.schema([("id", pa.int64()), ("m", pa.null()), ("u", u)]))
    assert told(records[:MOST]).schema.field("m").type == few


def test_records_of_so_many_keys_that_their_sample_would_fill_the_memory_are_refused():
    records = [{f"k{n}": 1} for n in range(4100)]
    with pytest.raises(ContractError, match="4,100 records of the sample have 4,100 different keys"):
        told(records)


def test_a_block_is_read_in_parts_where_it_would_be_too_many_values():
    wide = Lines(pa.schema([(f"c{n}", pa.int64()) for n in range(1000)]), UnknownKeys.STOP)
    assert wide.most == CELLS // 1000


@given(st.lists(st.integers(0, 3), max_size=9), st.integers(1, 4), st.booleans())
def test_parts_of_a_block_hold_its_lines_once_and_in_order(lengths, most, ended):
    data = b"\n".join(b"x" * length for length in lengths) + (b"\n" if ended else b"")
    parts = list(of_few([Block(7, bytearray(data), len(data))], most))
    assert b"".join(bytes(part.view) for part in parts) == data
    assert all(part.lines <= most for part in parts)
    assert all(bytes(part.view).endswith(b"\n") for part in parts[:-1])
    assert all(one.offset + one.length == other.offset for one, other in pairwise(parts))
