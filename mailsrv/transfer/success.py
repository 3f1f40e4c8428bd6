"""Reports of what is known when mail is accepted (floor 4): it has arrived, or somebody of a list has no room for it.

Pure.  The 250 promises the report, so it waits in the queue from the same commit on: a row for a destination that can
be no domain, whose only attempt is the report (RFC 3461 sections 4.1 and 5.2.7; docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..message.domains import a_labels
from ..values import Address, Outcome, Owner, Queued, Recipient
from ..wire.smtp_parameters import MAX_ORCPT
from ..wire.smtp_syntax import print_address

#: Octets of a label that the name system can have (RFC 1035 section 2.3.4).
MAX_LABEL = 63
#: Destinations in the queue of mail that is here already, as administrators see them.
DELIVERED, EXPANDED = "(delivered here)", "(expanded here)"
#: The same of those that it was not put into: a full mailbox, one that takes no message of that size.
NO_ROOM, TOO_LARGE = "(no room here)", "(too large here)"
#: What their recipients' action is (RFC 3464 section 2.3.3), with status and words.
ACTIONS = {
    DELIVERED: ("delivered", "", ""),
    EXPANDED: ("expanded", "", ""),
    NO_ROOM: ("failed", "5.2.2", "Mailbox is full"),
    TOO_LARGE: ("failed", "5.2.3", "The message is larger than this mailbox takes"),
}


def wants(recipient: Recipient, event: str) -> bool:
    """Whether the sender is to hear of "SUCCESS", "FAILURE" or "DELAY" of this recipient.

    Without NOTIFY the sender hears of failures and delays (RFC 3461 section 5.2.1 lets us choose).
    """
    words = recipient.parameters.get("NOTIFY", "FAILURE,DELAY").upper().split(",")
    return event in words


def arrival(
    recipient: Recipient,
    owners: Sequence[Owner],
    onward: Sequence[tuple[str, Address]],
    *,
    astray: bool = False,
    full: int = 0,
) -> str:
    """The destination in the queue under which a recipient's sender is told of success, "" for none.

    One mailbox: delivered.  One other address: whoever delivers it tells (section 5.2.7.1).  More than one: expanded,
    and nobody tells more.  `astray`: who was meant has not got it, or not all, so nothing is told.  `full` are so
    many more that had no room, of whom failure is told.
    """
    if astray or not recipient.parameters or not wants(recipient, "SUCCESS"):
        return ""
    if not owners and not onward:
        return ""
    if len(owners) + len(onward) + full > 1:
        return EXPANDED
    return DELIVERED if owners else ""


def passed_on(
    recipient: Recipient,
    owners: Sequence[Owner],
    onward: Sequence[tuple[str, Address]],
    *,
    astray: bool = False,
    full: int = 0,
) -> Recipient:
    """What was asked for a recipient, as it holds for those it is sent on to: all of it for a single one, for members
    of a list without success, of which `arrival` tells all there is to tell."""
    alone = len(owners) + len(onward) + full == 1 and not astray
    if not recipient.parameters or alone or not wants(recipient, "SUCCESS"):
        return recipient
    return unsuccessful(recipient)


def unsuccessful(recipient: Recipient) -> Recipient:
    """The same without SUCCESS, whose NOTIFY has it."""
    left = [word for word in recipient.parameters["NOTIFY"].upper().split(",") if word != "SUCCESS"]
    return Recipient(recipient.address, {**recipient.parameters, "NOTIFY": ",".join(left) or "NEVER"})


def known_as(recipient: Recipient) -> dict[str, str]:
    """What goes with an address that a recipient leads to: its parameters, and ORCPT if it has none, so that whoever
    reports about it names the address that the sender wrote (RFC 3461 section 5.2.1, RFC 6533 section 3)."""
    address = recipient.address
    if "ORCPT" in recipient.parameters or not address.domain:
        return recipient.parameters
    text = print_address(address)
    if address.local.isascii():
        kind, plus = "rfc822", "+%02X"
        domain = a_labels(address.domain)
        if max(map(len, domain.split("."))) > MAX_LABEL:
            return recipient.parameters
        text = text if text.isascii() else print_address(Address(address.local, domain))
    else:
        kind, plus = "utf-8", "\\x{%02X}"
    coded = kind + ";" + "".join(c if "!" <= c <= "~" and c not in "+=\\" else plus % ord(c) for c in text)
    return {**recipient.parameters, "ORCPT": coded} if len(coded) <= MAX_ORCPT else recipient.parameters


def told_here(row: Queued) -> bool:
    """Whether a row of the queue is nothing but a report that is to be made."""
    return row.destination in ACTIONS


def arrived(row: Queued) -> tuple[Outcome, ...]:
    """The outcomes of such a row."""
    return tuple(Outcome(recipient, *ACTIONS[row.destination]) for recipient in row.recipients)


def without_room(recipient: Recipient, full: Sequence[tuple[Address, str]]) -> list[tuple[str, Address, Recipient]]:
    """What is told of those of a recipient's mailboxes that do not take the message, each with the status that says
    why: destination in the queue, address, the recipient that led to it.  Nothing to who wants to hear nothing."""
    if not wants(recipient, "FAILURE"):
        return []
    return [(NO_ROOM if status == "5.2.2" else TOO_LARGE, address, recipient) for address, status in full]
