"""What becomes of columns that are a dictionary's numbers, or views."""

import pyarrow as pa

from importers.core.coded import decoded, decoded_schema, without_views

NUMBERS = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 2], pa.int8()), pa.array(["a", "b", None]))


def test_values_take_the_place_of_their_numbers():
    fields = [pa.field("word", NUMBERS.type, metadata={"of": "field"}), pa.field("n", pa.int64(), nullable=False)]
    rows = pa.record_batch([NUMBERS, pa.array([1, 2, 3, 4])], schema=pa.schema(fields, {"of": "schema"}))
    plain = decoded(rows.slice(1))
    expected = pa.schema([fields[0].with_type(pa.string()), fields[1]], {"of": "schema"})
    assert plain.schema.equals(expected, check_metadata=True)
    assert plain.to_pydict() == {"word": ["a", None, None], "n": [2, 3, 4]}
    assert decoded_schema(rows.schema).equals(expected, check_metadata=True)


def test_texts_take_the_place_of_views():
    long = "longer than a view has room for"
    views = pa.array(["a", None, "", long, "ä𝄞"], pa.string_view())
    fields = [pa.field("word", views.type, metadata={"of": "field"}), pa.field("few", NUMBERS.type)]
    rows = pa.record_batch([views.slice(1), NUMBERS], schema=pa.schema(fields, {"of": "schema"}))
    kept, plain = without_views(rows.slice(1)), decoded(rows.slice(1))
    assert kept.schema.equals(pa.schema([fields[0].with_type(pa.string()), fields[1]], rows.schema.metadata), True)
    assert decoded_schema(rows.schema).equals(plain.schema, check_metadata=True)
    assert decoded_schema(kept.schema).equals(plain.schema, check_metadata=True)
    expected = {"word": ["", long, "ä𝄞"], "few": ["a", None, None]}
    assert kept.to_pydict() == plain.to_pydict() == expected
    assert kept.column("few").type == NUMBERS.type
    kept.validate(full=True)


def test_rows_without_numbers_are_as_they_were():
    rows = pa.record_batch({"word": ["a"], "deep": pa.array([{"word": "a"}])})
    assert decoded(rows) is rows
    assert without_views(rows) is rows
    assert decoded_schema(rows.schema) is rows.schema
