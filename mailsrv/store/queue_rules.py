"""What a row of a queue may hold: lengths, counts, and how its parts are written as JSON (pure).

Every queue kept in a store refuses the same things, before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..errors import Refused
from ..values import Address, NewDelivery, Recipient

#: Characters of a destination, of who leases, of a reply that is kept, of one half of an address.
MAX_DESTINATION, MAX_HOLDER, MAX_REPLY, MAX_PATH = 255, 200, 2000, 1000
#: Recipients of one row; rows of one delivery.
MAX_RECIPIENTS = 64_000
#: Parameters of an envelope or a recipient, and characters of one (RFC 3461: ORCPT has 500).
MAX_PARAMETERS, MAX_PARAMETER = 32, 2000
#: Intervals of a schedule.
MAX_INTERVALS = 1000
#: What `IQueue.alter` knows.
ACTIONS = frozenset({"hold", "release", "retry", "reroute", "delete"})


def check_delivery(delivery: NewDelivery) -> None:
    """Whether its rows may be made.  Raises Refused."""
    if len(delivery.queued) > MAX_RECIPIENTS:
        raise Refused("Too many destinations", "5.5.3")
    envelope = delivery.envelope
    if envelope.reverse_path is not None:
        _check_path(envelope.reverse_path)
    _check_parameters(envelope.parameters)
    check_instant(delivery.received_at)
    for new in delivery.queued:
        check_destination(new.destination)
        if not new.recipients:
            raise Refused("A row of the queue needs a recipient", "5.5.3")
        check_recipients(new.recipients)


def check_destination(destination: str) -> None:
    """A domain or the name of a route.  Raises Refused."""
    if not 0 < len(destination) <= MAX_DESTINATION or not destination.isprintable():
        raise Refused("No possible destination", "5.1.2")


def check_recipients(recipients: Sequence[Recipient]) -> None:
    """Recipients of one row.  Raises Refused."""
    if len(recipients) > MAX_RECIPIENTS:
        raise Refused("Too many recipients", "5.5.3")
    for recipient in recipients:
        _check_path(recipient.address)
        if recipient.parameters:
            _check_parameters(recipient.parameters)


def check_intervals(intervals: Sequence[float]) -> None:
    """Seconds until the next attempt, by attempts made.  Raises Refused."""
    if not 0 < len(intervals) <= MAX_INTERVALS or not all(0 <= seconds < 1e9 for seconds in intervals):
        raise Refused("No possible intervals", "5.5.4")


def check_instant(due: float) -> None:
    """UTC epoch seconds.  Raises Refused."""
    # Also for what is no number: lists of instants would lose their order.
    if not 0 <= due < 1e12:
        raise Refused("No possible instant", "5.5.4")


def check_action(action: str, due: float, destination: str) -> None:
    """What `IQueue.alter` is asked for.  Raises Refused."""
    check_instant(due)
    if action not in ACTIONS:
        raise Refused("No such action on the queue", "5.5.4")
    if action == "reroute":
        check_destination(destination)


def changes_of(action: str, due: float, destination: str) -> dict[str, Any]:
    """What `IQueue.alter` changes of a row; nothing for delete."""
    changes: dict[str, dict[str, Any]] = {
        "hold": {"held": True}, "release": {"held": False}, "retry": {"due": due},
        "reroute": {"destination": destination},
    }
    return changes.get(action, {})


def tidy(reply: str) -> str:
    """A reply as it is kept: of bounded length, without what could disturb a terminal."""
    if len(reply) <= MAX_REPLY and reply.isprintable():
        return reply
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in reply[:MAX_REPLY])


def sender_key(path: Address | None) -> str:
    """What the filter `sender` compares: without case, "" for the null path."""
    return "" if path is None else str(path).lower()


def pack_recipients(recipients: Sequence[Recipient]) -> list[list[Any]]:
    """For JSON: `[local, domain]`, with a third entry when there are parameters."""
    return [
        [one.address.local, one.address.domain, one.parameters] if one.parameters
        else [one.address.local, one.address.domain]
        for one in recipients
    ]


def unpack_recipients(packed: Sequence[Sequence[Any]]) -> tuple[Recipient, ...]:
    """From `pack_recipients`.  Raises IndexError, TypeError for what it did not make."""
    if len(packed) == 1 and len(packed[0]) == 2:
        # Most rows: half the time of the general way.
        return (Recipient(Address(*packed[0])),)
    return tuple(
        Recipient(Address(one[0], one[1]), dict(one[2])) if len(one) > 2 else Recipient(Address(one[0], one[1]))
        for one in packed
    )


def pack_path(path: Address | None) -> str:
    """JSON, "" for the null path."""
    return "" if path is None else json.dumps([path.local, path.domain])


@lru_cache(maxsize=1024)
def unpack_path(text: str) -> Address | None:
    """From `pack_path`.  A queue is mostly mail of few senders."""
    return Address(*json.loads(text)) if text else None


def _check_path(address: Address) -> None:
    for half in (address.local, address.domain):
        # Half a surrogate pair, which no encoding has.
        if len(half) > MAX_PATH or not (half.isascii() or half.isprintable()):
            raise Refused("No possible address", "5.1.3")


def _check_parameters(parameters: Mapping[str, str]) -> None:
    if len(parameters) > MAX_PARAMETERS or any(
        len(name) + len(value) > MAX_PARAMETER for name, value in parameters.items()
    ):
        raise Refused("Too many parameters", "5.5.4")
