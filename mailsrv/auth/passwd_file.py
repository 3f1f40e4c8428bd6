"""Files of users: htpasswd, and the passwd-file of Dovecot (floor 2b).

A line is ``name:password``, or ``name:password:uid:gid:gecos:home:shell:extra``; empty lines and those that begin with
``#`` say nothing.  Of the extra fields these are understood: ``nologin``, ``allow_nets=NET,..``, ``user=NAME``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.logger import Logger

from ..errors import AuthenticationFailed, ConfigError
from ..values import Address
from .names import login_address

log = Logger()

#: Octets of a file and of a line; up to `SMALL` octets are read in the reactor's thread.
MAX_FILE, MAX_LINE, SMALL = 64 * 2**20, 4096, 8 * 2**10
#: So many users are forgotten in the reactor's thread.
FEW = 10_000
#: Whether the file has changed is looked up after so many seconds.
LOOK_SECONDS = 1.0
_EXTRA_FIELD = 6


@frozen
class User:
    """One line.  `encoded` may be "": no password; `account` the name of another account, or "";
    `networks` None: from everywhere."""

    encoded: str = field(repr=False)
    account: str = ""
    nologin: bool = False
    networks: tuple[str, ...] | None = None

    def admits(self, host: str) -> bool:
        """Whether this user may log in from the IP address (""; a UNIX socket)."""
        if self.nologin:
            return False
        return self.networks is None or any(_within(host, network) for network in self.networks)


def user_of(text: str) -> User:
    """The user of what follows the name in a line."""
    encoded, *others = text.split(":")
    extra = ":".join(others[_EXTRA_FIELD - 1 :]).split()
    values = dict(word.partition("=")[::2] for word in extra)
    networks = values.get("allow_nets")
    return User(
        encoded,
        values.get("user", ""),
        "nologin" in values,
        None if networks is None else tuple(networks.split(",")),
    )


def _within(host: str, network: str) -> bool:
    if not host:
        return network == "local"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address) in ipaddress.ip_network(network.strip(), strict=False)
    except ValueError:
        return False


def read_users(path: Path, domain: str) -> tuple[dict[str, str], tuple[int, ...]]:
    """({address: the rest of the line}, the file's stamp); names without a domain are of `domain`.

    The first line of a name counts.  Lines that are no UTF-8, or whose name nobody can have, are left out and
    counted in the log.  Blocks.  Raises ConfigError.
    """
    users: dict[str, str] = {}
    wrong = number = 0
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size > MAX_FILE:
                raise ConfigError(f"{path} is larger than {MAX_FILE} octets")
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise ConfigError(f"the line is longer than {MAX_LINE} octets", file=str(path), line=number)
                wrong += not _enter(users, line, domain)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if wrong:
        log.warn("{file}: {count} lines name nobody and are left out", file=str(path), count=wrong)
    return users, stamp_of(stat)


def _enter(users: dict[str, str], line: bytes, domain: str) -> bool:
    """Enter one line; False when it makes no sense."""
    try:
        text = line.decode("utf-8").strip()
        if not text or text.startswith("#"):
            return True
        name, colon, rest = text.partition(":")
        address = login_address(name, domain)
    except (UnicodeDecodeError, AuthenticationFailed):
        return False
    if not colon:
        return False
    users.setdefault(str(address), rest)
    return True


def _empty(users: dict[str, str]) -> None:
    """In a thread: freed in one go, a million names would keep everybody waiting."""
    while users:
        users.popitem()


def stamp_of(stat: os.stat_result) -> tuple[int, ...]:
    """What is another when a file has changed."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class UserFile:
    """The users of a file, which is read again when it has changed.

    `aside(function, *arguments)` runs what blocks in a thread.  `changed(users)` hears of every reading.  A file that
    cannot be read any more leaves what was known; that is logged once.
    """

    def __init__(
        self,
        path: Path,
        domain: str,
        monotonic: Callable[[], float],
        aside: Callable[..., Awaitable[Any]],
        changed: Callable[[dict[str, str]], None] = lambda users: None,
    ) -> None:
        self._path, self._domain = path, domain
        self._monotonic, self._aside, self._changed = monotonic, aside, changed
        self._users, self._stamp = read_users(path, domain)
        self._failed: tuple[int, ...] | None = None
        self._look_at = monotonic() + LOOK_SECONDS
        self._reading = False
        changed(self._users)

    async def find(self, address: Address) -> User | None:
        """The user with that address in lower case."""
        if self._monotonic() >= self._look_at and not self._reading:
            await self._look()
        text = self._users.get(str(address))
        return None if text is None else user_of(text)

    async def _look(self) -> None:
        """Read the file if it is not as it was.  Who asks meanwhile is answered by what was known."""
        self._reading = True
        stamp: tuple[int, ...] = ()
        try:
            stat = os.stat(self._path)
            stamp = stamp_of(stat)
            if stamp not in (self._stamp, self._failed):
                small = stat.st_size <= SMALL
                read = read_users(self._path, self._domain) if small else await self._aside(
                    read_users, self._path, self._domain
                )
                (self._users, self._stamp), old = read, self._users
                self._failed = None
                self._changed(self._users)
                if len(old) > FEW:
                    await self._aside(_empty, old)
        except OSError as error:
            self._complain(stamp, f"cannot be read: {error.strerror}")
        except ConfigError as error:
            self._complain(stamp, str(error))
        finally:
            self._reading = False
            self._look_at = self._monotonic() + LOOK_SECONDS

    def _complain(self, stamp: tuple[int, ...], reason: str) -> None:
        if self._failed != stamp:
            self._failed = stamp
            log.error("{file} stays as it was known: {reason}", file=str(self._path), reason=reason)
