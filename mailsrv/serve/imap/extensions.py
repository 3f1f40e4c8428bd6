"""Two tables (floor 3): what is advertised, which follows from the state and from what is plugged in, and what
ENABLE (RFC 5161) switches on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from . import acl, condstore, metadata, modes, notify, quota, utf8

if TYPE_CHECKING:
    from .session import ImapSession


def _always(session: ImapSession) -> bool:
    return True


def _before_login(session: ImapSession) -> bool:
    return session.identity is None


def _after_login(session: ImapSession) -> bool:
    return session.identity is not None


def _tls_possible(session: ImapSession) -> bool:
    connection = session.connection
    possible = session.services.tls_available and not connection.secure and connection.layer is None
    return session.identity is None and possible


def _login_disabled(session: ImapSession) -> bool:
    return session.identity is None and bool(session.refused_password())


def _any_unasked(session: ImapSession) -> bool:
    return session.limits.imap_unasked_octets is None


def _few_unasked(session: ImapSession) -> bool:
    return session.limits.imap_unasked_octets is not None


def _append_limit(session: ImapSession) -> bytes:
    """The same for all mailboxes, so it stands here (RFC 7889 section 3)."""
    limit = session.limits.append_octets
    return b"APPENDLIMIT" if limit is None else b"APPENDLIMIT=%d" % limit


@frozen
class Extension:
    """A capability's name, where it is defined, when it holds, and how it is written where not just as its name."""

    name: bytes
    defined: str
    holds: Callable[[ImapSession], bool] = _always
    shown: Callable[[ImapSession], bytes] | None = None


TABLE = (
    Extension(b"IMAP4rev2", "RFC 9051"),
    Extension(b"IMAP4rev1", "RFC 3501"),
    Extension(b"LITERAL+", "RFC 7888", _any_unasked),
    Extension(b"LITERAL-", "RFC 7888", _few_unasked),
    Extension(b"SASL-IR", "RFC 4959", _before_login),
    Extension(b"ENABLE", "RFC 5161"),
    Extension(b"ID", "RFC 2971"),
    Extension(b"IDLE", "RFC 2177"),
    Extension(b"NAMESPACE", "RFC 2342"),
    Extension(b"CHILDREN", "RFC 3348"),
    Extension(b"LIST-EXTENDED", "RFC 5258"),
    Extension(b"LIST-STATUS", "RFC 5819"),
    Extension(b"SPECIAL-USE", "RFC 6154"),
    Extension(b"CREATE-SPECIAL-USE", "RFC 6154 section 3"),
    Extension(b"STATUS=SIZE", "RFC 8438"),
    Extension(b"APPENDLIMIT", "RFC 7889", shown=_append_limit),
    Extension(b"QUOTA", "RFC 9208", quota.counted),
    Extension(b"QUOTA=RES-STORAGE", "RFC 9208 section 5.1", quota.counted),
    Extension(b"QUOTA=RES-MESSAGE", "RFC 9208 section 5.2", quota.counted),
    Extension(b"QUOTA=RES-MAILBOX", "RFC 9208 section 5.3", quota.counted),
    Extension(b"METADATA", "RFC 5464", metadata.kept),
    Extension(b"LIST-METADATA", "RFC 9590", metadata.kept),
    Extension(b"OBJECTID", "RFC 8474"),
    Extension(b"SAVEDATE", "RFC 8514"),
    Extension(b"ACL", "RFC 4314", acl.kept),
    Extension(b"RIGHTS=", "RFC 4314 section 2.2", acl.kept, shown=lambda session: b"RIGHTS=kxte"),
    Extension(b"LIST-MYRIGHTS", "RFC 8440", acl.kept),
    Extension(b"UNSELECT", "RFC 3691"),
    Extension(b"UIDPLUS", "RFC 4315"),
    Extension(b"MOVE", "RFC 6851"),
    Extension(b"MULTIAPPEND", "RFC 3502"),
    Extension(b"REPLACE", "RFC 8508"),
    Extension(b"BINARY", "RFC 3516"),
    Extension(b"PREVIEW", "RFC 8970"),
    Extension(b"NOTIFY", "RFC 5465", notify.possible),
    Extension(b"UTF8=ACCEPT", "RFC 6855"),
    Extension(b"CONDSTORE", "RFC 7162 section 3.1"),
    Extension(b"QRESYNC", "RFC 7162 section 3.2"),
    Extension(b"UIDONLY", "RFC 9586"),
    Extension(b"ESEARCH", "RFC 4731"),
    Extension(b"SEARCHRES", "RFC 5182"),
    Extension(b"WITHIN", "RFC 5032"),
    Extension(b"SORT", "RFC 5256"),
    Extension(b"SORT=DISPLAY", "RFC 5957"),
    Extension(b"ESORT", "RFC 5267"),
    Extension(b"THREAD=ORDEREDSUBJECT", "RFC 5256"),
    Extension(b"THREAD=REFERENCES", "RFC 5256"),
    Extension(b"INPROGRESS", "RFC 9585"),
    Extension(b"PARTIAL", "RFC 9394"),
    Extension(b"COMPRESS=DEFLATE", "RFC 4978", _after_login),
    Extension(b"UNAUTHENTICATE", "RFC 8437", _after_login),
    Extension(b"STARTTLS", "RFC 3501 section 6.2.1", _tls_possible),
    Extension(b"LOGINDISABLED", "RFC 3501 section 6.2.3", _login_disabled),
)


