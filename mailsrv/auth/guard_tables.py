"""What the guard against guessing remembers (floor 4): four tables, each bounded, the oldest forgotten first.

Nothing that was typed is kept: a guess is a keyed digest.  Times are monotonic seconds.  A table is an `OrderedDict`,
because the first key of a plain dict from whose front much was taken is slow to find.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from itertools import islice
from struct import Struct

from attrs import define, frozen

#: Addresses with wrong guesses; accounts with such; pairs of account and familiar address; bans of a kind.
MAX_ADDRESSES, MAX_ACCOUNTS, MAX_FAMILIAR, MAX_BANS = 100_000, 100_000, 100_000, 100_000
#: Wrong guesses of all addresses together, 24 octets each; and the largest limit for one address.
MAX_GUESSES, MAX_PER_ADDRESS = 1_000_000, 1000
#: Addresses of one account, so that nobody can push out those of others by logging in from everywhere.
FAMILIAR_PER_ACCOUNT = 16
FAMILIAR_SECONDS = 30 * 86400.0
DAY = 86400.0
#: One attempt at an account under attack each so many seconds; so many may wait.  The last waits for 30 s, which is
#: less than clients and `login_timeout` do.
PACE, PLACES = 5.0, 6

#: One guess: when, a tag of the login (another one when it is forgiven), a tag of login and guess.
_GUESS = Struct(">d8s8s")


class Guesses:
    """Wrong guesses by address, for a window of seconds that moves along.

    `random(n)` gives n octets.  Of one address `most` count and `most` can be forgiven; beyond `addresses` and
    `guesses` the address goes that failed the longest ago.
    """

    def __init__(
        self,
        window: float,
        random: Callable[[int], bytes],
        most: int,
        addresses: int = MAX_ADDRESSES,
        guesses: int = MAX_GUESSES,
    ) -> None:
        self._window, self._most = window, most
        self._key, self._forgiven = random(32), random(8)
        self._addresses, self._octets = addresses, guesses * _GUESS.size
        self._records: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        """Guesses."""
        return self._held // _GUESS.size

    def __contains__(self, address: str) -> bool:
        return address in self._records

    def tag(self, octets: bytes) -> bytes:
        """8 octets that nobody else can compute."""
        return blake2b(octets, digest_size=8, key=self._key).digest()

    def add(self, address: str, login: bytes, guess: bytes, now: float) -> int | None:
        """How many wrong guesses of the address count now; None when this one is in the window already.

        `login` is a tag.  A `guess` of no octets is like no other.
        """
        self._expire(now)
        record = self._alive(self.forget(address), now)
        tag = self.tag(login + guess)
        repeated = bool(guess) and tag in record
        if not repeated:
            record = record[-(2 * self._most - 1) * _GUESS.size :] + _GUESS.pack(now, login, tag)
        while self._records and (len(self._records) >= self._addresses or self._held + len(record) > self._octets):
            self._held -= len(self._records.popitem(last=False)[1])
        self._records[address] = record
        self._held += len(record)
        return None if repeated else len(record) // _GUESS.size - record.count(self._forgiven)

    def forgive(self, address: str, login: bytes, now: float) -> None:
        """Wrong guesses at this login from the address count no more, up to `most` in a window."""
        record = self._records[address]
        alive = self._alive(record, now)
        gone = record[: len(record) - len(alive)]
        left = max(0, self._most - alive.count(self._forgiven))
        # The record keeps its place and length: who is forgiven has not failed again.
        self._records[address] = gone + alive.replace(login, self._forgiven, left)

    def forget(self, address: str) -> bytes:
        """All of one address; gives what it was."""
        record = self._records.pop(address, b"")
        self._held -= len(record)
        return record

    def _alive(self, record: bytes, now: float) -> bytes:
        """Without the guesses that left the window."""
        start = 0
        while start < len(record) and _GUESS.unpack_from(record, start)[0] <= now - self._window:
            start += _GUESS.size
        return record[start:]

    def _expire(self, now: float) -> None:
        """Drop up to two records that are of no use: more than come in, so that memory is given back."""
        for _ in range(2):
            record = next(iter(self._records.values()), b"")
            if record and _GUESS.unpack_from(record, len(record) - _GUESS.size)[0] <= now - self._window:
                self._held -= len(self._records.popitem(last=False)[1])


class Rates:
    """Wrong guesses by account: an estimate from this window and the one before."""

    def __init__(self, window: float, accounts: int = MAX_ACCOUNTS) -> None:
        self._window, self._bound = window, accounts
        #: tag of the login -> (begin of this window, count in it, count in the one before)
        self._counts: OrderedDict[bytes, tuple[float, int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, login: bytes, now: float) -> float:
        """How many there were in the last window's time, this one included.

        The window before counts with the share of it that is not yet a window ago: no need to keep every moment.
        """
        counts, window = self._counts, self._window
        for _ in range(2):
            first = next(iter(counts.values()), None)
            if first is not None and now - first[0] >= 2 * window:
                counts.popitem(last=False)
        begin, count, before = counts.pop(login, (now, 0, 0))
        if now - begin >= 2 * window:
            begin, count, before = now, 0, 0
        elif now - begin >= window:
            begin, count, before = begin + window, 0, count
        while len(counts) >= self._bound:
            counts.popitem(last=False)
        counts[login] = (begin, count + 1, before)
        return count + 1 + before * (1 - (now - begin) / window)

    def forget(self, login: bytes) -> None:
        """All of one account."""
        self._counts.pop(login, None)


class Familiar:
    """From which addresses an account was logged in to within `FAMILIAR_SECONDS`."""

    def __init__(self, pairs: int = MAX_FAMILIAR) -> None:
        self._bound, self._pairs = pairs, 0
        #: login -> address -> when last; the account that was used last is at the end.
        self._known: OrderedDict[str, dict[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return self._pairs

    def add(self, address: str, login: str, now: float) -> None:
        """A login that was right."""
        known = self._known
        where = known.get(login)
        if where is None:
            where = known[login] = {}
        else:
            known.move_to_end(login)
        if address not in where:
            if len(where) >= FAMILIAR_PER_ACCOUNT:
                del where[min(where, key=where.__getitem__)]
                self._pairs -= 1
            self._pairs += 1
        where[address] = now
        while self._pairs > self._bound:
            self._pairs -= len(known.popitem(last=False)[1])

    def knows(self, address: str, login: str, now: float) -> bool:
        """Whether the address is familiar."""
        when = self._known.get(login, {}).get(address)
        return when is not None and now - when < FAMILIAR_SECONDS


@frozen
class Ban:
    """A ban as it is told.  `kind` is "address" (turned away) or "account" (slowed for addresses it is not used
    from); `subject` the address, network or login; `since` and `until` are UTC epoch seconds; `failures` the wrong
    guesses so far, 0 for one by hand."""

    kind: str
    subject: str
    since: float
    until: float
    failures: int


@define(eq=False)
class Held:
    """One ban; it stays for a day after its end, because the next one will be twice as long."""

    since: float
    until: float
    ends: float
    repeats: int
    failures: int
    #: Of an account: when the next attempt of a stranger may be.
    turn: float = 0.0

    def reserve(self, now: float) -> float | None:
        """Take the next place; the seconds to wait, None when there is no place."""
        wait = max(0.0, self.turn - now)
        if wait > PACE * PLACES:
            return None
        self.turn = now + wait + PACE
        return wait


class Bans:
    """Bans of one kind.  They have a table of their own: to push one out takes as many bans as it holds."""

    def __init__(self, kind: str, bound: int = MAX_BANS) -> None:
        self.kind, self._bound = kind, bound
        #: In the order of their beginning.
        self._held: OrderedDict[str, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, subject: str, now: float) -> Held | None:
        """The ban in effect."""
        held = self._held.get(subject)
        return held if held is not None and now < held.ends else None

    def begin(self, subject: str, failures: int, seconds: float, now: float, wall: float, double: bool = True) -> Ban:
        """A ban of `seconds`, twice as long for each ban of this subject of which the last ended within a day, a day
        at most.  Without `double` exactly `seconds`."""
        held = self._held
        while held and now - next(iter(held.values())).ends >= DAY:
            held.popitem(last=False)
        last = held.pop(subject, None)
        repeats = 0 if last is None or now - last.ends >= DAY else last.repeats + 1
        if double:
            seconds = max(seconds, min(seconds * 2.0 ** min(repeats, 30), DAY))
        while len(held) >= self._bound:
            held.popitem(last=False)
        held[subject] = Held(wall, wall + seconds, now + seconds, repeats, failures)
        return self._told(subject, held[subject])

    def lift(self, subject: str, now: float) -> bool:
        """End it and forget that it was; whether there was one in effect."""
        held = self._held.pop(subject, None)
        return held is not None and now < held.ends

    def told(self, now: float, most: int) -> list[Ban]:
        """Those in effect, the last `most` of them, in the order of their beginning."""
        found = (self._told(subject, held) for subject, held in reversed(self._held.items()) if now < held.ends)
        return list(islice(found, most))[::-1]

    def _told(self, subject: str, held: Held) -> Ban:
        return Ban(self.kind, subject, held.since, held.until, held.failures)
