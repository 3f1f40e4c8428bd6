"""The guard against guessing passwords (floor 4): slows it per address and per account, and locks no owner out.

An address (one of IPv4, a /64 of IPv6) with too many wrong guesses is turned away for a while, before anything is
checked.  An account with too many, from wherever, is slowed: an address from which it was logged in to in the last 30
days passes as ever, all others together get one attempt each `PACE` seconds.  So an attacker with many addresses gets
few guesses at one account, and the owner at the usual places notices nothing.

What counts:

* The same wrong guess at the same login from the same address counts once in a window: a phone with an old password
  tries it every minute and is never banned for that.  Answers to a challenge (CRAM-MD5, SCRAM, NTLM) differ each time
  and count each time.
* A right login forgives its address the wrong guesses at *that login*, not at others: else who has one account would
  log in to it between guesses at others.  And in a window no more is forgiven than leads to a ban: else who shares
  an address with the owner (NAT) could guess for ever, since the owner's programs log in all the time.
* Names that nobody has count like others, so nothing tells them apart.
* Guesses that are under way when a ban begins get no answer but that; so it does not matter how many connections
  somebody has.

All is in memory, bounded (`guard_tables`), and gone with a restart.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network, IPv6Network, ip_address

from attrs import frozen
from twisted.logger import Logger

from ..errors import Refused, TryLater
from ..happenings import Publish, unheard
from ..net.addresses import subject_of
from .guard_tables import MAX_BANS, MAX_PER_ADDRESS, Ban, Bans, Familiar, Guesses, Rates

log = Logger()

Sleep = Callable[[float], Awaitable[None]]


@frozen
class GuardSettings:
    """`per_address` wrong guesses from one address in `window` seconds ban it (None: never; above 1000 is 1000),
    `per_account` at one account slow that (None: never).  The first ban takes `ban` seconds, each further one of a
    day twice as long as the last, a day at most.  Addresses of the networks in `never` are not banned."""

    per_address: int | None = 30
    per_account: int | None = 50
    window: float = 600.0
    ban: float = 900.0
    never: tuple[IPv4Network | IPv6Network, ...] = ()


class Guard:
    """One for a site.  `monotonic` gives seconds, `wall` UTC epoch seconds, `random(n)` n octets.

    Addresses are IP text as in `Peer.host`; "" (a UNIX socket) is never counted.  Logins are compared as they are
    given: in canonical form.  `refused` is the number of attempts that were turned away.
    """

    def __init__(
        self,
        settings: GuardSettings,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.refused = 0
        self._monotonic, self._wall, self._random = monotonic, wall, random
        #: Tells those who follow what happens.
        self.publish: Publish = unheard
        # Without a limit for addresses the last 100 guesses are known, to count repeated ones once for the account.
        self._most = min(settings.per_address or 100, MAX_PER_ADDRESS)
        self._guesses = Guesses(settings.window, random, self._most)
        self._rates = Rates(settings.window)
        self._familiar = Familiar()
        self._banned, self._slowed = Bans("address"), Bans("account")
        self._waiting: set[tuple[str, str]] = set()
        self._last = ("", "")

    def adopt(self, settings: GuardSettings) -> None:
        """Go by these from now on.  Bans stay; guesses are counted anew where the window or their number changes."""
        old, self.settings = self.settings, settings
        if (old.window, old.per_address) != (settings.window, settings.per_address):
            self._most = min(settings.per_address or 100, MAX_PER_ADDRESS)
            self._guesses = Guesses(settings.window, self._random, self._most)
            self._rates = Rates(settings.window)

    # ------------------------------------------------------------ asked by every login

    def admit(self, address: str) -> None:
        """Before anything is checked.  Raises TryLater for an address that is banned."""
        if self._banned:
            self._turn_away(address, self._subject(address))

    async def account(self, login: str, address: str, sleep: Sleep) -> None:
        """Before an authenticator is asked; waits with `sleep(seconds)` where the account is slowed.

        Raises TryLater when too many wait, and for an address that was banned meanwhile.
        """
        if not self._banned and not self._slowed:
            return
        where, now = self._subject(address), self._monotonic()
        self._turn_away(address, where)
        held = self._slowed.get(login, now)
        if held is None or not where or self._familiar.knows(where, login, now):
            return
        # One place for an address, so that one alone cannot take all.
        wait = None if (login, where) in self._waiting else held.reserve(now)
        if wait is None:
            self.refused += 1
            raise TryLater("Too many failed logins, try again later", "4.7.0")
        if wait > 0:
            self._waiting.add((login, where))
            try:
                await sleep(wait)
            finally:
                self._waiting.discard((login, where))
            self._turn_away(address, where)

    def failed(self, address: str, login: str, guess: bytes) -> None:
        """A wrong guess; `guess` are octets that stand for what was tried (none: it counts, as if it were a new one),
        `login` is "" when it had no name."""
        where = self._subject(address)
        settings = self.settings
        if not where or (settings.per_address is None and settings.per_account is None):
            return
        now = self._monotonic()
        banned = self._banned.get(where, now)
        if banned is not None:
            banned.failures += 1
        name = self._guesses.tag(login.encode("utf-8", "surrogatepass"))
        count = self._guesses.add(where, name, guess, now)
        if count is None:
            return
        if settings.per_address is not None and count >= self._most:
            self._guesses.forget(where)
            if banned is None and not self._exempt(address, where):
                self._begin(self._banned, where, count, now)
        if login and settings.per_account is not None:
            self._count_account(login, name, now)

    def succeeded(self, address: str, login: str) -> None:
        """A right login."""
        where = self._subject(address)
        if where and login:
            now = self._monotonic()
            self._familiar.add(where, login, now)
            if where in self._guesses:
                self._guesses.forgive(where, self._guesses.tag(login.encode("utf-8", "surrogatepass")), now)

    # ------------------------------------------------------------ asked by people

    def bans(self, most: int = MAX_BANS) -> list[Ban]:
        """Those in effect, the last `most` of a kind: addresses, then accounts, in the order of their beginning."""
        now = self._monotonic()
        return self._banned.told(now, most) + self._slowed.told(now, most)

    def lift(self, subject: str) -> bool:
        """End the ban of an address, a /64 or a login, and forget its failures; whether there was one."""
        now = self._monotonic()
        where = subject_of(subject.removesuffix("/64") if ":" in subject else subject)
        self._guesses.forget(where)
        self._rates.forget(self._guesses.tag(subject.encode("utf-8", "surrogatepass")))
        lifted = [self._banned.lift(where, now), self._slowed.lift(subject, now)]
        return any(lifted)

    def ban(self, address: str, seconds: float) -> Ban:
        """Ban an address by hand, in place of a ban that it has.  Raises Refused."""
        text = address.removesuffix("/64") if ":" in address else address
        where = subject_of(text)
        if not _is_address(where):
            raise Refused(f"{address!r} is no IP address")
        if self._exempt(text, where):
            raise Refused(f"{address} is never banned, the configuration says")
        return self._banned.begin(where, 0, seconds, self._monotonic(), self._wall(), double=False)

    # ------------------------------------------------------------ inside

    def _subject(self, address: str) -> str:
        """`subject_of`; the same address is asked for three times in a login."""
        if self._last[0] != address:
            self._last = (address, subject_of(address))
        return self._last[1]

    def _turn_away(self, address: str, where: str) -> None:
        if self._banned.get(where, self._monotonic()) is not None and not self._exempt(address, where):
            self.refused += 1
            raise TryLater("Too many failed logins from your address, try again later", "4.7.0")

    def _count_account(self, login: str, name: bytes, now: float) -> None:
        count = self._rates.add(name, now)
        slowed = self._slowed.get(login, now)
        if slowed is not None:
            slowed.failures += 1
        elif self.settings.per_account is not None and count >= self.settings.per_account:
            self._begin(self._slowed, login, int(count), now)

    def _begin(self, bans: Bans, subject: str, failures: int, now: float) -> None:
        ban = bans.begin(subject, failures, self.settings.ban, now, self._wall())
        log.warn(
            "{what} {subject} until {until} UTC: {failures} failed logins",
            what="banned the address" if ban.kind == "address" else "slowed logins to the account",
            subject=subject,
            until=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ban.until)),
            failures=failures,
        )
        self.publish("login.banned", what=ban.kind, subject=subject, until=ban.until, failures=failures)

    def _exempt(self, address: str, where: str) -> bool:
        """Whether an address is never banned; one address may be so in a /64 that is."""
        never = self.settings.never
        if not never or not _is_address(where):
            return False
        ip = ip_address(address.partition("%")[0] if where.endswith("/64") else where)
        return any(ip in network for network in never)


def _is_address(where: str) -> bool:
    """Whether a subject is one of an IP address."""
    try:
        ip_address(where.removesuffix("/64"))
    except ValueError:
        return False
    return True
