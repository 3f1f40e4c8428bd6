"""PLAIN (RFC 4616), both sides."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Respond
from . import base
from .base import NAME_OCTETS, PASSWORD_OCTETS, Answers, Steps


@implementer(ISaslMechanism, IClientMechanism)
class Plain:
    """PLAIN: one message of authorization identity, NUL, name, NUL, password."""

    name = "PLAIN"
    method = "basic"
    scheme = "password"
    secret = ""
    plaintext = True
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`.  Raises AuthenticationFailed on a malformed message."""
        message = (yield Challenge(b"")) if initial is None else initial
        if len(message) > 2 * NAME_OCTETS + PASSWORD_OCTETS + 2 or message.count(b"\0") != 2:
            raise AuthenticationFailed()
        authzid, authcid, password = message.split(b"\0")
        if not authcid:
            raise AuthenticationFailed()
        credentials = Credentials("password", base.name(authcid), base.password(password), base.name(authzid))
        return (yield from base.verified(self.name, credentials))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`: all is in the initial response."""
        yield Respond(b"\0".join(map(base.said, (context.authzid, context.username, context.password))))
