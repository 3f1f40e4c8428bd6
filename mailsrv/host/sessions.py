"""Sessions of all servers of a site: finding, listing and ending them (floor 6; S-064..S-067).

There may be many thousands: whatever goes through all of them lets the reactor have its turn every few milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from ..access.networks import Network, number_of
from ..auth.patterns import fold
from ..errors import Refused
from ..net.connection import Connection
from ..net.front import Front
from ..values import Identity
from .slices import Slices

if TYPE_CHECKING:
    from ..serve.session import Session

#: Sessions that are looked at or ended together: the end of one goes on in the turn that follows.
LOT, ENDED = 100, 25
#: Seconds for a client to take the last words.
FAREWELL = 0.5

#: Whether a session is wanted.
Wanted = Callable[["Session"], bool]


def is_user(identity: Identity | None, account: int, name: str) -> bool:
    """Whether somebody logged in as, or for, that account (0: no account's), or by that folded name."""
    if identity is None:
        return False
    if account and identity.account_id == account:
        return True
    return name != "" and name in (fold(identity.authcid), fold(identity.authzid))


def is_from(peer: str, network: Network) -> bool:
    """Whether an address belongs to a network."""
    found = number_of(peer)
    return found is not None and found[0] == network.version and network.first <= found[1] <= network.last


async def choose(site: Any, server: str, wanted: Wanted) -> AsyncGenerator[list[Session], None]:
    """The sessions of one server, or of all (""), that are wanted, in lots: as they are when their turn comes, in the
    order they came."""
    slices = Slices(site)
    for virtual in [one for name, one in site.servers.items() if server in ("", name)]:
        present = virtual.arrivals.present
        everybody = tuple(present)
        for at in range(0, len(everybody), LOT):
            # Meanwhile some may have gone.
            greeted = [one for one in everybody[at : at + LOT] if one in present and isinstance(one, Connection)]
            lot = [one.session for one in greeted if wanted(one.session)]  # type: ignore[arg-type]
            if lot:
                yield lot
            await slices.breathe()


def find(site: Any, number: int, server: str = "") -> Session:
    """The session with this id, on that server if one is named.  Raises Refused."""
    for name, virtual in site.servers.items():
        if server in ("", name):
            for one in virtual.arrivals.present:
                if isinstance(one, Connection) and one.session.number == number:  # type: ignore[attr-defined]
                    session: Session = one.session  # type: ignore[assignment]
                    return session
    where = f" on {server}" if server else ""
    raise Refused(f"there is no session {number}{where} now; `mailsrv session list` tells which there are")


async def end(site: Any, some: Iterable[tuple[Any, Connection | Front]]) -> int:
    """End sessions at once, given with their servers: each is told why, and cut off if that does not reach it.

    Commands under way are not waited for: what they would have answered is lost.  Gives the number of sessions.
    """
    told = []
    for number, (server, one) in enumerate(some, 1):
        if one in server.arrivals.present:
            one.dismiss("terminated")
            told.append((server, one))
        if number % ENDED == 0:
            await site.sleep(0)
    if told:
        site.reactor.callLater(FAREWELL, lambda: Deferred.fromCoroutine(_cut(site, told)))
    return len(told)


async def _cut(site: Any, some: list[tuple[Any, Connection | Front]]) -> None:
    """Whoever is still there did not take the last words, or never ends its half of TLS."""
    left = [(server, one) for server, one in some if one in server.arrivals.present]
    for number, (server, one) in enumerate(left, 1):
        if one in server.arrivals.present:
            one.abort()
        if number % ENDED == 0:
            await site.sleep(0)


async def end_user(site: Any, account: int, name: str, servers: Callable[[Any], bool] = lambda server: True) -> int:
    """End all sessions of a user (`is_user`), on the servers that are wanted."""
    folded = fold(name)
    found = []
    async for lot in choose(site, "", lambda session: is_user(session.identity, account, folded)):
        of = [(site.servers.get(session.services.name), session.connection) for session in lot]
        found += [(server, one) for server, one in of if server is not None and servers(server)]
    return await end(site, found)
