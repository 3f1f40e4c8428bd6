"""Sessions: who is connected, ending that, reading along (floor 4; S-064..S-067).

A session is named by its id, which no other session of the process had or will have.  Whoever has a role for one server
names the server, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from twisted.logger import Logger

from ...access.networks import parse_network
from ...auth.patterns import fold
from ...errors import NoSuchRecipient, Refused
from ...net.overhear import overheard
from ...parts import did_you_mean
from ...serve.session import SessionInfo
from ..following import MAX_SECONDS, Follower
from ..sessions import choose, end, end_user, find, is_from, is_user
from .common import MAX_ADDRESS, account_of
from .table import Asker, End, operation

log = Logger()


def _server(site: Any, name: str) -> None:
    """Raises Refused."""
    if name and name not in site.servers:
        raise Refused(f"there is no server {name}{did_you_mean(name, site.servers)}")


async def _account(site: Any, name: str) -> int:
    """The id of the account with that address; 0 for none.  Raises Refused."""
    if len(name) > MAX_ADDRESS:
        raise Refused("the name of the user is too long")
    try:
        return int((await account_of(site, name)).account_id) if "@" in name else 0
    except NoSuchRecipient:
        # Somebody else may know who it is, or it was removed.
        return 0


async def _wanted(site: Any, user: str, peer: str) -> Callable[[Any], bool]:
    """Whether a session fits.  Raises Refused."""
    name, account = fold(user), await _account(site, user) if user else 0
    try:
        network = parse_network(peer)[0] if peer else None
    except ValueError as error:
        raise Refused(str(error)) from None
    return lambda session: (not user or is_user(session.identity, account, name)) and (
        network is None or is_from(session.connection.peer.host, network)
    )


@operation("session.list", running=True, stream=True)
async def list_sessions(
    site: Any, server: str = "", user: str = "", peer: str = ""
) -> AsyncGenerator[dict[str, Any], None]:
    """All sessions, or those of a server, of a user (address or login name), from an address or network; each item has
    some, as `rows` of the values that `keys` names."""
    _server(site, server)
    wanted = await _wanted(site, user, peer)
    async for lot in choose(site, server, wanted):
        # With the names once, and not in each of thousands of rows, it takes half the time.
        yield {"keys": SessionInfo._fields, "rows": [session.info() for session in lot]}


@operation("session.show", running=True)
async def show(site: Any, id: int, server: str = "") -> dict[str, Any]:
    """One session."""
    _server(site, server)
    return find(site, id, server).info()._asdict()


@operation("session.terminate", running=True)
async def terminate(site: Any, id: int, server: str = "") -> dict[str, Any]:
    """End a session at once (S-066): the client is told, if it listens, and the connection closed."""
    _server(site, server)
    session = find(site, id, server)
    info = session.info()
    await end(site, [(site.servers[info.server], session.connection)])
    return info._asdict()


@operation("session.terminate_all", running=True)
async def terminate_all(site: Any, server: str) -> dict[str, Any]:
    """End all sessions of a server at once (S-067); it goes on accepting clients."""
    _server(site, server)
    virtual = site.servers[server]
    return {"terminated": await end(site, [(virtual, one) for one in list(virtual.arrivals.present)])}


@operation("session.terminate_user", running=True)
async def terminate_user(site: Any, address: str) -> dict[str, Any]:
    """End all sessions of a user, on all servers, and of those who are logged in for him."""
    return {"terminated": await end_user(site, await _account(site, address), address)}


@operation("session.transcript", running=True, stream=True)
async def transcript(
    site: Any, id: int, asker: Asker, seconds: int = 0, content: bool = False, server: str = ""
) -> AsyncGenerator[dict[str, Any], None]:
    """What is said in a session from now on, without secrets: `at`, `who` (client or server), `text`; for so many
    seconds (0: an hour), with the octets of messages or their number."""
    _server(site, server)
    if not 0 <= seconds <= MAX_SECONDS:
        raise Refused(f"a transcript is of 1 to {MAX_SECONDS} seconds; begin another one after it")
    session = find(site, id, server)
    if overheard(session.connection):
        raise Refused("somebody follows this session already; one at a time can", "4.3.2")
    log.info("{who} begins to read along in session {id} of {user}", who=asker.who, id=id, user=session.info().user)
    follower = Follower(site, session, seconds or MAX_SECONDS, content)
    try:
        async for item in follower.feed:
            yield item
    finally:
        follower.stop()
    yield End({"lines": follower.lines, "why": follower.why})
