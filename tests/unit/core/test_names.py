"""Which names messages don't show."""

from __future__ import annotations

import pytest

from importers.core.names import did_you_mean, is_like_a_value, nearest


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
