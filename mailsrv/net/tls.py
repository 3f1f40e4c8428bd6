"""TLS of servers (floor 2a): contexts from certificate files, kept until the files change.

TLS 1.2 with forward secrecy and 1.3 only (Twisted's own cipher list).  Session tickets are on: Twisted leaves
them off, and a resumed handshake costs half.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from ..errors import ConfigError

#: How long a context is used before the files are looked at again (seconds).
_RECHECK = 5.0


def _reason(error: Exception) -> str:
    """What is wrong with the files, in words; OpenSSL gives lists of its own."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError):
        return str(error)
    return "the key does not belong to the certificate" if "mismatch" in str(error) else "they are not in PEM form"


class Certificate:
    """One certificate with its key, in PEM files; replaced files are taken up by new connections."""

    def __init__(self, certificate: Path, key: Path, monotonic: Callable[[], float]) -> None:
        self._certificate, self._key = certificate, key
        self._monotonic = monotonic
        self._context: CertificateOptions | None = None
        self._stamp: tuple[int, int] = (0, 0)
        self._checked = float("-inf")

    def context(self) -> Any:
        """An OpenSSL context factory.  Raises ConfigError when the files cannot be used."""
        now = self._monotonic()
        if self._context is None or now - self._checked > _RECHECK:
            self._checked = now
            self._refresh()
        return self._context

    def _refresh(self) -> None:
        try:
            stamp = (self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns)
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._load(), stamp
        except (OSError, SSL.Error, crypto.Error, ValueError) as error:
            # A half-replaced pair must not stop a running server: the old one serves until the files fit.
            if self._context is None:
                raise ConfigError(
                    f"certificate or key cannot be used: {_reason(error)}; put a pair there that fits (without "
                    "[tls.default] and without files in data/tls a self-signed pair is made at the start)",
                    file=str(self._certificate),
                ) from error

    def check(self) -> None:
        """Read both files now.  Raises ConfigError when they cannot be used."""
        self._context = None
        self._refresh()

    def _load(self) -> CertificateOptions:
        pem = self._certificate.read_bytes()
        mark = b"-----BEGIN CERTIFICATE-----"
        chain = [crypto.load_certificate(crypto.FILETYPE_PEM, mark + piece) for piece in pem.split(mark)[1:]]
        if not chain:
            raise ValueError("it holds no certificate")
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, self._key.read_bytes())
        options = CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:] or None,
            enableSessionTickets=True,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        # Made now, so that a key that does not fit is found here and not at the first handshake.
        options.getContext().check_privatekey()
        return options
