"""LOGIN, both sides; never standardised, still the only one some clients speak."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Respond
from . import base
from .base import Answers, Steps


@implementer(ISaslMechanism, IClientMechanism)
class Login:
    """LOGIN: name, then password, each asked for."""

    name = "LOGIN"
    method = "basic"
    scheme = "password"
    secret = ""
    plaintext = True
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; an initial response is the name.  Raises AuthenticationFailed when malformed."""
        octets = initial
        if octets is None:
            # The prompts are these words with these colons: some clients compare them.
            octets = yield Challenge(b"Username:")
        username = base.name(octets)
        if not username:
            raise AuthenticationFailed()
        password = base.password((yield Challenge(b"Password:")))
        return (yield from base.verified(self.name, Credentials("password", username, password)))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`.  Servers prompt in many words, so their order alone counts."""
        username, password = base.said(context.username), base.said(context.password)
        yield Respond(None, final=False)
        yield Respond(username, final=False)
        yield Respond(password)
