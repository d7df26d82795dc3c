"""Which certificates are trusted: verified always, and pinned if the tenant says so."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Collection
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from importers.core.registry import optional
from importers.exceptions import ConfigError
from importers.transport.http.address import Route
from importers.transport.http.settings import HttpConfig

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(config: HttpConfig, route: Route) -> ssl.SSLContext:
    """Raises ConfigError for a file that holds no certificates."""
    made: ssl.SSLContext = optional("httpx2", "http").create_ssl_context()
    if route.tls_ca_file is not None:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            made.load_verify_locations(route.tls_ca_file)
        except (OSError, ssl.SSLError):
            what = f"there are no certificates in '{route.tls_ca_file}'"
            raise ConfigError(what, do="correct the connection's `tls_ca_file`: a PEM file") from None
    made.minimum_version = VERSIONS[config.tls_minimum]
    if config.tls_pins:
        made.sslsocket_class = _pinned(ssl.SSLSocket, config.tls_pins)
        made.sslobject_class = _pinned(ssl.SSLObject, config.tls_pins)
    return made


def pin(certificate: bytes) -> str:
    """Of a certificate (DER): its public key's SHA-256 in base64, RFC 7469 section 2.4."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


def _pinned(base: type[Any], pins: Collection[str]) -> type[Any]:
    """A socket that ends its handshake, before anything is sent, unless the other side has one of these keys."""

    class Pinned(base):  # type: ignore[misc]  # either of two, which share the method
        def do_handshake(self, *arguments: Any) -> None:
            super().do_handshake(*arguments)
            certificate = self.getpeercert(binary_form=True)
            if certificate is None or pin(certificate) not in pins:
                raise ssl.SSLCertVerificationError("the key is none of those that are pinned")

    return Pinned
