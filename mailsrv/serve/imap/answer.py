"""How a command can end (floor 3): OK, NO and BAD with response codes (RFC 3501 section 7.1, RFC 5530).

A command's function gives the words of its OK, or raises `No`, `Bad` or an expected failure of the error family.
"""

from __future__ import annotations

from ...errors import (
    AccessDenied,
    AuthenticationFailed,
    BadMailboxName,
    InUse,
    LimitReached,
    MailboxExists,
    MailError,
    NoSuchMailbox,
    NotPermitted,
    QuotaExceeded,
    Refused,
    StoreFull,
    TooBig,
)
from ...wire.imap_print import human


class Bad(Exception):
    """The command cannot be carried out as it was written; `code` and `text` as in `No`."""

    def __init__(self, text: str, code: str = "") -> None:
        self.code, self.text = code, text
        super().__init__(text)


class No(Exception):
    """The command is refused; `code` is a response code without brackets or "", `text` safe to show."""

    def __init__(self, code: str, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


#: Error class -> response code; the first that fits, so narrow classes stand before wide ones.
CODES: tuple[tuple[type[MailError], str], ...] = (
    (NoSuchMailbox, "NONEXISTENT"),
    (MailboxExists, "ALREADYEXISTS"),
    (BadMailboxName, "CANNOT"),
    (QuotaExceeded, "OVERQUOTA"),
    (TooBig, "TOOBIG"),
    (NotPermitted, "AUTHORIZATIONFAILED"),
    (AuthenticationFailed, "AUTHENTICATIONFAILED"),
    (AccessDenied, "NOPERM"),
    (Refused, "CANNOT"),
    (InUse, "INUSE"),
    (LimitReached, "LIMIT"),
    # The disk is full for everybody: no client can do anything about it, so it is not a quota.
    (StoreFull, "UNAVAILABLE"),
    (MailError, "UNAVAILABLE"),
)


def code_of(error: MailError) -> str:
    """The response code of an expected failure."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def of_target(error: NoSuchMailbox) -> No:
    """APPEND, COPY or MOVE into a mailbox that is not there: the client may make it (RFC 3501 section 6.4.7)."""
    return No("TRYCREATE", error.text)


def refusal(error: Bad | No | MailError) -> bytes:
    """``NO [CODE] text`` (BAD of a Bad) without tag and line end."""
    code = code_of(error) if isinstance(error, MailError) else error.code
    kind, text = b"BAD" if isinstance(error, Bad) else b"NO", human(error.text)
    return b"%b [%b] %b" % (kind, code.encode("ascii"), text) if code else b"%b %b" % (kind, text)