def _nothing(session: ImapSession) -> None:
    """The name in `session.enabled` is all."""


def _rev2(session: ImapSession) -> None:
    """Names are UTF-8 from here on, and nothing is \\Recent."""
    utf8.on(session)
    if session.selection is not None:
        session.selection.view.recent = None


def _uid_only(session: ImapSession) -> None:
    if session.selection is not None:
        session.selection.view.uid_only = True


@frozen
class Switch:
    """What ENABLE can switch on: its name in upper case; the capability that must be advertised for it; what else it
    brings along; and what is done then, besides that `session.enabled` holds the names."""

    name: str
    capability: bytes
    brings: frozenset[str] = frozenset()
    on: Callable[[ImapSession], None] = _nothing


SWITCHES = {
    row.name: row
    for row in (
        Switch(modes.CONDSTORE, b"CONDSTORE", on=condstore.begin),
        Switch(modes.QRESYNC, b"QRESYNC", frozenset({modes.CONDSTORE}), condstore.begin),
        Switch(modes.UIDONLY, b"UIDONLY", on=_uid_only),
        Switch(modes.REV2, b"IMAP4rev2", on=_rev2),
        Switch(modes.UTF8, b"UTF8=ACCEPT", on=utf8.on),
    )
}


def advertised(session: ImapSession) -> list[bytes]:
    """The names of the table that hold now."""
    return [row.name for row in TABLE if row.holds(session)]


def capabilities(session: ImapSession) -> bytes:
    """What the session offers now, separated by spaces."""
    names = [row.shown(session) if row.shown else row.name for row in TABLE if row.holds(session)]
    if session.identity is None:
        names += [b"AUTH=" + name.encode("ascii") for name in session.offered_mechanisms()]
    return b" ".join(names)


def switch_on(session: ImapSession, names: Iterable[str]) -> list[str]:
    """Switch on what of these can be; their names as they are advertised, also of what was on already."""
    offered = set(advertised(session))
    done: list[str] = []
    for name in names:
        row = SWITCHES.get(name)
        if row is None or row.capability not in offered:
            continue
        spelled = row.capability.decode("ascii")
        if spelled not in done:
            done.append(spelled)
        if name not in session.enabled:
            row.on(session)
            session.enabled |= row.brings | {name}
    return done
