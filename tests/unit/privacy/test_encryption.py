import datetime as dt
import hashlib
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from importers.exceptions import PrivacyError
from importers.keys.keyring import Keyring
from importers.privacy.encryption import can_encrypt, decrypt, encrypting

OLD, NEW = hashlib.sha256(b"old").digest(), hashlib.sha256(b"new").digest()
ACME = Keyring([NEW]).tenant("acme")


def sealed(values: pa.Array, deterministic: bool = False, domain: str = "listener") -> pa.Array:
    key = ACME.encryption(deterministic=deterministic)
    return encrypting(key, domain, deterministic=deterministic)(values)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Ada", "", None, "é" * 1000, "Ada"], pa.string()),
        ([1, None, -(2**63)], pa.int64()),
        ([0.1, None, -1e300], pa.float64()),
        ([True, None, False], pa.bool_()),
        ([b"\xff\x00", None, b""], pa.binary()),
        ([dt.date(2024, 2, 29), None], pa.date32()),
        ([dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC")),
        ([dt.datetime.fromisoformat("2024-02-29T01:02:03"), None], pa.timestamp("s")),
        ([Decimal("1.50"), None], pa.decimal128(5, 2)),
        (["Ada", None], pa.string_view()),
        ([b"Ada", None], pa.binary_view()),
        ([], pa.string()),
    ],
)
def test_comes_back_as_it_was(values: list[Any], kind: pa.DataType, deterministic: bool) -> None:
    got = sealed(pa.array([None, *values], kind).slice(1), deterministic)
    assert got.type == pa.binary()
    assert [v is None for v in got.to_pylist()] == [v is None for v in values]
    assert decrypt(got, ACME, "listener", kind).to_pylist() == values


def test_uuids_and_dictionaries_come_back_as_text() -> None:
    number = uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")
    assert decrypt(sealed(pa.array([number.bytes], pa.uuid())), ACME, "listener").to_pylist() == [str(number)]
    for deterministic in (False, True):
        encoded = pa.array(["a", "b", None, "a"]).dictionary_encode()
        assert decrypt(sealed(encoded, deterministic), ACME, "listener").to_pylist() == ["a", "b", None, "a"]


def test_layout_is_as_documented() -> None:
    (random,), (same,) = sealed(pa.array(["Ada"])).to_pylist(), sealed(pa.array(["Ada"]), True).to_pylist()
    assert (random[0], len(random)) == (1, 1 + 16 + 16 + 3)
    assert (same[0], len(same)) == (0x81, 1 + 16 + 3)
    assert AESSIV(ACME.encryption()).decrypt(random[17:], [b"listener", random[1:17]]) == b"Ada"
    assert AESSIV(ACME.encryption(deterministic=True)).decrypt(same[1:], [b"listener"]) == b"Ada"


def test_equal_values_look_equal_only_if_deterministic_and_only_inside_a_domain() -> None:
    twice = pa.array(["Ada"] * 2)
    assert len(set(sealed(twice).to_pylist())) == 2
    assert len(set(sealed(twice, True).to_pylist())) == 1
    assert not set(sealed(twice, True).to_pylist()) & set(sealed(twice, True, "artist").to_pylist())


@pytest.mark.parametrize("deterministic", [False, True])
def test_nobody_else_can_read_it_and_no_byte_can_change(deterministic: bool) -> None:
    got = sealed(pa.array(["Ada"]), deterministic)
    for keys, domain in ((Keyring([NEW]).tenant("globex"), "listener"), (ACME, "artist")):
        with pytest.raises(PrivacyError, match="doesn't open"):
            decrypt(got, keys, domain)
    (value,) = got.to_pylist()
    for at in range(len(value)):
        changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        for broken in (changed, value[: at + 1] if at + 1 < len(value) else changed):
            with pytest.raises(PrivacyError) as error:
                decrypt(pa.array([broken], pa.binary()), ACME, "listener")
            assert "Ada" not in str(error.value)


def test_still_opens_after_a_rotation() -> None:
    before, after = Keyring([OLD]).tenant("acme"), Keyring([NEW, OLD]).tenant("acme")
    got = encrypting(before.encryption(), "d", deterministic=False)(pa.array(["Ada"]))
    assert decrypt(got, after, "d").to_pylist() == ["Ada"]


def test_a_column_of_nothing_stays_so() -> None:
    for deterministic in (False, True):
        assert sealed(pa.nulls(2), deterministic).equals(pa.nulls(2, pa.binary()))


def test_what_cannot_be_read_again_cannot_be_encrypted() -> None:
    assert not can_encrypt(pa.duration("s"))
    assert not can_encrypt(pa.struct([("a", pa.int8())]))
    assert not can_encrypt(pa.month_day_nano_interval())
    assert can_encrypt(pa.json_())
