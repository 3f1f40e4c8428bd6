"""Password hashes: argon2id in a small pool of threads, and a short memory of what was right (floor 2b).

New hashes are argon2id; `verify` knows the older schemes of `schemes.py` too, so that stores of other servers can be
taken over as they are.

One check costs about 20 ms of a core and 19 MiB on purpose.  So it never runs in the reactor's thread, at most
`threads` run at once, at most `waiting` wait (then TryLater), the addresses of clients take turns, equal checks that
are under way share one run, and a login that was right is known for `CACHE_SECONDS` by a keyed digest of login, hash
and password, all three.  A new password has a new hash, so nothing has to be forgotten when one changes.
"""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import argon2
from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import MailError, Refused, TryLater
from ..net.addresses import subject_of
from . import schemes
from .pool import Call, Job, Pool

log = Logger()

#: OWASP's argon2id minimum: 19 MiB, two passes, one lane.
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
CACHE_SECONDS = 300.0
CACHE_ENTRIES = 10_000


def normal(password: str) -> bytes:
    """The octets of a password, one form for what looks the same (RFC 8265 section 4.2, OpaqueString).

    Raises Refused for a text that has no UTF-8.
    """
    if password.isascii():
        return password.encode("ascii")
    try:
        return unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("A password must be Unicode text") from None


