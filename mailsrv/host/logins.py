"""Who may log in where (floor 4): authenticators, mechanisms, authorizer and guard of a site, put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from ..auth.attempt import Door
from ..auth.directory import DirectoryAuthenticator
from ..auth.guard import Guard
from ..auth.offers import Offers
from ..errors import ConfigError
from ..interfaces import IAuthenticator, IAuthorizer, ISaslMechanism
from ..parts import Part, all_parts, find
from ..values import Identity, Verdict
from .config.derive import guard_settings, login_domains
from .config.edit import write_atomically
from .config.options import ServerOptions, SiteOptions, SmtpOptions

#: SASL mechanisms in the order they are offered, the strongest first: clients that do not judge take the first they
#: know.  Others that are installed come after SCRAM.  NTLM is late: clients that know it and have no domain fail.
FIRST = ("scram-sha-256-plus", "scram-sha-1-plus", "scram-sha-256", "scram-sha-1", "external")
LAST = ("oauthbearer", "xoauth2", "cram-md5", "ntlm", "plain", "login", "anonymous")
KEY_OCTETS = 32
#: Seconds after which authenticators that were replaced are closed: whoever is logging in has finished by then.
LEAVING = 600.0


@implementer(IAuthorizer)
class Authorizer:
    """The authorizer in effect: whoever holds this one goes by the rules of now, sessions that are open too."""

    current: IAuthorizer

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        """See IAuthorizer."""
        verdict: Verdict = await self.current.permits(identity, action, resource)
        return verdict


class Logins:
    """`door` and `offers` of a virtual server; `authorizer`, `guard` and `authenticators` of the whole site."""

    def __init__(self, site: Any) -> None:
        options = site.options
        self._site = site
        #: Held by what reads permissions of an account and writes them changed: two at once would lose one.
        self.changing = DeferredLock()
        self.domains = login_domains(options)
        self.guard = Guard(guard_settings(options), monotonic=site.monotonic, wall=site.clock, random=os.urandom)
        self.guard.publish = site.events.publish
        self.authorizer = Authorizer()
        self._rules = _rules_of(options)
        self.authorizer.current = self._authorizer(options)
        self._given: list[IAuthenticator] = [make(site) for make in site.given_authenticators]
        self._configured = self._authenticators(options)
        self._choices = options.authenticators
        self._before = self._configured
        self._leaving: dict[Any, list[IAuthenticator]] = {}  # by the call that ends it
        self.decoy = partial(digest, _key(options.data / "decoy.key"), digest=sha256)

    @property
    def authenticators(self) -> list[IAuthenticator]:
        """Those in effect, in the order they are asked."""
        return [*self._given, *self._configured]

    def _authorizer(self, options: SiteOptions) -> IAuthorizer:
        made: IAuthorizer = find(IAuthorizer, options.authorizer.use).build(options.authorizer.options, self._site)
        return made

    def _authenticators(self, options: SiteOptions) -> list[IAuthenticator]:
        return [
            find(IAuthenticator, choice.use).build(choice.options, self._site) for choice in options.authenticators
        ]

    def swap(self, options: SiteOptions) -> Callable[[], None]:
        """Go by other options, which the site has already (parts look at them); gives the way back, until `settle`.

        Raises ConfigError; then nothing has changed.
        """
        same, rules = options.authenticators == self._choices, _rules_of(options)
        authorizer = self.authorizer.current if rules == self._rules else self._authorizer(options)
        made = self._configured if same else self._authenticators(options)
        before = self.domains, self.authorizer.current, self._rules, self._configured, self._choices
        self._put(login_domains(options), authorizer, rules, made, options.authenticators)
        self._before = self._configured if same else before[3]

        def back() -> None:
            """What was made for nothing holds connections perhaps."""
            self._put(*before)
            self._before = self._configured
            if not same:
                Deferred.fromCoroutine(_close(made))

        return back

    def _put(
        self, domains: dict[str, str], authorizer: IAuthorizer, rules: Any, made: list[IAuthenticator], choices: Any
    ) -> None:
        self.domains, self._configured, self._choices = domains, made, choices
        self.authorizer.current, self._rules = authorizer, rules

    def settle(self, options: SiteOptions) -> None:
        """There is no way back any more."""
        self.guard.adopt(guard_settings(options))
        if self._before is not self._configured:
            # Connections that are open ask those that they began with.
            leaving = self._before
            call = self._site.reactor.callLater(LEAVING, lambda: self._leave(call))
            self._leaving[call] = leaving
            self._before = self._configured

    def _leave(self, call: Any) -> None:
        Deferred.fromCoroutine(_close(self._leaving.pop(call, [])))

    @property
    def kept(self) -> frozenset[str]:
        """The kinds of secrets that are made for accounts of the directory (`auth.directory.keep`)."""
        return frozenset().union(*(a.kinds for a in self.authenticators if isinstance(a, DirectoryAuthenticator)))

    @property
    def learners(self) -> list[Callable[[Any], Any]]:
        """Of the authenticators that know names of which no account was made yet."""
        return [a.seen for a in self.authenticators if hasattr(a, "seen")]

    @cached_property
    def _installed(self) -> dict[str, Part]:
        """By name.  Looked for once: that takes milliseconds, and a change makes the offers of every server."""
        return {part.name: part for part in all_parts() if part.contract is ISaslMechanism}

    def mechanisms(self, server: ServerOptions) -> list[ISaslMechanism]:
        """Every installed mechanism, as this server wants it, in the order they are offered."""
        installed = self._installed
        middle = [name for name in installed if name not in FIRST + LAST]
        return [installed[name].build(server, self._site) for name in (*FIRST, *middle, *LAST) if name in installed]

    def offers(self, server: ServerOptions) -> Offers:
        """What a server offers."""
        return Offers(
            self.mechanisms(server),
            self.authenticators,
            server.authentication,  # type: ignore[attr-defined]
            require_tls=server.require_tls,
            plain=server.login_without_tls,
        )

    def door(self, server: ServerOptions, guarded: bool = True) -> Door:
        """What decides about logins on a server; without the guard for an administrator's test."""
        return Door(
            server=server.id,
            authenticators=self.authenticators,
            authorizer=self.authorizer,
            directory=self._site.directory,
            sleep=self._site.sleep,
            decoy=self._site.hasher.decoy,
            guard=self.guard if guarded else None,
            domains=self.domains,
        )

    def anonymous(self, server: ServerOptions) -> bool:
        """Whether mail is taken without a login (S-099)."""
        return isinstance(server, SmtpOptions) and "anonymous" in server.authentication

    async def close(self) -> None:
        """Let the authenticators finish what they have under way."""
        leaving, self._leaving = self._leaving, {}
        for call in leaving:
            call.cancel()
        await _close([*self.authenticators, *(one for some in leaving.values() for one in some)])


def _rules_of(options: SiteOptions) -> Any:
    """What an authorizer is made of: while this is the same it stays, with all that it remembers."""
    servers = {name: (one.users, getattr(one, "relay_users", ())) for name, one in options.servers.items()}  # type: ignore[attr-defined]
    return options.authorizer, options.roles, tuple(options.domains), servers


async def _close(authenticators: Iterable[IAuthenticator]) -> None:
    for authenticator in authenticators:
        close = getattr(authenticator, "close", None)
        if close is not None:
            await close()


def _key(path: Path) -> bytes:
    """The key of invented salts: kept, because a salt that changes with a restart is known for invented.

    Raises ConfigError.
    """
    try:
        octets = path.read_bytes()
    except FileNotFoundError:
        octets = b""
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if len(octets) != KEY_OCTETS:
        octets = os.urandom(KEY_OCTETS)
        write_atomically(path, octets, 0o600)
    return octets
