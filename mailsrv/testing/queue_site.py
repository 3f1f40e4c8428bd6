"""A real site with the memory store, opened without servers: its queue, its bad mail, its own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from ..host.config.load import load
from ..host.control import run as control
from ..host.site import Site
from ..message.content import MemoryContent
from ..testing.dns import NameTable
from ..testing.loop import Loop
from ..transfer.badmail import entry_of
from ..values import Address, Envelope, NewDelivery, NewQueued, Outcome, Queued, Recipient

#: 2026-11-24 04:00:00 UTC.
START = 1_795_492_800.0
TEXT = b"From: Ann <ann@example.org>\r\nSubject: hello\r\n\r\nhow are you?\r\n"
CONFIG = """\
[site]
hostname = "mail.example.org"
domains = ["example.org", "example.com"]
[store]
use = "memory"
[smtp.default]
listen = ["*:25"]
[smtp.out]
role = "submission"
listen = ["*:587", "*:465/tls"]
[smtp.out.delivery]
retry = ["10m"]
delay_notification = "1h"
expiration = "2h"
[imap.default]
"""


def path(text: str) -> Address:
    """An address from its text."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


class QueueSite:
    """`site`, its `loop`, and short ways to fill and ask it.  `clock` is moved by tests alone."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        (folder / "mailsrv.toml").write_text(config)
        self.clock, self.loop, self.made = Clock(), Loop(), 0
        self.clock.advance(START)
        options = load(folder / "mailsrv.toml")
        self.site = Site(options, self.clock, folder, clock=self.clock.seconds, monotonic=self.clock.seconds)
        self.site.access.resolver = self.names = NameTable()
        # Before it is opened: others keep it.
        self.site.aside = self._aside
        self.loop.run(self.site.open())
        self.queue = self.site.store

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def close(self) -> None:
        """Let go."""
        self.loop.run(self.site.close())

    def put(
        self, *recipients: str, sender: str = "ann@example.org", server: str = "smtp/default", origin: str = "outside",
        **parameters: str,
    ) -> str:
        """A message with a row for each domain of its recipients; its id."""
        self.made += 1
        by_domain: dict[str, list[Recipient]] = {}
        for text in recipients or ("bob@dest.example",):
            by_domain.setdefault(path(text).domain, []).append(Recipient(path(text), dict(parameters)))
        name = f"0abc{self.made:09d}"
        envelope = Envelope(path(sender) if sender else None, (), {"BODY": "8BITMIME"})
        queued = tuple(NewQueued(domain, tuple(some)) for domain, some in by_domain.items())
        now = self.clock.seconds()
        self.loop.run(self.queue.deliver(
            NewDelivery(name, envelope, MemoryContent(TEXT), (), now, 0, server, queued, origin)
        ))  # fmt: skip
        return name

    def try_in_vain(self, destination: str, reply: str = "mx.example: 451 4.7.1 Greylisted", due: float = 300) -> None:
        """An attempt at what is due for a destination, which fails for now."""
        now = self.clock.seconds()
        for row in self.loop.run(self.queue.lease(destination, 100, "test", now, 60)):
            self.loop.run(self.queue.settle(row, row.recipients, due=now + due, reply=reply))

    def rows(self) -> list[Queued]:
        """All that waits."""
        return list(self.loop.run(self.queue.queued()))

    def bad(self, number: int = 1, server: str = "smtp/default", to: str = "bob@dest.example") -> str:
        """Bad mail: a report that nobody wants; its key."""
        row = Queued(number, f"0bad{number:09d}", "dest.example", None, (Recipient(path(to)),), server, "local",
                     received_at=START - 9)  # fmt: skip
        gone = Outcome(row.recipients[0], "failed", "5.1.1", "550 no such user", "mx.dest.example")
        return str(self.site.delivery.badmail[server].keep(MemoryContent(TEXT), entry_of(row, [gone], START)))

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """The result of an operation, or the text of the refusal."""
        answer = self.loop.run(control.run(self.site, name, arguments))
        return answer["result"] if "result" in answer else answer["error"]
