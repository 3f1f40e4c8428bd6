"""The error family (floor 0).

Every expected failure is a `MailError`: a text that is safe to show to a client and an RFC 3463 enhanced
status code.  Causes are chained for the log, never shown.  Anything else that escapes is a bug: it is logged
once with an incident id and shown as a temporary failure.
"""

from __future__ import annotations


class MailError(Exception):
    """Base of all expected failures.

    `text` is one line, safe to show to a client.  `status` is an RFC 3463 "class.subject.detail".
    """

    status = "4.3.0"
    text = "Temporary failure"

    def __init__(self, text: str | None = None, status: str | None = None) -> None:
        if text is not None:
            self.text = text
        if status is not None:
            self.status = status
        super().__init__(self.text)

    @property
    def permanent(self) -> bool:
        """True when trying again cannot help (class 5)."""
        return self.status.startswith("5")


class Refused(MailError):
    """A permanent refusal."""

    status = "5.0.0"
    text = "Refused"


class AuthenticationFailed(Refused):
    """The credentials are wrong; says nothing about which half (RFC 4954 section 6)."""

    status = "5.7.8"
    text = "Authentication credentials invalid"


class NotPermitted(AuthenticationFailed):
    """The credentials are right but do not permit this login (S-104; RFC 5530 AUTHORIZATIONFAILED).

    `why` is for the log."""

    status = "5.7.1"
    text = "Access denied"
    why = ""


class AccessDenied(Refused):
    """The identity or peer may not do this."""

    status = "5.7.1"
    text = "Access denied"


class RelayDenied(Refused):
    """The peer may not relay to that domain (S-136)."""

    status = "5.7.1"
    text = "Relay access denied"


class NoSuchRecipient(Refused):
    """No account, alias or list has this address."""

    status = "5.1.1"
    text = "No such user here"


class NoSuchMailbox(Refused):
    """The mailbox does not exist (RFC 5530 NONEXISTENT)."""

    status = "5.1.1"
    text = "No such mailbox"


class MailboxExists(Refused):
    """The mailbox exists already (RFC 5530 ALREADYEXISTS)."""

    status = "5.3.5"
    text = "Mailbox exists already"


class BadMailboxName(Refused):
    """The name cannot be a mailbox's name (RFC 5530 CANNOT)."""

    status = "5.3.5"
    text = "Not a possible mailbox name"


class QuotaExceeded(Refused):
    """The account is over its quota (RFC 5530 OVERQUOTA)."""

    status = "5.2.2"
    text = "Mailbox is full"


class TooBig(Refused):
    """The message is larger than a limit (S-117)."""

    status = "5.3.4"
    text = "Message exceeds the size limit"


class Unroutable(Refused):
    """No way to this recipient is known."""

    status = "5.4.4"
    text = "Unable to route"


class TryLater(MailError):
    """A temporary failure: the same request may succeed later."""

    status = "4.3.0"
    text = "Temporary failure, try again later"


class StoreUnavailable(TryLater):
    """The store cannot answer now."""

    status = "4.3.0"
    text = "Mail store temporarily unavailable"


class StoreFull(TryLater):
    """No room on the disk, or the writer's bounded queue is full."""

    status = "4.3.1"
    text = "Insufficient system storage"


class InUse(TryLater):
    """Another session holds the maildrop or the data folder (RFC 2449 IN-USE)."""

    status = "4.2.0"
    text = "In use by another session"


class LimitReached(TryLater):
    """A limit that falls again by itself (connections, sessions)."""

    status = "4.3.2"
    text = "Too many connections, try again later"


class ConfigError(MailError):
    """A mistake in the configuration, with the place and the way out.

    `file` is a path or "", `line` is 1-based or None, `key` is the dotted option name or "".
    """

    status = "5.3.5"

    def __init__(self, text: str, *, file: str = "", line: int | None = None, key: str = "") -> None:
        self.file, self.line, self.key = file, line, key
        super().__init__(text)

    def __str__(self) -> str:
        place = self.file or "configuration"
        if self.line is not None:
            place += f":{self.line}"
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"
