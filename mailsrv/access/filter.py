"""Who may connect to a virtual server (floor 4; S-034..S-044)."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from ..interfaces import IAccessFilter
from ..values import ACCEPT, Peer, Verdict
from .lists import AccessList
from .reverse import ReverseNames


@implementer(IAccessFilter)
class AccessFilter:
    """The access list of one virtual server.  `count(what)` adds one to a counter of the server.

    A client at a UNIX socket is let in: who may open the socket is said by its mode.
    """

    def __init__(self, access: AccessList, names: ReverseNames, count: Callable[[str], None]) -> None:
        self._list, self._names, self._count = access, names, count

    async def admit(self, peer: Peer) -> Verdict:
        """See IAccessFilter."""
        if not peer.host:
            return ACCEPT
        decision = self._list.by_address(peer.host)
        if decision is None:
            decision = await self._list.decide(peer.host, self._names)
        if decision.allowed:
            return ACCEPT
        if decision.failed:
            self._count("access not decided")
            return Verdict(
                "tempfail", "Your host name cannot be looked up, try again later", "4.4.3", "access", decision.rule
            )
        return Verdict("reject", "Access denied", "5.7.1", "access", decision.rule)
