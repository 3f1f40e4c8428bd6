"""OAUTHBEARER (RFC 7628), both sides.  Its form with a channel binding was never defined."""

from __future__ import annotations

from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Respond
from . import base, gs2, oauth
from .base import Answers, Steps
from .oauth import SEPARATOR


@implementer(ISaslMechanism, IClientMechanism)
class OAuthBearer:
    """OAUTHBEARER: a GS2 header whose authorization identity names the account, then host, port and token.

    `scope` and `configuration` (the URL of an OpenID provider's document) are told to a client whose token is
    refused, where they are set.
    """

    name = "OAUTHBEARER"
    method = "sasl"
    scheme = "token"
    secret = ""
    plaintext = True
    channel = ""

    def __init__(self, scope: str = "", configuration: str = "") -> None:
        self._error = {"status": "invalid_token"}
        if scope:
            self._error["scope"] = scope
        if configuration:
            self._error["openid-configuration"] = configuration

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; `username` is "" when the client leaves it to the token.

        Host and port are not compared with ours: a bearer token does not depend on them, and a proxy may stand
        between.  Raises AuthenticationFailed.
        """
        message = (yield Challenge(b"")) if initial is None else initial
        if len(message) > oauth.MESSAGE_OCTETS:
            raise AuthenticationFailed()
        header, found, pairs = message.partition(SEPARATOR)
        parts = header.split(b",")
        if not found or len(parts) != 3 or parts[0] not in (b"n", b"y") or parts[2]:
            raise AuthenticationFailed()
        values = oauth.read_pairs(pairs)
        port = values.get(b"port", b"0")
        if not port.isdigit() or len(port) > 5:
            raise AuthenticationFailed()
        username, token = gs2.read_authzid(parts[1]), oauth.read_token(values.get(b"auth", b""))
        return (yield from oauth.decide(self.name, username, token, self._error))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`.  A challenge can only be an error, which is answered so that the server fails us."""
        authzid = context.authzid or context.username
        parts = [gs2.print_header(b"n", authzid)]
        if context.hostname:
            parts.append(b"host=" + base.said(context.hostname).replace(SEPARATOR, b""))
        if context.port:
            parts.append(b"port=%d" % context.port)
        parts += [oauth.print_token(context.token), b"", b""]
        yield Respond(SEPARATOR.join(parts))
        yield Respond(SEPARATOR, final=False)
