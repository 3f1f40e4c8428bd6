"""The authenticator `certificate`: accounts whose addresses a client's certificate names (floor 2b; RFC 4422 annex A).

TLS has verified the certificate (`client_ca`); here it is only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from zope.interface import implementer

from ..errors import AuthenticationFailed
from ..interfaces import IAuthenticator, IDirectory
from ..values import AuthContext, Credentials, Identity, StoredCredentials
from .accounts import another
from .names import LOGIN_OCTETS, login_address

#: Octets of a certificate that is read, and names taken out of one.
MAX_OCTETS, MAX_NAMES = 64 * 1024, 32
#: id-on-SmtpUTF8Mailbox (RFC 8398 section 3): an otherName that holds a UTF8String.
SMTP_UTF8_MAILBOX = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")
_UTF8_STRING = 0x0C


def names_of(certificate: bytes) -> tuple[str, ...]:
    """The addresses that a certificate (DER) stands for, in its order, without doubles; () when it is malformed.

    Those of subjectAltName (rfc822Name, SmtpUTF8Mailbox); without one the subject's emailAddress; without that its
    common name, if it looks like an address (RFC 5280 section 4.2.1.6, RFC 8398 section 3).
    """
    if len(certificate) > MAX_OCTETS:
        return ()
    try:
        made = x509.load_der_x509_certificate(certificate)
        for source in (_alternatives(made), _subject(made, x509.NameOID.EMAIL_ADDRESS), _subject(made, _COMMON)):
            found = dict.fromkeys(name for name in source if _is_address(name))
            if found:
                return tuple(found)[:MAX_NAMES]
    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm):
        pass
    return ()


_COMMON = x509.NameOID.COMMON_NAME


def _alternatives(certificate: x509.Certificate) -> Iterator[str]:
    """Names of the subjectAltName, whatever they look like."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.RFC822Name):
            yield name.value
        elif isinstance(name, x509.OtherName) and name.type_id == SMTP_UTF8_MAILBOX:
            yield _utf8_string(name.value)


def _subject(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> Iterator[str]:
    """Values of one kind in the subject."""
    for attribute in certificate.subject.get_attributes_for_oid(kind):
        if isinstance(attribute.value, str):
            yield attribute.value


def _utf8_string(octets: bytes) -> str:
    """The text of a DER UTF8String; "" for anything else and for more than an address has octets."""
    head = 3 if octets[1:2] == b"\x81" else 2
    if len(octets) <= head or octets[0] != _UTF8_STRING or octets[head - 1] != len(octets) - head:
        return ""
    # A length from 128 on has the long form; one that claims it in short form is none.
    if (head == 3) != (octets[head - 1] > 127):
        return ""
    return octets[head:].decode("utf-8", "ignore")


def _is_address(text: str) -> bool:
    """One "@" with something on both sides, and nothing that cannot be seen."""
    local, _, domain = text.rpartition("@")
    return bool(
        local and domain and "@" not in local and "\\" not in local and text.isprintable() and " " not in text
        and len(text.encode("utf-8", "replace")) <= LOGIN_OCTETS
    )  # fmt: skip


@implementer(IAuthenticator)
class CertificateAuthenticator:
    """Lets in who shows a certificate with the address of an account.

    Who asks for one of the certificate's names gets that account; who asks for another gets the first one that there
    is, with `authzid` left to the authorizer (login.as).
    """

    schemes = frozenset({"certificate"})

    def __init__(self, directory: IDirectory) -> None:
        self._directory = directory

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator.  AuthenticationFailed for a certificate of nobody, and for a disabled account."""
        wanted = credentials.authzid or credentials.username
        stored = await self._account(self._logins(credentials, context), _canonical(wanted, context))
        if stored is None or not stored.enabled:
            raise AuthenticationFailed()
        return Identity(
            account_id=stored.account_id,
            authcid=stored.login,
            authzid=wanted,
            tenant_id=stored.tenant_id,
            denied=stored.denied,
        )

    def _logins(self, credentials: Credentials, context: AuthContext) -> list[str]:
        """The canonical names of the certificate that was shown."""
        tls = context.peer.tls
        shown = (tls.peer_certificate if tls is not None else None) or credentials.certificate
        found = []
        for name in names_of(shown) if shown else ():
            try:
                found.append(_canonical(name, context))
            except AuthenticationFailed:
                # An authority may have put in what can be nobody's name here; the others still count.
                continue
        return found

    async def _account(self, logins: list[str], wanted: str) -> StoredCredentials | None:
        """What is kept for the name asked for, else for the first that has an account."""
        for login in [wanted] if wanted in logins else logins:
            stored: StoredCredentials | None = await self._directory.credentials(login)
            if stored is not None and not another(login_address(login), stored.login):
                return stored
        return None


def _canonical(name: str, context: AuthContext) -> str:
    """The form in which names are compared; "" for none.  Raises AuthenticationFailed."""
    return str(login_address(name, context.login_domain, context.domains)) if name else ""


def build(options: Any, site: Any) -> CertificateAuthenticator:
    """The part; `site` has `directory`."""
    return CertificateAuthenticator(site.directory)
