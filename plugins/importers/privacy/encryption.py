"""Encrypted values: who has the tenant's keys can have the value back, nobody else can.

AES-256-SIV (RFC 5297) for both kinds. With a random nonce as associated data equal values look different; unlike
GCM under random nonces, it needn't count values and change its key after 2³². Without the nonce it is deterministic:
equal values are equal, which keys need, and which tells who equals whom. The domain is associated data too, so that
equal values of two domains differ.

    1 byte            key version, its top bit set if deterministic
    16 bytes          nonce, unless deterministic
    16 bytes + text   SIV and ciphertext of the value's UTF-8 text (of a binary value: its bytes)
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from pyarrow import types as t

from importers.exceptions import PrivacyError
from importers.keys.keyring import TenantKeys
from importers.privacy.distinct import OverDistinct, Values
from importers.privacy.pseudonyms import uuid_text

TYPE = pa.binary()
_NONCE = 16
_DETERMINISTIC = 0x80


def can_encrypt(kind: pa.DataType) -> bool:
    """Whatever Arrow can write as text and read again, and bytes."""
    kind = kind.value_type if t.is_dictionary(kind) else kind
    if isinstance(kind, pa.BaseExtensionType):
        return bool(kind in (pa.uuid(), pa.json_()))
    return not (t.is_duration(kind) or t.is_interval(kind) or t.is_nested(kind))


def encrypting(key: bytes, domain: str, *, deterministic: bool, version: int = 1) -> Values:
    """Encrypts each value on its own, nulls stay null. About 0.4 million a second: vetted ciphers go one by one."""
    cipher, where = AESSIV(key), domain.encode()
    header = bytes([version | (_DETERMINISTIC if deterministic else 0)])

    def alike(values: pa.Array) -> pa.Array:
        plain = as_bytes(values).to_pylist()
        return pa.array([None if v is None else header + cipher.encrypt(v, [where]) for v in plain], TYPE)

    def unlike(values: pa.Array) -> pa.Array:
        plain = as_bytes(values).to_pylist()
        nonces = os.urandom(_NONCE * len(plain))
        cut = [nonces[at : at + _NONCE] for at in range(0, len(nonces), _NONCE)]
        sealed = [
            None if value is None else header + nonce + cipher.encrypt(value, [where, nonce])
            for value, nonce in zip(plain, cut, strict=True)
        ]
        return pa.array(sealed, TYPE)

    return OverDistinct(alike) if deterministic else unlike


def decrypt(values: pa.Array, keys: TenantKeys, domain: str, into: pa.DataType | None = None) -> pa.Array:
    """The values again, for authorised use: as text, or as the type they had. Raises PrivacyError."""
    ciphers: dict[int, list[AESSIV]] = {}
    plain: list[bytes | None] = []
    for sealed in values.to_pylist():
        if sealed is None or sealed == b"":
            plain.append(None)
            continue
        if sealed[0] not in ciphers:
            version, deterministic = sealed[0] & ~_DETERMINISTIC, bool(sealed[0] & _DETERMINISTIC)
            ciphers[sealed[0]] = [AESSIV(key) for key in keys.decryption(version, deterministic=deterministic)]
        plain.append(_open(sealed, ciphers[sealed[0]], domain.encode()))
    opened = pa.array(plain, pa.binary())
    into = into or pa.string()
    return opened if t.is_binary(into) else opened.cast(pa.string()).cast(into)


def _open(sealed: bytes, ciphers: Sequence[AESSIV], domain: bytes) -> bytes:
    start = 1 if sealed[0] & _DETERMINISTIC else 1 + _NONCE
    about = [domain] if start == 1 else [domain, sealed[1:start]]
    for cipher in ciphers:
        try:
            return cipher.decrypt(sealed[start:], about)
        except (InvalidTag, ValueError):  # ValueError: shorter than anything that was encrypted
            continue
    raise PrivacyError(
        "an encrypted value doesn't open",
        got="another tenant's key, another domain, or changed bytes",
        do="use the ENCRYPTION_KEY (or ENCRYPTION_KEY_PREVIOUS) that it was loaded with",
    )


def as_bytes(values: pa.Array) -> pa.Array:
    """What is encrypted of each value."""
    if isinstance(values, pa.ExtensionArray):
        values = uuid_text(values) if values.type == pa.uuid() else values.storage
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind) or t.is_binary_view(kind):
        return values.cast(pa.large_binary())
    return values.cast(pa.large_string()).cast(pa.large_binary())
