"""What may be said when (floor 3): why a MAIL, RCPT, DATA or BDAT cannot be, before anybody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..values import Transaction
from ..wire import smtp_server as wire
from ..wire.smtp_parameters import check_mail, check_rcpt
from . import smtp_replies as say

if TYPE_CHECKING:
    from .smtp import SmtpSession

_PARAMETERS = {"unknown": say.BAD_PARAMETER, "value": say.BAD_VALUE}


def is_binary(transaction: Transaction | None) -> bool:
    """Whether the message is sent as BINARYMIME (RFC 3030 section 3)."""
    return transaction is not None and transaction.parameters.get("BODY", "").upper() == "BINARYMIME"


def refuse_mail(session: SmtpSession, event: wire.Mail) -> bytes | None:
    """Why this MAIL cannot be, or None."""
    if not session.helo:
        return say.HELLO_FIRST if session.word == "SMTP" else say.LHLO_FIRST
    if session.services.require_tls and not session.connection.secure:
        return say.TLS_FIRST
    if session.identity is None and not session.smtp.anonymous:
        return say.LOGIN_FIRST
    if session.transaction is not None:
        return say.NESTED_MAIL
    parameters = event.parameters
    if parameters:
        wrong = check_mail(parameters)
        if wrong:
            return _PARAMETERS[wrong]
        if "AUTH" in parameters and session.identity is None:
            # RFC 4954 section 5: nobody who could be trusted says so.
            parameters["AUTH"] = "<>"
        if "SIZE" in parameters:
            refusal = refuse_size(session, int(parameters["SIZE"]))
            if refusal is not None:
                return refusal
    return say.NEEDS_UTF8 if event.utf8 and "SMTPUTF8" not in parameters else None


def refuse_size(session: SmtpSession, size: int) -> bytes | None:
    """A message of so many octets against the limits (RFC 1870 section 6.1; S-117, S-121)."""
    limits = session.limits
    if limits.message_octets is not None and size > limits.message_octets:
        return say.TOO_BIG
    if limits.session_octets is not None and size > limits.session_octets - session.octets_taken:
        # What another connection would take is not refused for good: its sender would get it back.
        return say.SESSION_FULL if size > limits.session_octets else say.SESSION_NEARLY_FULL
    return None


def refuse_rcpt(session: SmtpSession, event: wire.Rcpt) -> bytes | None:
    """Why this RCPT cannot be, or None."""
    transaction = session.transaction
    if transaction is None:
        return say.MAIL_FIRST
    if session.message is not None:
        return say.MESSAGE_BEGUN
    if not event.parameters and not event.utf8:
        return None
    utf8 = "SMTPUTF8" in transaction.parameters
    wrong = check_rcpt(event.parameters, utf8)
    if wrong:
        return _PARAMETERS[wrong]
    return say.NEEDS_UTF8 if event.utf8 and not utf8 else None


def refuse_data(session: SmtpSession) -> bytes | None:
    """Why no message can begin by DATA, or None."""
    if session.transaction is None:
        return say.MAIL_FIRST
    if session.message is not None:
        return say.CHUNKS_BEGUN
    if is_binary(session.transaction):
        return say.BINARY_NEEDS_BDAT
    return None if session.taken else say.NO_RECIPIENTS


def refuse_chunk(session: SmtpSession) -> bytes | None:
    """Why this BDAT cannot be, or None (RFC 3030 section 2)."""
    if session.chunks_failed:
        return say.CHUNKS_FAILED
    if session.transaction is None:
        return say.MAIL_FIRST
    return None if session.taken else say.NO_RECIPIENTS_FOR_CHUNK
