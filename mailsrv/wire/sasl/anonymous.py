"""ANONYMOUS (RFC 4505), both sides."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Respond
from . import base
from .base import Answers, Steps

#: Characters of the trace (RFC 4505 section 2).
TRACE_CHARACTERS = 255


@implementer(ISaslMechanism, IClientMechanism)
class Anonymous:
    """ANONYMOUS: a trace, which is an e-mail address, any other token, or empty.

    Which of the two it is is not looked at: whatever a guest says of himself is for the log alone.
    """

    name = "ANONYMOUS"
    method = "anonymous"
    scheme = "anonymous"
    secret = ""
    plaintext = False
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; the trace is the `username`.  Raises AuthenticationFailed on a malformed one."""
        trace = base.name((yield Challenge(b"")) if initial is None else initial)
        if len(trace) > TRACE_CHARACTERS:
            raise AuthenticationFailed()
        return (yield from base.verified(self.name, Credentials("anonymous", trace)))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`; the trace is `username`."""
        yield Respond(base.said(context.username[:TRACE_CHARACTERS]))
