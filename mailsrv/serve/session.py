"""What all sessions share (floor 3): who is there, since when, what it may, and how a login is worked on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from ..access.networks import Matcher
from ..access.reverse import ClientCheck
from ..auth.attempt import Ask, Attempt, Door
from ..auth.offers import Offers
from ..errors import AuthenticationFailed, NotPermitted, TryLater
from ..happenings import Publish, unheard
from ..interfaces import IAccessFilter, IMessagePolicy, IMessageStore, IRouter
from ..limits import Limits
from ..net.connection import Connection
from ..net.log_lines import LineLogger
from ..net.spool import Spool
from ..transfer.intake import Intake
from ..transfer.submission import PLAIN, Submission
from ..values import AuthContext, Credentials, Identity, Verdict
from ..wire.sasl.base import granted
from .allowances import Allowances
from .session_info import SessionInfo, info_of
from .smtp_etrn import Etrn

if TYPE_CHECKING:
    from .smtp_dsn import Dsn

log = LineLogger()

#: The status of a TryLater by which the guard against guessing turns somebody away.
GUARDED = "4.7.0"
#: `await enter(identity)`: get hold of what the identity owns.
Enter = Callable[[Identity], Awaitable[None]]


@define(eq=False)
class Services:
    """What a virtual server gives to its sessions; one object per server, shared by all of them."""

    name: str
    protocol: str
    hostname: str
    limits: Limits
    store: IMessageStore
    #: What is offered to log in with, and what decides about a login.
    offers: Offers
    door: Door
    now: Callable[[], float]
    random: Callable[[int], bytes]
    sleep: Callable[[float], Awaitable[None]]
    #: `await aside(function, *arguments)` works out something long away from the reactor, a few at a time.
    aside: Callable[..., Awaitable[Any]]
    #: The folder of spool files; and the accounts whose maildrop a POP3 session of this site holds.
    spool_folder: str
    maildrops: set[int]
    login_domain: str = ""
    #: 32 octets that nobody can foretell, always the same for the same octets.
    decoy: Callable[[bytes], bytes] = bytes
    require_tls: bool = False
    tls_available: bool = True
    #: How much accounts may be sent, may send and may hold; None: as much as they like.
    allowances: Allowances | None = None
    #: Who may connect; None: everybody (S-034).
    access: IAccessFilter | None = None
    #: IMAP4: the address of the account whose mailboxes are the public folders; whether LIST tells of them (S-146).
    public_account: str = ""
    public_folders: bool = True
    #: IMAP4: what clients have between the levels of a mailbox's name.
    separator: str = "/"
    #: POP3: AUTH NTLM is answered with +OK.
    ntlm_ok: bool = False
    #: Minutes east of UTC of the server's own dates.
    zone: int = 0
    counters: dict[str, int] = field(factory=dict)
    #: Tells those who follow what happens.
    publish: Publish = unheard

    def spool(self) -> Spool:
        """For the octets of one message on their way in."""
        return Spool(self.spool_folder, self.limits.memory_octets)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter; `host/metrics/figures.py` has the names."""
        self.counters[what] = self.counters.get(what, 0) + number


@define(eq=False, kw_only=True)
class SmtpServices(Services):
    """What an SMTP virtual server gives besides.  `anonymous`: mail is taken without a login (S-099);
    `policies` make the rule objects of one connection, in order."""

    router: IRouter
    intake: Intake
    policies: Sequence[Callable[[], IMessagePolicy]] = ()
    anonymous: bool = True
    default_domain: str = ""
    #: What is done to mail of those who logged in (RFC 6409).
    submission: Submission = PLAIN
    #: Makes what looks up the client of a connection (S-090); None: nobody does.
    reverse: Callable[[], ClientCheck] | None = None
    #: Who may use VRFY and EXPN: off, authenticated, on.
    vrfy: str = "off"
    expn: str = "off"
    #: What becomes of a lone CR or LF in a message: refuse, normalise.
    bare_newlines: str = "refuse"
    #: Who may start the queue of a domain (RFC 1985); None: nobody.
    etrn: Etrn | None = None
    #: Who may say whose connection it is (XCLIENT); None: nobody.
    xclient: Matcher | None = None
    #: To whom DSN is offered where delivery reports are made; None: to nobody, its parameters are kept (decisions 35).
    dsn: Dsn | None = None

    def took(self, octets: int) -> None:
        """Count a message that was accepted."""
        self.count("messages")
        self.count("message octets", octets)


