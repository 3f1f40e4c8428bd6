"""Commands about mailboxes (floor 3; RFC 3501 sections 6.3.3 to 6.3.10, RFC 3348, RFC 5258, RFC 6154)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...interfaces import IAccount
from ...values import MailboxInfo, MailboxState
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import condstore
from .answer import Bad, No
from .patterns import SEPARATOR, Pattern

if TYPE_CHECKING:
    from .session import ImapSession

#: RFC 6154 attributes that a mailbox may be made with, in their usual spelling; no views of other mailboxes.
_USES = {use.lower(): use for use in (b"\\Archive", b"\\Drafts", b"\\Junk", b"\\Sent", b"\\Trash")}
#: What of RFC 5258 is understood; it is not advertised before all of it is.
_SELECT = frozenset({"SUBSCRIBED", "REMOTE", "SPECIAL-USE"})
_RETURN = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})
#: STATUS item -> counter.
_COUNTERS = {
    "MESSAGES": "exists", "RECENT": "recent", "UIDNEXT": "uidnext", "UIDVALIDITY": "uidvalidity",
    "UNSEEN": "unseen", "DELETED": "deleted", "SIZE": "octets",
    "HIGHESTMODSEQ": "highest_modseq",
}  # fmt: skip


def _account(session: ImapSession) -> IAccount:
    assert session.account is not None
    return session.account


def _above(name: str) -> list[str]:
    """The names of all levels above."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:count]) for count in range(1, len(levels))]


class Listing:
    """The mailboxes of an account as LIST sees them."""

    __slots__ = ("_infos", "_parents")

    def __init__(self, infos: Sequence[MailboxInfo]) -> None:
        self._infos = {info.name: info for info in infos}
        self._parents = {above for info in infos if info.exists for above in _above(info.name)}

    def names(self, subscribed: bool) -> list[str]:
        """Everything that can be listed, in order; levels that exist only as a part of names included.

        `subscribed`: only what is subscribed.
        """
        if subscribed:
            return sorted(name for name, info in self._infos.items() if info.subscribed)
        there = {name for name, info in self._infos.items() if info.exists}
        return sorted(there | self._parents)

    def attributes(self, name: str, returns: frozenset[str]) -> list[bytes]:
        """The attributes of one name."""
        info = self._infos.get(name)
        out = []
        if info is None or not info.exists:
            out.append(b"\\Noselect")
        out.append(b"\\HasChildren" if name in self._parents else b"\\HasNoChildren")
        if info is not None:
            if info.special_use is not None:
                out.append(info.special_use)
            if info.subscribed and "SUBSCRIBED" in returns:
                out.append(b"\\Subscribed")
        return out

    def has_use(self, name: str) -> bool:
        """Whether it has an RFC 6154 attribute."""
        info = self._infos.get(name)
        return info is not None and info.special_use is not None


async def list_mailboxes(session: ImapSession, request: r.List) -> bytes:
    """LIST."""
    if not (request.select <= _SELECT and request.returns <= _RETURN):
        raise Bad("Not supported")
    if request.patterns == ("",) and not request.extended:
        session.put(p.list_root())
        return b"OK LIST completed"
    listing = Listing(await _account(session).mailboxes())
    patterns = [Pattern(request.reference + pattern) for pattern in request.patterns if pattern]
    # RFC 5258 section 3.4: selecting by subscription gives the attribute as well.
    returns = request.returns | (request.select & {"SUBSCRIBED"})
    for name in listing.names("SUBSCRIBED" in request.select):
        if "SPECIAL-USE" in request.select and not listing.has_use(name):
            continue
        if any(pattern.matches(name) for pattern in patterns):
            session.put(p.list_line(name, listing.attributes(name, returns), utf8=session.engine.utf8))
            await session.pace()
            await session.connection.breathe()
    return b"OK LIST completed"


async def list_subscribed(session: ImapSession, request: r.List) -> bytes:
    """LSUB: what is subscribed, whether or not it exists; a level above, matched by "%", is \\Noselect."""
    subscribed = {info.name for info in await _account(session).mailboxes() if info.subscribed}
    if request.patterns == ("",):
        session.put(p.list_root(b"LSUB"))
        return b"OK LSUB completed"
    pattern = Pattern(request.reference + request.patterns[0])
    names = set(subscribed)
    if pattern.wildcard_end:
        names |= {above for name in subscribed for above in _above(name)}
    for name in sorted(names):
        if pattern.matches(name):
            attributes = () if name in subscribed else (b"\\Noselect",)
            session.put(p.list_line(name, attributes, b"LSUB", utf8=session.engine.utf8))
            await session.pace()
            await session.connection.breathe()
    return b"OK LSUB completed"


async def create(session: ImapSession, request: r.Create) -> bytes:
    """CREATE; a separator at the end only says that there will be mailboxes below."""
    use = None
    if request.use:
        use = _USES.get(request.use[0].lower())
        if use is None or len(request.use) > 1:
            raise No("USEATTR", "No mailbox can be made for that use")
    name = request.mailbox
    if name.endswith(SEPARATOR):
        name = name[:-1]
    await _account(session).create(name, use)
    return b"OK CREATE completed"


async def delete(session: ImapSession, request: r.Named) -> bytes:
    """DELETE; the subscription goes too, or clients show a ghost."""
    account = _account(session)
    state = await account.status(request.mailbox)
    await account.delete(request.mailbox)
    if session.selection is not None and session.selection.mailbox.mailbox_id == state.mailbox_id:
        session.deselect()
    await account.subscribe(request.mailbox, False)
    return b"OK DELETE completed"


async def rename(session: ImapSession, request: r.Rename) -> bytes:
    """RENAME."""
    await _account(session).rename(request.mailbox, request.new_name)
    return b"OK RENAME completed"


async def subscribe(session: ImapSession, request: r.Named) -> bytes:
    """SUBSCRIBE and UNSUBSCRIBE."""
    await _account(session).subscribe(request.mailbox, request.name == "SUBSCRIBE")
    return b"OK %b completed" % request.name.encode("ascii")


async def status(session: ImapSession, request: r.Status) -> bytes:
    """STATUS: counters from the mailbox's row, nothing is opened."""
    state = await _account(session).status(request.mailbox)
    if "HIGHESTMODSEQ" in request.items:
        condstore.enabling(session)
    session.put(p.status_line(request.mailbox, counters(state, request.items), session.engine.utf8))
    return b"OK STATUS completed"


def counters(state: MailboxState, items: Sequence[str]) -> list[tuple[str, int]]:
    """STATUS items with their values, in the order asked."""
    return [(item, getattr(state, _COUNTERS[item])) for item in items]
