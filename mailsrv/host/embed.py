"""A site inside another Twisted program (floor 4): made from a text, started, and given mail without a connection.

Everything here belongs to the reactor's thread; another thread goes through `site.call_from_thread`.  The
operations of administration (`mailsrv.host.control`) are coroutine functions that take the site as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..interfaces import IAuthenticator, IMessagePolicy
from ..message.content import MemoryContent
from ..values import Address, Owner, Peer, Recipient, Transaction
from .config.load import loads
from .control.common import address_of
from .site import Site


def site_from_text(
    text: str,
    folder: Path | str,
    reactor: Any,
    *,
    store: Any = None,
    authenticators: Sequence[Callable[[Any], IAuthenticator]] = (),
    policies: Sequence[Callable[[Any], IMessagePolicy]] = (),
) -> Site:
    """A site whose configuration is `text` and whose relative paths start from `folder`; see `Site` for the rest.

    Raises ConfigError.  Nothing is opened before it is started.
    """
    # The name is for messages: there need be no such file, and no command changes one.
    options = loads(text, Path(folder).absolute() / "mailsrv.toml")
    site = Site(options, reactor, store=store, authenticators=authenticators, policies=policies)
    site.config_path = None
    return site


async def start(site: Site) -> Site:
    """Start a site in a reactor that turns, and have it stopped with the reactor; it accepts when this returns.

    Raises what keeps it from starting.  A program with a service tree of its own uses `setServiceParent` instead.
    """
    site.reactor.addSystemEventTrigger("before", "shutdown", site.stopService)
    site.startService()
    await site.started
    return site


async def deliver(site: Site, message: bytes, recipients: Sequence[str], sender: str = "") -> str:
    """Put a message into mailboxes, and into the queue for those elsewhere, through the same door as SMTP; gives its
    id when it is on the disk.

    `message` has CRLF line ends (`EmailMessage.as_bytes(policy=email.policy.SMTP)`), `recipients` are addresses (of
    other domains only where the store has a queue), `sender` is the reverse path ("": the null path).  It goes to all
    of them or, with an error, to none: raises Refused (NoSuchRecipient, RelayDenied), StoreFull, StoreUnavailable.
    Policies are not asked.
    """
    if not recipients:
        raise Refused("A message needs a recipient", "5.5.4")
    if message.count(b"\n") != message.count(b"\r\n") or message.count(b"\r") != message.count(b"\r\n"):
        raise Refused("Lines of a message end with CRLF", "5.5.2")
    transaction = Transaction(
        server="embedded",
        peer=Peer(""),
        helo=site.options.site.hostname,
        protocol="LOCAL",
        reverse_path=address_of(sender) if sender else None,
        origin="local",
    )
    owners: list[Owner] = []
    onward: list[tuple[str, Address, Recipient]] = []
    for text in recipients:
        address = address_of(text)
        route = await site.router.route(address, transaction)
        recipient = Recipient(address)
        transaction.recipients.append(recipient)
        owners.extend(route.placements)
        onward += [(destination, found, recipient) for destination, found in route.onward]
    accepted: str = await site.intake.accept(
        transaction, MemoryContent(message), owners, hostname=site.options.site.hostname, onward=onward
    )
    return accepted
