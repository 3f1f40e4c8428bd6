"""Values of the queue (floor 0): mail that waits to go on to other servers.  `values` re-exports them.

One row of a queue is one message for one destination (the domain of its recipients, or the name of a route): its
recipients are tried together, each is settled by itself.  A route is decided at each attempt and never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from .values import Address, Recipient


@frozen
class NewQueued:
    """A row to be made with a delivery.  `recipients` are of one destination."""

    destination: str
    recipients: tuple[Recipient, ...]
    held: bool = False


@frozen
class Queued:
    """A row as it is.  Instants are UTC epoch seconds; sizes octets.

    `id` is the row's, never reused; `delivery` the message's id; `server` the SMTP virtual server that accepted it;
    `origin` as in Transaction; `attempts` made so far, `due` the next; `noticed`: the delay notification was sent;
    `reply` is the last thing that was said about it; `token` names the lease it is held by, "" for none.
    """

    id: int
    delivery: str
    destination: str
    reverse_path: Address | None
    recipients: tuple[Recipient, ...]
    server: str = ""
    origin: str = "outside"
    parameters: Mapping[str, str] = field(factory=dict)
    size: int = 0
    received_at: float = 0.0
    attempts: int = 0
    due: float = 0.0
    held: bool = False
    noticed: bool = False
    reply: str = ""
    token: str = ""


@frozen
class Wanted:
    """Which rows of a queue an administrator means; what is "" or None says nothing.

    `sender` and `recipient` are addresses in lower case, or "@example.org" for all of a domain; the sender "<>" is the
    null path.  `destination` is where a row goes; `before` an instant (UTC epoch seconds) it was accepted at or before;
    `state` is waiting, held or trying; `reply` is a part of what was last said, in lower case.
    """

    server: str = ""
    sender: str = ""
    recipient: str = ""
    destination: str = ""
    before: float | None = None
    state: str = ""
    reply: str = ""

    def fits(self, row: Queued) -> bool:
        """Is it one of them?"""
        if (self.server and row.server != self.server) or self.destination not in ("", row.destination):
            return False
        if self.before is not None and row.received_at > self.before:
            return False
        if self.state and state_of(row) != self.state:
            return False
        if self.reply and self.reply not in row.reply.lower():
            return False
        if self.sender and not _is(row.reverse_path, self.sender):
            return False
        return not self.recipient or any(_is(one.address, self.recipient) for one in row.recipients)


def _is(address: Address | None, wanted: str) -> bool:
    """As `Wanted` has them."""
    if address is None:
        return wanted == "<>"
    # Looked at first, as it decides nearly always.
    if not wanted.endswith(address.domain):
        return False
    return str(address).lower() == wanted or wanted == f"@{address.domain}"


def state_of(row: Queued) -> str:
    """waiting, held, or trying: an attempt is under way."""
    return "trying" if row.token else "held" if row.held else "waiting"


@frozen
class Due:
    """Rows of one destination that are due: how many, and since when the oldest."""

    destination: str
    count: int
    oldest: float


@frozen
class Outcome:
    """What became of one recipient in one attempt.  `action` is delivered, relayed (delivered to a server that does
    not report, RFC 3461 section 4.1), failed, or delayed; `status` an RFC 3463 status, `reply` the peer's words,
    `host` who said them (RFC 3464)."""

    recipient: Recipient
    action: str
    status: str = ""
    reply: str = ""
    host: str = ""


@frozen
class Hop:
    """One server to try: `host` for certificates and reports, `addresses` to connect to in order.

    `tls` is off, opportunistic, require or verify; `protocol` smtp or lmtp; `named`: the configuration names it, so
    that what it wants of us is for an administrator to mend.
    """

    host: str
    addresses: tuple[str, ...]
    port: int = 25
    tls: str = "opportunistic"
    protocol: str = "smtp"
    named: bool = False
