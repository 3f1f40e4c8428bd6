"""How a client logs in (floor 3): RFC 3501 section 6.2, RFC 4959 (SASL-IR), RFC 5530 response codes."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ...errors import AuthenticationFailed, TryLater
from ...values import Credentials, Identity
from ...wire import imap_requests as r
from ...wire.imap_print import human
from ..session import Enter
from .answer import Bad, No, refusal
from .extensions import capabilities

if TYPE_CHECKING:
    from .session import ImapSession

_PRIVATE = No("PRIVACYREQUIRED", "Passwords are taken under TLS only")


async def starttls(session: ImapSession, request: r.Simple) -> bytes:
    """STARTTLS: what the client sent before the handshake is dropped with the engine's state."""
    if session.connection.secure or not session.services.tls_available:
        session.engine.tls_refused()
        raise Bad("TLS is active already" if session.connection.secure else "No TLS here")
    if session.connection.layer is not None:
        # Possible after UNAUTHENTICATE only: TLS would have to begin below what is under way.
        session.engine.tls_refused()
        raise Bad("Compression is active already")
    session.say(request.tag + b" OK Begin TLS negotiation now")
    session.connection.start_tls()
    return b""


async def login(session: ImapSession, request: r.Login) -> bytes:
    """LOGIN."""
    reason = session.refused_password()
    if reason:
        raise No("PRIVACYREQUIRED", _PRIVATE.text) if reason == "tls" else No("CANNOT", "LOGIN is not taken here")
    credentials = Credentials("password", request.username, request.password)
    return await _enter(session, lambda enter: session.login_password(credentials, "LOGIN", enter))


async def authenticate(session: ImapSession, request: r.Authenticate) -> bytes:
    """AUTHENTICATE: an abort or a refusal leaves the session ready for the next mechanism at once (S-145)."""
    try:
        reason = session.refused_mechanism(request.mechanism)
        if reason:
            private = reason == "tls"
            raise No("PRIVACYREQUIRED", _PRIVATE.text) if private else No("CANNOT", "No such mechanism here")

        async def ask(challenge: bytes) -> bytes | None:
            session.say(b"+ " + b2a_base64(challenge, newline=False))
            return await _response(session)

        return await _enter(session, lambda enter: session.login(request.mechanism, request.initial, ask, enter))
    finally:
        session.engine.auth_done()


async def _response(session: ImapSession) -> bytes | None:
    """The client's octets; None: it gives up."""
    event = await session.connection.next_event()
    if not isinstance(event, r.AuthResponse):
        # The line was too long, or the like; the engine says whether this is the end.
        session.reply(event)
        raise ConnectionResetError("no response")
    if not event.valid:
        raise AuthenticationFailed("Not base64", "5.5.2")
    return event.octets


async def _enter(session: ImapSession, attempt: Callable[[Enter], Awaitable[Identity | None]]) -> bytes:
    """One attempt, which counts as failed when there is no account behind the identity."""

    async def enter(identity: Identity) -> None:
        session.enter(await session.services.store.account(identity.account_id))

    try:
        identity = await attempt(enter)
    except (AuthenticationFailed, TryLater) as error:
        words = b"BAD " + human(error.text) if error.status == "5.5.2" else refusal(error)
        # A TryLater of the guard counts too; any other leaves the count as it was.
        if session.failed_logins < session.limits.failed_logins:
            return words
        session.say(b"%b %b" % (session.tag or b"*", words))
        session.bye(b"Too many failed logins")
        return b""
    if identity is None:
        raise Bad("Authentication given up")
    return b"OK [CAPABILITY %b] Logged in" % capabilities(session)
