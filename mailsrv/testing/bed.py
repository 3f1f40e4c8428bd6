"""A whole mail server in memory: real sessions and engines, a memory store, a clock that only tests move."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import Any

from attrs import evolve, fields
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.reflect import namedAny
from zope.interface import implementer

from ..access.relay import relay_policy
from ..auth.attempt import Door
from ..auth.authorizer import AccountsAuthorizer, ServerRules
from ..auth.names import login_address
from ..auth.offers import Offers
from ..auth.patterns import Patterns
from ..auth.secrets import MAKERS
from ..errors import AuthenticationFailed
from ..host.vserver import VirtualServer
from ..interfaces import IAccessFilter, IAuthenticator, ISecrets
from ..limits import Limits
from ..message.content import MemoryContent
from ..serve.pop3_base import Pop3Services
from ..serve.pop3_uidl import UidlFormat
from ..serve.session import Services, SmtpServices
from ..store.memory import MemoryStore
from ..transfer.ids import IdMaker
from ..transfer.intake import Intake
from ..values import (
    Address,
    AuthContext,
    Credentials,
    DomainFacts,
    Envelope,
    Identity,
    NewDelivery,
    Peer,
    Placement,
    Secrets,
    StoredCredentials,
    Verdict,
)
from ..wire.ntlm import Ntlm
from ..wire.pop3_apop import PLAIN
from ..wire.sasl import mechanisms
from .dns import NameTable
from .lists import apply_lists
from .loop import Loop
from .onward import WORDS, apply_allowances, apply_onward
from .policies import policy_makers
from .transport import MemoryTransport

#: The moment at which the clock of a bed stands: 2026-11-24 04:00:00 UTC.
START = 1_795_492_800.0
DOMAIN = "example.org"
PASSWORD = "secret"
_SESSIONS = {
    "smtp": "mailsrv.serve.smtp.SmtpSession",
    "lmtp": "mailsrv.serve.lmtp.LmtpSession",
    "imap": "mailsrv.serve.imap.session.ImapSession",
    "pop3": "mailsrv.serve.pop3.Pop3Session",
}
#: What is nothing to the other protocols.
_SMTP_ONLY = WORDS | {one.name for one in fields(SmtpServices)} - {one.name for one in fields(Services)}
_POP3_ONLY = {one.name for one in fields(Pop3Services)} - {one.name for one in fields(Services)}


@implementer(IAccessFilter)
class Answers:
    """Says the same of every client, at once or when `hold` is called back."""

    def __init__(self, action: str) -> None:
        self.verdict = Verdict(action, part="access", rule="all")
        self.hold: Deferred[None] | None = None
        self.asked: list[Peer] = []

    async def admit(self, peer: Peer) -> Verdict:
        """See IAccessFilter."""
        self.asked.append(peer)
        if self.hold is not None:
            await self.hold
        return self.verdict


@implementer(IAuthenticator, ISecrets)
class Accounts:
    """Lets in every account of the directory by one password, without hashing; with `kinds` of secrets also by
    mechanisms that do not show it, and by the password as a bearer token."""

    def __init__(self, directory: Any, password: str = PASSWORD, kinds: Iterable[str] = ()) -> None:
        self._directory = directory
        self._password = password
        self.kinds = frozenset(kinds)
        self.schemes = frozenset({"password", "secret", "token"} if self.kinds else {"password"})

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator."""
        stored = await self._stored(credentials.username, context)
        if stored is None:
            return None
        shown = credentials.token if credentials.scheme == "token" else credentials.password
        if credentials.scheme != "secret" and shown != self._password:
            raise AuthenticationFailed()
        return Identity(stored.account_id, stored.login, credentials.authzid, "PLAIN", denied=stored.denied)

    async def secrets(self, kind: str, username: str, context: AuthContext) -> Secrets | None:
        """See ISecrets."""
        stored = await self._stored(username, context)
        return None if stored is None else Secrets(kind, stored.login, self._keys(kind, context))

    def _keys(self, kind: str, context: AuthContext) -> str:
        return self._password if kind == PLAIN else MAKERS[kind](self._password, context.random)

    async def _stored(self, username: str, context: AuthContext) -> StoredCredentials | None:
        """The account of that name, or None."""
        login = login_address(username, context.login_domain, context.domains)
        stored: StoredCredentials | None = await self._directory.credentials(str(login))
        return stored


