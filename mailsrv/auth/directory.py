"""The authenticator `directory`: accounts that are kept in the store (floor 2b)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import AuthenticationFailed, MailError, TryLater
from ..interfaces import IAccountAdmin, IAuthenticator, IDirectory, ISecrets
from ..parts import option
from ..values import AuthContext, Credentials, Identity, Secrets, StoredCredentials
from .accounts import identity_of
from .app_passwords import matching
from .hashing import PasswordHasher
from .names import login_address
from .secrets import KIND_LIST, make_secrets, same_secrets

log = Logger()

#: Accounts whose password is kept anew at one time; a login beyond that leaves it to the next one.
RENEWALS = 4
#: A password that changes so often while it is checked is for later.
CHANGES = 3
#: An account for which that failed is left alone for so many seconds; so many are remembered.
PAUSE_SECONDS, PAUSES = 300.0, 1000


@frozen
class Options:
    """[auth.directory]"""

    keep: tuple[str, ...] = option(
        KIND_LIST, (), "secrets kept for logins that do not show the password; an account may want fewer"
    )


@implementer(IAuthenticator, ISecrets)
class DirectoryAuthenticator:
    """Checks app passwords, the password's hash, and hands out the secrets of the kinds in `keep`.

    After a login with the password, a hash of an older kind and secrets that are wanted and missing (or there and
    not wanted) are made anew, without keeping the login waiting.
    """

    def __init__(
        self,
        directory: IDirectory,
        hasher: PasswordHasher,
        keep: Iterable[str] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.kinds = frozenset(keep)
        self.schemes = frozenset({"password", "secret"} if self.kinds else {"password"})
        self._directory, self._hasher = directory, hasher
        self._renewals = Renewals(directory, hasher, monotonic, random) if IAccountAdmin.providedBy(directory) else None

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator.  A disabled account looks like a wrong password; one without a password here may have one
        elsewhere (in a file, a database), so it is left to the next authenticator."""
        login = str(login_address(credentials.username, context.login_domain, context.domains))
        stored = await self._directory.credentials(login)
        if credentials.scheme == "secret":
            return self._proved(stored, credentials)
        if stored is None:
            return None
        app = matching(stored.app_passwords, credentials.password)
        if app is None and not stored.password_hash:
            return None
        if app is None:
            stored = await self._verified(stored, login, credentials.password, context.peer.host)
        if not stored.enabled:
            raise AuthenticationFailed()
        if app is not None:
            return identity_of(stored, credentials, app.scopes)
        if self._renewals is not None:
            wanted = self._wanted(stored)
            if stored.secrets.keys() != wanted or self._hasher.stale(stored.password_hash):
                self._renewals.begin(stored, credentials.password, wanted)
        return identity_of(stored, credentials)

    async def _verified(self, stored: StoredCredentials, login: str, password: str, source: str) -> StoredCredentials:
        """The account as it is after the check, which may have waited for seconds: meanwhile it can have been disabled
        or removed, or have got another password, or the same one kept anew.  Raises AuthenticationFailed, TryLater."""
        for _ in range(CHANGES):
            right = await self._hasher.verify(stored.password_hash, password, stored.login, source)
            found = await self._directory.credentials(login) if right else None
            if found is None:
                raise AuthenticationFailed()
            if (found.account_id, found.password_hash) == (stored.account_id, stored.password_hash):
                return found
            stored = found
        raise TryLater()

    async def secrets(self, kind: str, username: str, context: AuthContext) -> Secrets | None:
        """See ISecrets.  Those of a disabled account are given too: `authenticate` refuses it like a wrong proof."""
        login = str(login_address(username, context.login_domain, context.domains))
        stored = await self._directory.credentials(login)
        keys = stored.secrets.get(kind) if stored is not None and kind in self._wanted(stored) else None
        return Secrets(kind, stored.login, keys) if stored is not None and keys else None

    async def close(self) -> None:
        """Wait for what is being kept anew; nothing is begun any more."""
        if self._renewals is not None:
            await self._renewals.close()

    async def idle(self) -> None:
        """Wait until nothing is being kept anew: for tests and measurements."""
        if self._renewals is not None:
            await self._renewals.idle()

    def _wanted(self, stored: StoredCredentials) -> frozenset[str]:
        """The kinds that may be kept for that account."""
        return self.kinds if stored.keep is None else stored.keep & self.kinds

    def _proved(self, stored: StoredCredentials | None, credentials: Credentials) -> Identity:
        """Whose secrets those are, if they are still kept.  Raises AuthenticationFailed."""
        shown = credentials.secrets
        if stored is None or shown is None or not stored.enabled or stored.login != shown.login:
            raise AuthenticationFailed()
        keys = stored.secrets.get(shown.kind, "") if shown.kind in self._wanted(stored) else ""
        if not same_secrets(keys, shown.keys):
            raise AuthenticationFailed()
        return identity_of(stored, credentials)


