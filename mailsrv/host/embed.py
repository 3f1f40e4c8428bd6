"""A site inside another Twisted program (floor 4): made from a text, started, and given mail without a connection.

Everything here belongs to the reactor's thread; another thread goes through `site.call_from_thread`.  The
operations of administration (`mailsrv.host.control`) are coroutine functions that take the site as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused, RelayDenied
from ..interfaces import IAuthenticator, IMessagePolicy
from ..message.content import MemoryContent
from ..message.header import header_end
from ..message.rewrite import without_return_path
from ..message.trace import count_received
from ..parts import did_you_mean
from ..values import Address, Owner, Peer, Recipient, Transaction
from .config.load import loads
from .config.options import SmtpOptions
from .control.common import address_of
from .delivery import HEAD, MAX_HOPS
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


async def deliver(site: Site, message: bytes, recipients: Sequence[str], sender: str = "", *, server: str = "") -> str:
    """Put a message into mailboxes, and into the queue for those elsewhere, through the same door as SMTP.

    `message` has CRLF line ends (`EmailMessage.as_bytes(policy=email.policy.SMTP)`), `recipients` are addresses,
    `sender` is the reverse path ("": the null path).  `server` names the SMTP server whose settings hold for what is
    sent on, and whose Received fields a message may have ("smtp/out"; default: the first of the site).

    Gives the id when the message is on the disk for all, whether they are here or elsewhere; from then on a site that
    is killed has lost nothing, what is in the queue is sent, again and again until it expires, and `sender` gets a
    report of what could not be.  With an error it is there for none: raises Refused (NoSuchRecipient; RelayDenied where
    the store has no queue or the site no SMTP server, so that nobody would send it on; 5.4.6 after too many hops),
    StoreFull, StoreUnavailable.  Policies, relay lists and limits of size are for clients, and not asked.
    """
    if not recipients:
        raise Refused("A message needs a recipient", "5.5.4")
    if message.count(b"\n") != message.count(b"\r\n") or message.count(b"\r") != message.count(b"\r\n"):
        raise Refused("Lines of a message end with CRLF", "5.5.2")
    if b"\0" in message:
        raise Refused("The message holds a NUL", "5.5.2")
    transaction = _transaction(site, message, sender, server)
    owners: list[Owner] = []
    onward: list[tuple[str, Address, Recipient]] = []
    for text in recipients:
        recipient = Recipient(address_of(text))
        route = await site.router.route(recipient.address, transaction)
        if route.onward and (site.delivery is None or not site.delivery.lanes):
            raise RelayDenied(f"Mail for {recipient.address.domain} is not sent on from here")
        transaction.recipients.append(recipient)
        owners.extend(route.placements)
        onward += [(destination, found, recipient) for destination, found in route.onward]
    if _beyond_ascii(message, transaction):
        transaction.parameters["SMTPUTF8"] = ""
    content = await without_return_path(MemoryContent(message))
    accepted: str = await site.intake.accept(
        transaction, content, owners, hostname=site.options.site.hostname, onward=onward
    )
    return accepted


def _transaction(site: Site, message: bytes, sender: str, server: str) -> Transaction:
    """Without recipients.  Raises Refused."""
    servers = {name: one for name, one in site.options.servers.items() if isinstance(one, SmtpOptions)}
    if server and server not in servers:
        raise Refused(f'no SMTP server "{server}"{did_you_mean(server, servers)}')
    name = server or next(iter(servers), "embedded")
    hops = servers[name].max_hops if name in servers else MAX_HOPS
    if count_received(message[:HEAD]) > hops:
        raise Refused("Too many hops: the message goes round in a loop", "5.4.6")
    return Transaction(
        server=name,
        peer=Peer(""),
        helo=site.options.site.hostname,
        protocol="LOCAL",
        reverse_path=address_of(sender) if sender else None,
        origin="local",
    )


def _beyond_ascii(message: bytes, transaction: Transaction) -> bool:
    """Whether an address or the header has other letters, so that the next server must know SMTPUTF8 (RFC 6531)."""
    paths = [one.address for one in transaction.recipients]
    if transaction.reverse_path is not None:
        paths.append(transaction.reverse_path)
    return not (all(str(path).isascii() for path in paths) and message[: header_end(message)].isascii())
