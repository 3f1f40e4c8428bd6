"""Recipients of domains whose mailboxes another host has (floor 4): nobody is taken who does not exist.

What goes on for an unknown recipient comes back as a report, to a sender that spam has forged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from twisted.logger import Logger

from ..errors import ConfigError, MailError
from ..values import ACCEPT, Address, Recipient, Transaction, Verdict
from .policy import Policy

log = Logger()

#: Octets of a list, and seconds between two looks whether it has changed.
MAX_OCTETS, LOOK = 32 * 2**20, 5.0

#: `await takes(address)`: whether there is such a recipient.  Raises TryLater.
Takes = Callable[[Address], Awaitable[bool]]


class KnownRecipients(Policy):
    """Asks at RCPT; `checks` is by domain.  One object serves all connections."""

    def __init__(self, checks: Mapping[str, Takes]) -> None:
        self._checks = dict(checks)

    def for_connection(self) -> KnownRecipients:
        """Nothing is remembered of a connection."""
        return self

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """Refuse who does not exist; `postmaster` does everywhere (RFC 5321 section 4.5.1)."""
        address = recipient.address
        takes = self._checks.get(address.domain)
        if takes is None or address.local.lower() == "postmaster" or await takes(address):
            return ACCEPT
        return Verdict("reject", "No such user here", "5.1.1", "recipients", f"unknown at {address.domain}")


class RecipientFile:
    """A list of recipients in a file: a local part or an address in each line, "#" begins a comment; a "+" and what
    follows in an address is not compared where the list has the name without it.

    The file is read again when it has changed.  `aside` works away from the reactor.
    """

    def __init__(
        self, path: Path, domain: str, aside: Callable[..., Awaitable[frozenset[str]]], monotonic: Callable[[], float]
    ) -> None:
        self._path, self._domain, self._aside, self._monotonic = path, domain, aside, monotonic
        self._mark = self._now_at()
        self._names = read_names(path, domain)
        self._looked = monotonic()

    async def takes(self, address: Address) -> bool:
        """Whether the list has it."""
        now = self._monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            await self._look()
        local = address.local.casefold()
        return local in self._names or local.partition("+")[0] in self._names

    async def _look(self) -> None:
        mark = self._now_at()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._names = await self._aside(read_names, self._path, self._domain)
        except MailError as error:
            log.error("the list of recipients stays as it was: {reason}", reason=str(error))

    def _now_at(self) -> tuple[int, int] | None:
        """What tells whether it has changed; None: it is not there."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def read_names(path: Path, domain: str) -> frozenset[str]:
    """The local parts in a list, without case.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
        text = octets.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the list of recipients cannot be read: {why}", file=str(path)) from error
    if len(octets) > MAX_OCTETS:
        raise ConfigError(f"a list of recipients has at most {MAX_OCTETS} octets", file=str(path))
    names = set()
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("#")[0].strip()
        local, at, of = name.rpartition("@")
        if at and of.casefold() != domain:
            raise ConfigError(f"{name} is in another domain than {domain}", file=str(path), line=number)
        if name:
            names.add((local if at else name).casefold())
    return frozenset(names)
