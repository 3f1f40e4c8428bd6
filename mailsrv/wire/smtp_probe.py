"""Asking a server whether it takes a recipient (floor 2): a transaction that ends before there is a message."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..values import Address, Recipient, Reply
from .smtp_client import SmtpClient, Wish
from .smtp_features import needs_utf8, print_mail, print_rcpt
from .smtp_replies_reader import status_of

#: Refusals that are about the mailbox: unknown, not local, not a possible name (RFC 5321 section 4.2.3).
_NO_MAILBOX = frozenset({550, 551, 553})


def probe(client: SmtpClient, address: Address) -> Generator[Wish, Any, bool | None]:
    """Whether the server takes mail for that address, with the null reverse path; None: it does not say.

    Only what is about the mailbox is a no (RFC 3463: 5.1.x, 5.2.1): a server that refuses us says nothing about its
    users.  The connection is good for nothing more.  Raises PeerLost, Refused (5.1.3, an address that cannot be
    written).
    """
    utf8 = needs_utf8(address)
    if utf8 and "SMTPUTF8" not in client.features:
        return None
    rcpt = print_rcpt(Recipient(address), client.features, utf8)
    client.dirty = True
    reply = yield from client.hear(print_mail("<>", ["SMTPUTF8"] if utf8 else []))
    if reply.code != 250:
        return None
    reply = yield from client.hear(rcpt)
    client.over = reply.code // 100 not in (2, 4, 5)
    return True if reply.code in (250, 251) else False if _is_no(reply) else None


def _is_no(reply: Reply) -> bool:
    status = status_of(reply)
    if reply.code // 100 != 5:
        return False
    if status == "5.0.0":
        return reply.code in _NO_MAILBOX
    return status.startswith("5.1.") or status == "5.2.1"
