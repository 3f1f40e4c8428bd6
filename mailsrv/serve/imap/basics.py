"""Commands of every state, and what needs no mailbox (floor 3): RFC 3501 section 6.1, RFC 2971, RFC 5161, RFC 2342."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import __version__
from ...wire import imap_print as p
from ...wire import imap_requests as r
from .extensions import capabilities, switch_on
from .spaces import OTHERS, PUBLIC

if TYPE_CHECKING:
    from .session import ImapSession


async def capability(session: ImapSession, request: r.Simple) -> bytes:
    """CAPABILITY."""
    session.say(b"* CAPABILITY " + capabilities(session))
    return b"OK CAPABILITY completed"


async def noop(session: ImapSession, request: r.Simple) -> bytes:
    """NOOP and CHECK: what they are for, the news, is told at the end of every command."""
    return b"OK %b completed" % request.name.encode("ascii")


async def logout(session: ImapSession, request: r.Simple) -> bytes:
    """LOGOUT."""
    session.say(b"* BYE Logging out")
    session.say(request.tag + b" OK LOGOUT completed")
    session.connection.close()
    return b""


async def identify(session: ImapSession, request: r.Id) -> bytes:
    """ID (RFC 2971): who we are; what the client says of itself decides nothing."""
    session.put(p.id_line({"name": "mailsrv", "version": __version__}))
    return b"OK ID completed"


async def enable(session: ImapSession, request: r.Enable) -> bytes:
    """ENABLE (RFC 5161): unknown names are left out, so the list may be empty."""
    session.put(p.enabled(switch_on(session, request.capabilities)))
    return b"OK ENABLE completed"


async def unauthenticate(session: ImapSession, request: r.Simple) -> bytes:
    """UNAUTHENTICATE (RFC 8437): as before the login, but for TLS."""
    session.leave()
    return b"OK [CAPABILITY %b] Logged out" % capabilities(session)


async def namespace(session: ImapSession, request: r.Simple) -> bytes:
    """NAMESPACE (RFC 2342): the personal one has no prefix; others where mailboxes can be shared."""
    account = session.account
    assert account is not None
    public = await account.public_id()
    others = OTHERS if account.grants is not None else ""
    session.put(p.namespace(others, PUBLIC if public else "", session.engine.form))
    return b"OK NAMESPACE completed"
