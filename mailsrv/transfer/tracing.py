"""What becomes of a message, step by step, for whoever keeps it (floor 2b): `mailsrv trace`.

Facts are what JSON can hold.  Whoever tells is given a `Trace`, called for every message: it must cost next to nothing.

    accepted    how it came, from whom, to whom; `mailboxes` here, `onward` elsewhere
    attempt     what an attempt at some of its recipients brought
    report      a report about it was made
    badmail     it could neither be delivered nor returned
    action      an administrator did something to it in the queue
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..values import Address, Outcome, Placement, Queued, Recipient, TlsFacts, Transaction

#: Recipients, mailboxes and outcomes that are kept of one step; of more the number alone.
MOST = 50
#: Characters of what another server or a client said.
MAX_SAID = 300

#: Called with the id of a message, the kind of step and its facts.
Trace = Callable[[str, str, Mapping[str, Any]], None]


def untraced(message: str, kind: str, facts: Mapping[str, Any]) -> None:
    """A Trace where nobody keeps anything."""


def accepted(
    transaction: Transaction, octets: int, tls: TlsFacts | None, places: Sequence[Placement],
    onward: Sequence[tuple[str, Address, Recipient]], note: str,
) -> dict[str, Any]:
    """The facts of a reception that was answered 250."""
    recipients = transaction.recipients
    facts: dict[str, Any] = {
        "server": transaction.server, "peer": transaction.peer.host, "helo": transaction.helo[:MAX_SAID],
        "with": transaction.protocol, "origin": transaction.origin,
        "sender": _text(transaction.reverse_path), "octets": octets,
        "recipients": [_text(one.address) for one in recipients[:MOST]], "count": len(recipients),
    }  # fmt: skip
    if transaction.client_name:
        facts["name"] = transaction.client_name
    if tls is not None:
        facts["tls"] = f"{tls.version} {tls.cipher}"
    if transaction.identity is not None:
        facts["user"], facts["mechanism"] = transaction.identity.authcid, transaction.identity.mechanism
    if places:
        facts["mailboxes"] = [(one.account_id, one.mailbox) for one in places[:MOST]]
        facts["mailboxes_count"] = len(places)
    if onward:
        facts["onward"] = [(destination, _text(address)) for destination, address, _ in onward[:MOST]]
        facts["onward_count"] = len(onward)
    if note:
        facts["note"] = note[:MAX_SAID]
    return facts


def attempted(row: Queued, outcomes: Sequence[Outcome], due: float | None, reached: bool) -> dict[str, Any]:
    """The facts of an attempt; `due`: when what is left is tried again."""
    return {
        "server": row.server, "destination": row.destination, "row": row.id, "attempt": row.attempts + 1,
        "due": due, "reached": reached, "count": len(outcomes),
        "outcomes": [
            (_text(one.recipient.address), one.action, one.status, one.reply[:MAX_SAID], one.host)
            for one in outcomes[:MOST]
        ],
    }  # fmt: skip


def _text(address: Address | None) -> str:
    """An address; "" is the null path."""
    return "" if address is None else str(address)
