"""XCLIENT in a session (floor 5): the connection is another client's from now on.

It begins anew, with a greeting: nobody is logged in, all that was said is forgotten, and the new client is counted,
admitted and judged like one that connects.  Only TLS stays, which is with the proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve
from twisted.logger import Logger

from ..access.networks import Matcher, number_of
from ..errors import MailError
from ..values import Peer
from ..wire.smtp_xclient import ATTRIBUTES, XClient
from . import smtp_replies as say

if TYPE_CHECKING:
    from .smtp import SmtpSession

log = Logger()

KEYWORD = "XCLIENT " + " ".join(ATTRIBUTES)


def may_speak(speakers: Matcher | None, peer: Peer) -> bool:
    """Whether a client that has just connected is one of those who may say whose connection it is."""
    found = None if speakers is None or peer.unknown else number_of(peer.host)
    return found is not None and speakers is not None and speakers.find(*found) >= 0


async def xclient(session: SmtpSession, event: XClient) -> None:
    """One XCLIENT, answered by the greeting of the new client or its refusal."""
    if not session.speaks_for_others:
        session.complain(say.XCLIENT_DENIED)
        return
    if session.transaction is not None:
        session.complain(say.NESTED_XCLIENT)
        return
    if session.idles():
        return
    said = event.said
    name = said.get("NAME", session.said_name)
    helo, extended = said.get("HELO", ""), said.get("PROTO", "ESMTP") == "ESMTP"
    session.begin_anew(name)
    peer = _peer(session.connection.peer, said, session.connected_from)
    log.info(
        "{text}",
        text=f"connection of {session.connected_from} on {session.services.name} is that of "
        f"{'somebody it does not name' if peer.unknown else peer.host} now, by XCLIENT",
    )
    await session.connection.replace_peer(peer)
    if helo and not session.connection.closing:
        await _greeted(session, helo, extended)


def _peer(peer: Peer, said: dict[str, str], speaker: str) -> Peer:
    """The ends of the connection now.  A client without an address has that of the proxy, and no trust in it."""
    if "ADDR" in said:
        peer = evolve(peer, host=said["ADDR"] or speaker, port=0, unknown=not said["ADDR"])
    elif peer.host == speaker:
        peer = evolve(peer, unknown=True)
    return evolve(
        peer,
        port=int(said.get("PORT") or 0) if "PORT" in said else peer.port,
        local_host=said.get("DESTADDR") or peer.local_host,
        local_port=int(said.get("DESTPORT") or peer.local_port),
        tls=None,
    )


async def _greeted(session: SmtpSession, helo: str, extended: bool) -> None:
    """HELO was said to the proxy.  Who is refused for it hears so when it says it here."""
    try:
        refusal = await session.judge.refusal("on_helo", helo, session.connection.peer, session.client_name)
    except MailError:
        return
    if refusal is None:
        session.helo, session.extended = helo, extended
        session.look_up()
