"""AUTH on an SMTP session (floor 3; RFC 4954).

A failed, refused or aborted mechanism leaves the session ready for the next (S-103).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AuthenticationFailed, MailError, Refused, TryLater
from ..wire import smtp_server as wire
from . import smtp_replies as say
from .session import GUARDED

if TYPE_CHECKING:
    from ..values import Identity
    from .smtp import SmtpSession


async def authenticate(session: SmtpSession, event: wire.Auth) -> None:
    """One AUTH command with all its challenges, answered."""
    refusal = _refuse(session, event)
    if refusal is not None:
        session.complain(refusal)
        return

    async def ask(challenge: bytes) -> bytes | None:
        session.say(say.challenge(challenge))
        response = await session.connection.next_event()
        if not isinstance(response, wire.AuthResponse):
            raise Refused("Authentication exchange line is too long", "5.5.6")
        if not response.valid:
            raise AuthenticationFailed("Not base64", "5.5.2")
        return response.octets

    async def enter(identity: Identity) -> None:
        await session.judge.login(identity, session.connection.peer)

    session.engine.start_auth()
    try:
        identity = await session.login(event.mechanism, event.initial, ask, enter)
        session.say(say.AUTH_OK if identity is not None else say.AUTH_ABORTED)
    except AuthenticationFailed as error:
        session.say(say.AUTH_NOT_BASE64 if error.status == "5.5.2" else say.reply(535, error.status, error.text))
        _end_guessing(session)
    except TryLater as error:
        session.say(say.reply(454, error.status, error.text) if error.status == GUARDED else say.AUTH_LATER)
        _end_guessing(session)
    except MailError as error:
        session.complain(say.of_error(error, 500 if error.status == "5.5.6" else 535))
    finally:
        session.engine.auth_done()


def _end_guessing(session: SmtpSession) -> None:
    """Too many failed logins on one connection."""
    if session.failed_logins >= session.limits.failed_logins:
        session.say(say.TOO_MANY_ERRORS)
        session.connection.close()


def _refuse(session: SmtpSession, event: wire.Auth) -> bytes | None:
    """Why this AUTH cannot be, or None."""
    if not session.helo:
        return say.HELLO_FIRST
    if session.identity is not None:
        return say.AUTH_ALREADY
    if session.transaction is not None:
        return say.NO_TRANSACTION_AUTH
    if session.services.require_tls and not session.connection.secure:
        return say.TLS_FIRST
    reason = session.refused_mechanism(event.mechanism)
    if reason:
        return say.AUTH_NEEDS_TLS if reason == "tls" else say.AUTH_UNKNOWN
    return None if event.valid else say.AUTH_NOT_BASE64
