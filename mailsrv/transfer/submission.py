"""What is done to mail of those who logged in (floor 4; RFC 6409 section 8), and how much of them the trace shows."""

from __future__ import annotations

from attrs import frozen

from ..interfaces import IContent
from ..message.dates import rfc5322
from ..message.domains import a_labels
from ..message.header import fields, header_end
from ..message.rewrite import read_head
from ..values import Transaction


@frozen
class Submission:
    """How a server treats mail of its users.

    `complete`: a missing Date or Message-ID is added.  `hide_client`: Received does not tell the client's name and
    address; `show_user`: it tells who logged in.
    """

    complete: bool = False
    hide_client: bool = False
    show_user: bool = False


#: Nothing is done, as for mail from outside.
PLAIN = Submission()


def submitted(transaction: Transaction) -> bool:
    """Whether mail is a user's own: somebody has logged in.  What a peer on the relay list passes on is not changed."""
    return transaction.identity is not None and not transaction.identity.anonymous


async def missing_fields(content: IContent, epoch: float, zone: int, delivery_id: str, hostname: str) -> bytes:
    """Date and Message-ID, as far as the message has none (RFC 6409 sections 8.2 and 8.3).

    They are put above it; nothing that is there is changed, so a signature stays valid.
    """
    head = await read_head(content)
    found = {field.name for field in fields(head[: header_end(head)])}
    added = b""
    if b"date" not in found:
        added += b"Date: " + rfc5322(epoch, zone) + b"\r\n"
    if b"message-id" not in found:
        added += f"Message-ID: <{delivery_id}@{_domain(hostname)}>\r\n".encode("ascii")
    return added


def _domain(hostname: str) -> str:
    """The right side of a Message-ID."""
    return a_labels(hostname) or "localhost"
