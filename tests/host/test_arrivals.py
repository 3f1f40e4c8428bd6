"""Between accept and greeting: proxies, access, policies, limits (S-034, S-040, S-057..S-059, X-10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.errors import AccessDenied, TryLater
from mailsrv.host.arrivals import ASKING, HEADER, Ceiling
from mailsrv.host.refusals import last_words, words_of
from mailsrv.net.connection import Connection
from mailsrv.net.front import Front
from mailsrv.testing.bed import Answers, Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import ACCEPT, Peer, Verdict
from tests.properties import tries

PROXY = "10.0.0.1"
HEADER_1 = b"PROXY TCP4 198.51.100.7 192.0.2.25 40001 25\r\n"
GREETINGS = {"smtp": b"220 ", "imap": b"* OK ", "pop3": b"+OK "}
DENIED = {
    "smtp": b"554 5.7.1 Access denied\r\n",
    "imap": b"* BYE Access denied\r\n",
    "pop3": b"-ERR [SYS/PERM] Access denied\r\n",
}
LATER = {
    "smtp": b"421 4.3.2 Try again later\r\n",
    "imap": b"* BYE [UNAVAILABLE] Try again later\r\n",
    "pop3": b"-ERR [SYS/TEMP] Try again later\r\n",
}
COMMANDS = {
    "smtp": b"EHLO c\r\nAUTH PLAIN AG1lAHNlY3JldA==\r\n", "imap": b"a LOGIN me secret\r\n",
    "pop3": b"USER me\r\nPASS secret\r\n",
}
every = pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])


class Slow(Answers):
    """An access filter that answers when a test says so."""

    def __init__(self, action: str = "accept") -> None:
        super().__init__(action)
        self.hold: Deferred[None] = Deferred()

    def answer(self, bed: Bed) -> None:
        self.hold.callback(None)
        bed.settle()


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: "\n".join(formatEvent(event) for event in events)
    globalLogPublisher.removeObserver(events.append)


def present(bed: Bed, protocol: str = "smtp") -> list[Any]:
    return list(bed.server(protocol).arrivals.present)


def counted(bed: Bed, what: str, protocol: str = "smtp") -> int:
    return bed.server(protocol).services.counters.get(what, 0)


# ---------------------------------------------------------------- access


@every
def test_s_040_a_denied_client_never_reaches_a_login(protocol: str, logged: Callable[[], str]) -> None:
    bed = Bed(access=Answers("reject"))
    client = bed.connect(protocol)
    client.send(COMMANDS[protocol])
    bed.settle()
    assert client.take() == DENIED[protocol] and client.closed and present(bed, protocol) == []
    assert counted(bed, "denied by access", protocol) == 1 and counted(bed, "logins", protocol) == 0
    assert "192.0.2.1 is not let in" in logged() and "reject access all" in logged()


@every
def test_s_040_what_a_client_sent_while_it_was_asked_about_is_read_by_nobody(protocol: str) -> None:
    access = Slow("reject")
    bed = Bed(access=access)
    client = bed.connect(protocol)
    client.send(COMMANDS[protocol])
    assert client.take() == b"" and not client.reading and len(present(bed, protocol)) == 1
    access.answer(bed)
    assert client.take() == DENIED[protocol] and client.closed and present(bed, protocol) == []
    assert counted(bed, "logins", protocol) == 0


@every
def test_who_is_let_in_late_is_greeted_and_its_octets_are_commands(protocol: str) -> None:
    access = Slow()
    bed = Bed(access=access)
    client = bed.connect(protocol)
    client.send(COMMANDS[protocol])
    access.answer(bed)
    assert client.take().startswith(GREETINGS[protocol]) and counted(bed, "logins", protocol) == 1
    assert [type(one) for one in present(bed, protocol)] == [Connection]


@every
def test_with_tls_from_the_start_a_denied_client_gets_no_handshake(protocol: str) -> None:
    for access in (Answers("reject"), Slow("reject"), Slow("tempfail")):
        bed = Bed(access=access)
        client = bed.connect(protocol, tls=True)
        if isinstance(access, Slow):
            assert not client.closed
            access.answer(bed)
        assert client.closed and not client.tls and client.take() == b""


@every
def test_one_that_is_let_in_late_has_its_handshake_then(protocol: str) -> None:
    access = Slow()
    bed = Bed(access=access)
    client = bed.connect(protocol, tls=True)
    assert not client.tls
    access.answer(bed)
    assert client.tls and client.take().startswith(GREETINGS[protocol])


def test_an_answer_at_once_makes_no_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Front, "connectionMade", lambda self: pytest.fail("a front"))
    for access in (None, Answers("accept"), Answers("reject")):
        bed = Bed(access=access)
        client = bed.connect("smtp")
        assert client.reading and client.take()[:3] == (b"554" if access and access.verdict != ACCEPT and
                                                        access.verdict.action == "reject" else b"220")  # fmt: skip


@pytest.mark.parametrize(("error", "words"), [
    (TryLater("No name server"), b"421 4.3.0 No name server\r\n"),
    (AccessDenied(), b"554 5.7.1 Access denied\r\n"),
])
def test_an_error_of_a_filter_is_a_verdict(error: Exception, words: bytes) -> None:
    class Raises(Answers):
        async def admit(self, peer: Peer) -> Verdict:
            raise error

    client = Bed(access=Raises("accept")).connect("smtp")
    assert client.take() == words and client.closed


def test_a_bug_of_a_filter_lets_nobody_in(logged: Callable[[], str]) -> None:
    class Broken(Slow):
        async def admit(self, peer: Peer) -> Verdict:
            if self.verdict.action == "accept":
                await self.hold
            raise ZeroDivisionError("secret details")

    for access in (Broken("accept"), Broken("reject")):
        bed = Bed(access=access)
        plain, secure = bed.connect("smtp"), bed.connect("smtp", tls=True)
        if access.verdict.action == "accept":
            access.answer(bed)
        said = plain.take()
        assert said.startswith(b"421 4.3.0 Internal error, incident ") and b"secret" not in said
        assert plain.closed and secure.closed and secure.take() == b"" and present(bed) == []
    assert logged().count("incident") == 4


@every
def test_nobody_waits_for_ever_for_an_answer(protocol: str) -> None:
    access = Slow()
    bed = Bed(access=access)
    client, secure = bed.connect(protocol), bed.connect(protocol, tls=True)
    bed.settle(ASKING - 2)
    assert not client.closed and not secure.closed
    bed.settle(3)
    assert client.take() == LATER[protocol] and client.closed
    assert secure.closed and secure.take() == b"" and present(bed, protocol) == []
    # What comes too late finds nobody.
    access.answer(bed)
    assert client.take() == b"" and present(bed, protocol) == []


def test_a_stop_does_not_wait_for_the_answer() -> None:
    access = Slow()
    bed = Bed(access=access)
    client = bed.connect("smtp")
    done: list[Any] = []
    bed.server("smtp").stop().addBoth(done.append)
    assert client.take() == LATER["smtp"] and client.closed and done
    access.answer(bed)
    assert present(bed) == []


def test_who_vanishes_while_it_waits_is_forgotten() -> None:
    access = Slow()
    bed = Bed(access=access)
    bed.limit(connections=1)
    bed.connect("smtp").drop()
    access.answer(bed)
    assert present(bed) == []
    assert bed.connect("smtp").take().startswith(b"220 ")


def test_s_058_those_who_wait_count() -> None:
    access = Slow()
    bed = Bed(access=access)
    bed.limit(connections=1)
    waiting = bed.connect("smtp")
    assert bed.connect("smtp").take().startswith(b"421 4.3.2 Too many")
    assert bed.server("smtp").sessions() == []
    access.answer(bed)
    assert waiting.take().startswith(b"220 ") and len(bed.server("smtp").sessions()) == 1
    assert bed.connect("smtp").take().startswith(b"421 4.3.2 Too many")
    waiting.drop()
    assert bed.connect("smtp").take().startswith(b"220 ")


# ---------------------------------------------------------------- policies of a connection


class Policy:
    """A message policy that looks at connections."""

    def __init__(self, verdict: Verdict, hold: Deferred[None] | None = None) -> None:
        self.verdict, self.hold = verdict, hold
        self.peers: list[Peer] = []
        self.closed = 0

    async def on_connect(self, peer: Peer, client_name: str) -> Verdict:
        self.peers.append(peer)
        if self.hold is not None:
            await self.hold
        return self.verdict

    async def on_close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("access", [None, "accept"])
def test_a_policy_may_refuse_a_connection(access: str | None) -> None:
    policy = Policy(Verdict("reject", "Not you", "5.7.25", "names", "rdns"))
    bed = Bed(access=access and Answers(access), policies=[lambda: policy])
    client = bed.connect("smtp")
    assert client.take() == b"554 5.7.25 Not you\r\n" and client.closed
    assert policy.closed == 1 and counted(bed, "denied by policy") == 1 and present(bed) == []


@pytest.mark.parametrize("access", [None, "accept"])
def test_a_policy_may_take_its_time_and_its_object_stays_with_the_connection(access: str | None) -> None:
    hold: Deferred[None] = Deferred()
    policy = Policy(ACCEPT, hold)
    bed = Bed(access=access and Answers(access), policies=[lambda: policy])
    client = bed.connect("smtp")
    assert client.take() == b"" and [type(one) for one in present(bed)] == [Front]
    hold.callback(None)
    assert client.take().startswith(b"220 ") and policy.closed == 0 and len(policy.peers) == 1
    assert [type(one) for one in present(bed)] == [Connection]
    client.drop()
    assert policy.closed == 1 and present(bed) == []


def test_a_policy_is_told_when_its_client_gives_up() -> None:
    policy = Policy(ACCEPT, Deferred())
    bed = Bed(policies=[lambda: policy])
    bed.connect("smtp").drop()
    assert policy.closed == 1 and present(bed) == []


def test_a_policy_is_not_asked_about_who_has_no_access() -> None:
    policy = Policy(ACCEPT)
    Bed(access=Answers("reject"), policies=[lambda: policy]).connect("smtp")
    assert policy.peers == []


# ---------------------------------------------------------------- proxies


def proxied(bed: Bed, octets: bytes, protocol: str = "smtp", tls: bool = False) -> MemoryTransport:
    client = bed.connect(protocol, tls=tls, host=PROXY)
    client.send(octets)
    bed.settle()
    return client


def test_s_058_a_proxy_that_names_itself_is_counted_once() -> None:
    """The health checks of haproxy do, with version 1."""
    bed = Bed(trusted_proxies=PROXY)
    bed.limit(connections_per_address=1)
    header = b"PROXY TCP4 %b 192.0.2.25 40001 25\r\n" % PROXY.encode()
    for _ in range(2):
        client = proxied(bed, header)
        assert client.take().startswith(b"220 ")
        client.drop()
    assert present(bed) == []


@every
def test_the_client_is_who_the_proxy_says(protocol: str) -> None:
    access = Answers("accept")
    bed = Bed(trusted_proxies=PROXY, access=access)
    client = proxied(bed, HEADER_1, protocol)
    assert client.take().startswith(GREETINGS[protocol])
    assert access.asked == [Peer("198.51.100.7", 40001, "192.0.2.25", 25)]
    (info,) = bed.server(protocol).sessions()
    assert info.peer == "198.51.100.7" and not info.secure


def test_the_access_list_is_for_clients_not_for_their_proxy() -> None:
    bed = Bed(trusted_proxies=PROXY, access=Answers("reject"))
    client = proxied(bed, b"PROXY TCP4 198.51.100.7")
    assert not client.closed and client.take() == b""
    client.send(b" 192.0.2.25 40001 25\r\nEHLO c\r\n")
    bed.settle()
    assert client.take() == DENIED["smtp"] and client.closed


def test_tls_of_the_proxy_is_not_ours() -> None:
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc6\x33\x64\x07\xc0\0\2\x19\x9c\x41\0\x19\x20\0\x05\x07\0\0\0\0"
    bed = Bed(trusted_proxies=PROXY, login_without_tls=False)
    client = proxied(bed, header + b"EHLO c\r\n")
    assert b"STARTTLS" in (said := client.take()) and b"AUTH" not in said
    assert not bed.server("smtp").sessions()[0].secure


@every
def test_the_handshake_comes_behind_the_header(protocol: str) -> None:
    bed = Bed(trusted_proxies=PROXY)
    client = proxied(bed, HEADER_1[:20], protocol, tls=True)
    assert not client.tls
    client.send(HEADER_1[20:] + COMMANDS[protocol])
    bed.settle()
    assert client.tls and client.take().startswith(GREETINGS[protocol]) and counted(bed, "logins", protocol) == 1


@given(st.lists(st.integers(1, 30), max_size=12), st.booleans())
@settings(max_examples=tries(40))
def test_every_split_of_a_header_and_what_follows(steps: list[int], tls: bool) -> None:
    bed = Bed(trusted_proxies=PROXY)
    octets = HEADER_1 + b"NOOP\r\n"
    client = bed.connect("smtp", tls=tls, host=PROXY)
    for step in [*steps, len(octets)]:
        client.send(octets[:step])
        octets = octets[step:]
    bed.settle()
    assert client.take().split(b"\r\n")[1] == b"250 2.0.0 OK"


@pytest.mark.parametrize("octets", [b"EHLO c\r\n", b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x99\0\0", b"\x16"])
@pytest.mark.parametrize("tls", [False, True])
def test_no_header_no_word(octets: bytes, tls: bool, logged: Callable[[], str]) -> None:
    bed = Bed(trusted_proxies=PROXY)
    client = proxied(bed, octets + b"NOOP\r\n", tls=tls)
    assert client.closed and client.take() == b"" and not client.tls and present(bed) == []
    assert counted(bed, "bad proxy headers") == 1 and f"{PROXY} sent no PROXY header" in logged()


def test_a_header_in_drops_is_not_waited_for() -> None:
    bed = Bed(trusted_proxies=PROXY)
    client = bed.connect("smtp", host=PROXY)
    for octet in HEADER_1[:int(HEADER)]:
        client.send(bytes([octet]))
        bed.settle(1)
    bed.settle(1)
    assert client.closed and client.take() == b"" and present(bed) == []


def test_a_proxy_that_goes_before_its_header_leaves_nothing() -> None:
    bed = Bed(trusted_proxies=PROXY)
    proxied(bed, HEADER_1[:9]).drop()
    assert present(bed) == []


def test_limits_of_an_address_are_for_clients_of_a_proxy() -> None:
    bed = Bed(trusted_proxies=PROXY)
    bed.limit(connections_per_address=2)
    clients = [proxied(bed, HEADER_1) for _ in range(3)]
    assert [client.take()[:3] for client in clients] == [b"220", b"220", b"421"] and clients[2].closed
    # Another client of the same proxy, and the same client without it, after one has gone.
    assert proxied(bed, HEADER_1.replace(b".7 ", b".8 ")).take()[:3] == b"220"
    assert bed.connect("smtp", host="198.51.100.7").take()[:3] == b"421"
    clients[0].drop()
    assert bed.connect("smtp", host="198.51.100.7").take()[:3] == b"220"
    for one in present(bed):
        one.abort()
    assert bed.server("smtp").arrivals._addresses == {}


def test_only_listed_proxies_are_believed() -> None:
    for proxies in ("", "10.0.0.2,10.1.0.0/16,2001:db8::/32"):
        client = proxied(Bed(trusted_proxies=proxies), HEADER_1)
        assert client.take().split(b"\r\n")[1].startswith(b"500 ")
    bed = Bed(trusted_proxies="10.1.0.0/16,2001:db8::/32")
    for host in ("10.1.200.3", "2001:db8:1::5"):
        assert bed.connect("smtp", host=host).take() == b""


# ---------------------------------------------------------------- another client on the same connection (XCLIENT)


def replace(bed: Bed, host: str) -> None:
    (connection,) = (one for one in present(bed) if isinstance(one, Connection))
    bed.loop.run(connection.replace_peer(Peer(host, 1)))
    connection.flush()


def test_another_client_is_admitted_counted_and_greeted() -> None:
    access = Answers("accept")
    bed = Bed(access=access)
    bed.limit(connections_per_address=1)
    client = bed.connect("smtp")
    client.take()
    replace(bed, "198.51.100.9")
    assert client.take().startswith(b"220 ") and bed.server("smtp").sessions()[0].peer == "198.51.100.9"
    assert [peer.host for peer in access.asked] == ["192.0.2.1", "198.51.100.9"]
    assert bed.connect("smtp", host="198.51.100.9").take()[:3] == b"421"
    access.verdict = Verdict("reject", part="access", rule="second")
    replace(bed, "198.51.100.10")
    assert client.take() == DENIED["smtp"] and client.closed
    assert bed.server("smtp").arrivals._addresses == {}


def test_another_client_of_which_there_are_too_many() -> None:
    bed = Bed()
    bed.limit(connections_per_address=1)
    client = bed.connect("smtp")
    connection = present(bed)[0]
    bed.connect("smtp", host="198.51.100.9")
    client.take()
    bed.loop.run(connection.replace_peer(Peer("198.51.100.9", 1)))
    assert client.take().startswith(b"421 4.3.2 Too many") and client.closed


# ---------------------------------------------------------------- limits


def test_connections_of_one_address_are_counted_by_network_in_ipv6() -> None:
    bed = Bed()
    bed.limit(connections_per_address=2)
    hosts = ["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"]
    assert [bed.connect("imap", host=host).take()[:5] for host in hosts] == [
        b"* OK ", b"* OK ", b"* BYE", b"* OK ", b"* OK ", b"* OK ",
    ]  # fmt: skip


def test_clients_of_a_unix_socket_are_not_counted_against_each_other() -> None:
    bed = Bed()
    bed.limit(connections_per_address=1)
    assert [bed.connect("smtp", host="").take()[:3] for _ in range(3)] == [b"220"] * 3


@every
def test_s_059_one_goes_and_the_next_is_admitted_others_are_not_harmed(protocol: str) -> None:
    bed = Bed()
    bed.limit(connections=2)
    first, second = bed.connect(protocol), bed.connect(protocol)
    third, secure = bed.connect(protocol), bed.connect(protocol, tls=True)
    assert third.take() == last_words(protocol, "Too many connections, try again later") and third.closed
    assert secure.closed and not secure.tls
    first.take(), second.take()
    first.drop()
    assert bed.connect(protocol).take().startswith(GREETINGS[protocol])
    second.send({"imap": b"a NOOP\r\n"}.get(protocol, b"QUIT\r\n"))
    bed.settle()
    assert second.take() and counted(bed, "turned away", protocol) == 2


def test_the_ceiling_of_open_files_holds_for_all_servers_together_and_is_told_once(logged: Callable[[], str]) -> None:
    bed = Bed()
    ceiling = Ceiling(10)
    for protocol in ("smtp", "imap"):
        bed.server(protocol).arrivals._ceiling = ceiling
    clients = [bed.connect(protocol) for _ in range(5) for protocol in ("smtp", "imap")]
    assert bed.connect("smtp").take().startswith(b"421 4.3.2 Too many")
    assert bed.connect("imap").take().startswith(b"* BYE [UNAVAILABLE]")
    assert logged().count("raise the limit of open files") == 1
    clients.pop().drop()
    clients.append(bed.connect("smtp"))
    bed.connect("smtp")
    assert clients[-1].take().startswith(b"220 ") and logged().count("raise the limit of open files") == 1
    for client in clients[:2]:
        client.drop()
    clients += [bed.connect("smtp") for _ in range(3)]
    assert logged().count("raise the limit of open files") == 2
    for client in clients:
        client.drop()
    assert ceiling.taken == 0


def test_the_ceiling_comes_from_the_process() -> None:
    most = Ceiling.of_process().most
    assert most is None or most >= 1


# ---------------------------------------------------------------- words


def test_a_text_that_came_from_elsewhere_is_one_short_line() -> None:
    for protocol in GREETINGS:
        said = words_of(protocol, Verdict("reject", "a\r\n250 b\u2028\u00e9" + "x" * 999, "5.7.1"))
        assert said.endswith(b"\r\n") and said.count(b"\n") == said.count(b"\r") == 1 and len(said) < 450
        assert said.isascii()
