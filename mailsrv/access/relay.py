"""Who may send mail on to other domains (floor 4): whoever is logged in with the right, or is on the relay list of
the server (S-136..S-141).  Nobody else: without a list there is no other way than to log in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ..errors import TryLater
from ..interfaces import IAuthorizer, IContent, IDirectory
from ..values import ACCEPT, Identity, Peer, Recipient, Transaction, Verdict
from .lists import AccessList, Decision
from .policy import Policy
from .reverse import Once, ReverseNames

DENIED = Verdict("reject", "Relay access denied", "5.7.1", part="relay", rule="not authenticated")
#: Behind a proxy that does not tell the client: the proxy's own address is no reason to trust it.
UNKNOWN = Decision(False, "a proxy did not say whose connection it is")
#: What another server may read as a way to a third one: the %-hack, a bang path, an address in the local part.
ROUTING = frozenset("%!@")
#: Seconds after which a look-up is taken to have failed.
DEADLINE = 15.0


@frozen
class Options:
    """The relay rule has no options: a server names its relay list."""


@frozen
class RelayList:
    """The relay list of a server (S-138, S-139): its own, whatever the access list says (S-141).

    Somebody at a UNIX socket is on no list.
    """

    entries: AccessList
    names: ReverseNames
    clock: Any

    def by_address(self, host: str) -> Decision | None:
        """What the addresses alone say; None: names must be asked."""
        return self.entries.by_address(host) if host else Decision(False, "a UNIX socket is on no relay list")

    def begin(self, host: str) -> Once:
        """Ask for the names, beside the conversation; the result is a Decision."""
        late = Decision(False, f'list "{self.entries.name}": no answer of the name system in time', failed=True)
        return Once(self.entries.decide(host, self.names), late, DEADLINE, self.clock)


@frozen
class RelayRight:
    """Whether clients may send mail on by way of one server: what `RelayPolicy` asks of recipients, for other ends.

    `relay` is the server's list; None: it has none.
    """

    authorizer: IAuthorizer
    server: str
    relay: RelayList | None = None

    async def at_once(self, identity: Identity | None, peer: Peer) -> bool | None:
        """The answer as far as no name must be looked up for it; None: one must."""
        if identity is not None:
            verdict = await self.authorizer.permits(identity, "server.relay", self.server)
            if verdict.action == "accept":
                return True
        if self.relay is None or peer.unknown:
            return False
        decision = self.relay.by_address(peer.host)
        return None if decision is None else decision.allowed

    async def holds(self, identity: Identity | None, peer: Peer) -> bool:
        """The answer.  Raises TryLater when a name cannot be looked up."""
        known = await self.at_once(identity, peer)
        if known is None:
            assert self.relay is not None
            decision: Decision = await self.relay.begin(peer.host).result()
            if decision.failed:
                raise TryLater("Relay access cannot be decided now", "4.4.3")
            return decision.allowed
        return known


class RelayPolicy(Policy):
    """Refuses recipients of other domains from whoever has no right to relay.  `lists` maps a server to its list."""

    def __init__(self, directory: IDirectory, authorizer: IAuthorizer, lists: Mapping[str, RelayList]) -> None:
        self._directory = directory
        self._authorizer = authorizer
        # The very mapping: it changes while the site runs.
        self._lists = lists

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """Ours, or from somebody who may relay.  Where mail may go on to another server, which trusts us, an address
        of ours must not tell it to send the mail elsewhere."""
        address = recipient.address
        domain = await self._directory.domain(address.domain) if address.domain else None
        if not address.domain or (domain is not None and (domain.kind == "local" or ROUTING.isdisjoint(address.local))):
            return ACCEPT
        return await self._relayed(transaction)

    async def _relayed(self, transaction: Transaction) -> Verdict:
        """Whether the client may relay.  A list that has come since it connected holds too."""
        if transaction.server in self._lists:
            return await ListedRelayPolicy(self._directory, self._authorizer, self._lists)._relayed(transaction)
        return await self._permitted(transaction)

    async def _permitted(self, transaction: Transaction) -> Verdict:
        """Whether its login lets the client relay."""
        if transaction.identity is None:
            return DENIED
        return await self._authorizer.permits(transaction.identity, "server.relay", transaction.server)


class ListedRelayPolicy(RelayPolicy):
    """The same where servers have relay lists."""

    def __init__(self, directory: IDirectory, authorizer: IAuthorizer, lists: Mapping[str, RelayList]) -> None:
        super().__init__(directory, authorizer, lists)
        #: The look-up, and whose.
        self._asked: Once | None = None
        self._about = ""

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """Every sender may try.  Whoever is on the relay list sends mail of ours (decisions 32)."""
        if transaction.origin != "local":
            relay = self._lists.get(transaction.server)
            if relay is not None:
                self._mark(transaction, relay)
        return ACCEPT

    async def _relayed(self, transaction: Transaction) -> Verdict:
        verdict = await self._permitted(transaction)
        relay = self._lists.get(transaction.server)
        if verdict.action == "accept" or relay is None:
            return verdict
        decision = await self._decide(transaction, relay)
        if decision.allowed:
            return ACCEPT
        if decision.failed:
            return Verdict("tempfail", "Relay access cannot be decided now", "4.4.3", "relay", decision.rule)
        # To somebody who has logged in the reason is a right that is missing.
        return verdict if verdict is not DENIED else Verdict("reject", DENIED.text, "5.7.1", "relay", decision.rule)

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict:
        """Content does not matter; where the mail comes from is settled now."""
        relay = None if self._asked is None else self._lists.get(transaction.server)
        if relay is not None and transaction.origin != "local":
            await self._decide(transaction, relay)
        return ACCEPT

    def _mark(self, transaction: Transaction, relay: RelayList) -> None:
        """Set the origin if that can be said at once; else begin to ask, once for a connection (S-140)."""
        host = transaction.peer.host
        decision = UNKNOWN if transaction.peer.unknown else relay.by_address(host)
        if decision is None:
            asked = self._ask(host, relay)
            decision = asked.value if asked.done else None
        if decision is not None and decision.allowed:
            transaction.origin = "local"

    async def _decide(self, transaction: Transaction, relay: RelayList) -> Decision:
        host = transaction.peer.host
        decision = UNKNOWN if transaction.peer.unknown else relay.by_address(host)
        if decision is None:
            again = self._asked is not None and self._asked.done and self._asked.value.failed
            decision = await self._ask(host, relay, again).result()
        assert decision is not None
        if decision.allowed:
            transaction.origin = "local"
        return decision

    def _ask(self, host: str, relay: RelayList, again: bool = False) -> Once:
        """The look-up of this client; behind a proxy that says so (XCLIENT) it may be another than before."""
        if self._asked is None or again or self._about != host:
            if self._asked is not None:
                self._asked.cancel()
            self._asked, self._about = relay.begin(host), host
        return self._asked


def relay_policy(directory: IDirectory, authorizer: IAuthorizer, lists: Mapping[str, RelayList]) -> RelayPolicy:
    """The rule for a connection: where nobody has a list, senders and contents need not be looked at."""
    return ListedRelayPolicy(directory, authorizer, lists) if lists else RelayPolicy(directory, authorizer, lists)


def build(options: Options, site: Any) -> RelayPolicy:
    """The part's factory; `site` has `directory`, `authorizer` and `access`."""
    return relay_policy(site.directory, site.authorizer, site.access.relay_lists)
