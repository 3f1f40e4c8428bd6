"""The SMTP session's constant replies, made once (RFC 5321 section 4.2.3, RFC 3463 statuses on every line)."""

from __future__ import annotations

from base64 import b64encode

from ..errors import MailError
from ..values import Reply, Verdict
from ..wire.smtp_syntax import print_reply


def reply(code: int, status: str, *lines: str, utf8: bool = False) -> bytes:
    """A reply's octets."""
    return print_reply(Reply(code, status, lines), utf8)


SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
RESET_OK = reply(250, "2.0.0", "OK")
DISCARDED = reply(250, "2.0.0", "OK")
START_INPUT = reply(354, "", "End data with <CRLF>.<CRLF>")
GOODBYE = reply(221, "2.0.0", "Goodbye")
START_TLS = reply(220, "2.0.0", "Ready to start TLS")
CANNOT_VERIFY = reply(252, "2.1.5", "Cannot VRFY; send the message and see")
CANNOT_VERIFY_NOW = reply(252, "2.1.5", "Cannot VRFY now; send the message and see")
NEEDS_UTF8_ANSWER = reply(252, "2.6.8", "The answer needs SMTPUTF8; send the message and see")
NO_ADDRESS = reply(501, "5.1.3", "Bad address syntax")
NO_LIST = reply(550, "5.1.1", "No list has this name")
NO_EXPN = reply(502, "5.5.1", "Lists are not expanded here")
NO_ETRN = reply(502, "5.5.1", "No mail is held here to be fetched")
NESTED_ETRN = reply(503, "5.5.1", "ETRN is not allowed during a mail transaction")
ETRN_DENIED = reply(550, "5.7.1", "Only those who may send mail on may start a queue")
XCLIENT_DENIED = reply(550, "5.7.0", "You may not speak for other clients")
NESTED_XCLIENT = reply(503, "5.5.1", "XCLIENT is not allowed during a mail transaction")
HELP = reply(214, "2.0.0", "See RFC 5321; EHLO tells the extensions")

HELLO_FIRST = reply(503, "5.5.1", "Say EHLO or HELO first")
LHLO_FIRST = reply(503, "5.5.1", "Say LHLO first")
TLS_FIRST = reply(530, "5.7.0", "Must issue a STARTTLS command first")
LOGIN_FIRST = reply(530, "5.7.0", "Authentication required")
NO_TLS = reply(502, "5.5.1", "STARTTLS is not available")
TLS_ALREADY = reply(503, "5.5.1", "TLS is active already")
NESTED_MAIL = reply(503, "5.5.1", "Sender already given; RSET first")
MAIL_FIRST = reply(503, "5.5.1", "MAIL first")
NO_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")
NO_RECIPIENTS_FOR_CHUNK = reply(503, "5.5.1", "No valid recipients")
MESSAGE_BEGUN = reply(503, "5.5.1", "The message has begun; no more recipients")
CHUNKS_BEGUN = reply(503, "5.5.1", "The message has begun with BDAT; go on so, or RSET")
CHUNKS_FAILED = reply(503, "5.5.1", "A BDAT of this transaction was refused; RSET first")
BINARY_NEEDS_BDAT = reply(503, "5.5.1", "BODY=BINARYMIME is sent with BDAT")
NEEDS_UTF8 = reply(553, "5.6.7", "Addresses with non-ASCII characters need SMTPUTF8")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients; send the rest in another transaction")
BAD_PARAMETER = reply(555, "5.5.4", "Parameter not recognized")
BAD_VALUE = reply(501, "5.5.4", "Bad parameter value")
TOO_BIG = reply(552, "5.3.4", "Message exceeds the size limit")
TOO_BIG_TO_SKIP = reply(552, "5.3.4", "Message exceeds the size limit by far; closing")
BINARY_REFUSED = reply(554, "5.6.5", "The structure of this BINARYMIME message cannot be converted")
HEADER_TOO_BIG = reply(552, "5.3.4", "The header of the message is larger than the limit")
TOO_MANY_FIELDS = reply(554, "5.6.0", "The header of the message has too many fields")
SESSION_FULL = reply(552, "5.3.4", "Message exceeds the size limit of a connection")
SESSION_NEARLY_FULL = reply(452, "4.3.4", "Message exceeds what is left of this connection's size limit; connect again")
SESSION_OVER = reply(421, "4.7.0", "This connection has sent as much as it may; connect again")
LINE_TOO_LONG = reply(550, "5.5.2", "A line of the message is longer than the limit")
NUL_REFUSED = reply(550, "5.5.2", "The message holds a NUL")
BARE_REFUSED = reply(550, "5.5.2", "The message holds a CR or LF alone; lines end with CRLF")
BARE_AGAIN = reply(421, "4.5.2", "Messages with a CR or LF alone again and again; closing")
TOO_MANY_HOPS = reply(554, "5.4.6", "Too many hops: maximum hop count exceeded")
MAIL_LOOP = reply(554, "5.4.6", "Mail loop: this message was delivered to that recipient before")
TOO_MANY_IDLE = reply(421, "4.7.0", "Too many commands and no message; closing")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors; closing")
NO_TRANSACTION_AUTH = reply(503, "5.5.1", "AUTH is not allowed during a mail transaction")
AUTH_ALREADY = reply(503, "5.5.1", "Already authenticated")
AUTH_UNKNOWN = reply(504, "5.5.4", "Authentication mechanism not available")
AUTH_NEEDS_TLS = reply(538, "5.7.11", "Encryption required for this authentication mechanism")
AUTH_OK = reply(235, "2.7.0", "Authentication successful")
AUTH_ABORTED = reply(501, "5.7.0", "Authentication cancelled")
AUTH_NOT_BASE64 = reply(501, "5.5.2", "Not base64")
AUTH_LATER = reply(454, "4.7.0", "Temporary authentication failure")


def challenge(octets: bytes) -> bytes:
    """A challenge of a SASL exchange (RFC 4954 section 4)."""
    return b"334 " + b64encode(octets) + b"\r\n"


def chunk_taken(size: int) -> bytes:
    """One BDAT of several (RFC 3030 section 2)."""
    return b"250 2.0.0 %d octets received\r\n" % size


def accepted(delivery_id: str) -> bytes:
    """The message is durable; the id names it in logs and trace (decisions 31)."""
    return b"250 2.0.0 OK id=%s\r\n" % delivery_id.encode("ascii")


def of_error(error: MailError, code: int = 550) -> bytes:
    """An expected failure as a reply: 4xx/5xx by its class, SMTP's own codes where it has them."""
    if not error.permanent:
        return reply(452 if error.status in ("4.3.1", "4.2.2") else 451, error.status, error.text)
    return reply(552 if error.status in ("5.2.2", "5.3.4") else code, error.status, error.text)


def of_verdict(verdict: Verdict, code: int = 550) -> bytes:
    """A policy's refusal as a reply; a status of another class than the code's gives way (RFC 2034 section 4)."""
    if verdict.action == "tempfail":
        status = verdict.status if verdict.status.startswith("4.") else "4.7.1"
        return reply(451, status, verdict.text or "Try again later")
    status = verdict.status if verdict.status.startswith("5.") else "5.7.1"
    return reply(code, status, verdict.text or "Refused by policy")
