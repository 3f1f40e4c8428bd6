"""The words for who is turned away before the greeting, in each protocol (floor 6)."""

from __future__ import annotations

from ..errors import MailError
from ..values import Verdict

#: Octets of a text that came from elsewhere.
MAX_TEXT = 400


def last_words(protocol: str, text: str, status: str = "", permanent: bool = False) -> bytes:
    """One line: 554 or 421 (RFC 5321 section 3.1), BYE (RFC 9051 section 7.1.5), -ERR (RFC 2449, RFC 3206)."""
    octets = " ".join(text.split())[:MAX_TEXT].encode("ascii", "replace")
    if protocol == "smtp":
        status = status or ("5.7.1" if permanent else "4.3.2")
        return b"%d %s %s\r\n" % (554 if permanent else 421, status.encode("ascii", "replace"), octets)
    if protocol == "imap":
        return b"* BYE %s%s\r\n" % (b"" if permanent else b"[UNAVAILABLE] ", octets)
    return b"-ERR [SYS/%s] %s\r\n" % (b"PERM" if permanent else b"TEMP", octets)


def words_of(protocol: str, verdict: Verdict) -> bytes:
    """For a verdict that does not accept."""
    permanent = verdict.action != "tempfail"
    text = verdict.text or ("Access denied" if permanent else "Try again later")
    status = verdict.status or ("5.7.1" if permanent else "4.7.1")
    return last_words(protocol, text, status, permanent)


def verdict_of(error: MailError) -> Verdict:
    """A refusal that was raised instead of given."""
    return Verdict("reject" if error.permanent else "tempfail", error.text, error.status)
