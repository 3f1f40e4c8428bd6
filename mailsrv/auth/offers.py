"""Who may use what, and when it is offered (floor 2b): settings x authenticators x TLS (S-098..S-107, S-143, S-151)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from ..interfaces import IAuthenticator, ISaslMechanism, ISecrets

#: Why something is not offered: "off" by the server's settings, "nobody" could check it, "tls" or a client's
#: "certificate" is missing, "unknown" here.  "" when it is offered.
Reason = str

#: Those reasons for people.
WORDS = {
    "off": "switched off by this server's authentication setting",
    "nobody": "no authenticator can check it",
    "tls": "not without TLS",
    "certificate": "not without a client certificate",
    "unknown": "no such mechanism",
}


class Offers:
    """The mechanisms of one virtual server.

    `methods` are the words of its `authentication` setting (anonymous, basic, ntlm, sasl).  `require_tls`: nothing at
    all before TLS (S-053); `plain`: passwords may cross the wire without TLS.
    """

    def __init__(
        self,
        mechanisms: Iterable[ISaslMechanism],
        authenticators: Sequence[IAuthenticator],
        methods: frozenset[str],
        *,
        require_tls: bool = False,
        plain: bool = False,
    ) -> None:
        self._mechanisms = {mechanism.name: mechanism for mechanism in mechanisms}
        self._methods, self._require_tls, self._plain = methods, require_tls, plain
        self._schemes: frozenset[str] = frozenset().union(*(a.schemes for a in authenticators))
        self._kinds: frozenset[str] = frozenset().union(
            *(a.kinds for a in authenticators if ISecrets.providedBy(a))
        )
        # Asked at every EHLO, CAPABILITY and CAPA, and there are only so many answers.
        self._names = {
            state: tuple(name for name in self._mechanisms if not self.refusal(name, *state))
            for state in product((False, True), repeat=2)
        }
        self._password = {secure: self._without_password(secure) for secure in (False, True)}

    def names(self, secure: bool, certificate: bool = False) -> tuple[str, ...]:
        """What is offered on a connection with or without TLS and a client certificate that holds."""
        return self._names[secure, certificate]

    def every(self) -> tuple[str, ...]:
        """All mechanisms that are known here, in order."""
        return tuple(self._mechanisms)

    def get(self, name: str) -> ISaslMechanism:
        """The mechanism of that name; KeyError."""
        return self._mechanisms[name]

    def refusal(self, name: str, secure: bool, certificate: bool = False) -> Reason:
        """Why a mechanism cannot be used on such a connection; "" when it can."""
        mechanism = self._mechanisms.get(name)
        if mechanism is None:
            return "unknown"
        if mechanism.method not in self._methods:
            return "off"
        if mechanism.scheme not in self._schemes or (
            mechanism.scheme == "secret" and mechanism.secret not in self._kinds
        ):
            return "nobody"
        if not secure and (self._require_tls or (mechanism.plaintext and not self._plain)):
            return "tls"
        if mechanism.channel in ("binding", "certificate") and not secure:
            return "tls"
        return "certificate" if mechanism.channel == "certificate" and not certificate else ""

    def password_refusal(self, secure: bool) -> Reason:
        """Why USER and PASS or LOGIN cannot be used; "" when they can."""
        return self._password[secure]

    def _without_password(self, secure: bool) -> Reason:
        if "basic" not in self._methods:
            return "off"
        if "password" not in self._schemes:
            return "nobody"
        return "" if secure or (self._plain and not self._require_tls) else "tls"
