"""XCLIENT in a session: nothing of the proxy is the client's; replies are in tests/conversations/smtp-xclient*.txt."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.access.policy import Policy
from mailsrv.testing.bed import Answers, Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import ACCEPT, Identity, Peer, Transaction, Verdict

PROXY = "10.0.0.1"


class Watch(Policy):
    """Hears of everything; one object for each client."""

    def __init__(self, log: list[str], refuse: str = "") -> None:
        self.log, self.refuse = log, refuse
        log.append("made")

    async def on_connect(self, peer: Peer, client_name: str) -> Verdict:
        self.log.append(f"connect {peer.host}:{peer.port} {client_name}".rstrip())
        return Verdict("reject", "Not you") if peer.host == self.refuse else ACCEPT

    async def on_helo(self, helo: str, peer: Peer, client_name: str) -> Verdict:
        self.log.append(f"helo {helo} {peer.host} {client_name}".rstrip())
        return Verdict("reject", "Not that name") if helo == self.refuse else ACCEPT

    async def on_authenticated(self, identity: Identity, peer: Peer) -> Verdict:
        self.log.append(f"login {peer.host}")
        return ACCEPT

    async def on_sender(self, transaction: Transaction) -> Verdict:
        self.log.append(f"sender {transaction.peer.host} {transaction.client_name} {transaction.origin}")
        return ACCEPT

    async def on_close(self) -> None:
        self.log.append("close")


def bed_with(log: list[str], refuse: str = "", **settings: Any) -> Bed:
    bed = Bed(xclient_from=PROXY, onward=True, **settings)
    services: Any = bed.server("smtp").services
    services.policies = [*services.policies, lambda: Watch(log, refuse)]
    return bed


def said(bed: Bed, client: MemoryTransport, *lines: str) -> list[str]:
    client.take()
    client.send("".join(f"{line}\r\n" for line in lines).encode())
    bed.settle()
    return client.take().decode().splitlines()


def test_policies_begin_anew_with_the_client() -> None:
    log: list[str] = []
    bed = bed_with(log)
    client = bed.connect("smtp", host=PROXY)
    said(bed, client, "HELO proxy.example", "AUTH PLAIN AG1lAHNlY3JldA==")
    said(bed, client, "XCLIENT ADDR=198.51.100.7 PORT=4711 NAME=c.example HELO=d.example", "MAIL FROM:<a@d.example>")
    client.drop()
    assert log == [
        "made", "connect 10.0.0.1:40000", "helo proxy.example 10.0.0.1", "login 10.0.0.1", "close",
        "made", "connect 198.51.100.7:4711 c.example", "helo d.example 198.51.100.7 c.example",
        "sender 198.51.100.7 c.example outside", "close",
    ]  # fmt: skip


def test_a_client_that_a_policy_does_not_want_is_sent_away() -> None:
    log: list[str] = []
    bed = bed_with(log, "198.51.100.7")
    client = bed.connect("smtp", host=PROXY)
    assert said(bed, client, "XCLIENT ADDR=198.51.100.7", "HELO c") == ["554 5.7.1 Not you"] and client.closed
    assert log.count("close") == 2 and not bed.server("smtp").arrivals.present


def test_a_helo_that_a_policy_does_not_want_is_refused_where_the_client_says_it_itself() -> None:
    bed = bed_with([], "bad.example")
    client = bed.connect("smtp", host=PROXY)
    assert said(bed, client, "XCLIENT ADDR=198.51.100.7 HELO=bad.example", "MAIL FROM:<>", "HELO bad.example") == [
        "220 mx.example.org ESMTP mailsrv", "503 5.5.1 Say EHLO or HELO first", "550 5.7.1 Not that name",
    ]  # fmt: skip


def test_a_session_is_listed_as_the_clients() -> None:
    bed = bed_with([])
    client = bed.connect("smtp", host=PROXY)
    said(bed, client, "HELO c", "AUTH PLAIN AG1lAHNlY3JldA==", "XCLIENT ADDR=198.51.100.7")
    (info,) = bed.server("smtp").sessions()
    assert (info.peer, info.user) == ("198.51.100.7", "")


def test_the_certificate_of_the_proxy_is_nobody_elses() -> None:
    bed = bed_with([])
    client = bed.connect("smtp", tls=True, host=PROXY)
    (connection,) = bed.server("smtp").arrivals.present
    connection._certificate = b"der"  # type: ignore[union-attr]
    assert connection.client_certificate()  # type: ignore[union-attr]
    said(bed, client, "XCLIENT ADDR=198.51.100.7")
    assert not connection.client_certificate() and connection.secure  # type: ignore[union-attr]
    assert connection.tls_facts().peer_certificate is None  # type: ignore[union-attr]


def test_errors_and_octets_of_others_are_not_counted_for_the_client() -> None:
    bed = bed_with([])
    bed.limit(bad_commands=3, session_octets=60)
    # The limits were made with the server.
    del bed.servers["smtp"]
    client = bed.connect("smtp", host=PROXY)
    message = ["HELO c", "MAIL FROM:<a@c.example>", "RCPT TO:<me@example.org>", "DATA", "Subject: x", "", "012345", "."]
    for address in ("198.51.100.7", "198.51.100.8", "198.51.100.9"):
        lines = said(bed, client, f"XCLIENT ADDR={address}", "WRONG", "WRONG", *message)
        assert lines[-1].startswith("250 2.0.0 OK id=") and not client.closed


def test_a_proxy_that_leaves_while_its_client_is_looked_up_leaves_nothing_behind() -> None:
    class Slow(Answers):
        async def admit(self, peer: Peer) -> Verdict:
            if peer.host != PROXY and self.hold is not None:
                await self.hold
            return ACCEPT

    access = Slow("accept")
    access.hold = Deferred()
    bed = bed_with([], access=access)
    bed.limit(connections_per_address=1)
    client = bed.connect("smtp", host=PROXY)
    said(bed, client, "XCLIENT ADDR=198.51.100.7")
    client.drop()
    access.hold.callback(None)
    bed.settle()
    arrivals = bed.server("smtp").arrivals
    assert not arrivals.present and not arrivals._addresses


@pytest.mark.parametrize("line, host, unknown", [
    ("XCLIENT NAME=c.example", PROXY, True),
    ("XCLIENT ADDR=198.51.100.7", "198.51.100.7", False),
    ("XCLIENT ADDR=[UNAVAILABLE]", PROXY, True),
    # The proxy's own mail, by its own word.
    ("XCLIENT ADDR=10.0.0.1", PROXY, False),
    ("XCLIENT DESTADDR=192.0.2.25 DESTPORT=2525 ADDR=IPV6:2001:db8::7 PORT=9", "2001:db8::7", False),
])
def test_a_client_without_an_address_has_the_proxys_and_no_trust(line: str, host: str, unknown: bool) -> None:
    bed = bed_with([], relay_list=f"only:{PROXY}")
    client = bed.connect("smtp", host=PROXY)
    said(bed, client, line)
    (connection,) = bed.server("smtp").arrivals.present
    assert (connection.peer.host, connection.peer.unknown) == (host, unknown)
    if "DEST" in line:
        assert connection.peer == Peer("2001:db8::7", 9, "192.0.2.25", 2525)
    answer = said(bed, client, "HELO c", "MAIL FROM:<>", "RCPT TO:<x@elsewhere.example>")[-1]
    assert answer[:3] == ("250" if host == PROXY and not unknown else "550")


@pytest.mark.parametrize("line, verified", [("XCLIENT ADDR=10.0.0.1", True), ("XCLIENT ADDR=[UNAVAILABLE]", False)])
def test_rfc_5321_4_4_the_name_of_a_proxy_vouches_for_nobody(line: str, verified: bool) -> None:
    seen: list[Transaction] = []

    class Look(Policy):
        async def on_sender(self, transaction: Transaction) -> Verdict:
            seen.append(transaction)
            return ACCEPT

    bed = bed_with([], reverse_lookup=True)
    bed.names.host(PROXY, "proxy.example")
    services: Any = bed.server("smtp").services
    services.policies = [*services.policies, Look]
    client = bed.connect("smtp", host=PROXY)
    said(bed, client, line)
    said(bed, client, "HELO proxy.example")
    said(bed, client, "MAIL FROM:<a@b.example>")
    (about,) = seen
    assert (about.client_name, about.verified) == ("proxy.example" if verified else "", verified)


@pytest.mark.parametrize(("said_of", "told"), [
    ("ADDR=198.51.100.7", "198.51.100.7"), ("ADDR=[UNAVAILABLE]", "somebody it does not name"),
])  # fmt: skip
def test_the_log_tells_whose_connection_it_is(said_of: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("mailsrv.serve.smtp_xclient.log.info", lambda form, text: lines.append(text))
    bed = Bed(xclient_from=PROXY)
    said(bed, bed.connect("smtp", host=PROXY), f"XCLIENT {said_of}")
    assert lines == [f"connection of {PROXY} on smtp/default is that of {told} now, by XCLIENT"]
