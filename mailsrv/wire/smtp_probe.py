"""Asking a server whether it takes a recipient (floor 2): a transaction that ends before there is a message."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import frozen

from ..values import Address, Recipient, Reply
from .smtp_client import SmtpClient, Wish
from .smtp_features import needs_utf8, print_mail, print_rcpt
from .smtp_replies_reader import status_of, words

#: Refusals that are about the mailbox: unknown, not local, not a possible name (RFC 5321 section 4.2.3).
_NO_MAILBOX = frozenset({550, 551, 553})


@frozen
class Probed:
    """Whether the server takes mail for an address; None: it does not say.

    `sure`: a no by a status, not by the code alone, which may be meant for us as well.  `anybody`: what it said would
    be said of any address.  `reply`: its words, for the log.
    """

    answer: bool | None
    sure: bool = True
    anybody: bool = False
    reply: str = ""


def probe(client: SmtpClient, address: Address) -> Generator[Wish, Any, Probed]:
    """Asks with the null reverse path.

    Only what is about the mailbox is a no (RFC 3463: 5.1.x, 5.2.1): a server that refuses us says nothing about its
    users.  The connection is good for nothing more.  Raises PeerLost, Refused (5.1.3, an address that cannot be
    written).
    """
    utf8 = needs_utf8(address)
    if utf8 and "SMTPUTF8" not in client.features:
        return Probed(None, reply="no SMTPUTF8")
    rcpt = print_rcpt(Recipient(address), client.features, utf8)
    client.dirty = True
    reply = yield from client.hear(print_mail("<>", ["SMTPUTF8"] if utf8 else []))
    if reply.code != 250:
        return Probed(None, anybody=True, reply=words(reply))
    reply = yield from client.hear(rcpt)
    client.over = reply.code // 100 not in (2, 4, 5)
    if reply.code in (250, 251):
        return Probed(True)
    return Probed(False if _is_no(reply) else None, status_of(reply) != "5.0.0", reply=words(reply))


def _is_no(reply: Reply) -> bool:
    status = status_of(reply)
    if reply.code // 100 != 5:
        return False
    if status == "5.0.0":
        return reply.code in _NO_MAILBOX
    return status.startswith("5.1.") or status == "5.2.1"