class PasswordHasher:
    """Makes argon2id hashes, and checks these and older ones.

    `call_from_thread(function, *arguments)` is the reactor's; `clock` is monotonic seconds, `random(n)` gives n
    octets; `memory_kib` is what a hash costs, less for tests.  All methods are called in the reactor's thread.
    """

    def __init__(
        self,
        call_from_thread: Call,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
        threads: int = 2,
        waiting: int = 1000,
        cache_seconds: float = CACHE_SECONDS,
        cache_entries: int = CACHE_ENTRIES,
        memory_kib: int = MEMORY_KIB,
    ) -> None:
        self._argon = argon2.PasswordHasher(time_cost=PASSES, memory_cost=memory_kib, parallelism=LANES)
        self._pool = Pool(call_from_thread, threads, waiting)
        self._clock, self._seconds, self._entries = clock, cache_seconds, cache_entries
        self._key = random(32)
        self._decoy = _never(random, memory_kib)
        self._form = self._decoy.rsplit("$", 2)[0] + "$", len(self._decoy)
        self._imitated = self._decoy
        self._right: dict[bytes, float] = {}
        self._running: dict[bytes, Job] = {}

    async def hash(self, password: str) -> str:
        """A new encoded hash.  Raises TryLater."""
        secret = normal(password)
        encoded: str | None = await self._submit(Job(lambda: self._make(secret)))
        if encoded is None:
            raise TryLater()
        return encoded

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function gives that takes its time, for example one that makes keys of a password; it runs in the
        pool, in turn.  Raises TryLater, and the MailError that the function raises.
        """
        outcome = await self._submit(Job(lambda: _outcome(function, arguments)))
        if outcome is None:
            raise TryLater()
        if isinstance(outcome, MailError):
            raise outcome
        return outcome[0]

    def stale(self, encoded: str) -> bool:
        """Whether a hash that was right should be made anew: another scheme, or another cost than today's."""
        start, size = self._form
        return not encoded.startswith(start) or len(encoded) != size

    def imitate(self, encoded: str) -> None:
        """From now on a login that nobody has takes as long as a check against this one, which is never right for
        it: for an authenticator whose hashes are slower than argon2id."""
        self._imitated = encoded or self._decoy

    async def verify(self, encoded: str, password: str, login: str = "", source: str = "") -> bool:
        """Whether the password is right for that encoded hash; "" is right for none.

        Raises TryLater when too many wait, and for a hash that is argon2 but damaged; Refused for a password that
        is no Unicode text.

        `login` only sets apart what is remembered; `source` is the client's address: each has its turn.  Every
        refusal takes as long as a true check.
        """
        secret = normal(password)
        key = self._digest(login, encoded, secret)
        until = self._right.get(key)
        if until is not None:
            if self._clock() < until:
                return True
            del self._right[key]
        job = self._running.get(key)
        if job is not None:
            waiter: Deferred[Any] = Deferred()
            job.waiters.append(waiter)
            outcome = await waiter
        else:
            work = (lambda: self._check(encoded, secret)) if encoded else (lambda: self._imitate(secret))
            outcome = await self._submit(Job(work, key=key), subject_of(source))
        if outcome is None:
            raise TryLater()
        return bool(outcome)

    async def decoy(self, password: str, source: str = "", login: str = "") -> None:
        """Take as long as `verify`, for a login nobody has.  Raises TryLater likewise.

        `login` sets it apart: else one password tried at many names would be one run for all that nobody has."""
        await self.verify("", password, login, source)

    def close(self) -> None:
        """Stop; who waits gets TryLater.  Idempotent."""
        for job in self._pool.close():
            self._running.pop(job.key, None)
            for waiter in job.waiters:
                waiter.errback(TryLater())
        self._right.clear()

    # ------------------------------------------------------------ inside

    def _submit(self, job: Job, source: str = "") -> Deferred[Any]:
        waiter: Deferred[Any] = Deferred()
        job.waiters.append(waiter)
        self._pool.submit(job, self._done, source)
        if job.key:
            self._running[job.key] = job
        return waiter

    def _done(self, job: Job, outcome: Any) -> None:
        """In the reactor's thread: remember a success, tell everybody."""
        self._running.pop(job.key, None)
        if outcome is True and job.key:
            self._remember(job.key)
        for waiter in job.waiters:
            waiter.callback(outcome)

    def _remember(self, key: bytes) -> None:
        right = self._right
        # Re-inserted, so that the first entry is the one that ends first.
        right.pop(key, None)
        while len(right) >= self._entries:
            del right[next(iter(right))]
        right[key] = self._clock() + self._seconds

    def _digest(self, login: str, encoded: str, secret: bytes) -> bytes:
        """Keyed BLAKE2; lengths in front, so that no two triples run into one another."""
        name, hashed = login.encode(), encoded.encode()
        text = b"%d,%d," % (len(name), len(hashed)) + name + hashed + secret
        return hashlib.blake2b(text, digest_size=32, key=self._key).digest()

    def _make(self, secret: bytes) -> str | None:
        """In a thread: a hash, or None when there is no memory for one."""
        try:
            return self._argon.hash(secret)
        except HashingError as error:
            log.error("a password could not be hashed: {error}", error=str(error))
            return None

    def _check(self, encoded: str, secret: bytes) -> bool | None:
        """In a thread: right, wrong, or None when it could not be told."""
        text = schemes.argon2_text(encoded)
        return self._check_argon2(text, secret) if text else self._check_other(encoded, secret)

    def _check_argon2(self, encoded: str, secret: bytes) -> bool | None:
        try:
            return self._argon.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except ValueError:
            # argon2's InvalidHashError is one; so is what a hash that is not ASCII raises.
            log.error("a stored password hash is none of argon2")
            self._against_decoy(secret)
            return False
        except VerificationError as error:
            log.error("a password could not be checked: {error}", error=str(error))
            return None

    def _check_other(self, encoded: str, secret: bytes) -> bool:
        try:
            right = schemes.check(encoded, secret)
        except schemes.Unusable as error:
            log.error("a stored password hash cannot be used: {error}", error=str(error))
            right = False
        if not right:
            # Most are quick, which would tell who has an account here.
            self._against_decoy(secret)
        return right

    def _imitate(self, secret: bytes) -> bool | None:
        """In a thread: take the time of a check, and refuse."""
        return None if self._check(self._imitated, secret) is None else False

    def _against_decoy(self, secret: bytes) -> None:
        """In a thread: spend the time of a check, so that an account that cannot log in looks like any other."""
        with suppress(VerificationError):
            self._argon.verify(self._decoy, secret)


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """In a thread: the result in a tuple, or the MailError."""
    try:
        return (function(*arguments),)
    except MailError as error:
        return error


def _never(random: Callable[[int], bytes], memory_kib: int) -> str:
    """An encoded hash of today's cost that no password has."""
    salt, digest = (b64encode(random(n)).rstrip(b"=").decode("ascii") for n in (16, 32))
    return f"$argon2id$v=19$m={memory_kib},t={PASSES},p={LANES}${salt}${digest}"
