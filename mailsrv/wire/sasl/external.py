"""EXTERNAL (RFC 4422 appendix A), both sides: who a certificate of TLS says the client is."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Respond
from . import base
from .base import Answers, Steps


@implementer(ISaslMechanism, IClientMechanism)
class External:
    """EXTERNAL: one message, the authorization identity, "" for what follows from the certificate."""

    name = "EXTERNAL"
    method = "sasl"
    scheme = "certificate"
    secret = ""
    plaintext = False
    channel = "certificate"

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; `username` is the authorization identity.

        Raises AuthenticationFailed on a malformed message and without a certificate.
        """
        authzid = base.name((yield Challenge(b"")) if initial is None else initial)
        tls = context.peer.tls
        if tls is None or not tls.peer_certificate:
            raise AuthenticationFailed()
        credentials = Credentials("certificate", authzid, certificate=tls.peer_certificate)
        return (yield from base.verified(self.name, credentials))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`; `authzid` alone is said, as the certificate names the user."""
        yield Respond(base.said(context.authzid))
