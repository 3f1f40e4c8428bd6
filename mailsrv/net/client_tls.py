"""TLS of connections to other servers (floor 3): who is believed, by the level of a route."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS
from zope.interface import implementer

from ..errors import ConfigError

#: Hosts whose context is kept; each holds all authorities of the platform.
KEPT = 16


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encryption against those who only listen: the certificate is not looked at (RFC 7435)."""

    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context, self._host = context, host

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Twisted: a connection for a new TLS protocol."""
        made = SSL.Connection(self._context, None)
        # A literal address is no server name (RFC 6066 section 3).
        if self._host and self._host.isascii() and not isIPAddress(self._host) and not isIPv6Address(self._host):
            made.set_tlsext_host_name(self._host.encode("ascii"))
        return made


#: OpenSSL's verdicts on a certificate and its chain (x509_vfy.h), in words.
_VERDICTS = {
    9: "the certificate is not valid yet", 10: "the certificate has expired", 18: "the certificate is self-signed",
    **dict.fromkeys((19, 20, 21), "the certificate is of an authority that is not trusted"),
}  # fmt: skip


@implementer(IOpenSSLClientConnectionCreator)
class Verified:
    """Twisted's `options` for one connection."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self._made: Any = None

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Twisted: a connection for a new TLS protocol."""
        self._made = self.options.clientConnectionForTLS(protocol)
        return self._made

    @property
    def reason(self) -> str:
        """Why its certificate was not believed; "" when that is not known.

        pyOpenSSL raises "certificate verify failed" whatever it was, and the callback that hears more is Twisted's.
        """
        ask = getattr(getattr(SSL, "_lib", None), "SSL_get_verify_result", None)
        handle = getattr(self._made, "_ssl", None)
        return "" if ask is None or handle is None else _VERDICTS.get(ask(handle), "")


class ClientTls:
    """Makes what begins TLS as a client.  `trust` are the authorities (Twisted's trustRoot), None: the platform's."""

    def __init__(self, trust: Any = None) -> None:
        self._trust = trust
        self._open: SSL.Context | None = None
        self._verified: OrderedDict[str, Any] = OrderedDict()

    def creator(self, level: str, host: str) -> Any:
        """An IOpenSSLClientConnectionCreator.  `level` "verify": `host` must be in a certificate that is trusted (RFC
        9525); any other: any certificate will do.  Raises ConfigError for a name that no certificate can have."""
        if level != "verify":
            if self._open is None:
                self._open = CertificateOptions(verify=False, raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
            return _Unverified(self._open, host)
        found = self._verified.get(host)
        if found is None:
            try:
                found = optionsForClientTLS(
                    host, self._trust, extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2}
                )
            except UnicodeError as error:
                raise ConfigError(f"{host!r} is no name for a certificate", key="tls") from error
            self._verified[host] = found
            if len(self._verified) > KEPT:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(host)
        return Verified(found)
