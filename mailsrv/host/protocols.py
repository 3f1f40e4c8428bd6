"""The sessions of the three protocols (floor 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..serve.imap.session import ImapSession
from ..serve.lmtp import LmtpSession
from ..serve.pop3 import Pop3Session
from ..serve.smtp import SmtpSession

#: Protocol, or role, -> what makes a session of a connection.
SESSIONS: Mapping[str, Callable[..., Any]] = {
    "smtp": SmtpSession,
    "lmtp": LmtpSession,
    "imap": ImapSession,
    "pop3": Pop3Session,
}
