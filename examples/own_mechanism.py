"""A SASL mechanism of one's own: a web mail host shows the ticket of a visitor instead of a password.

`examples/twisted/plugins/wiki_parts.py` names it as a part; with examples/ on the path every server whose
`authentication` has "sasl" offers it, after SCRAM, as soon as an authenticator checks tokens:

    PYTHONPATH=examples mailsrv auth list
"""

from attrs import evolve
from zope.interface import implementer

from mailsrv.errors import AuthenticationFailed
from mailsrv.interfaces import IClientMechanism, ISaslMechanism
from mailsrv.values import Challenge, Credentials, Respond, Verify
from mailsrv.wire.sasl import base


@implementer(ISaslMechanism, IClientMechanism)
class Ticket:
    """X-TICKET: one message, NAME NUL TICKET."""

    name = "X-TICKET"
    method = "sasl"
    scheme = "token"
    secret = ""
    plaintext = True
    channel = ""

    def exchange(self, context, initial):
        """The server's side; an authenticator judges the ticket."""
        octets = (yield Challenge(b"")) if initial is None else initial
        name, found, ticket = octets.partition(b"\0")
        if not found:
            raise AuthenticationFailed()
        identity = yield Verify(Credentials("token", base.name(name), token=base.text(ticket, 1024)))
        return evolve(identity, mechanism=self.name)

    def respond(self, context):
        """The client's side: for `mailsrv auth test`, and for logging in elsewhere."""
        yield Respond(base.said(context.username) + b"\0" + base.said(context.token))


def build(server, site):
    """The part's factory: `server` holds the options of the virtual server that offers it."""
    return Ticket()
