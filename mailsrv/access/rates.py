"""How much mail one client, user or sender may bring in a time (floor 4).

Each limit is a bucket that holds its number and fills up evenly over the interval (the generic cell rate algorithm:
one instant is kept for each name), so a burst up to the limit passes and then the rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import frozen

from ..parts import DURATION, TEXTS, Kind, option, or_off, whole
from ..values import ACCEPT, Peer, Recipient, Transaction, Verdict
from .networks import Matcher, client_key, number_of, parse_network
from .policy import Policy

_MANY = or_off(whole(1, 1_000_000_000))
#: A client for whom nothing is counted.
_FREE = ""


def _read_networks(value: Any) -> tuple[str, ...]:
    """Networks in their normal form."""
    return tuple(str(parse_network(text)[0]) for text in TEXTS.read(value))


@frozen
class Options:
    """Options of the part `rates`."""

    interval: float = option(DURATION, 3600.0, "the time that the other numbers are for")
    connections_per_address: int | None = option(_MANY, None, "connections of one client address")
    messages_per_address: int | None = option(_MANY, None, "messages from one client address without login")
    recipients_per_address: int | None = option(_MANY, None, "recipients from one client address without login")
    messages_per_user: int | None = option(_MANY, None, "messages of one login")
    recipients_per_user: int | None = option(_MANY, None, "recipients of one login")
    messages_per_sender: int | None = option(_MANY, None, "messages with one reverse path")
    recipients_per_sender: int | None = option(_MANY, None, "recipients of one reverse path")
    never: tuple[str, ...] = option(
        Kind("list of networks", _read_networks), (), 'clients whose address is not counted: ["192.0.2.0/24"]'
    )
    names: int = option(whole(100, 10_000_000), 100_000, "addresses, logins and senders remembered for each number")


class Bucket:
    """One limit for many names: `limit` in `interval` seconds each, of at most `most` names at a time."""

    def __init__(self, limit: int, interval: float, most: int) -> None:
        self._step = interval / limit
        self._interval = interval
        self._most = most
        #: When the bucket of a name is full again; in the order in which names were last seen.  A plain dict takes
        #: longer and longer to find its first key when keys at its front were deleted.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float) -> bool:
        """Take one for that name, if there is one."""
        full_at = max(self._full_at.pop(name, 0.0), now) + self._step
        allowed = full_at <= now + self._interval + self._step * 1e-9
        if len(self._full_at) >= self._most:
            # The name that was not seen for longest is forgotten: it is nearest to full.
            self._full_at.popitem(last=False)
        self._full_at[name] = full_at if allowed else full_at - self._step
        return allowed


class Rates:
    """The buckets of one server, shared by its connections."""

    def __init__(self, options: Options, now: Callable[[], float]) -> None:
        self._now = now
        self._never = Matcher((parse_network(text)[0], 0) for text in options.never)
        self._buckets = {
            (what, whose): Bucket(limit, options.interval, options.names)
            for what in ("connections", "messages", "recipients")
            for whose in ("address", "user", "sender")
            if (limit := getattr(options, f"{what}_per_{whose}", None)) is not None
        }

    def for_connection(self) -> RateLimit:
        """The policy of one connection."""
        return RateLimit(self)

    def client(self, peer: Peer) -> str:
        """What a client is counted as: its address, or the /64 of IPv6, which is one customer's; "" for not at all, as
        at a UNIX socket.  All whom a proxy does not name count as that proxy, even where itself is not counted."""
        number = number_of(peer.host)
        if number is None or (self._never.find(*number) >= 0 and not peer.unknown):
            return _FREE
        return client_key(peer.host)

    def over(self, what: str, names: dict[str, str]) -> str:
        """Take one of everything; the first limit ("messages_per_user") that is used up, or ""."""
        now = self._now()
        for whose, name in names.items():
            bucket = self._buckets.get((what, whose))
            if bucket is not None and name and not bucket.take(name, now):
                return f"{what}_per_{whose}"
        return ""


class RateLimit(Policy):
    """One connection's view."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def on_connect(self, peer: Peer, client_name: str) -> Verdict:
        """Connections are counted."""
        return self._verdict(self._rates.over("connections", {"address": self._rates.client(peer)}), "4.7.0")

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """Messages are counted at MAIL: attempts count too."""
        return self._verdict(self._rates.over("messages", self._names(transaction)))

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """Recipients are counted at RCPT."""
        return self._verdict(self._rates.over("recipients", self._names(transaction)))

    def _names(self, transaction: Transaction) -> dict[str, str]:
        """Whom a transaction counts for.  A user's machines are many and may be shared: the login counts instead."""
        identity, path = transaction.identity, transaction.reverse_path
        user = ""
        if identity is not None and not identity.anonymous:
            user = str(identity.account_id) if identity.account_id else identity.authcid
        return {
            "address": _FREE if user else self._rates.client(transaction.peer),
            "user": user,
            "sender": f"{path.local.casefold()}@{path.domain}" if path is not None else "",
        }

    def _verdict(self, rule: str, status: str = "4.7.1") -> Verdict:
        if not rule:
            return ACCEPT
        return Verdict("tempfail", "Too much mail for this time, try again later", status, rule=rule)


def build(options: Options, site: Any) -> Rates:
    """The part; `site` has `monotonic`."""
    return Rates(options, site.monotonic)
