"""METADATA (floor 3; RFC 5464): annotations of mailboxes and of the server, private and shared; RFC 9590 in LIST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import LimitReached, TooBig
from ...interfaces import IMetadata
from ...store import sharing_rules as rules
from ...wire import imap_print as p
from ...wire import imap_requests as r
from .answer import No

if TYPE_CHECKING:
    from .session import ImapSession

#: RFC 6154 section 5.4: the attribute of the mailbox as an annotation; it is set by CREATE alone.
_USE = "/private/specialuse"
#: RFC 5464 section 6.2.1: where to write to the administrators.
_ADMIN = "/shared/admin"


def kept(session: ImapSession) -> bool:
    """Whether the store keeps annotations."""
    return bool(IMetadata.providedBy(session.services.store))


def of_store(session: ImapSession) -> IMetadata:
    """Who keeps them.  Raises No."""
    if not kept(session):
        raise No("CANNOT", "Annotations are not kept here")
    return session.services.store  # type: ignore[return-value]


async def get(session: ImapSession, request: r.GetMetadata) -> bytes:
    """GETMETADATA."""
    known = await _known(session, request.mailbox, request.depth != 0 or _USE in request.entries)
    found = list(_select(known, request.entries, request.depth))
    largest = max((len(value) for _, value in found if value), default=0)
    short = request.maxsize is not None and largest > request.maxsize
    if short:
        found = [(entry, value) for entry, value in found if not value or len(value) <= (request.maxsize or 0)]
    if found:
        session.put(p.metadata(request.mailbox, found, session.engine.form))
    if short:
        return b"OK [METADATA LONGENTRIES %d] Some of them are longer" % largest
    return b"OK GETMETADATA completed"


def _select(
    known: Mapping[str, bytes], entries: Sequence[str], depth: int | None
) -> Iterator[tuple[str, bytes | None]]:
    """What was asked for; None for an entry that has no value, where nothing below it was asked for."""
    if depth == 0:
        yield from ((entry, known.get(entry)) for entry in entries)
        return
    for name in sorted(known):
        for entry in entries:
            below = name[len(entry) + 1 :]
            if name == entry or (name.startswith(entry + "/") and (depth is None or "/" not in below)):
                yield name, known[name]
                break


async def _known(session: ImapSession, mailbox: str, use: bool) -> dict[str, bytes]:
    """All that the session sees, of a mailbox or (``""``) of the server; `use`: the special use too.  Raises
    NoSuchMailbox."""
    store, account = of_store(session), session.account
    assert account is not None
    if not mailbox:
        known = dict(await store.annotations(rules.SERVER, account.account_id))
        if session.services.login_domain:
            known.setdefault(_ADMIN, b"mailto:postmaster@" + session.services.login_domain.encode("ascii"))
        return known
    state = await account.status(mailbox)
    own = not account.foreign(mailbox)
    known = dict(await store.annotations(state.mailbox_id, account.account_id))
    for info in await account.mailboxes() if use and own else ():
        if info.mailbox_id == state.mailbox_id and info.special_use is not None:
            known[_USE] = info.special_use
    return known


async def tell(session: ImapSession, mailbox: str, entries: Sequence[str]) -> None:
    """One ``* METADATA`` in the answer of LIST (RFC 9590 section 3).  Raises NoSuchMailbox."""
    known = await _known(session, mailbox, _USE in entries)
    session.put(p.metadata(mailbox, _select(known, entries, 0), session.engine.form))


async def change(session: ImapSession, request: r.SetMetadata) -> bytes:
    """SETMETADATA: all or none."""
    store, account = of_store(session), session.account
    assert account is not None
    number = rules.SERVER
    if request.mailbox:
        # RFC 5464 section 1: what everybody sees takes the right "w".
        public = any(entry.startswith(rules.SHARED) for entry in request.values)
        number = await account.identify(request.mailbox, "rw" if public else "r")
    elif any(entry.startswith(rules.SHARED) for entry in request.values):
        raise No("NOPERM", "Annotations of the server for all are set by the administrators")
    if _USE in request.values:
        raise No("CANNOT", "The use of a mailbox is set when it is made")
    try:
        await store.annotate(number, account.account_id, request.values)
    except TooBig as error:
        raise No(f"METADATA MAXSIZE {rules.MAX_VALUE_OCTETS}", error.text) from error
    except LimitReached as error:
        raise No("METADATA TOOMANY", error.text) from error
    return b"OK SETMETADATA completed"
