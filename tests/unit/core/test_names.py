"""Which names messages don't show."""

from __future__ import annotations

import pyarrow as pa
import pytest

from importers.core.names import did_you_mean, is_like_a_value, nearest, shown_type


@pytest.mark.parametrize(
    "name",
    [
        "ada@example.org",
        "4711",
        "-1.5",
        "1815-12-10",
        "2024-02-29T10:00:00Z",
        "+49 30 901820",
        "user_4711123",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "d41d8cd98f00b204e9800998ecf8427e",
        "x" * 81,
    ],
)
def test_a_value_is_told_from_a_name(name: str) -> None:
    assert is_like_a_value(name)
    said = did_you_mean("idd", ["id", name])
    assert name not in said
    assert "1 that look like values" in said


@pytest.mark.parametrize(
    "name", ["id", "Song Clean", "First?", "F*G", "2024", "user.email", "items[].id", "@daily", "Größe", "md5", "v2"]
)
def test_a_name_is_shown(name: str) -> None:
    assert not is_like_a_value(name)
    assert name in did_you_mean("idd", [name])


@pytest.mark.parametrize(
    ("got", "options", "meant"),
    [
        ("values_to_be_not_null", ["values_to_be_null", "values_to_not_be_null"], "values_to_not_be_null"),
        ("values_to_nto_be_null", ["values_to_be_null", "values_to_not_be_null"], "values_to_not_be_null"),
        ("values_be_null", ["values_to_be_null", "values_to_not_be_null"], "values_to_be_null"),
        ("not_in_set", ["in_set"], None),
        ("in_set", ["not_in_set"], None),
        ("Kundennr", ["Name", "Kunde-Nr"], "Kunde-Nr"),
        ("ACOUNT_ID", ["name", "account_id"], "account_id"),
        ("quite_else", ["name"], None),
    ],
)
def test_what_was_meant_is_never_the_opposite(got: str, options: list[str], meant: str | None) -> None:
    assert nearest(got, options) == meant


def test_of_very_many_names_a_few_are_told() -> None:
    names = [f"name_{letter}{digit}" for letter in "abcdefgh" for digit in "12345"]
    said = did_you_mean("name_c", names)
    assert said.endswith(", and 35 more")
    assert said.count("name_c") == 6  # what was meant, and the five
    assert did_you_mean("name_c", names[:30]).endswith(names[29])


NAMED = pa.struct([("id", pa.int64()), pa.field("$ref", pa.decimal128(9, 2), nullable=False)])
ADA = pa.struct([("ada@example.org", pa.int64())])


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us", "UTC"),
        pa.dictionary(pa.int32(), pa.string()),
        NAMED,
        pa.list_(pa.field("element", NAMED, nullable=False), 3),
        pa.map_(pa.string(), NAMED),
        pa.run_end_encoded(pa.int32(), pa.int64()),
    ],
)
def test_a_type_whose_keys_are_names_is_told_as_arrow_has_it(kind: pa.DataType) -> None:
    assert shown_type(kind) == str(kind)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (ADA, "struct<…: int64>"),
        (pa.list_(ADA), "list<item: struct<…: int64>>"),
        (pa.large_list(ADA), "large_list<item: struct<…: int64>>"),
        (pa.list_(ADA, 3), "fixed_size_list<item: struct<…: int64>>"),
        (pa.list_view(ADA), "list_view<item: struct<…: int64>>"),
        (pa.map_(pa.string(), ADA), "map<entries: struct<key: string, value: struct<…: int64>>>"),
        (pa.dictionary(pa.int32(), ADA), "dictionary<values: struct<…: int64>>"),
        (pa.dense_union([pa.field("ada@example.org", pa.int64())]), "dense_union<…: int64>"),
        (pa.struct([("by", ADA), ("id", pa.int8())]), "struct<by: struct<…: int64>, id: int8>"),
        (pa.struct([("of", pa.struct([("Ada L.", ADA)]))]), "struct<of: struct<…: struct<…: int64>>>"),
        (pa.struct([("4711", pa.int64()), ("4712", pa.int64()), ("47", pa.string())]), "struct<…: int64, …: string>"),
        (pa.struct([("a>: int64, ada@example.org", pa.int64())]), "struct<…: int64>"),
    ],
)
def test_no_key_that_may_be_data_is_told_with_a_type(kind: pa.DataType, told: str) -> None:
    assert shown_type(kind) == told
