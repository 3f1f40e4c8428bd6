"""Where a recipient's mail goes (floor 2b): accounts, aliases and lists here, other servers for all else.

Without a queue (`onward` False) mail for other domains is refused with the reason: a message that cannot go on is never
accepted.  Who may send mail on at all is the business of the relay rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from zope.interface import implementer

from ..errors import NoSuchRecipient, Refused, RelayDenied
from ..interfaces import IDirectory, IRouter
from ..values import Address, DomainFacts, Forward, Owner, Route, Transaction, Unknown

#: Aliases followed one after the other, and accounts that one address may lead to.
MAX_DEPTH, MAX_TARGETS = 10, 1000
#: What the directory says of an address.
Resolved = Owner | Forward | Unknown
#: `await folders(owner, address, separator, transaction)`: where in the owner's account mail for a subaddress goes.
Folders = Callable[[Owner, Address, str, Transaction], Awaitable[Owner]]


@define(eq=False)
class _Found:
    """What was found so far for one recipient of the transaction."""

    about: Transaction
    seen: set[Address]
    owners: dict[tuple[int, str], Owner] = field(factory=dict)
    onward: dict[tuple[str, Address], None] = field(factory=dict)

    def check(self) -> None:
        """Raises Refused."""
        if len(self.owners) + len(self.onward) > MAX_TARGETS:
            # Cut short it would lose mail of those behind in silence.
            raise Refused("This list has more members than mail is accepted for at once", "5.2.4")


@implementer(IRouter)
class LocalRouter:
    """Routes to accounts of the directory; all that an alias or list leads to, or a refusal of the whole.

    `learners` may make an account for an address nobody has yet (authenticators whose users are kept elsewhere, the
    test profile); each says whether it did.  `onward`: there is a queue for mail to other servers; `unresolved(server)`
    is the destination of mail for unknown recipients of shared domains, "" for none (S-133).  `folders` is asked for
    subaddresses of accounts that are here (public folders); without it they mean INBOX.
    """

    def __init__(
        self,
        directory: IDirectory,
        first_domain: Callable[[], str],
        learners: Sequence[Callable[[Address], Awaitable[bool]]] = (),
        *,
        onward: bool = False,
        unresolved: Callable[[str], str] = lambda server: "",
        folders: Folders | None = None,
    ) -> None:
        self._directory = directory
        self._first_domain = first_domain
        self._learners = learners
        self._onward, self._unresolved = onward, unresolved
        self._folders = folders

    async def route(self, address: Address, transaction: Transaction) -> Route:
        """See IRouter."""
        domain = await self._directory.domain(address.domain) if address.domain else None
        known = None
        if domain is not None and domain.kind != "relay":
            known = await self._directory.resolve(address)
            if type(known) is Owner and (self._folders is None or domain.subaddress not in address.local):
                # Nearly every recipient: nothing is to be collected.
                return Route((known,))
        found = _Found(transaction, {address})
        if domain is None or known is None:
            await self._collect(address, found, 0)
        else:
            await self._collect_local(address, domain, found, 0, known)
        if not found.owners and not found.onward:
            raise NoSuchRecipient()
        return Route(tuple(found.owners.values()), tuple(found.onward))

    async def _collect(self, address: Address, found: _Found, depth: int) -> None:
        bare = not address.domain
        if bare:
            # RFC 5321 section 4.1.1.3: `postmaster` alone is always ours.
            address = Address(address.local, self._first_domain())
        domain = await self._directory.domain(address.domain)
        if domain is None and bare:
            # A site without domains has nobody, and must not look for itself elsewhere.
            raise NoSuchRecipient()
        if domain is None or domain.kind == "relay":
            self._send_on(address, address.domain, found, depth)
            return
        await self._collect_local(address, domain, found, depth)

    def _send_on(self, address: Address, destination: str, found: _Found, depth: int) -> None:
        """To another server.  Raises RelayDenied, Refused."""
        if not self._onward:
            if depth:
                raise Refused("This address leads to another server, and mail is not sent on from here", "5.7.1")
            raise RelayDenied(f"Mail for {address.domain} is not sent on from here")
        found.onward[destination, address] = None
        found.check()

    async def _collect_local(
        self, address: Address, domain: DomainFacts, into: _Found, depth: int, found: Resolved | None = None
    ) -> None:
        if found is None:
            found = await self._directory.resolve(address)
        if not isinstance(found, Owner | Forward):
            for learn in self._learners:
                if await learn(address):
                    found = await self._directory.resolve(address)
                    break
        if isinstance(found, Owner):
            separator = domain.subaddress
            if self._folders is not None and separator and separator in address.local:
                found = await self._folders(found, address, separator, into.about)
            into.owners[found.account_id, found.mailbox] = found
            into.check()
        elif not isinstance(found, Forward):
            unresolved = self._unresolved(into.about.server) if domain.kind == "shared" else ""
            if not unresolved:
                raise NoSuchRecipient()
            # S-133: somebody else knows; S-134: so nobody hears that we do not.
            self._send_on(address, unresolved, into, depth)
        elif depth >= MAX_DEPTH:
            raise Refused("This address leads from alias to alias without end", "5.4.6")
        else:
            for target in found.targets:
                if target not in into.seen:
                    into.seen.add(target)
                    await self._collect(target, into, depth + 1)
