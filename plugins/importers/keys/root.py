"""Where the root key comes from: the environment, or a file that is made once for the embedded database."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from importers.exceptions import ConfigError

VARIABLE, PREVIOUS = "ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"
KEY_BYTES = 32
MAKE_ONE = "`importers keygen` prints a new one"
_FEWEST_DISTINCT_BYTES = 8  # 32 random bytes have fewer in one case out of 10⁴⁰; placeholders usually do


def root_keys(home: Path, embedded: bool, environ: Mapping[str, str], tell: Callable[[str], None]) -> list[bytes]:
    """The root keys, the one in force first, those it replaced after it. Raises ConfigError."""
    text = environ.get(VARIABLE, "").strip()
    if text:
        current = parse(text, VARIABLE)
    elif embedded:
        current = _kept_in(home / "encryption.key", tell)
    else:
        raise ConfigError(f"{VARIABLE} isn't set", do=f"set it: {MAKE_ONE}, to be kept in a secrets backend")
    previous = [parse(part.strip(), PREVIOUS) for part in environ.get(PREVIOUS, "").split(",") if part.strip()]
    return list(dict.fromkeys([current, *previous]))


def parse(text: str, origin: str) -> bytes:
    """32 bytes written as base64 (either alphabet, padded or not) or as 64 hex digits. Raises ConfigError."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        key = bytes.fromhex(text)
    else:
        standard = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{origin} isn't a key: 32 bytes as base64, or 64 hex digits", got=f"{len(text)} characters", do=MAKE_ONE
        ) from None
    if len(set(key)) < _FEWEST_DISTINCT_BYTES:
        raise ConfigError(f"{origin} isn't random", got=f"{len(set(key))} distinct bytes of 32", do=MAKE_ONE)
    return key


def _kept_in(path: Path, tell: Callable[[str], None]) -> bytes:
    with suppress(FileNotFoundError):
        return _read(path)
    if _make(path):
        tell(f"Made an encryption key in {path}. Back it up: without it, pseudonyms stop joining with older ones.")
    return _read(path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                "others may read the encryption key", got=f"mode {mode:04o}", do="chmod 600 it", file=path
            )
        content = file.read(1024)
    return parse(content.decode("ascii", "replace").strip(), path.name)


def _make(path: Path) -> bool:
    """Write a new key; False if another process was first. Nobody ever sees half a file: the name comes last."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        _sync_directory(path.parent)
        return True
    finally:
        draft.unlink()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
