"""What the tests of authenticators share: a memory store, a cheap hasher, a reactor of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock

from mailsrv.auth.hashing import PasswordHasher
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.authenticator_suite import CONTEXT
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, AppPassword, Credentials, DomainFacts

DOMAINS = (DomainFacts("example.org"), DomainFacts("example.net"), DomainFacts("relayed.example", kind="relay"))


class SmallReactor(Clock):
    """What adbapi and time-outs ask of a reactor."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.callFromThread = loop.call_from_thread

    def callWhenRunning(self, function: Callable[..., Any], *arguments: Any) -> None:
        """It always runs."""
        function(*arguments)

    def addSystemEventTrigger(self, *arguments: Any) -> object:
        """It never ends."""
        return object()

    def removeSystemEventTrigger(self, trigger: object) -> None:
        """It never ends."""


class Site:
    """A site as the builders of authenticators see it; `now` is monotonic seconds."""

    def __init__(self, base: Path = Path("."), domains: Any = DOMAINS) -> None:
        self.base = base
        self.loop = Loop()
        self.reactor = SmallReactor(self.loop)
        self.directory: Any = MemoryStore(lambda: 0.0, domains).directory
        self.now = 1000.0
        self.asides: list[Any] = []
        self.hasher = PasswordHasher(self.loop.call_from_thread, clock=self.monotonic, memory_kib=8)

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def first_domain(self) -> str:
        """The first domain."""
        return "example.org"

    async def aside(self, function: Any, *arguments: Any) -> Any:
        """At once here."""
        self.asides.append(function)
        return function(*arguments)

    async def close(self) -> None:
        """End the threads."""
        self.hasher.close()

    # ------------------------------------------------------------ short ways

    def add(self, local: str, password: str = "", domain: str = "example.org", **more: Any) -> Any:
        """An account; its facts."""
        encoded = self.loop.run(self.hasher.hash(password)) if password else ""
        return self.loop.run(self.directory.add_account(Address(local, domain), encoded, **more))

    def login(self, part: Any, name: str, password: str, **changed: Any) -> Any:
        """The identity or None.  `changed` are fields of the context, or `authzid`."""
        shown = Credentials("password", name, password, changed.pop("authzid", ""))
        return self.loop.run(part.authenticate(shown, evolve(CONTEXT, **changed)))

    def seen(self, part: Any, local: str, domain: str = "example.org") -> bool:
        """The router's question."""
        answer: bool = self.loop.run(part.seen(Address(local, domain)))
        return answer

    def stored(self, login: str) -> Any:
        """What is kept for a login."""
        return self.loop.run(self.directory.credentials(login))

    def accounts(self) -> list[str]:
        """Addresses of all accounts."""
        return [str(facts.address) for facts in self.loop.run(self.directory.accounts())]

    async def disable(self, login: str = "anna@example.org") -> None:
        """Whoever it is may not log in."""
        stored = await self.directory.credentials(login)
        await self.directory.set_enabled(stored.account_id, False)


def app(digest: str, *scopes: str, name: str = "phone") -> AppPassword:
    """An app password that is kept."""
    return AppPassword(1, name, digest, frozenset(scopes))
