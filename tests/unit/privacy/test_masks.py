import datetime as dt
import ipaddress
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.core.tenant import Treatment
from importers.privacy.masks import mask, masked_type


def masked(values: list[Any], kind: pa.DataType | None = None, **how: Any) -> list[Any]:
    """Masks an array of the values, and checks that its type is as announced and nulls are where they were."""
    array = pa.concat_arrays([pa.nulls(1, kind), pa.array(values, kind)]).slice(1) if kind else pa.array(values)
    treatment = Treatment.model_validate(how)
    got = mask(array, treatment)
    assert got.type == masked_type(array.type, treatment)
    assert len(got) == len(values)
    return got.to_pylist()


def test_email() -> None:
    got = masked(["jo.doe@example.org", " A@x.de ", None, "é@bücher.example", "+49 30 1"], mask="email")
    assert got == ["j***@example.org", "A***@x.de", None, "é***@bücher.example", "***"]


@pytest.mark.parametrize(
    "text", ["", "ada", "@example.org", "ada@", "a@b@c", "Ada <ada@example.org> is ill", "ada@example.org, Lovelace"]
)
def test_what_is_no_address_shows_nothing(text: str) -> None:
    assert masked([text], mask="email") == ["***"]


def test_phone() -> None:
    cases = {
        "+49 (30) 901820-99": "+** (**) ****20-99",
        "0123456789": "******6789",
        "12345": "*2345",
        "1234": "****",
        "1 2": "* *",
        "": "",
        "030 1234567 ask Ada": "*** ***4567 *** ***",
        "٠١٢٣٤٥٦٧": "********",
    }
    assert masked([*cases, None], mask="phone") == [*cases.values(), None]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_phone_shows_at_most_four_digits_and_no_letter(text: str) -> None:
    (got,) = masked([text], pa.string(), mask="phone")
    assert len(got) == len(text)
    shown = [c for c in got if c not in "*+()./ -"]
    assert shown == ([c for c in text if c in "0123456789"][-4:] if len(shown) else [])
    assert len(shown) in (0, 4)


def test_ip_prefix() -> None:
    cases = {
        "203.0.113.9": "203.0.113.0/24",
        " 10.0.0.255\n": "10.0.0.0/24",
        "2001:db8:1:2::3": "2001:db8:1::/48",
        "::ffff:203.0.113.7": "203.0.113.0/24",
        "fe80::1%eth0": "fe80::/48",
        "::1": "::/48",
        "203.0.113.256": None,
        "203.0.113": None,
        "203.0.113.09": None,
        "203.0.113.9:80": None,
        "ada": None,
        "": None,
    }
    assert masked([*cases, None], mask="ip_prefix") == [*cases.values(), None]


@given(st.lists(st.none() | st.ip_addresses().map(str), max_size=8))
def test_ip_prefix_is_the_network_that_ipaddress_says(texts: list[str | None]) -> None:
    def network(text: str) -> str:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 48}", strict=False))

    assert masked(texts, pa.string(), mask="ip_prefix") == [text and network(text) for text in texts]


def test_initials() -> None:
    cases = {
        "Ada Lovelace": "A. L.",
        "  jean-luc\tpicard ": "J. P.",
        "O'Neil": "O.",
        "Éa": "É.",
        "王小明": "王.",
        "Ada 1815": "A.",
        "1815": "",
        "": "",
    }
    assert masked([*cases, None], mask="initials") == [*cases.values(), None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("how", ["email", "phone", "ip_prefix", "initials"])
def test_every_kind_of_text(kind: pa.DataType, how: str) -> None:
    text = {"email": "a@x.de", "phone": "12345", "ip_prefix": "1.2.3.4", "initials": "Ada"}[how]
    shown = {"email": "a***@x.de", "phone": "*2345", "ip_prefix": "1.2.3.0/24", "initials": "A."}[how]
    assert masked([text, None, text], kind, mask=how) == [shown, None, shown]
    encoded = pa.array([text, None]).dictionary_encode()
    assert mask(encoded, Treatment.model_validate({"mask": how})).to_pylist() == [shown, None]
    assert masked([], kind, mask=how) == []


DAY = dt.date(2024, 2, 29)  # a Thursday


@pytest.mark.parametrize(
    ("unit", "first"),
    [("year", dt.date(2024, 1, 1)), ("month", dt.date(2024, 2, 1)), ("week", dt.date(2024, 2, 26)), ("day", DAY)],
)
@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_cut(unit: str, first: dt.date, kind: pa.DataType) -> None:
    assert masked([DAY, None], kind, mask="date", unit=unit) == [first, None]


@pytest.mark.parametrize("precision", ["s", "ms", "us", "ns"])
def test_timestamps_are_cut(precision: str) -> None:
    kind = pa.timestamp(precision)
    assert masked([dt.datetime.fromisoformat("1969-12-31T23:59:01"), None], kind, mask="date", unit="hour") == [
        dt.datetime.fromisoformat("1969-12-31T23:00:00"),
        None,
    ]


def test_timestamps_are_cut_where_they_are() -> None:
    kind = pa.timestamp("us", "Europe/Berlin")
    just_after_midnight = dt.datetime(2024, 6, 30, 22, 30, tzinfo=dt.UTC)  # the 1st of July in Berlin
    assert masked([just_after_midnight], kind, mask="date") == [dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.uint8(), pa.int64()])
def test_whole_bands(kind: pa.DataType) -> None:
    assert masked([37, 30, 9, 0, None], kind, mask="band") == [30, 30, 0, 0, None]


def test_bands_at_the_ends_of_their_types() -> None:
    assert masked([-128, -1], pa.int8(), mask="band") == [-130, -10]
    assert masked([2**64 - 1], pa.uint64(), mask="band") == [(2**64 - 1) // 10 * 10]
    assert masked([2**63 - 1, -(2**63)], pa.int64(), mask="band") == [(2**63 - 1) // 10 * 10, None]


@given(st.lists(st.none() | st.integers(-(2**62), 2**62)), st.integers(1, 10**6))
def test_bands_floor(values: list[int | None], width: int) -> None:
    expected = [None if value is None else math.floor(value // width) * width for value in values]
    assert masked(values, pa.int64(), mask="band", width=width) == expected


def test_bands_of_fractions() -> None:
    assert masked([0.7, -0.1, None], mask="band", width=0.5) == [0.5, -0.5, None]
    assert masked([37.5], pa.float32(), mask="band") == [30.0]
    assert masked([37], pa.float16(), mask="band") == [30.0]
    assert masked([Decimal("37.20")], mask="band") == [30.0]
    assert masked([7], pa.int64(), mask="band", width=2.5) == [5.0]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (pa.int64(), {"mask": "email"}),
        (pa.string(), {"mask": "date"}),
        (pa.string(), {"mask": "band"}),
        (pa.date32(), {"mask": "date", "unit": "hour"}),
        (pa.bool_(), {"mask": "band"}),
        (pa.binary(), {"mask": "phone"}),
    ],
)
def test_a_mask_that_does_not_fit_is_none(kind: pa.DataType, how: dict[str, Any]) -> None:
    treatment = Treatment.model_validate(how)
    assert masked_type(kind, treatment) is None
    with pytest.raises(TypeError):
        mask(pa.nulls(1, kind), treatment)


def test_columns_of_nothing_stay_so() -> None:
    for how in ({"mask": "email"}, {"mask": "band"}, {"mask": "date"}):
        assert masked([None, None], **how) == [None, None]
