"""A whole site on a network in memory: configuration, queue, runner, names, connections; time is the test's.

    net = MailNetwork(tmp_path)
    net.remote("192.0.2.1", server(rcpt=b"450 later\\r\\n"))
    net.put("me@one.test")
    net.until(10 * MINUTE)
    net.rows(), net.reports(), net.taken("192.0.2.1")
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from email import message_from_bytes
from email.message import Message
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from attrs import define, field
from dns_network import NameNetwork, NameServer
from OpenSSL import SSL
from smtp_network import BedWire, Network, ScriptWire, server
from twisted.internet.error import TimeoutError
from twisted.python.failure import Failure

from mailsrv.host.config.load import load
from mailsrv.host.site import Site
from mailsrv.message.content import MemoryContent
from mailsrv.net.resolver import Resolver
from mailsrv.parts import all_parts
from mailsrv.values import Address, Envelope, Queued, Recipient

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
START = 1_000_000.0
TEXT = b"From: Ann <ann@home.test>\r\nSubject: hello\r\n\r\nhow are you?\r\n"
#: Octets that a transport takes before it says that it is full.
ROOM = 64 * 2**10
PARTS = lru_cache(all_parts)
#: The name servers of the machine, in order.
SYSTEM = ("10.0.0.1", "10.0.0.2")
ZONE: dict[str, Any] = {
    "one.test MX": [(10, "mx.one.test")],
    "mx.one.test A": ["192.0.2.1"],
    "two.test MX": [(20, "b.two.test"), (10, "a.two.test")],
    "a.two.test A": ["192.0.2.21"],
    "b.two.test A": ["192.0.2.22"],
    "smart.test A": ["192.0.2.60"],
}
CONFIG = """\
[site]
hostname = "mail.home.test"
domains = ["home.test"]
[store]
use = "memory"
[auth]
use = ["directory"]
[smtp.default]
listen = ["*:25"]
"""
#: What the chapter has (S-070..S-075), with other values where a test says so.
DELIVERY = {"retry": ["10m", "10m", "10m", "15m"], "delay_notification": "12h", "expiration": "2d"}


def delivery(**keys: Any) -> str:
    """A table [smtp.default.delivery]."""
    lines = [f"{key} = {_toml(value)}" for key, value in {**DELIVERY, **keys}.items()]
    return "\n".join(["[smtp.default.delivery]", *lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return repr(value).replace("'", '"').replace("True", "true").replace("False", "false")


@define
class Taken:
    """A message that a remote server has said 250 to."""

    at: float
    mail: bytes
    recipients: list[bytes] = field(factory=list)
    octets: bytes = b""


class RemoteWire(ScriptWire):
    """To a remote server by a script; what it took is kept."""

    network: MailNetwork
    #: It has no whole server behind it (see BedWire).
    server = SimpleNamespace(output=b"")

    def begin(self) -> None:
        self.open: Taken | None = None
        self.whole = b""
        self.unsent = 0
        super().begin()

    @property
    def fault(self) -> str:
        """What is wrong with the server besides its answers."""
        return self.network.faults.get(self.address, "")

    def write(self, octets: bytes) -> None:
        super().write(octets)
        if len(self.outbox) > ROOM and self.producer is not None:
            self.producer.pauseProducing()

    def turn(self) -> bool:
        full = len(self.outbox) > ROOM
        moved = super().turn()
        if full and not self.unsent and self.producer is not None and not self.closed:
            self.producer.resumeProducing()
        return moved

    def hear(self, octets: bytes) -> None:
        if self.data and self.fault == "stall in the message":
            # It reads no more; the kernel has what was sent.
            self.unsent += len(octets)
        elif self.data and self.fault == "drop in the message":
            self.lose()
        else:
            self.whole += octets
            super().hear(octets)

    def say(self, line: bytes) -> None:
        before = len(self.inbox)
        # What it is told to answer holds from now on, for connections that there are as well.
        self.answer = self.network.scripts.get(self.address, self.network.script)
        super().say(line)
        said = self.inbox[before:]
        if self.network.delay and not self.closed:
            self.inbox = self.inbox[:before]
            self.network.callLater(self.network.delay, self._later, said)
        verb = line[:4].upper()
        if line:
            self.network.heard.append((self.network.now, self.address, line))
        good = said.startswith(b"2")
        if verb == b"MAIL" and good:
            self.open = Taken(self.network.now, line)
        elif verb == b"RCPT" and good and self.open is not None:
            self.open.recipients.append(line.partition(b":")[2].partition(b">")[0].removeprefix(b"<"))
        elif line == b"." and good and self.open is not None and self.open.recipients:
            self.open.at = self.network.now
            self.open.octets = self.whole.rpartition(b"DATA\r\n")[2]
            self.network.mails.setdefault(self.address, []).append(self.open)


    def _later(self, said: bytes) -> None:
        self.inbox += said


class MailNetwork(Network):
    """See above.  `settings` is further configuration."""

    def __init__(
        self, folder: Path, settings: str = "", zone: dict[str, Any] | None = None, monkeypatch: Any = None
    ) -> None:
        super().__init__(RemoteWire)
        self.rightNow = START
        (folder / "mailsrv.toml").write_text(CONFIG + settings)
        self.system = NameServer(ZONE if zone is None else zone)
        self.names = NameNetwork(self, {SYSTEM[0]: self.system})
        if monkeypatch is not None:
            # Servers of the configuration are reached by the same network.
            monkeypatch.setattr("mailsrv.net.dns_exchange.NetworkExchange", lambda reactor: self.names)
        #: By address: "stall" at connect, in TLS, in the message; "drop" in TLS, in the message; "garbage in TLS".
        self.faults: dict[str, str] = {}
        #: Addresses at which there is the whole server of `bed`, with accounts me@ and you@example.org.
        self.beds: set[str] = set()
        #: Seconds that a remote server thinks about each answer.
        self.delay = 0.0
        self.heard: list[tuple[float, str, bytes]] = []
        self.mails: dict[str, list[Taken]] = {}
        self.ports: list[tuple[str, int]] = []
        self.reached_for: list[tuple[float, str]] = []
        # Looking for installed parts, and having a disk of a test write, take longer than most of these tests.
        with patch("mailsrv.parts.all_parts", PARTS), patch("os.fsync"):
            self._open(folder)

    def _open(self, folder: Path) -> None:
        options = load(folder / "mailsrv.toml")
        self.site: Any = Site(options, self, folder, clock=self.seconds, monotonic=self.seconds)
        self.site.access.resolver = Resolver(
            self.names, lambda: [(one, 53) for one in SYSTEM], self, self.seconds
        )  # fmt: skip
        self.site.aside = self._aside
        self.wait(self.site.open())
        self.accounts: dict[str, int] = {}
        self.mailbox("ann")
        self.wait(self.site.delivery.start())

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    @property
    def now(self) -> float:
        """Seconds since the start of the test."""
        return self.seconds() - START

    def close(self) -> None:
        """Stop sending, let go; what is left open is told."""
        done = self.start(self.site.delivery.stop())
        for _ in range(20):
            self.settle(1.0)
        assert done
        self.wait(self.site.close())
        assert all(wire.closed for wire in self.made), "a connection was left open"

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        self.ports.append((host, port))
        self.reached_for.append((self.now, host))
        self.kind = BedWire if host in self.beds else RemoteWire
        if self.faults.get(host) != "stall at connect":
            return super().connectTCP(host, port, factory, timeout, bindAddress)
        connector = type("C", (), {"state": "connecting", "disconnect": lambda self: None})()
        self.callLater(timeout, factory.clientConnectionFailed, connector, Failure(TimeoutError()))
        return connector

    def handshake(self, wire: Any) -> None:
        """TLS begins; with which certificate is nobody's business here."""
        if isinstance(wire, BedWire):
            super().handshake(wire)
        elif wire.fault == "garbage in TLS":
            wire.closed = True
            reason = Failure(SSL.Error([("SSL routines", "", "wrong version number")]))
            self.callLater(0, wire.protocol.connectionLost, reason)
        elif wire.fault == "drop in TLS":
            self.callLater(0, wire.lose)
        elif wire.fault != "stall in TLS":
            super().handshake(wire)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What needs no time."""
        return self.run(coroutine)

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What may need a minute."""
        return self.run(coroutine, MINUTE)

    # ------------------------------------------------------------ what a test does

    def remote(self, address: str, script: Callable[[bytes], bytes | None] | None = None, **answers: Any) -> None:
        """A server at an address answers so from now on."""
        self.scripts[address] = script or server(**answers)

    def put(
        self, *to: str, sender: str = "ann@home.test", origin: str = "outside", octets: bytes = TEXT,
        server: str = "smtp/default", **parameters: str,
    ) -> str:  # fmt: skip
        """Accept a message; its id."""
        recipients = tuple(Recipient(_path(one)) for one in to or ("me@one.test",))
        envelope = Envelope(_path(sender) if sender else None, recipients, parameters)
        return str(self.wait(self.site.delivery.submit(envelope, MemoryContent(octets), server, origin)))

    def mailbox(self, user: str = "ann") -> None:
        """A user of ours has an account; ann has one."""
        facts = self.wait(self.site.directory.add_account(Address(user, "home.test"), "x"))
        self.accounts[user] = facts.account_id

    def until(self, instant: float) -> None:
        """Let time pass, from one timer to the next, until so many seconds after the start."""
        for _ in range(1_000_000):
            self.settle()
            coming = min((call.getTime() for call in self.getDelayedCalls()), default=None)
            if coming is None or coming > START + instant:
                break
            self.settle(max(coming - self.seconds(), 0.0))
        self.settle(max(START + instant - self.seconds(), 0.0))

    # ------------------------------------------------------------ what came of it

    def rows(self) -> list[Queued]:
        """What waits."""
        return list(self.wait(self.site.delivery.queue.queued(most=100_000)))

    def row(self) -> Queued:
        """The only one that waits."""
        (found,) = self.rows()
        return found

    def taken(self, address: str = "192.0.2.1") -> list[Taken]:
        """What a remote server has taken."""
        return self.mails.get(address, [])

    def commands(self, verb: bytes, address: str | None = None) -> list[float]:
        """When a command was said, to a remote server or to any."""
        return [
            at for at, where, line in self.heard if line.startswith(verb) and address in (None, where)
        ]  # fmt: skip

    def attempts(self, address: str) -> list[float]:
        """When somebody connected to an address, or tried to."""
        return [at for at, where in self.reached_for if where == address]

    def reports(self, user: str = "ann") -> list[Message]:
        """What is in a mailbox, as it came."""
        return [message_from_bytes(octets) for octets in self.inbox(user)]

    def inbox(self, user: str = "ann") -> list[bytes]:
        """Octets of all messages of a user."""
        return list(self.wait(self._inbox(user)))

    async def _inbox(self, user: str) -> list[bytes]:
        account = await self.site.store.account(self.accounts[user])
        mailbox = await account.open("INBOX")
        made = []
        for uid in mailbox.columns().uids:
            (content,) = await mailbox.contents([uid])
            made.append(b"".join(content.chunks()))
        return made


def fields(report: Message) -> Message:
    """The fields of the first recipient of a report."""
    return report.get_payload()[1].get_payload()[1]  # type: ignore[union-attr,index,return-value]


def _path(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)
