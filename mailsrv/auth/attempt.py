"""One attempt to log in (floor 2b): the guard, the authenticators in order, the authorizer.

Decisions 13 and 15.  Wrong, unknown and disabled look the same, in words and in work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field
from twisted.logger import Logger

from ..errors import AuthenticationFailed, MailError, NotPermitted, TryLater
from ..interfaces import IAuthenticator, IAuthorizer, IDirectory, ISaslMechanism, ISecrets
from ..values import AuthContext, Challenge, Credentials, Identity, NeedSecrets, Secrets, Verify
from .names import login_address
from .patterns import fold

log = Logger()

#: `await ask(challenge)` gives the client's octets, or None when it gives up.
Ask = Callable[[bytes], Awaitable[bytes | None]]


#: Schemes whose user name is nobody's login: a certificate says who tries, and the name is only who is asked for; a
#: trace is whatever a guest says (RFC 4505).
NAMELESS = frozenset({"certificate", "anonymous"})


class Watch(Protocol):
    """What is asked of the guard against guessing (`auth/guard.py`)."""

    def admit(self, address: str) -> None:
        """Raises TryLater for an address that is banned."""

    async def account(self, login: str, address: str, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Let an attempt at this account pass, now or later.  Raises TryLater."""

    def failed(self, address: str, login: str, guess: bytes) -> None:
        """A wrong guess."""

    def succeeded(self, address: str, login: str) -> None:
        """A right one."""


async def _no_decoy(password: str, source: str, login: str) -> None:
    """Where nothing is hashed there is nothing to imitate."""


@define(eq=False, kw_only=True)
class Door:
    """What decides about the logins of one virtual server; shared by its sessions.

    `decoy(password, address, login)` takes as long as checking a password, for a name that nobody knows.
    """

    server: str
    authenticators: Sequence[IAuthenticator]
    authorizer: IAuthorizer
    directory: IDirectory
    sleep: Callable[[float], Awaitable[None]]
    decoy: Callable[[str, str, str], Awaitable[None]] = _no_decoy
    guard: Watch | None = None
    domains: Mapping[str, str] = field(factory=dict)


