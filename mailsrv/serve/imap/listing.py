"""LIST and LSUB (floor 3): RFC 3501 sections 6.3.8 and 6.3.9, RFC 3348, RFC 5258, RFC 5819, RFC 6154."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ...errors import AccessDenied, MailError, NoSuchMailbox
from ...values import MailboxInfo
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import acl, metadata, status
from .modes import REV2
from .patterns import SEPARATOR, Pattern
from .spaces import PUBLIC

if TYPE_CHECKING:
    from .session import ImapSession

#: Names looked at between two turns of others.
BLOCK = 200
#: Selection options that choose names, in the order in which CHILDINFO tells them (RFC 5258 section 3.5).
_CHOOSING = ("SUBSCRIBED", "SPECIAL-USE")


def above(name: str) -> Iterator[str]:
    """The names of all levels above, the nearest first."""
    end = name.rfind(SEPARATOR)
    while end > 0:
        yield name[:end]
        end = name.rfind(SEPARATOR, 0, end)


def _all_above(names: set[str]) -> set[str]:
    out: set[str] = set()
    for name in names:
        for level in above(name):
            if level in out:
                break
            out.add(level)
    return out


@frozen
class Line:
    """One name of the answer; `children`: the selection options that names below it satisfy (CHILDINFO)."""

    name: str
    exists: bool
    attributes: list[bytes]
    children: tuple[str, ...] = ()


def _attributes(
    info: MailboxInfo | None, exists: bool, below: bool, subscribed: bool = True, plain: bool = False
) -> list[bytes]:  # fmt: skip
    """Of one name: what is known of it, whether it `exists`, whether mailboxes are `below`; `subscribed`: that is to
    be told; `plain`: as in `Listing`."""
    out = []
    if not exists:
        out.append(b"\\Noselect" if plain else b"\\NonExistent")
    out.append(b"\\HasChildren" if below else b"\\HasNoChildren")
    if info is not None:
        if info.special_use is not None:
            out.append(info.special_use)
        if info.subscribed and subscribed:
            out.append(b"\\Subscribed")
    return out


class Listing:
    """The mailboxes that somebody may see, as LIST looks at them.

    `plain`: the client used no form of RFC 5258, and knows ``\\Noselect`` only, not ``\\NonExistent``.
    """

    __slots__ = ("_infos", "_parents", "_plain", "_there")

    def __init__(self, infos: Sequence[MailboxInfo], plain: bool = False) -> None:
        self._infos = {info.name: info for info in infos}
        self._there = {info.name for info in infos if info.exists}
        self._parents = _all_above(self._there)
        self._plain = plain

    def lines(self, patterns: Sequence[Pattern], select: frozenset[str], subscribed: bool) -> Iterator[Line | None]:
        """The answer in order of names; None where nothing is to be said but others may have their turn.
        `subscribed`: the attribute is wanted."""
        chosen = self._chosen(select)
        inner = _all_above(chosen) if "RECURSIVEMATCH" in select else set()
        candidates = chosen | inner if select & set(_CHOOSING) else chosen | self._parents
        matching = set()
        for number, name in enumerate(candidates):
            if any([pattern.matches(name) for pattern in patterns]):
                matching.add(name)
            if not number % BLOCK:
                yield None
        # RFC 5258 section 3.1: a name that does not exist is told for the sake of those below it, unless all of these
        # are told themselves.
        needed = _all_above(chosen - matching) if inner else set()
        yield None
        for name in sorted(matching):
            exists = name in self._there
            if inner and not exists and name not in chosen and name not in needed:
                yield None
                continue
            children = tuple(word for word in _CHOOSING if word in select) if name in inner else ()
            yield Line(name, exists, self._attributes(name, exists, subscribed), children)

    def _chosen(self, select: frozenset[str]) -> set[str]:
        """What the selection options ask for, whatever the patterns."""
        infos = self._infos
        chosen = set(self._there)
        if "SUBSCRIBED" in select:
            chosen = {name for name, info in infos.items() if info.subscribed}
        if "SPECIAL-USE" in select:
            chosen = {name for name in chosen if infos[name].special_use is not None}
        return chosen

    def _attributes(self, name: str, exists: bool, subscribed: bool) -> list[bytes]:
        return _attributes(self._infos.get(name), exists, name in self._parents, subscribed, self._plain)


async def list_mailboxes(session: ImapSession, request: r.List) -> bytes:
    """LIST.  REMOTE asks for nothing: there are no mailboxes elsewhere."""
    if request.patterns == ("",) and not request.extended:
        session.put(p.list_root(form=session.engine.form))
        return b"OK LIST completed"
    assert session.account is not None
    plain = not request.extended and REV2 not in session.enabled
    patterns = [Pattern(request.reference + pattern) for pattern in request.patterns if pattern]
    # S-146: a pattern that names the public folders has them, in whatever way the server is set.
    public = session.services.public_folders or any(pattern.begins(PUBLIC) for pattern in patterns)
    infos = await session.account.mailboxes(public)
    if not public and "SUBSCRIBED" not in request.select:
        infos = [info for info in infos if not info.name.startswith(PUBLIC + SEPARATOR)]
    await session.connection.breathe()
    listing = Listing(infos, plain)
    await session.connection.breathe()
    # RFC 5258 section 3.4: selecting by subscription gives the attribute as well.
    subscribed = "SUBSCRIBED" in request.returns | request.select
    if request.metadata:
        metadata.of_store(session)
    if request.status:
        status.enabling(session, request.status)
    for count, line in enumerate(listing.lines(patterns, request.select, subscribed)):
        if line is not None:
            session.put(p.list_line(line.name, line.attributes, form=session.engine.form, children=line.children))
            if line.exists and "STATUS" in request.returns:
                await _status(session, line.name, request.status)
            if line.exists and "MYRIGHTS" in request.returns:
                await _rights(session, line.name)
            if line.exists and "METADATA" in request.returns:
                await _metadata(session, line.name, request.metadata)
        if line is None or not count % BLOCK:
            await session.pace()
            await session.connection.breathe()
    return b"OK LIST completed"


async def _status(session: ImapSession, name: str, items: Sequence[str]) -> None:
    """STATUS of one listed name (RFC 5819); nothing of one that was deleted meanwhile, or may not
    be read (RFC 4314 section 4)."""
    try:
        await status.tell(session, name, items)
    except (NoSuchMailbox, AccessDenied):
        return


async def _rights(session: ImapSession, name: str) -> None:
    """MYRIGHTS of one listed name (RFC 8440)."""
    try:
        await acl.tell(session, name)
    except NoSuchMailbox:
        return


async def _metadata(session: ImapSession, name: str, entries: Sequence[str]) -> None:
    """METADATA of one listed name (RFC 9590)."""
    try:
        await metadata.tell(session, name, entries)
    except MailError:
        return


async def tell_one(session: ImapSession, name: str, spelled: str = "") -> None:
    """``* LIST`` to those who enabled IMAP4rev2: of what was selected (RFC 9051 section 6.3.2), or made or renamed
    under a name that was `spelled` another way (section 6.3.9.7).  A failure costs the attributes only."""
    assert session.account is not None
    attributes: list[bytes] = []
    try:
        info, below = await session.account.about(name)
        if info is not None:
            attributes = _attributes(info, info.exists, below)
    except MailError:
        pass
    session.put(p.list_line(name, attributes, form=session.engine.form, former=spelled))


async def tell_spelled(session: ImapSession, request: r.Request, name: str) -> None:
    """The same where the client spelled the mailbox another way."""
    if request.spelled and REV2 in session.enabled:
        await tell_one(session, name, request.spelled)


async def list_subscribed(session: ImapSession, request: r.List) -> bytes:
    """LSUB: what is subscribed, whether or not it exists; a level above, matched by "%", is \\Noselect."""
    if request.patterns == ("",):
        session.put(p.list_root(b"LSUB", session.engine.form))
        return b"OK LSUB completed"
    assert session.account is not None
    subscribed = {info.name for info in await session.account.mailboxes() if info.subscribed}
    pattern = Pattern(request.reference + request.patterns[0])
    names = subscribed | _all_above(subscribed) if pattern.wildcard_end else subscribed
    for count, name in enumerate(sorted(names)):
        if pattern.matches(name):
            attributes = () if name in subscribed else (b"\\Noselect",)
            session.put(p.list_line(name, attributes, b"LSUB", form=session.engine.form))
        if not count % BLOCK:
            await session.pace()
            await session.connection.breathe()
    return b"OK LSUB completed"
