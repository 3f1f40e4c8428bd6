"""Whoever sends mail after a login sends it in a name of its own (floor 4; RFC 6409 section 6.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from zope.interface import implementer

from ..interfaces import IAuthorizer, IContent, IMessagePolicy
from ..message.addresses import parse_addresses
from ..message.header import header_end, values
from ..message.rewrite import read_head
from ..values import ACCEPT, Address, Transaction, Verdict
from ..wire.smtp_syntax import read_domain
from .policy import Policy

#: Addresses of From and Sender that are asked about.
MAX_ADDRESSES = 50
_NO_FROM = Verdict("reject", "The message has no From field with an address (RFC 5322)", "5.6.0", rule="no From")


@frozen
class Options:
    """The part `own_sender` has no options: roles with `send.as` say who may use whose addresses."""


@implementer(IMessagePolicy)
class OwnSender(Policy):
    """The reverse path, From and Sender must be addresses of the login, or such as `send.as` allows.

    The null path is anybody's.  Mail without a login is not looked at.
    """

    def __init__(self, authorizer: IAuthorizer) -> None:
        self._authorizer = authorizer

    def for_connection(self) -> OwnSender:
        """Nothing is remembered of a connection."""
        return self

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """MAIL FROM."""
        path = transaction.reverse_path
        if path is None or transaction.identity is None or transaction.identity.anonymous:
            return ACCEPT
        return await self._may(transaction, path, "reverse path")

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict:
        """From and Sender."""
        if transaction.identity is None or transaction.identity.anonymous:
            return ACCEPT
        head = await read_head(content)
        head = head[: header_end(head)]
        authors = list(_addresses(head, b"from"))
        if not authors or len(authors) > MAX_ADDRESSES or None in authors:
            return _NO_FROM
        own: set[Address] = {transaction.reverse_path} if transaction.reverse_path is not None else set()
        for rule, addresses in (("From", authors), ("Sender", list(_addresses(head, b"sender"))[:MAX_ADDRESSES])):
            for address in addresses:
                # The reverse path was asked about at MAIL.
                if address is None or address not in own:
                    verdict = await self._may(transaction, address or Address("", ""), rule)
                    if verdict.action != "accept":
                        return verdict
                    own.update([address] if address is not None else ())
        return ACCEPT

    async def _may(self, transaction: Transaction, address: Address, rule: str) -> Verdict:
        """Ask the authorizer."""
        verdict = await self._authorizer.permits(transaction.identity, "send.as", str(address))
        if verdict.action == "accept":
            return ACCEPT
        return Verdict("reject", f"{_shown(address)} is not your address", "5.7.1", rule=rule)


def _shown(address: Address) -> str:
    """For the reply: what is not ASCII is not shown."""
    text = str(address)
    return text if text.isascii() and text.isprintable() and len(text) <= 100 else "That"


def _addresses(head: bytes, name: bytes) -> Iterator[Address | None]:
    """The addresses of all fields of that name; None for one that is none."""
    for value in values(head, name):
        for _, _, mailbox, host in parse_addresses(value):
            if mailbox is None or (host is None and mailbox):
                # A group has a name, and an end.
                continue
            domain = read_domain((host or b"").decode("utf-8", "replace"))
            local = (mailbox or b"").decode("utf-8", "replace")
            yield Address(local, domain) if domain and local else None


def build(options: Options, site: Any) -> OwnSender:
    """The part; `site` has `authorizer`."""
    return OwnSender(site.authorizer)
