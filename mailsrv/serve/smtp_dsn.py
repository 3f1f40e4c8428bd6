"""To whom DSN is offered, and how many reports outsiders can have made (floor 5; RFC 3461, RFC 5321 section 6.2).

A sender who is not known may be forged, and a report, of success or of who has no room, is mail that a stranger has
others sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.logger import Logger

from ..access.networks import client_key
from ..access.rates import Bucket
from ..access.relay import RelayRight
from ..errors import MailError, TryLater
from ..transfer.success import unsuccessful, wants
from ..values import Address, Identity, Peer, Recipient, Transaction
from .smtp_verdicts import Share, arrivals_of, full_of, onward_of

if TYPE_CHECKING:
    from .session import SmtpServices
    from .smtp import SmtpSession

log = Logger()

#: Messages of one outside address (the /64 of IPv6) whose success is told, and as many of which is told who had no
#: room, in so many seconds; addresses remembered.
MESSAGES, INTERVAL, ADDRESSES = 20, 3600.0, 100_000

Onward = Sequence[tuple[str, Address, Recipient]]
Arrivals = Sequence[tuple[str, Recipient]]


def budget() -> Bucket:
    """What all servers of a site share."""
    return Bucket(MESSAGES, INTERVAL, ADDRESSES)


@frozen
class Dsn:
    """DSN at one server.  `who`: on, authenticated (those whose mail is ours, the relay list too), off; `spent` counts
    outsiders' messages of which is told, by their address."""

    who: str
    right: RelayRight
    spent: Bucket

    async def offered(self, identity: Identity | None, peer: Peer) -> bool:
        """Whether EHLO tells of it: no names are looked up for that."""
        if self.who != "authenticated":
            return self.who == "on"
        known = identity is not None and not identity.anonymous
        return known or await self.right.at_once(identity, peer) is True

    def tells(self, about: Transaction, now: float) -> int | None:
        """How many reports of success of this message are made; None: all that are asked for."""
        if self.who == "off" or (self.who == "authenticated" and about.origin != "local"):
            return 0
        if about.origin == "local" or about.reverse_path is None:
            return None
        if self.spent.take(_subject(about), now):
            return 1
        log.info("success of a message from {host} is not told to {sender}: {most} in {minutes} minutes are",
                 host=about.peer.host, sender=str(about.reverse_path), most=MESSAGES,
                 minutes=int(INTERVAL // 60))  # fmt: skip
        return 0

    def fails(self, about: Transaction, now: float) -> None:
        """Somebody whom this message is for has no room, and its sender is to hear of it.  Raises TryLater when an
        outsider has had that too often: what nobody would be told of is not taken, and may come again."""
        if about.origin == "local" or about.reverse_path is None:
            return
        if not self.spent.take(f"full {_subject(about)}", now):
            raise TryLater("A mailbox is full, and too much of this mail was to be reported already", "4.2.2")


async def is_offered(session: SmtpSession) -> bool:
    """Whether this client is told of DSN now."""
    dsn = session.smtp.dsn
    try:
        return dsn is not None and await dsn.offered(session.identity, session.connection.peer)
    except MailError:
        return False


def _subject(about: Transaction) -> str:
    return client_key(about.peer.host) or about.peer.host


def promised(services: SmtpServices, about: Transaction, shares: Sequence[Share]) -> dict[str, Any]:
    """What goes on, and what is told of (for `Intake.accept`), as far as this client's mail is told of.

    Raises TryLater for what can be told neither now nor later."""
    onward: Onward = onward_of(shares)
    arrivals: Arrivals = arrivals_of(shares)
    if services.dsn is not None and (arrivals or any(_asks(one) for _, _, one in onward)):
        most = services.dsn.tells(about, services.now())
        if most is not None:
            onward, arrivals = _first(most, onward, arrivals)
    full = full_of(shares)
    if full and services.dsn is not None:
        services.dsn.fails(about, services.now())
    moved = any(share.redirected or share.full for share in shares)
    return {"onward": onward, "arrivals": arrivals, "full": full, "moved": moved}


def _asks(recipient: Recipient) -> bool:
    return bool(recipient.parameters) and wants(recipient, "SUCCESS")


def _first(most: int, onward: Onward, arrivals: Arrivals) -> tuple[Onward, Arrivals]:
    """What makes one report of success, or none: of what is here, by one row, or of one address elsewhere."""
    kept = [one for one in arrivals if most and one[0] == arrivals[0][0]]
    left = 0 if kept else most
    found = []
    for destination, address, asked in onward:
        if _asks(asked):
            asked, left = (asked, left - 1) if left > 0 else (unsuccessful(asked), left)
        found.append((destination, address, asked))
    return found, kept