class Attempt:
    """One attempt at a door: `check` credentials, or `run` a mechanism; then `failed` or `succeeded`.

    `login` is the canonical name that was tried, folded as directories compare names (else a few spellings of one name
    would be so many accounts to the guard); "" as long as there is none.
    """

    def __init__(self, door: Door, context: AuthContext) -> None:
        self._door, self._context = door, context
        #: What stands for the guess: what was checked, or else the last thing said, which holds the proof.
        self._checked, self._said = b"", b""
        self._issued: tuple[IAuthenticator, Secrets] | None = None
        self._proven = ""
        self._refusal: AuthenticationFailed | None = None
        self.login = ""

    def failed(self, error: AuthenticationFailed) -> None:
        """Tell the guard of a wrong guess; a right password without permission, or a syntax error, is none."""
        guard = self._door.guard
        if error is self._refusal:
            return
        self._refusal = error
        if guard is not None and error.status == AuthenticationFailed.status and not isinstance(error, NotPermitted):
            guard.failed(self._context.peer.host, self.login, self._checked or self._said)

    def succeeded(self) -> None:
        """Tell the guard of a right one."""
        if self._door.guard is not None:
            self._door.guard.succeeded(self._context.peer.host, self.login or self._proven)

    # ------------------------------------------------------------ credentials

    async def check(self, credentials: Credentials) -> Identity:
        """The identity, with permission to use this server (S-104).

        Raises AuthenticationFailed; NotPermitted when the credentials are right; TryLater.
        """
        if credentials.scheme == "secret":
            found = await self._proved(credentials)
        else:
            tried = "" if credentials.scheme in NAMELESS else credentials.username
            shown = (credentials.password or credentials.token).encode("utf-8", "surrogatepass")
            self._checked = shown or credentials.response or credentials.certificate
            await self._approach(tried)
            try:
                found = await self._ask(credentials)
            finally:
                # There may have been a queue: who is banned meanwhile does not learn what came out.
                self._admit()
        self._proven = "" if found.anonymous else fold(found.authcid)
        if credentials.scheme == "token":
            # Who a token is for, it says itself; a name beside it is a hint, and forgives nobody's guesses.
            self.login = self._proven
        identity = await self._act_as(found) if found.authzid else found
        verdict = await self._door.authorizer.permits(identity, "server.use", self._door.server)
        if verdict.action == "tempfail":
            raise TryLater(verdict.text or None)
        if verdict.action != "accept":
            raise _denied(identity, verdict.rule or "not permitted", verdict.text)
        return identity

    def _admit(self) -> None:
        """Raises TryLater for an address that is banned."""
        if self._door.guard is not None:
            self._door.guard.admit(self._context.peer.host)

    async def _approach(self, username: str) -> None:
        """Note who is tried, and let the guard slow it down.  Raises AuthenticationFailed, TryLater."""
        context, door = self._context, self._door
        if username:
            self.login = fold(str(login_address(username, context.login_domain, context.domains)))
            if door.guard is not None:
                await door.guard.account(self.login, context.peer.host, door.sleep)

    async def _ask(self, credentials: Credentials) -> Identity:
        """Whoever of the authenticators knows."""
        # To many a directory no password is an anonymous bind, which it permits (RFC 4513 section 5.1.2).
        empty = credentials.scheme == "password" and not credentials.password
        for authenticator in () if empty else self._door.authenticators:
            if credentials.scheme in authenticator.schemes:
                identity = await self._told(authenticator.authenticate(credentials, self._context))
                if identity is not None:
                    return identity
        if credentials.scheme == "password":
            # Once, whatever the number of authenticators: time must not tell who has an account.
            await self._door.decoy(credentials.password, self._context.peer.host, self.login)
        raise AuthenticationFailed()

    async def _told(self, answer: Awaitable[Any]) -> Any:
        """What an authenticator answers.  Its connection to wherever it looks is not the client's, whose reset would
        end the session in silence: TryLater."""
        try:
            return await answer
        except ConnectionError as error:
            log.failure("an authenticator of {server} failed", server=self._door.server)
            raise TryLater() from error

    async def _proved(self, credentials: Credentials) -> Identity:
        """The client has proved to know secrets that were handed out in this very attempt."""
        issued, self._issued = self._issued, None
        if issued is None or credentials.secrets is not issued[1]:
            raise AuthenticationFailed()
        identity: Identity | None = await self._told(issued[0].authenticate(credentials, self._context))
        if identity is None:
            raise AuthenticationFailed()
        return identity

    async def _act_as(self, identity: Identity) -> Identity:
        """Another account than the own, for whom the authorizer lets (RFC 4422 section 2; authzid).

        An alias is judged by the account that it opens: it may lead out of what a role covers.  Raises NotPermitted:
        who is not allowed does not learn whether there is such an account.
        """
        context, door = self._context, self._door
        wanted = str(login_address(identity.authzid, context.login_domain, context.domains))
        if fold(wanted) in (self.login, fold(identity.authcid)):
            # QUIRK: curl and others ask to be who they are; for the log that is nobody else.
            return evolve(identity, authzid="")
        target = await door.directory.credentials(wanted)
        if target is not None and target.account_id == identity.account_id:
            return identity
        verdict = await door.authorizer.permits(identity, "login.as", wanted if target is None else target.login)
        if verdict.action == "tempfail":
            raise TryLater(verdict.text or None)
        if verdict.action != "accept" or target is None or not target.enabled:
            raise _denied(identity, f"may not log in as {wanted}")
        return evolve(
            identity,
            account_id=target.account_id,
            tenant_id=target.tenant_id,
            authzid=target.login,
            denied=identity.denied | target.denied,
        )

    # ------------------------------------------------------------ mechanisms

    async def run(self, mechanism: ISaslMechanism, initial: bytes | None, ask: Ask) -> Identity | None:
        """A SASL exchange; None when the client aborts.  Raises AuthenticationFailed, TryLater.

        A failed check is thrown into the exchange: a mechanism may have something to say about it (RFC 7628
        section 3.2.2).
        """
        return await self.drive(mechanism.exchange(self._context, initial), ask)

    async def drive(self, exchange: Any, ask: Ask) -> Identity | None:
        """The same for an exchange that is no SASL mechanism's: APOP."""
        resume: Callable[[], Any] = lambda: next(exchange)
        try:
            while True:
                wish = resume()
                if isinstance(wish, Challenge):
                    octets = await self._answer(ask, wish.octets)
                    if octets is None:
                        exchange.close()
                        return None
                    self._said = octets
                    resume = _sender(exchange, octets)
                else:
                    resume = await self._grant(exchange, wish)
        except StopIteration as end:
            identity: Identity = end.value
            return identity

    async def _answer(self, ask: Ask, challenge: bytes) -> bytes | None:
        """What the client says.  Who was refused already cannot make it undone by an abort, or by nonsense.

        Raises AuthenticationFailed, TryLater, and what `ask` raises.
        """
        try:
            octets = await ask(challenge)
        except MailError:
            if self._refusal is None:
                raise
            octets = None
        if octets is None and self._refusal is not None:
            raise self._refusal
        if octets is not None:
            # Once more: a client may have begun any number of exchanges before the ban.
            self._admit()
        return octets

    async def _grant(self, exchange: Any, wish: NeedSecrets | Verify) -> Callable[[], Any]:
        """How to go on after what was wished."""
        try:
            if isinstance(wish, NeedSecrets):
                return _sender(exchange, await self._secrets(wish))
            return _sender(exchange, await self.check(wish.credentials))
        except AuthenticationFailed as error:
            failure = error
        # Told now: the client may hang up on what the mechanism has to say about it.
        self.failed(failure)
        return lambda: exchange.throw(failure)

    async def _secrets(self, wish: NeedSecrets) -> Secrets | None:
        """What an authenticator keeps for that login, remembered for the proof."""
        self._issued = None
        await self._approach(wish.username)
        for authenticator in self._door.authenticators:
            if ISecrets.providedBy(authenticator) and wish.kind in authenticator.kinds:
                secrets = await self._told(authenticator.secrets(wish.kind, wish.username, self._context))
                if secrets is not None:
                    self._issued = (authenticator, secrets)
                    return secrets
        return None


def _denied(identity: Identity, why: str, text: str = "") -> NotPermitted:
    """The refusal of somebody who has shown who it is."""
    error = NotPermitted(text or None)
    error.why = f"{identity.authcid}: {why}"
    return error


def _sender(exchange: Any, value: Any) -> Callable[[], Any]:
    """Resume the exchange with a value."""
    return lambda: exchange.send(value)
