"""A whole site that takes mail too: `mail_network` with the servers of the configuration, spoken to in memory.

    net = House(tmp_path)
    net.send("a@one.test", "ann@home.test NOTIFY=SUCCESS")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mail_network import TEXT, MailNetwork
from smtp_network import server

from mailsrv.host.control.run import run
from mailsrv.message.content import MemoryContent
from mailsrv.testing.transport import MemoryTransport
from mailsrv.transfer.badmail import BadEntry
from mailsrv.values import Address, DomainFacts, Envelope, Peer, Recipient

#: A server that reports, and one that does not.
DSN = server(ehlo=b"250-mx.one.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n")


class House(MailNetwork):
    """See above; `ann` and `bob` of home.test have mailboxes."""

    def __init__(self, folder: Path, settings: str = "", monkeypatch: Any = None, policies: Sequence[Any] = ()) -> None:
        super().__init__(folder, settings, monkeypatch=monkeypatch)
        self.site.given_policies = tuple(policies)
        self.mailbox("bob")
        # Nobody speaks TLS here.
        self.site.certificates = SimpleNamespace(context_of=lambda server: None)
        for name, options in self.site.options.servers.items():
            made = self.site.servers[name] = self.site._server(options)
            self.wait(made.rebind(()))
        self.wait(self.site._wire())
        for made in self.site.servers.values():
            made.start()

    def connect(self, name: str = "smtp/default", host: str = "192.0.2.99") -> MemoryTransport:
        """A client of one of the servers, greeted."""
        transport = MemoryTransport()
        transport.attach(self.site.servers[name].accept(Peer(host, 40000), False))
        self.settle()
        transport.take()
        return transport

    def send(
        self, sender: str, *to: str, octets: bytes = TEXT, name: str = "smtp/default", host: str = "192.0.2.99",
        mail: str = "",
    ) -> list[str]:  # fmt: skip
        """Send a message by SMTP (or LMTP): the answers to RCPT and, after 354, to the message.  `to` may have
        parameters behind it; `mail` are those of MAIL."""
        client = self.connect(name, host)
        word = "LHLO" if "lmtp" in name else "EHLO"
        lines = [f"{word} c.test", f"MAIL FROM:<{sender}> {mail}".rstrip()]
        for one in to:
            address, _, parameters = one.partition(" ")
            lines.append(f"RCPT TO:<{address}> {parameters}".rstrip())
        for line in lines:
            client.send(line.encode() + b"\r\n")
            self.settle()
        said = client.take().decode().split("\r\n")[-1 - len(to) : -1]
        client.send(b"DATA\r\n")
        self.settle()
        start = client.take()
        if start.startswith(b"354"):
            client.send(octets + b".\r\n")
            self.settle()
            said += client.take().decode().split("\r\n")[:-1]
        client.send(b"QUIT\r\n")
        self.settle()
        return said

    def domain(self, name: str, kind: str) -> None:
        """A further domain, whose mailboxes are elsewhere (relay) or in part (shared)."""
        self.wait(self.site.apply_domains([DomainFacts("home.test"), DomainFacts(name, kind)]))

    def alias(self, name: str, *targets: str) -> None:
        """Mail for a name of home.test goes to others."""
        goals = [Address(*target.split("@")) for target in targets]
        self.wait(self.site.directory.add_alias(Address(name, "home.test"), goals))

    def submit(
        self, *to: Recipient, sender: str = "ann@home.test", octets: bytes = TEXT, origin: str = "local",
        **parameters: str,
    ) -> str:  # fmt: skip
        """A message of the site's own, with what is asked for its recipients; its id."""
        path = Address(*sender.rsplit("@", 1)) if sender else None
        envelope = Envelope(path, to, parameters)
        return str(self.wait(self.site.delivery.submit(envelope, MemoryContent(octets), "smtp/default", origin)))

    def bad(self, name: str = "smtp/default") -> list[BadEntry]:
        """Bad mail of a server."""
        return list(self.site.delivery.badmail[name].entries())

    async def kept(self, key: str, name: str = "smtp/default") -> bytes:
        """A message of it."""
        content = self.site.delivery.badmail[name].content(key)
        try:
            octets: bytes = await content.read(0, content.size)
        finally:
            content.close()
        return octets

    def ask(self, name: str, **arguments: Any) -> Any:
        """The result of an operation of administration, or the text of its refusal."""
        answer = self.wait(run(self.site, name, arguments))
        return answer["result"] if "result" in answer else answer["error"]

    def close(self) -> None:
        """Stop the servers as well."""
        for made in self.site.servers.values():
            made.stop()
        super().close()