class Renewals:
    """Keeps passwords in the form that is wanted today, in the background: few at a time, one for an account.

    `directory` is also an IAccountAdmin.  What fails is logged, and left alone for a while.
    """

    def __init__(
        self, directory: Any, hasher: PasswordHasher, monotonic: Callable[[], float], random: Callable[[int], bytes]
    ) -> None:
        self._directory, self._hasher, self._monotonic, self._random = directory, hasher, monotonic, random
        self._running: set[int] = set()
        self._paused: dict[int, float] = {}
        self._waiting: list[Deferred[None]] = []
        self._closed = False

    def begin(self, stored: StoredCredentials, password: str, wanted: frozenset[str]) -> None:
        """Keep the password, which is right, by today's hash and by secrets of the `wanted` kinds; or do nothing
        when too much is under way."""
        account = stored.account_id
        if self._closed or account in self._running or len(self._running) >= RENEWALS:
            return
        until = self._paused.pop(account, None)
        if until is not None and self._monotonic() < until:
            self._paused[account] = until
            return
        # Entered before it begins: what needs no waiting is done before fromCoroutine returns.
        self._running.add(account)
        work = Deferred.fromCoroutine(self._renew(stored, password, wanted))
        work.addErrback(lambda failure: log.failure("a password could not be kept anew", failure))
        work.addBoth(self._ended, account)

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        if self._running:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter

    async def close(self) -> None:
        """Begin nothing more, and wait.  Idempotent."""
        self._closed = True
        await self.idle()

    async def _renew(self, stored: StoredCredentials, password: str, wanted: frozenset[str]) -> None:
        was = stored.password_hash
        try:
            missing = [kind for kind in sorted(wanted) if kind not in stored.secrets]
            secrets = {kind: keys for kind, keys in stored.secrets.items() if kind in wanted}
            secrets |= await make_secrets(self._hasher, missing, password, self._random)
            stale = self._hasher.stale(was)
            if stale or secrets.keys() != stored.secrets.keys():
                encoded = await self._hasher.hash(password) if stale else was
                await self._directory.refresh(stored.account_id, was, encoded, secrets)
            if secrets.keys() != wanted:
                # A kind that has no form of this password would be tried at every login.
                self._pause(stored.account_id)
        except MailError as error:
            self._pause(stored.account_id)
            log.error("the password of {login} could not be kept anew: {error}", login=stored.login, error=error.text)

    def _pause(self, account: int) -> None:
        while len(self._paused) >= PAUSES:
            del self._paused[next(iter(self._paused))]
        self._paused[account] = self._monotonic() + PAUSE_SECONDS

    def _ended(self, result: Any, account: int) -> None:
        self._running.discard(account)
        if not self._running:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)


def build(options: Options, site: Any) -> DirectoryAuthenticator:
    """The part; `site` has `directory`, `hasher` and `monotonic`."""
    monotonic = getattr(site, "monotonic", time.monotonic)
    return DirectoryAuthenticator(site.directory, site.hasher, options.keep, monotonic=monotonic)
