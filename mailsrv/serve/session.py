"""What all sessions share (floor 3): who is there, since when, what it may, and how a login is worked on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from ..errors import AuthenticationFailed, TryLater
from ..interfaces import IAuthenticator, IAuthorizer, IMessagePolicy, IMessageStore, IRouter, ISaslMechanism
from ..limits import Limits
from ..net.connection import Connection
from ..net.spool import Spool
from ..transfer.intake import Intake
from ..values import AuthContext, Challenge, Credentials, Identity, Verify

log = Logger()


@frozen
class SessionInfo:
    """One line of "Current Sessions" (S-065).  `since` is UTC epoch seconds; ids are never reused."""

    id: int
    server: str
    protocol: str
    peer: str
    user: str
    since: float
    secure: bool


@define(eq=False)
class Services:
    """What a virtual server gives to its sessions; one object per server, shared by all of them."""

    name: str
    protocol: str
    hostname: str
    limits: Limits
    store: IMessageStore
    authenticators: Sequence[IAuthenticator]
    mechanisms: dict[str, ISaslMechanism]
    authorizer: IAuthorizer
    now: Callable[[], float]
    random: Callable[[int], bytes]
    sleep: Callable[[float], Awaitable[None]]
    #: `await aside(function, *arguments)` works out something long away from the reactor, a few at a time.
    aside: Callable[..., Awaitable[Any]]
    #: The folder of spool files; and the accounts whose maildrop a POP3 session of this site holds.
    spool_folder: str
    maildrops: set[int]
    login_domain: str = ""
    require_tls: bool = False
    login_without_tls: bool = False
    basic: bool = True
    tls_available: bool = True
    #: Minutes east of UTC of the server's own dates.
    zone: int = 0
    counters: dict[str, int] = field(factory=dict)

    def spool(self) -> Spool:
        """For the octets of one message on their way in."""
        return Spool(self.spool_folder, self.limits.memory_octets)

    def count(self, what: str) -> None:
        """Add one to a counter (S-068 and `server show`)."""
        self.counters[what] = self.counters.get(what, 0) + 1


@define(eq=False, kw_only=True)
class SmtpServices(Services):
    """What an SMTP virtual server gives besides.  `anonymous`: mail is taken without a login (S-099);
    `policies` make the rule objects of one connection, in order."""

    router: IRouter
    intake: Intake
    policies: Sequence[Callable[[], IMessagePolicy]] = ()
    anonymous: bool = True
    default_domain: str = ""


class Session:
    """Base of the three sessions.  A subclass sets `engine`, and gives greet, handle, dismiss and fail."""

    def __init__(self, connection: Connection, services: Services, number: int) -> None:
        self.connection = connection
        self.services = services
        self.limits = services.limits
        self.number = number
        self.since = services.now()
        self.identity: Identity | None = None
        self.bad_commands = 0
        self.failed_logins = 0

    def info(self) -> SessionInfo:
        """This session as administrators see it (S-065)."""
        return SessionInfo(
            id=self.number,
            server=self.services.name,
            protocol=self.services.protocol,
            peer=self.connection.peer.host,
            user=self.identity.authcid if self.identity else "",
            since=self.since,
            secure=self.connection.secure,
        )

    # ------------------------------------------------------------ limits

    def limit(self, connected: float, active: float) -> float | None:
        """Monotonic instant of the idle time-out (S-060), or of the login time-out before login."""
        limits = self.limits
        idle = None if limits.idle_timeout is None else active + limits.idle_timeout
        if self.identity is None and self.must_log_in() and limits.login_timeout is not None:
            login = connected + limits.login_timeout
            return login if idle is None else min(login, idle)
        return idle

    def must_log_in(self) -> bool:
        """Whether nothing useful can be done here without a login (then the login time-out holds)."""
        return True

    def closed(self) -> None:
        """The connection is gone: subclasses let go of what they hold."""

    # ------------------------------------------------------------ login

    def plaintext_allowed(self) -> bool:
        """Whether a password may cross the wire as the connection is now (S-053, S-101)."""
        return self.connection.secure or (self.services.login_without_tls and not self.services.require_tls)

    def offered_mechanisms(self) -> list[str]:
        """SASL mechanisms offered now: settings x authenticators x TLS (S-098, S-143, S-151)."""
        services = self.services
        schemes = frozenset().union(*(a.schemes for a in services.authenticators)) if services.basic else frozenset()
        allowed = self.plaintext_allowed()
        return [
            name
            for name, mechanism in services.mechanisms.items()
            if mechanism.scheme in schemes and (allowed or not mechanism.plaintext)
        ]

    def context(self) -> AuthContext:
        """Where this login happens."""
        services = self.services
        return AuthContext(
            service=services.protocol,
            server=services.name,
            peer=self.connection.peer,
            hostname=services.hostname,
            login_domain=services.login_domain,
            random=services.random,
            now=services.now,
        )

    async def check(self, credentials: Credentials) -> Identity:
        """Ask the authenticators in order, then the authorizer for the server (S-104).

        Raises AuthenticationFailed or TryLater; wrong and unknown look the same.
        """
        context = self.context()
        for authenticator in self.services.authenticators:
            if credentials.scheme not in authenticator.schemes:
                continue
            identity = await authenticator.authenticate(credentials, context)
            if identity is not None:
                verdict = await self.services.authorizer.permits(identity, "server.use", self.services.name)
                if verdict.action == "tempfail":
                    raise TryLater(verdict.text or None)
                if verdict.action != "accept":
                    raise AuthenticationFailed(verdict.text or None)
                return identity
        raise AuthenticationFailed()

    async def authenticate(
        self, mechanism: str, initial: bytes | None, ask: Callable[[bytes], Awaitable[bytes | None]]
    ) -> Identity | None:
        """Run a SASL exchange; `ask(challenge)` gives the client's octets, None when it aborts (then: None).

        Raises AuthenticationFailed, TryLater.  The caller has checked that the mechanism is offered.
        """
        exchange = self.services.mechanisms[mechanism].exchange(self.context(), initial)
        answer: Any = None
        try:
            while True:
                wish = exchange.send(answer)
                if isinstance(wish, Challenge):
                    answer = await ask(wish.octets)
                    if answer is None:
                        exchange.close()
                        return None
                elif isinstance(wish, Verify):
                    answer = await self.check(wish.credentials)
        except StopIteration as end:
            identity: Identity = end.value
            return identity

    async def login(self, attempt: Callable[[], Awaitable[Identity | None]]) -> Identity | None:
        """Make one attempt and keep its outcome: the identity, None for an abort; counts and slows failures.

        Raises AuthenticationFailed (after the delay) or TryLater.
        """
        try:
            identity = await attempt()
        except AuthenticationFailed:
            self.failed_logins += 1
            self.services.count("failed logins")
            log.info("login refused on {server} from {peer}", server=self.services.name, peer=self.connection.peer.host)
            if self.limits.failed_login_delay:
                await self.services.sleep(self.limits.failed_login_delay)
            raise
        if identity is not None:
            self.identity = identity
            self.services.count("logins")
            server, peer = self.services.name, self.connection.peer.host
            # One field to format instead of four: a third of what the line costs.
            log.info(
                "{text}",
                text=f"login of {identity.authcid} on {server} from {peer} by {identity.mechanism}",
                user=identity.authcid,
                server=server,
                peer=peer,
            )
        return identity
