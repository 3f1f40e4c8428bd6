"""What happens in a site, for those who follow it (floor 0): the kinds of events, and how they are told.

Whoever has something to tell is given a `Publish`.  It costs a call while nobody follows; facts are what JSON can hold.
"""

from __future__ import annotations

from typing import Any, Protocol

#: Kind -> what has happened.  Facts: `server` names a virtual server, `session` an id, `message` the id of a message.
KINDS = {
    "delivery.delivered": "a message is in mailboxes here: message, server, peer, sender, octets, mailboxes",
    "delivery.queued": "a message waits to be sent on: the same, and destinations",
    "delivery.relayed": "another server has taken it: message, server, destination, recipients, reply",
    "delivery.deferred": "it will be tried again: message, server, destination, recipients, reply, due",
    "delivery.failed": "it was given up: message, server, destination, recipients, reply",
    "session.begun": "somebody has connected: server, session, peer",
    "session.authenticated": "somebody has logged in: server, session, peer, user, mechanism",
    "session.ended": "a connection is gone: server, session, peer, user, octets_in, octets_out",
    "login.failed": "a login was refused: server, peer, and why where that is proven",
    "login.banned": "too many failed: what (address or account), subject, until, failures",
    "server.state": "a virtual server has another state: server, state, reason",
    "config.applied": "options in effect have changed: keys",
    "certificate.warning": "a certificate expires soon, or has: text",
}


class Publish(Protocol):
    """Tells of one event."""

    def __call__(self, kind: str, **facts: Any) -> None:
        """A kind of `KINDS` with its facts."""


def unheard(kind: str, **facts: Any) -> None:
    """A Publish where there is nobody to tell."""
