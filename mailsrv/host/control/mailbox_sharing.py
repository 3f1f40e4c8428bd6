"""Rights on mailboxes and annotations of them (floor 6): what IMAP4's ACL and METADATA do, for administrators."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...errors import NoSuchRecipient, Refused
from ...interfaces import IGrants, IMetadata
from ...serve.imap import rights as letters
from ...store import sharing_rules as rules
from .common import account_of, shown
from .table import operation


def _grants(site: Any) -> Any:
    """Who keeps rights.  Raises Refused."""
    if not IGrants.providedBy(site.store):
        raise Refused("the store of this site keeps no rights on mailboxes")
    return site.store


def _metadata(site: Any) -> Any:
    """Who keeps annotations.  Raises Refused."""
    if not IMetadata.providedBy(site.store):
        raise Refused("the store of this site keeps no annotations")
    return site.store


async def _mailbox(site: Any, address: str, name: str) -> tuple[int, int]:
    """(account, mailbox).  Raises NoSuchRecipient, NoSuchMailbox."""
    account_id: int = (await account_of(site, address)).account_id
    state = await (await site.store.account(account_id)).status(name)
    return account_id, state.mailbox_id


async def _key(site: Any, user: str) -> str:
    """A user as the store keeps it.  Raises Refused, NoSuchRecipient."""
    sign, name = ("-", user[1:]) if user.startswith("-") else ("", user)
    if name.lower() == letters.ANYONE:
        return sign + letters.ANYONE
    return f"{sign}#{(await account_of(site, name)).account_id}"


async def _named(site: Any, key: str) -> str:
    """The user of a key; of an account that is gone the key itself."""
    sign, name = ("-", key[1:]) if key.startswith("-") else ("", key)
    facts = await site.directory.account(int(name[1:])) if name.startswith("#") else None
    return key if facts is None else f"{sign}{shown(facts.address)}"


@operation("mailbox.rights")
async def rights(site: Any, address: str, name: str) -> dict[str, Any]:
    """Who may do what with a mailbox, besides its owner, who may do all."""
    _, mailbox = await _mailbox(site, address, name)
    found = await _grants(site).grants(mailbox)
    return {"rights": [{"user": await _named(site, key), "rights": given} for key, given in found.items()]}


@operation("mailbox.grant")
async def grant(site: Any, address: str, name: str, user: str, rights: str) -> dict[str, Any]:
    """Say what a user may do with a mailbox: these letters, with "+" or "-" before them more or less than now, none to
    forget the user.  Users are addresses and "anyone"; "-" before one takes away what others give."""
    sign, given = (rights[0], rights[1:]) if rights[:1] in ("+", "-") else ("", rights)
    wanted = letters.asked(given)
    if wanted is None:
        raise Refused(f"rights are letters of {letters.ALL}")
    owner, mailbox = await _mailbox(site, address, name)
    key = await _key(site, user)
    if key.lstrip("-") == f"#{owner}":
        raise Refused("the owner of a mailbox has all rights")
    before = set((await _grants(site).grants(mailbox)).get(key, ""))
    after = before | wanted if sign == "+" else before - wanted if sign == "-" else wanted
    await _grants(site).grant(mailbox, key, letters.ordered(after))
    return {"user": await _named(site, key), "rights": letters.ordered(after)}


@operation("mailbox.revoke")
async def revoke(site: Any, address: str, name: str, user: str) -> dict[str, Any]:
    """Forget what a user may do with a mailbox; also of an account that is gone, by the name that the list has."""
    _, mailbox = await _mailbox(site, address, name)
    known = await _grants(site).grants(mailbox)
    key = user if user in known else await _key(site, user)
    if key not in known:
        raise Refused(f"{user} has no rights of its own there")
    await _grants(site).grant(mailbox, key, "")
    return {"user": user}


async def _annotated(site: Any, address: str, name: str) -> tuple[int, int]:
    """(account, mailbox) of a mailbox, or of the server where no account is named.  Raises Refused, NoSuchMailbox."""
    if not address and not name:
        return 0, rules.SERVER
    if not address:
        raise NoSuchRecipient("whose mailbox is it? name the account, or no mailbox, for the server")
    return await _mailbox(site, address, name)


@operation("mailbox.annotations")
async def annotations(site: Any, address: str = "", name: str = "") -> dict[str, Any]:
    """What is annotated to a mailbox for all, and for its owner alone; without account and mailbox: to the server."""
    account, mailbox = await _annotated(site, address, name)
    found = await _metadata(site).annotations(mailbox, account)
    return {"annotations": [{"entry": entry, **_shown(value)} for entry, value in sorted(found.items())]}


def _shown(value: bytes) -> dict[str, str]:
    """Text as it is, other octets in base64."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    return {"value": text} if "\0" not in text else {"base64": b64encode(value).decode("ascii")}


@operation("mailbox.annotate")
async def annotate(site: Any, address: str, name: str, entry: str, value: str) -> dict[str, Any]:
    """Set an annotation, "/shared/..." for all or "/private/..." for the owner; of the server ("" for account and
    mailbox) for all."""
    account, mailbox = await _annotated(site, address, name)
    try:
        octets = value.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("the value is no text") from None
    await _metadata(site).annotate(mailbox, account, {entry.lower(): octets})
    return {"entry": entry.lower()}


@operation("mailbox.unannotate")
async def unannotate(site: Any, address: str, name: str, entry: str) -> dict[str, Any]:
    """Remove an annotation."""
    account, mailbox = await _annotated(site, address, name)
    if entry.lower() not in await _metadata(site).annotations(mailbox, account):
        raise Refused(f"there is no {entry.lower()}")
    await _metadata(site).annotate(mailbox, account, {entry.lower(): None})
    return {"entry": entry.lower()}
