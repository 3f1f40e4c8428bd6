"""The one table of capabilities (floor 3): what is advertised follows from the state and from what is plugged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from .session import ImapSession


def _always(session: ImapSession) -> bool:
    return True


def _before_login(session: ImapSession) -> bool:
    return session.identity is None


def _tls_possible(session: ImapSession) -> bool:
    return session.identity is None and not session.connection.secure and session.services.tls_available


def _login_disabled(session: ImapSession) -> bool:
    return session.identity is None and bool(session.refused_password())


@frozen
class Extension:
    """A capability's name, where it is defined, and when it holds."""

    name: bytes
    defined: str
    holds: Callable[[ImapSession], bool] = _always


TABLE = (
    Extension(b"IMAP4rev1", "RFC 3501"),
    Extension(b"LITERAL+", "RFC 7888"),
    Extension(b"SASL-IR", "RFC 4959", _before_login),
    Extension(b"ENABLE", "RFC 5161"),
    Extension(b"ID", "RFC 2971"),
    Extension(b"IDLE", "RFC 2177"),
    Extension(b"NAMESPACE", "RFC 2342"),
    Extension(b"CHILDREN", "RFC 3348"),
    Extension(b"SPECIAL-USE", "RFC 6154"),
    Extension(b"UNSELECT", "RFC 3691"),
    Extension(b"UIDPLUS", "RFC 4315"),
    Extension(b"MOVE", "RFC 6851"),
    Extension(b"MULTIAPPEND", "RFC 3502"),
    Extension(b"STARTTLS", "RFC 3501 section 6.2.1", _tls_possible),
    Extension(b"LOGINDISABLED", "RFC 3501 section 6.2.3", _login_disabled),
)

#: What ENABLE can switch on (RFC 5161): nothing yet.
ENABLED_BY_CLIENT: frozenset[str] = frozenset()


def capabilities(session: ImapSession) -> bytes:
    """What the session offers now, separated by spaces."""
    names = [row.name for row in TABLE if row.holds(session)]
    if session.identity is None:
        names += [b"AUTH=" + name.encode("ascii") for name in session.offered_mechanisms()]
    return b" ".join(names)
