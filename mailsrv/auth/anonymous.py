"""The authenticator `anonymous`: whoever says that he is nobody (RFC 4505) (floor 2b)."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IAuthenticator
from ..values import AuthContext, Credentials, Identity

log = Logger()

#: Characters of a trace in the log (RFC 4505 section 2 allows 255).
MAX_TRACE = 64


@implementer(IAuthenticator)
class AnonymousAuthenticator:
    """Gives everybody the identity of nobody, which owns no mailboxes; what it may do is for the authorizer to say."""

    schemes = frozenset({"anonymous"})

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator.  The trace is whatever the client says, so it is only logged."""
        if credentials.scheme != "anonymous":
            return None
        trace = "".join(sign if sign.isprintable() else "?" for sign in credentials.username[:MAX_TRACE])
        log.info(
            "anonymous login on {server} from {peer}, trace {trace!r}",
            server=context.server,
            peer=context.peer.host,
            trace=trace,
        )
        return Identity(0, "anonymous", credentials.authzid, mechanism="ANONYMOUS")


def build(options: Any, site: Any) -> AnonymousAuthenticator:
    """The part."""
    return AnonymousAuthenticator()