def _known(protocol: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that a server of this protocol has."""
    other = _SMTP_ONLY if protocol == "pop3" else _POP3_ONLY if protocol != "imap" else _SMTP_ONLY | _POP3_ONLY
    known = {key: value for key, value in settings.items() if key not in other}
    return {**known, "uidl": UidlFormat(known["uidl"])} if "uidl" in known else known


def _decoy(octets: bytes) -> bytes:
    """32 octets."""
    return sha256(octets).digest()


class Bed:
    """`bed.connect("imap")` gives a client; `bed.settle()` lets everything happen that can happen now.

    Accounts me@example.org and you@example.org, password "secret".  `settings` are attributes of `Services`
    and `authentication` (the methods), `authenticators` (or the `kinds` of secrets of the one there is),
    `authorizer`, `login_without_tls`, `guard`; `access` may be the word of a verdict, and `trusted_proxies` is a text;
    lists as in `mailsrv.testing.lists`, with the names of `names`; `parts`, `submission`: `mailsrv.testing.policies`;
    mail that goes on, and who may say whose connection it is: `mailsrv.testing.onward`;
    `limits` of `Limits`; both hold for all servers of the bed and may be given before the first `connect`.
    """

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.loop = Loop()
        self.names = NameTable()
        self.store = MemoryStore(self.clock.seconds, [DomainFacts(DOMAIN)])
        self.limits = Limits(failed_login_delay=0)
        self.settings: dict[str, Any] = dict(settings)
        self.servers: dict[str, VirtualServer] = {}
        self.accounts = {name: self.add_account(name) for name in ("me", "you")}
        self._numbers = itertools.count(1)
        self._maildrops: set[int] = set()

    def add_account(self, local: str) -> int:
        """A further account; its id."""
        facts = self.loop.run(self.store.directory.add_account(Address(local, DOMAIN), "x"))
        account_id: int = facts.account_id
        return account_id

    def server(self, protocol: str) -> VirtualServer:
        """The virtual server of a protocol, made when first asked for; it listens nowhere."""
        if protocol not in self.servers:
            server = self.servers[protocol] = VirtualServer(
                f"{protocol}/default",
                self.limits,
                namedAny(_SESSIONS[protocol]),
                self.clock,
                monotonic=self.clock.seconds,
                numbers=lambda: next(self._numbers),
                tls_context=object,
                proxies=[text for text in self.settings.get("trusted_proxies", "").split(",") if text],
            )
            server.equip(self._services(protocol))
            server.start()
        return self.servers[protocol]

    def connect(
        self, protocol: str, tls: bool = False, window: int = 1 << 30, host: str = "192.0.2.1"
    ) -> MemoryTransport:
        """A connected client; the greeting is in its output."""
        transport = MemoryTransport(window)
        made = self.server(protocol).accept(Peer(host, 40000), tls)
        if made is not None:
            transport.attach(made)
        else:
            transport.closed = True
        self.settle()
        return transport

    def settle(self, seconds: float = 0.0) -> None:
        """Move the clock, then let all that is due happen."""
        self.clock.advance(seconds)
        for _ in range(100_000):
            self.loop.turn()
            if not any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                return
            self.clock.advance(0)
        raise AssertionError("the bed does not come to rest")

    def deliver(self, octets: bytes, local: str = "me", mailbox: str = "INBOX", utf8: bool = False) -> None:
        """Put a message into a mailbox; `utf8`: it came with SMTPUTF8."""
        delivery = NewDelivery(
            id="0000000000000",
            envelope=Envelope(None, parameters={"SMTPUTF8": ""} if utf8 else {}),
            content=MemoryContent(octets),
            placements=(Placement(self.accounts[local], mailbox),),
            received_at=self.clock.seconds(),
        )
        self.loop.run(self.store.deliver(delivery))
        self.settle()

    async def _sleep(self, seconds: float) -> None:
        slept: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(seconds, slept.callback, None)
        await slept

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def _services(self, protocol: str) -> Services:
        common: dict[str, Any] = {
            "name": f"{protocol}/default",
            "protocol": "smtp" if protocol == "lmtp" else protocol,
            "hostname": "mx.example.org",
            "limits": self.limits,
            "store": self.store,
            "decoy": _decoy,
            "now": self.clock.seconds,
            "random": lambda n: b"\x07" * n,
            "sleep": self._sleep,
            "aside": self._aside,
            "spool_folder": "/tmp",
            "maildrops": self._maildrops,
            "login_domain": DOMAIN,
        }
        settings, logins = self._split(protocol)
        authenticators, authorizer = logins["authenticators"], logins["authorizer"]
        common["door"] = Door(
            server=common["name"], authenticators=authenticators, authorizer=authorizer,
            directory=self.store.directory, sleep=self._sleep, guard=logins["guard"],
        )  # fmt: skip
        common["offers"] = Offers(
            [*mechanisms().values(), Ntlm(v1=True)], authenticators, logins["authentication"],
            require_tls=settings.get("require_tls", False), plain=logins["login_without_tls"],
        )  # fmt: skip
        policies = policy_makers(settings, self, authorizer)
        if protocol in ("imap", "pop3"):
            common.update((key, value) for key, value in settings.items() if key not in _SMTP_ONLY)
            return (Services if protocol == "imap" else Pop3Services)(**common)
        relay = partial(relay_policy, self.store.directory, authorizer, logins["relay_lists"])
        return SmtpServices(
            **{
                **common,
                **apply_onward(settings, self, DOMAIN, common["name"], authorizer, logins["relay_lists"]),
                "intake": Intake(self.store, IdMaker(self.clock.seconds, common["random"]), self.clock.seconds),
                "policies": [relay, *policies],
                "default_domain": DOMAIN,
                **settings,
            }
        )

    def _split(self, protocol: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings that are attributes of Services, and those that say who can log in and relay."""
        logins: dict[str, Any] = {
            "login_without_tls": True,
            "authentication": frozenset({"anonymous", "basic", "ntlm", "sasl"}),
            "authenticators": None,
            "kinds": "",
            "guard": None,
            "authorizer": None,
            "users": "*",
            "relay_users": "*",
            "trusted_proxies": "",
        }
        own = {key: value for key, value in self.settings.items() if key not in logins}
        settings = _known(protocol, own)
        apply_allowances(settings, self)
        logins.update((key, value) for key, value in self.settings.items() if key in logins)
        logins["relay_lists"] = apply_lists(protocol, settings, self.names, self.clock)
        if isinstance(settings.get("access"), str):
            settings["access"] = Answers(settings["access"])
        if not isinstance(logins["authentication"], frozenset):
            logins["authentication"] = frozenset((logins["authentication"] or "").split(","))
        if logins["authenticators"] is None:
            kinds = (logins["kinds"] or "").split(",") if logins["kinds"] else ()
            logins["authenticators"] = [Accounts(self.store.directory, kinds=kinds)]
        if logins["authorizer"] is None:
            users, relay_users = (Patterns(logins[key].split(",")) for key in ("users", "relay_users"))
            rules = {f"{name}/default": ServerRules(name, users, relay_users) for name in _SESSIONS}
            logins["authorizer"] = AccountsAuthorizer(self.store.directory, rules)
        return settings, logins

    def limit(self, **changes: Any) -> None:
        """Change limits, before the server in question is first used."""
        self.limits = evolve(self.limits, **changes)
