"""Where a recipient's mail goes (floor 2b): local addresses, aliases and lists.

Mail for other domains is refused with the reason: sending to other servers is not built yet, and a message that
cannot go on is never accepted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from zope.interface import implementer

from ..errors import NoSuchRecipient, Refused, RelayDenied
from ..interfaces import IDirectory, IRouter
from ..values import Address, Forward, Owner, Route, Transaction

#: Aliases followed one after the other, and accounts that one address may lead to.
MAX_DEPTH, MAX_TARGETS = 10, 1000


@implementer(IRouter)
class LocalRouter:
    """Routes to accounts of the directory; all that an alias or list leads to, or a refusal of the whole.

    `learners` may make an account for an address nobody has yet (authenticators whose users are kept elsewhere, the
    test profile); each says whether it did.
    """

    def __init__(
        self,
        directory: IDirectory,
        first_domain: Callable[[], str],
        learners: Sequence[Callable[[Address], Awaitable[bool]]] = (),
    ) -> None:
        self._directory = directory
        self._first_domain = first_domain
        self._learners = learners

    async def route(self, address: Address, transaction: Transaction) -> Route:
        """See IRouter."""
        owners: dict[tuple[int, str], Owner] = {}
        await self._collect(address, owners, {address}, 0)
        if not owners:
            raise NoSuchRecipient()
        return Route(placements=tuple(owners.values()))

    async def _collect(
        self, address: Address, owners: dict[tuple[int, str], Owner], seen: set[Address], depth: int
    ) -> None:
        if not address.domain:
            # RFC 5321 section 4.1.1.3: `postmaster` alone is always ours.
            address = Address(address.local, self._first_domain())
        if await self._directory.domain(address.domain) is None:
            if depth:
                raise Refused("This address leads to another server, and mail is not sent on from here yet", "5.7.1")
            raise RelayDenied(f"Mail for {address.domain} is not sent on from here")
        found = await self._directory.resolve(address)
        if not isinstance(found, Owner | Forward):
            for learn in self._learners:
                if await learn(address):
                    found = await self._directory.resolve(address)
                    break
        if isinstance(found, Owner):
            owners[found.account_id, found.mailbox] = found
            if len(owners) > MAX_TARGETS:
                # Cut short it would lose mail of those behind in silence.
                raise Refused("This list has more members than mail is accepted for at once", "5.2.4")
        elif not isinstance(found, Forward):
            raise NoSuchRecipient()
        elif depth >= MAX_DEPTH:
            raise Refused("This address leads from alias to alias without end", "5.4.6")
        else:
            for target in found.targets:
                if target not in seen:
                    seen.add(target)
                    await self._collect(target, owners, seen, depth + 1)
