"""SMTP's commands without syntax of their own, and the answer to EHLO (floor 3)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..errors import AccessDenied, MailError
from ..values import Address, Forward, Transaction
from ..wire import smtp_server as wire
from ..wire.smtp_syntax import print_address, read_path
from . import smtp_replies as say
from .smtp_dsn import is_offered as has_dsn
from .smtp_entitled import entitled
from .smtp_etrn import etrn, is_offered
from .smtp_rules import refuse_data
from .smtp_xclient import KEYWORD

if TYPE_CHECKING:
    from .smtp import SmtpSession

#: Members of a list that EXPN tells.
_MAX_MEMBERS = 1000


async def extensions(session: SmtpSession) -> list[str]:
    """What EHLO and LHLO tell: extensions that work here and now."""
    services, limits, secure = session.smtp, session.limits, session.connection.secure
    lines = [
        "PIPELINING",
        f"SIZE {limits.message_octets}" if limits.message_octets is not None else "SIZE",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "BINARYMIME",
        "SMTPUTF8",
    ]
    if limits.recipients is not None:
        lines.append(f"LIMITS RCPTMAX={limits.recipients}")
    if await has_dsn(session):
        lines.append("DSN")
    lines += [verb for verb, policy in (("VRFY", services.vrfy), ("EXPN", services.expn)) if _allowed(session, policy)]
    if await is_offered(session):
        lines.append("ETRN")
    if session.speaks_for_others:
        lines.append(KEYWORD)
    if services.tls_available and not secure:
        lines.append("STARTTLS")
    mechanisms = [] if session.identity else session.offered_mechanisms()
    if mechanisms and not (services.require_tls and not secure):
        lines.append("AUTH " + " ".join(mechanisms))
    return lines


def _allowed(session: SmtpSession, policy: str) -> bool:
    """Whether a command of the policy off, authenticated or on is for this client."""
    if session.services.require_tls and not session.connection.secure:
        return False
    known = session.identity is not None and not session.identity.anonymous
    return policy == "on" or (policy == "authenticated" and known)


def _data(session: SmtpSession, event: wire.Plain) -> Coroutine[Any, Any, None] | None:
    refusal = refuse_data(session)
    if refusal is not None:
        _refuse_data(session, refusal)
    elif session.judge.asked("on_data"):
        return _ask_data(session)
    else:
        session.begin_message().data()
    return None


async def _ask_data(session: SmtpSession) -> None:
    """Whether policies let the message begin."""
    refusal = await session.judge.refusal("on_data", session.transaction)
    if refusal is None:
        session.begin_message().data()
    else:
        session.reset()
        _refuse_data(session, refusal)


def _refuse_data(session: SmtpSession, refusal: bytes) -> None:
    session.complain(refusal)
    if session.engine.pipelined:
        # The client did not wait for 354: what follows is a message, and must not be read as commands.
        session.connection.close()


def _rset(session: SmtpSession, event: wire.Plain) -> None:
    session.reset()
    session.say(say.RESET_OK)


def _noop(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.RESET_OK)


def _quit(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.GOODBYE)
    session.connection.close()


def _asked(session: SmtpSession, argument: str) -> tuple[Address | None, bool]:
    """The address that VRFY or EXPN asks for, and whether the answer may be UTF-8 (RFC 6531 section 3.7.4.2)."""
    text, utf8 = argument, False
    if argument.upper().endswith(" SMTPUTF8"):
        text, utf8 = argument[:-9].rstrip(), True
    read = read_path(text if text.startswith("<") else f"<{text}>")
    if read is None or read[0] is None or read[1] or not (utf8 or text.isascii()):
        return None, utf8
    address = read[0]
    return (address if address.domain else Address(address.local, session.smtp.default_domain)), utf8


async def _still(session: SmtpSession, policy: str) -> bool:
    """The same by the permissions of now (S-104).  Raises TryLater."""
    if not _allowed(session, policy):
        return False
    if policy == "authenticated" and session.identity is not None:
        try:
            await entitled(session, session.identity)
        except AccessDenied:
            return False
    return True


async def _vrfy(session: SmtpSession, event: wire.Plain) -> None:
    try:
        refusal = None if await _still(session, session.smtp.vrfy) else say.CANNOT_VERIFY
    except MailError:
        refusal = say.CANNOT_VERIFY_NOW
    if refusal is not None:
        session.say(refusal)
        return
    address, utf8 = _asked(session, event.argument)
    if address is None:
        session.complain(say.NO_ADDRESS)
        return
    # The router decides for somebody from outside: what it would take is what is verified.
    about = Transaction(session.services.name, session.connection.peer, session.helo, identity=session.identity)
    try:
        route = await session.smtp.router.route(address, about)
    except MailError as error:
        # Each guess counts as a mistake, so that nobody tries all names there are on one connection.
        session.complain(say.CANNOT_VERIFY_NOW if not error.permanent else say.of_error(error))
        return
    # What another server has to say is not known here: RFC 5321 section 3.5.3.
    session.say(_members([address], utf8) if route.placements else say.CANNOT_VERIFY)


async def _expn(session: SmtpSession, event: wire.Plain) -> None:
    address, utf8 = _asked(session, event.argument)
    try:
        if not await _still(session, session.smtp.expn):
            session.complain(say.NO_EXPN)
            return
        found = None if address is None else await session.services.store.directory.resolve(address)
    except MailError as error:
        session.say(say.of_error(error))
        return
    if not isinstance(found, Forward):
        session.complain(say.NO_ADDRESS if address is None else say.NO_LIST)
    else:
        session.say(_members(list(found.targets), utf8))


def _members(addresses: list[Address], utf8: bool) -> bytes:
    lines = [f"<{print_address(address)}>" for address in addresses[:_MAX_MEMBERS]]
    if not utf8 and not all(line.isascii() for line in lines):
        return say.NEEDS_UTF8_ANSWER
    return say.reply(250, "2.1.5", *lines, utf8=utf8)


def _help(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.HELP)


def _starttls(session: SmtpSession, event: wire.Plain) -> None:
    if session.connection.secure or not session.services.tls_available:
        session.engine.resume()
        session.complain(say.TLS_ALREADY if session.connection.secure else say.NO_TLS)
        return
    session.say(say.START_TLS)
    # RFC 3207 section 4.2: everything learnt in clear is forgotten, a login too.
    session.reset()
    session.helo, session.extended, session.identity = "", False, None
    session.connection.start_tls()


#: What is done for a Plain event.
PLAIN: dict[str, Callable[[SmtpSession, wire.Plain], Coroutine[Any, Any, None] | None]] = {
    "DATA": _data,
    "RSET": _rset,
    "NOOP": _noop,
    "QUIT": _quit,
    "VRFY": _vrfy,
    "EXPN": _expn,
    "ETRN": etrn,
    "HELP": _help,
    "STARTTLS": _starttls,
}