class Session:
    """Base of the three sessions.  A subclass sets `engine`, and gives greet, handle, dismiss, fail and state.

    `verb` is the last command, or the class of its event; `client_name` and `helo` are SMTP's.
    """

    client_name = helo = ""
    #: See ConnectionSession.
    midway = False

    def __init__(self, connection: Connection, services: Services, number: int) -> None:
        self.connection = connection
        self.services = services
        self.limits = services.limits
        self.number = number
        self.since = services.now()
        self.identity: Identity | None = None
        self.bad_commands = 0
        self.failed_logins = 0
        self.verb: str | type = ""
        #: Monotonic: when the client last said something of the login under way.
        self._asked = 0.0

    def info(self) -> SessionInfo:
        """This session as administrators see it (S-065)."""
        return info_of(self)

    def state(self) -> str:
        """How far the conversation is, in the protocol's words."""
        return ""

    def arriving(self) -> Coroutine[Any, Any, Verdict] | None:
        """Whom to ask before the greeting, besides the access list: nobody."""
        return None

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

    def offered_mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms offered now: settings x authenticators x TLS (S-098, S-143, S-151)."""
        connection = self.connection
        return self.services.offers.names(connection.secure, connection.client_certificate())

    def refused_mechanism(self, name: str) -> str:
        """Why a mechanism cannot be used now (`auth.offers.WORDS`), or ""."""
        connection = self.connection
        return self.services.offers.refusal(name, connection.secure, connection.client_certificate())

    def refused_password(self) -> str:
        """Why USER and PASS, or LOGIN, cannot be used now, or "" (S-053, S-101)."""
        return self.services.offers.password_refusal(self.connection.secure)

    def context(self, channel: str = "") -> AuthContext:
        """Where this login happens; `channel` as in ISaslMechanism."""
        services, peer = self.services, self.connection.peer
        return AuthContext(
            service=services.protocol,
            server=services.name,
            peer=evolve(peer, tls=self.connection.channel_facts()) if channel else peer,
            hostname=services.hostname,
            login_domain=services.login_domain,
            random=services.random,
            now=services.now,
            domains=services.door.domains,
            decoy=services.decoy,
        )

    async def login_password(self, credentials: Credentials, mechanism: str, enter: Enter | None = None) -> Identity:
        """A login by user name and password, outside of SASL.  `enter` and errors as in `login`."""
        attempt = Attempt(self.services.door, self.context())

        async def check() -> Identity:
            return granted(await attempt.check(credentials), mechanism)

        identity = await self._login(attempt, check, enter)
        assert identity is not None
        return identity

    async def login(
        self, mechanism: str, initial: bytes | None, ask: Ask, enter: Enter | None = None
    ) -> Identity | None:
        """A login by a SASL mechanism that is offered; None when the client aborts it, which is no failed guess.

        `await enter(identity)` gets hold of what the identity owns, before the login counts.  Raises
        AuthenticationFailed (after the delay), TryLater, and what `ask` and `enter` raise.
        """
        chosen = self.services.offers.get(mechanism)
        attempt = Attempt(self.services.door, self.context(chosen.channel))

        async def heard(challenge: bytes) -> bytes | None:
            try:
                return await ask(challenge)
            finally:
                # The delay begins anew: else who lets it pass before the proof could tell how long that took to check.
                self._asked = self.connection.host.monotonic()

        return await self._login(attempt, lambda: attempt.run(chosen, initial, heard), enter)

    async def _login(
        self, attempt: Attempt, work: Callable[[], Awaitable[Identity | None]], enter: Enter | None
    ) -> Identity | None:
        """Do the work of an attempt and keep its outcome."""
        self._asked = self.connection.host.monotonic()
        guard = self.services.door.guard
        try:
            if guard is not None:
                guard.admit(self.connection.peer.host)
            identity = await work()
        except AuthenticationFailed as error:
            attempt.failed(error)
            await self._refused(error.why if isinstance(error, NotPermitted) else "")
            raise
        except TryLater as error:
            # Those who are turned away are to be no quicker than those who guessed.
            await (self._refused() if error.status == GUARDED else self._wait())
            raise
        if identity is not None:
            if enter is not None:
                await enter(identity)
            attempt.succeeded()
            self._logged_in(identity)
        return identity

    async def _refused(self, why: str = "") -> None:
        """Count it, tell the log, and answer no sooner than the delay after the client's words, whatever was looked up.

        `why` names who it was: only when that is proven, for what people type as a name may well be a password.
        """
        self.failed_logins += 1
        self.services.count("failed logins")
        log.info(
            "login refused on {server} from {peer}{why}",
            server=self.services.name, peer=self.connection.peer.host, why=f" ({why})" if why else "",
        )  # fmt: skip
        self.services.publish(
            "login.failed", server=self.services.name, session=self.number, peer=self.connection.peer.host, why=why
        )
        await self._wait()

    async def _wait(self) -> None:
        """Until the delay after the client's last words is over."""
        wait = self._asked + self.limits.failed_login_delay - self.connection.host.monotonic()
        if wait > 0:
            await self.services.sleep(wait)

    def _logged_in(self, identity: Identity) -> None:
        self.identity = identity
        self.services.count("logins")
        server, peer = self.services.name, self.connection.peer.host
        name = f"{identity.authcid} as {identity.authzid}" if identity.authzid else identity.authcid
        log.line(
            f"login of {name} on {server} from {peer} by {identity.mechanism}",
            user=identity.authcid, server=server, peer=peer,
        )  # fmt: skip
        self.services.publish(
            "session.authenticated", server=server, session=self.number, peer=peer, user=name,
            mechanism=identity.mechanism,
        )  # fmt: skip
