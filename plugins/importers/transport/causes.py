"""Why a system couldn't be reached, in the operating system's words: clients' own may quote what was sent."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit


def cause(error: BaseException) -> str:
    """`ConnectError: Connection refused`: the client's error, and what lies behind it, if that is told."""
    said = next((words for each in _behind(error, set()) if (words := _words(each))), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def host_and_port(address: str) -> str:
    """Of a URL; empty if it can't be told from what else is in there: a part of a password may look like a host."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    behind = parts.path + parts.query + parts.fragment  # where a password ends up that has a `/`, `?` or `#`
    if not host or parts.netloc.count("@") > 1 or "@" in behind:
        return ""
    return f"{host}:{port}" if port else host


def _behind(error: Any, seen: set[int]) -> Iterator[BaseException]:
    """The innermost first; botocore and urllib3 keep it in an attribute."""
    if not isinstance(error, BaseException) or id(error) in seen:
        return
    seen.add(id(error))
    kept = getattr(error, "kwargs", None)
    for inner in (
        error.__cause__,
        error.__context__,
        getattr(error, "reason", None),
        kept.get("error") if isinstance(kept, dict) else None,
        *error.args,
    ):
        yield from _behind(inner, seen)
    yield error


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "")  # none where a pin, not OpenSSL, has refused it
        return f"the certificate isn't trusted{why and f': {why}'}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason}"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return ""
