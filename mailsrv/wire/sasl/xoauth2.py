"""XOAUTH2, both sides: what OAUTHBEARER was before it was a standard, as Google documents it."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Respond
from . import base, oauth
from .base import Answers, Steps
from .oauth import SEPARATOR


@implementer(ISaslMechanism, IClientMechanism)
class XOAuth2:
    """XOAUTH2: ``user=NAME^Aauth=Bearer TOKEN^A^A``.  `scope` is told to a client whose token is refused."""

    name = "XOAUTH2"
    method = "sasl"
    scheme = "token"
    secret = ""
    plaintext = True
    channel = ""

    def __init__(self, scope: str = "") -> None:
        self._error = {"status": "401", "schemes": "bearer", "scope": scope}

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`.  Raises AuthenticationFailed."""
        message = (yield Challenge(b"")) if initial is None else initial
        if len(message) > oauth.MESSAGE_OCTETS or not message.startswith(b"user="):
            raise AuthenticationFailed()
        # A name may hold what no value of OAUTHBEARER may: letters beyond ASCII.
        user, _, pairs = message[5:].partition(SEPARATOR)
        username, values = base.name(user), oauth.read_pairs(pairs)
        if not username:
            raise AuthenticationFailed()
        token = oauth.read_token(values.get(b"auth", b""))
        return (yield from oauth.decide(self.name, username, token, self._error))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`.  A challenge can only be an error, which is answered so that the server fails us."""
        user = base.said(context.username)
        if SEPARATOR in user:
            raise AuthenticationFailed()
        yield Respond(SEPARATOR.join((b"user=" + user, oauth.print_token(context.token), b"", b"")))
        yield Respond(b"", final=False)
