"""The hierarchy of keys: root → tenant → purpose, and a random key for each run.

Every key but a run's is derived by HKDF-SHA-256 (RFC 5869) and stored nowhere. A run's key is random and stored
sealed, so that destroying the one sealed copy makes everything unreadable that the run has staged.

Rotation: with `ENCRYPTION_KEY_PREVIOUS` (comma-separated, youngest first), new things are sealed by the key in force,
and what an older key has sealed still opens. What must stay equal for data to join (pseudonyms, deterministic
encryption, the suppression list, unique hashes) hangs on the oldest key until a migration drops that.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from importers.exceptions import PrivacyError
from importers.keys.root import KEY_BYTES, PREVIOUS, VARIABLE, root_keys

_NONCE = 12  # bytes; what AES-GCM wants
_SEALED_KEY_VERSION = b"\x01"


def derive(secret: bytes, *path: str, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA-256 with an info that no other path has: each part is preceded by its length."""
    parts = [part.encode() for part in ("importers", *path)]
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret)


class _Secret:
    """Shows nothing of what it holds, and doesn't leave the process."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds a secret: make it anew where it is needed")


class RunKey(_Secret):
    """A random key for the files of one run, or a tenant's for its quarantine; `older` ones only open."""

    __slots__ = ("_secrets",)

    def __init__(self, secret: bytes, *older: bytes) -> None:
        self._secrets = (secret, *older)

    def wrap(self, dek: bytes) -> bytes:
        """A data key wrapped by AES-KW (RFC 3394): 8 bytes longer."""
        return aes_key_wrap(derive(self._secrets[0], "wrap"), dek)

    def unwrap(self, wrapped: bytes) -> bytes:
        """The inverse. Raises PrivacyError if another key has wrapped it or a byte has changed."""
        return _first_that_opens([derive(secret, "wrap") for secret in self._secrets], aes_key_unwrap, wrapped)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Nonce and AES-256-GCM of the data; only the same context opens it."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(derive(self._secrets[0], "seal")).encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The inverse. Raises PrivacyError for another key, another context or a changed byte."""

        def decrypt(key: bytes, data: bytes) -> bytes:
            return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], context)

        return _first_that_opens([derive(secret, "seal") for secret in self._secrets], decrypt, sealed)


class TenantKeys(_Secret):
    """One tenant's keys. Knows no root key, so that it can make no other tenant's."""

    __slots__ = ("_secrets", "tenant")

    def __init__(self, tenant: str, secrets: Sequence[bytes]) -> None:
        self.tenant = tenant
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"<TenantKeys of {self.tenant}>"

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell which key pseudonyms hang on, and nothing of it."""
        return _fingerprint(self._secrets[-1])

    def pseudonym(self, domain: str, version: int = 1) -> bytes:
        """Key of the pseudonyms that join inside a domain."""
        return derive(self._secrets[-1], "pseudonym", domain, str(version))

    def suppression(self) -> bytes:
        """Key of the list of erased subjects, which must not join with the tables."""
        return derive(self._secrets[-1], "suppression")

    def blind(self, tokens: Sequence[bytes]) -> list[bytes]:
        """Subjects' tokens as the list of erased subjects holds them: it can't be joined with the tables."""
        key = self.suppression()
        return [hmac.digest(key, token, "sha256")[:16] for token in tokens]

    def uniqueness(self) -> bytes:
        """Key of the hashes by which duplicates are found."""
        return derive(self._secrets[-1], "uniqueness")

    def encryption(self, version: int = 1, *, deterministic: bool = False) -> bytes:
        """Key of encrypted values, 64 bytes as AES-256-SIV wants. Equal values stay equal after a rotation."""
        return self._encryption(self._secrets[-1 if deterministic else 0], version, deterministic)

    def decryption(self, version: int = 1, *, deterministic: bool = False) -> tuple[bytes, ...]:
        """The keys that values may be encrypted with, the likeliest first."""
        return tuple(self._encryption(secret, version, deterministic) for secret in self._secrets)

    @staticmethod
    def _encryption(secret: bytes, version: int, deterministic: bool) -> bytes:
        return derive(secret, "encryption", "deterministic" if deterministic else "random", str(version), length=64)

    def quarantine(self) -> RunKey:
        """Key of quarantined rows, which outlive their run."""
        return RunKey(*(derive(secret, "quarantine") for secret in self._secrets))

    def new_run_key(self) -> tuple[RunKey, bytes]:
        """A random key, and the same sealed by the tenant's: what is stored."""
        secret = secrets.token_bytes(KEY_BYTES)
        return RunKey(secret), _SEALED_KEY_VERSION + aes_key_wrap(derive(self._secrets[0], "run"), secret)

    def open_run_key(self, sealed: bytes) -> RunKey:
        """Raises PrivacyError for another tenant's, or if `ENCRYPTION_KEY` is another than when it was sealed."""
        if sealed[:1] != _SEALED_KEY_VERSION:
            raise PrivacyError("this isn't a sealed run key", got=f"{len(sealed)} bytes")
        candidates = [derive(secret, "run") for secret in self._secrets]
        return RunKey(_first_that_opens(candidates, aes_key_unwrap, sealed[1:]))


class Keyring(_Secret):
    """The root key, and those it replaced. Doesn't pickle: a child process reads the environment again."""

    __slots__ = ("_roots",)

    def __init__(self, roots: Sequence[bytes]) -> None:
        if not roots or any(len(root) != KEY_BYTES for root in roots):
            raise TypeError(f"a keyring needs at least one key, each of {KEY_BYTES} bytes")
        self._roots = tuple(roots)

    @classmethod
    def from_environment(
        cls, home: Path, embedded: bool, environ: Mapping[str, str] = os.environ, *, tell: Callable[[str], None]
    ) -> Keyring:
        """From `ENCRYPTION_KEY`; with the embedded database and none given, from a file in `home` that is made once.

        `tell` hears when it was made. Raises ConfigError.
        """
        return cls(root_keys(home, embedded, environ, tell))

    def tenant(self, name: str) -> TenantKeys:
        """The keys of one tenant: nothing can be joined or opened with another's."""
        return TenantKeys(name, [derive(root, "tenant", name) for root in self._roots])

    @property
    def fingerprint(self) -> str:
        """16 hex digits by which a database remembers the key that its pseudonyms hang on."""
        return _fingerprint(self._roots[-1])


def _fingerprint(secret: bytes) -> str:
    return hmac.digest(secret, b"importers fingerprint", "sha256")[:8].hex()


def _first_that_opens(keys: Sequence[bytes], opens: Callable[[bytes, bytes], bytes], sealed: bytes) -> bytes:
    """What the first fitting key makes of it: authenticated, so trying is safe."""
    for key in keys:
        try:
            return opens(key, sealed)
        except (InvalidUnwrap, InvalidTag, ValueError):  # ValueError: too short to be sealed
            continue
    raise PrivacyError(
        "sealed data doesn't open with this key",
        got="another tenant's or run's, another context, or changed bytes",
        do=f"if {VARIABLE} was changed, add the former one to {PREVIOUS}",
    )
