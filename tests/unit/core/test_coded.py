"""What becomes of columns that are a dictionary's numbers."""

import pyarrow as pa

from importers.core.coded import decoded, decoded_schema

NUMBERS = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 2], pa.int8()), pa.array(["a", "b", None]))


def test_values_take_the_place_of_their_numbers():
    fields = [pa.field("word", NUMBERS.type, metadata={"of": "field"}), pa.field("n", pa.int64(), nullable=False)]
    rows = pa.record_batch([NUMBERS, pa.array([1, 2, 3, 4])], schema=pa.schema(fields, {"of": "schema"}))
    plain = decoded(rows.slice(1))
    expected = pa.schema([fields[0].with_type(pa.string()), fields[1]], {"of": "schema"})
    assert plain.schema.equals(expected, check_metadata=True)
    assert plain.to_pydict() == {"word": ["a", None, None], "n": [2, 3, 4]}
    assert decoded_schema(rows.schema).equals(expected, check_metadata=True)


def test_rows_without_numbers_are_as_they_were():
    rows = pa.record_batch({"word": ["a"], "deep": pa.array([{"word": "a"}])})
    assert decoded(rows) is rows
    assert decoded_schema(rows.schema) is rows.schema
