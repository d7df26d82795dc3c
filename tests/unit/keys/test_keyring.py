import base64
import copy
import hashlib
import hmac
import itertools
import pickle

import pytest

from importers.exceptions import PrivacyError
from importers.keys.keyring import Keyring, RunKey, TenantKeys, derive

OLD, NEW = hashlib.sha256(b"old").digest(), hashlib.sha256(b"new").digest()


@pytest.fixture
def acme() -> TenantKeys:
    return Keyring([NEW]).tenant("acme")


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 by its own formula: extract with a salt of zeros, then expand."""
    prk = hmac.digest(bytes(32), secret, "sha256")
    blocks, last = b"", b""
    for number in itertools.count(1):
        last = hmac.digest(prk, last + info + bytes([number]), "sha256")
        blocks += last
        if len(blocks) >= length:
            return blocks[:length]
    raise AssertionError


def test_derivation_is_hkdf_with_each_part_after_its_length() -> None:
    info = b"\0\0\0\x09importers" + b"\0\0\0\x06tenant" + b"\0\0\0\x04acme"
    assert derive(NEW, "tenant", "acme", length=64) == hkdf(NEW, info, 64)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert derive(NEW, "ab", "c") != derive(NEW, "a", "bc") != derive(NEW, "abc")


def test_no_two_purposes_tenants_domains_or_versions_share_a_key() -> None:
    keys = []
    for tenant in ("acme", "acme2"):
        of = Keyring([NEW]).tenant(tenant)
        keys += [of.pseudonym("a"), of.pseudonym("b"), of.pseudonym("a", version=2), of.suppression(), of.uniqueness()]
        keys += [of.encryption()[:32], of.encryption(2)[:32], of.encryption(deterministic=True)[:32]]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}
    assert len(Keyring([NEW]).tenant("acme").encryption()) == 64


def test_keys_are_the_same_every_time(acme: TenantKeys) -> None:
    assert acme.pseudonym("listener") == Keyring([NEW]).tenant("acme").pseudonym("listener")


def test_run_key_opens_from_its_sealed_form(acme: TenantKeys) -> None:
    run, sealed = acme.new_run_key()
    again = Keyring([NEW]).tenant("acme").open_run_key(sealed)
    assert again.open(run.seal(b"rows", b"place"), b"place") == b"rows"
    assert again.unwrap(run.wrap(b"k" * 32)) == b"k" * 32


def test_runs_have_keys_of_their_own(acme: TenantKeys) -> None:
    (one, sealed_one), (two, sealed_two) = acme.new_run_key(), acme.new_run_key()
    assert sealed_one != sealed_two
    with pytest.raises(PrivacyError):
        two.open(one.seal(b"rows", b""), b"")
    with pytest.raises(PrivacyError):
        two.unwrap(one.wrap(b"k" * 32))


def test_another_tenant_or_root_cannot_open_a_run_key(acme: TenantKeys) -> None:
    _, sealed = acme.new_run_key()
    for other in (Keyring([NEW]).tenant("globex"), Keyring([OLD]).tenant("acme")):
        with pytest.raises(PrivacyError, match="doesn't open with this key"):
            other.open_run_key(sealed)


def test_any_changed_byte_is_noticed(acme: TenantKeys) -> None:
    run, sealed = acme.new_run_key()
    data = run.seal(b"rows", b"place")
    wrapped = run.wrap(b"k" * 32)
    for what, opens in (
        (sealed, acme.open_run_key),
        (data, lambda changed: run.open(changed, b"place")),
        (wrapped, run.unwrap),
    ):
        for at in range(len(what)):
            with pytest.raises(PrivacyError):
                opens(what[:at] + bytes([what[at] ^ 1]) + what[at + 1 :])
            with pytest.raises(PrivacyError):
                opens(what[:at])
    with pytest.raises(PrivacyError):
        run.open(data, b"elsewhere")


def test_sealing_twice_looks_different(acme: TenantKeys) -> None:
    run, _ = acme.new_run_key()
    assert run.seal(b"rows", b"") != run.seal(b"rows", b"")


def test_quarantine_outlives_a_run_and_belongs_to_the_tenant(acme: TenantKeys) -> None:
    sealed = acme.quarantine().seal(b"rows", b"file")
    assert Keyring([NEW]).tenant("acme").quarantine().open(sealed, b"file") == b"rows"
    with pytest.raises(PrivacyError):
        Keyring([NEW]).tenant("globex").quarantine().open(sealed, b"file")


def test_after_a_rotation_old_things_open_and_joins_hold() -> None:
    before, after = Keyring([OLD]).tenant("acme"), Keyring([NEW, OLD]).tenant("acme")
    run, sealed = before.new_run_key()
    assert after.open_run_key(sealed).unwrap(run.wrap(b"k" * 32)) == b"k" * 32
    assert after.quarantine().open(before.quarantine().seal(b"x", b""), b"") == b"x"
    assert after.pseudonym("listener") == before.pseudonym("listener")
    assert after.suppression() == before.suppression()
    assert after.encryption(deterministic=True) == before.encryption(deterministic=True)
    assert before.encryption() in after.decryption()


def test_after_a_rotation_new_things_are_sealed_by_the_new_key_alone() -> None:
    after, only_new, only_old = (Keyring(roots).tenant("acme") for roots in ([NEW, OLD], [NEW], [OLD]))
    _, sealed = after.new_run_key()
    only_new.open_run_key(sealed)
    with pytest.raises(PrivacyError):
        only_old.open_run_key(sealed)
    assert after.encryption() == only_new.encryption()


def test_fingerprint_is_an_hmac_of_the_key_that_joins_hang_on() -> None:
    expected = hmac.new(OLD, b"importers fingerprint", hashlib.sha256).hexdigest()[:16]
    assert Keyring([OLD]).fingerprint == Keyring([NEW, OLD]).fingerprint == expected


def test_nothing_shows_or_ships_a_key() -> None:
    ring = Keyring([NEW])
    tenant = ring.tenant("acme")
    run, _ = tenant.new_run_key()
    secret = b"s" * 32
    for holder in (ring, tenant, run, RunKey(secret)):
        assert not hasattr(holder, "__dict__")
        for text in (repr(holder), str(holder), f"{holder}"):
            for form in (NEW, secret):
                assert repr(form)[2:-1] not in text
                assert form.hex() not in text
                assert base64.b64encode(form).decode() not in text
        for ship in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="holds a secret"):
                ship(holder)


def test_a_keyring_needs_whole_keys() -> None:
    for roots in ([], [b"short"]):
        with pytest.raises(TypeError):
            Keyring(roots)
