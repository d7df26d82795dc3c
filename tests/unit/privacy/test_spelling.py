import pyarrow as pa
import pytest

from importers.privacy.spelling import folded, looks_case_sensitive, told

SALESFORCE = ["001A0000006Vm9rIAC", "001A0000006VM9rIAC", "001A0000006vM9RIAC"]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (SALESFORCE, 2),
        ([*SALESFORCE, SALESFORCE[0], f" {SALESFORCE[0]} "], 2),  # what a case-sensitive domain folds, too
        (["abc", "ABC", "x", "X", "y"], 2),
        (["É1", "é1", "e1"], 1),
        (["Ann@example.org", "ann@example.org", "Ann Lee", "ann lee", None, "", " "], 0),
        (["a", "b", None], 0),
        ([], 0),
    ],
)
def test_what_differs_by_case_alone_is_counted_and_an_address_or_a_name_is_not(
    values: list[str | None], count: int
) -> None:
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert folded(pa.array(values, kind)) == count
    assert folded(pa.chunked_array([values[:1], values[1:]], pa.string())) == count


def test_numbers_have_no_case() -> None:
    assert folded(pa.array([1, 1])) == 0
    assert not looks_case_sensitive(pa.array([1, 2]))
    assert not looks_case_sensitive(None)


@pytest.mark.parametrize(
    ("values", "looks"),
    [
        (["4iV5W9uYEdYUVa79Axb7Rh", "1Je1IMUlBXcx1Fz0WE7oPT", "6vWDO969PvNqNYHIOW5v0m"], True),
        (["dQw4w9WgXcQ", "9bZkp7q19f0", "kJQP7kiw5Fk", "abcdefghijk", "OPf0YbXqDm0"], True),  # most of them
        (["ab", "AB"], True),  # as two do differ by it
        (["0015g00000AbC1x", "0015g00000zQ9rT", "0015g00000Kp2Ma"], True),
        (["KdNr0001", "KdNr0002", "KdNr0117"], False),  # in which case tells nothing
        (["customerId12", "customerId7"], False),
        (["Cust-0001a", "Cust-0002b"], False),
        (["dQw4w9WgXcQ", "user", "bob", "ann"], False),
        (["Ada1@Example.org", "Bob2@Example.org"], False),
        (["550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440001"], False),
        (["Ann Lee 1", "Bob Ray 2"], False),
        (["listener 1", "user_77", "A1"], False),
        ([None], False),
    ],
)
def test_most_values_have_to_look_so(values: list[str | None], looks: bool) -> None:
    assert looks_case_sensitive(pa.array(values, pa.string())) is looks


def test_a_domain_that_is_settled_needs_another_name() -> None:
    assert "`domains: {member: {case_sensitive: true}}`" in told("id", "member", 1, settled=False)
    assert "another domain than 'member'" in told("id", "member", 2, settled=True)
