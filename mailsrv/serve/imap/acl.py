"""ACL (floor 3; RFC 4314): who may do what with a mailbox; MYRIGHTS also in the answer of LIST (RFC 8440).

Identifiers on the wire are addresses of accounts and "anyone", each also behind "-".  The owner has all rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from ...interfaces import IGrants
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import rights
from .answer import Bad, No

if TYPE_CHECKING:
    from .session import ImapSession
    from .spaces import Mailboxes


def kept(session: ImapSession) -> bool:
    """Whether the store keeps rights."""
    return bool(IGrants.providedBy(session.services.store))


@frozen
class _Target:
    """The mailbox of a command: its id and its owner's."""

    mailbox_id: int
    owner: int
    rights: str


def _mailboxes(session: ImapSession) -> Mailboxes:
    """Raises No where rights are not kept."""
    assert session.account is not None
    if session.account.grants is None:
        raise No("CANNOT", "Rights are not kept here")
    return session.account


async def _target(session: ImapSession, name: str, needed: str) -> _Target:
    """Raises NoSuchMailbox, AccessDenied."""
    place = await _mailboxes(session).place(name, needed)
    state = await place.account.status(place.name)
    return _Target(state.mailbox_id, place.account.account_id, place.rights)


async def _account(session: ImapSession, who: str) -> int:
    """The account that an identifier without "-" means.  Raises No."""
    address = who
    if "@" not in who and session.services.login_domain:
        address = f"{who}@{session.services.login_domain}"
    stored = await session.services.store.directory.credentials(address)
    if stored is None:
        raise No("CANNOT", "No such user")
    account_id: int = stored.account_id
    return account_id


async def _key(session: ImapSession, who: str) -> str:
    """An identifier as it is kept.  Raises No."""
    sign, name = ("-", who[1:]) if who.startswith("-") else ("", who)
    if name.lower() == rights.ANYONE:
        return sign + rights.ANYONE
    return f"{sign}#{await _account(session, name)}"


async def _shown(session: ImapSession, key: str) -> str | None:
    """A kept identifier for the client; None when there is no such account any more."""
    sign, name = ("-", key[1:]) if key.startswith("-") else ("", key)
    if not name.startswith("#"):
        return key
    facts = await session.services.store.directory.account(int(name[1:]))
    return None if facts is None else f"{sign}{facts.address}"


async def get(session: ImapSession, request: r.Named) -> bytes:
    """GETACL, with the right "a"."""
    target = await _target(session, request.mailbox, "a")
    listed = [(await _shown(session, f"#{target.owner}") or "", rights.shown(rights.ALL))]
    for key, given in (await _mailboxes(session).grants.grants(target.mailbox_id)).items():
        name = await _shown(session, key)
        if name is not None:
            listed.append((name, rights.shown(given)))
    session.put(p.acl(request.mailbox, listed, session.engine.form))
    return b"OK GETACL completed"


async def change(session: ImapSession, request: r.SetAcl) -> bytes:
    """SETACL, with the right "a"."""
    wanted = rights.asked(request.rights)
    if wanted is None:
        raise Bad("No such right")
    target = await _target(session, request.mailbox, "a")
    key = await _key(session, request.identifier)
    await _replace(session, target, key, wanted, request.sign)
    return b"OK SETACL completed"


async def _replace(session: ImapSession, target: _Target, key: str, wanted: set[str], sign: str) -> None:
    if key.lstrip("-") == f"#{target.owner}":
        raise No("CANNOT", "The owner has all rights")
    grants: Any = _mailboxes(session).grants
    before = set((await grants.grants(target.mailbox_id)).get(key, ""))
    after = before | wanted if sign == "+" else before - wanted if sign == "-" else wanted
    if after != before:
        await grants.grant(target.mailbox_id, key, rights.ordered(after))


async def delete(session: ImapSession, request: r.Acl) -> bytes:
    """DELETEACL, with the right "a"."""
    target = await _target(session, request.mailbox, "a")
    await _replace(session, target, await _key(session, request.identifier), set(), "")
    return b"OK DELETEACL completed"


async def possible(session: ImapSession, request: r.Acl) -> bytes:
    """LISTRIGHTS, with the right "a": an owner always has all, others each as it is granted."""
    target = await _target(session, request.mailbox, "a")
    key = await _key(session, request.identifier)
    always, each = "", [*rights.ALL, *rights.VIRTUAL]
    if key == f"#{target.owner}":
        always, each = rights.shown(rights.ALL), []
    session.put(p.list_rights(request.mailbox, request.identifier, [always, *each], session.engine.form))
    return b"OK LISTRIGHTS completed"


async def mine(session: ImapSession, request: r.Named) -> bytes:
    """MYRIGHTS, with any right at all."""
    _mailboxes(session)
    await tell(session, request.mailbox)
    return b"OK MYRIGHTS completed"


async def tell(session: ImapSession, name: str) -> None:
    """One ``* MYRIGHTS``.  Raises NoSuchMailbox."""
    target = await _target(session, name, "")
    session.put(p.my_rights(name, rights.shown(target.rights), session.engine.form))
