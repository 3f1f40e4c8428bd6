"""The resolver against servers with a script, in virtual time: real DNS messages, no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsrv.errors import TryLater
from mailsrv.interfaces import IResolver
from mailsrv.net.dns_exchange import LOOK, SystemServers, parse_resolv_conf
from mailsrv.net.dns_message import question, read_answer, wire_name
from mailsrv.net.resolver import Resolver, ResolverLimits
from mailsrv.testing.dns import Script, ScriptedServers, answer
from tests.properties import tries

A, CNAME, PTR, TXT, MX = dns.Record_A, dns.Record_CNAME, dns.Record_PTR, dns.Record_TXT, dns.Record_MX
ONE, TWO = ("192.0.2.53", 53), ("192.0.2.54", 53)


class Bed:
    """A resolver, its servers and their clock."""

    def __init__(self, script: Script, *, delay: float = 0.0, servers: Any = (ONE, TWO), **limits: Any) -> None:
        self.clock = Clock()
        self.servers = ScriptedServers(self.clock, script, delay)
        self.resolver = Resolver(
            self.servers, lambda: servers, self.clock, self.clock.seconds, ResolverLimits(**limits)
        )

    def ask(self, name: str, kind: str = "A") -> list[Any]:
        """A list that holds the records, or the error, when they are there."""
        out: list[Any] = []
        Deferred.fromCoroutine(self.resolver.lookup(name, kind)).addBoth(
            lambda result: out.append(result.value if isinstance(result, Failure) else result)
        )
        return out

    def now(self, name: str, kind: str = "A") -> Any:
        """What is there when all that takes no time has happened."""
        out = self.ask(name, kind)
        for _ in range(30):
            self.clock.advance(0)
        assert out, "no answer yet"
        return out[0]

    def asked(self) -> list[tuple[str, str, str, bool]]:
        """The questions since the last time."""
        asked, self.servers.asked = self.servers.asked, []
        return asked


def always(*records: Any, **more: Any) -> Script:
    """A script with the same answer to all."""
    return lambda message, server, tcp: answer(message, *records, **more)


def nothing(message: Any, server: Any, tcp: bool) -> None:
    """A script that says nothing."""


def test_the_contract() -> None:
    verifyObject(IResolver, Bed(nothing).resolver)


@pytest.mark.parametrize(("kind", "records", "found"), [
    ("A", [A("192.0.2.1"), A("192.0.2.2")], ("192.0.2.1", "192.0.2.2")),
    ("AAAA", [dns.Record_AAAA("2001:db8::1")], ("2001:db8::1",)),
    ("PTR", [PTR("Host.Example."), PTR("b.example")], ("host.example", "b.example")),
    ("MX", [MX(20, "b.example"), MX(10, "A.example")], ((10, "a.example"), (20, "b.example"))),
    # RFC 7505: no mail for this domain.
    ("MX", [MX(0, "")], ((0, ""),)),
    ("TXT", [TXT(b"v=spf1 ", b"-all"), TXT(b"\xff")], (b"v=spf1 -all", b"\xff")),
    # What no host can be called would be a way to write into logs.
    ("PTR", [PTR(b"a b.example"), PTR(b"a\r\nb.example"), PTR(b"\xff.example"), PTR(b"*.x"), PTR(b"ok.example")],
     ("ok.example",)),
])
def test_records_of_every_kind(kind: str, records: list[Any], found: tuple[Any, ...]) -> None:
    bed = Bed(always(*(("x.example", record, 60) for record in records)))
    assert bed.now("X.Example.", kind) == found
    assert bed.asked() == [("192.0.2.53", "x.example", kind, False)]


def test_names_that_can_be_nobodys_are_not_asked_for() -> None:
    bed = Bed(nothing)
    for name in ("", ".", "a..b", "a" * 64, "a." * 127 + "b", "a b", "a\nb", "\ud800", "\u2028"):
        assert bed.now(name) == ()
    assert bed.asked() == []


def test_a_name_with_other_letters_is_asked_in_a_labels() -> None:
    bed = Bed(always())
    bed.now("Bücher.example")
    assert bed.asked()[0][1] == "xn--bcher-kva.example"


def test_an_alias_is_followed_inside_an_answer_and_by_another_question() -> None:
    inside = always(("x.example", CNAME("y.example"), 60), ("y.example", A("192.0.2.1"), 60))
    bed = Bed(inside)
    assert bed.now("x.example") == ("192.0.2.1",) and len(bed.asked()) == 1

    def outside(message: Any, server: Any, tcp: bool) -> bytes:
        name = message.queries[0].name.name
        return answer(message, (name.decode(), CNAME("y.example") if name == b"x.example" else A("192.0.2.2"), 60))

    bed = Bed(outside)
    assert bed.now("x.example") == ("192.0.2.2",)
    assert [asked[1] for asked in bed.asked()] == ["x.example", "y.example"]


def test_RFC_2317_names_of_reverse_zones_with_a_slash() -> None:
    bed = Bed(always(
        ("1.2.0.192.in-addr.arpa", CNAME("1.0/25.2.0.192.in-addr.arpa"), 60),
        ("1.0/25.2.0.192.in-addr.arpa", PTR("host.example"), 60),
    ))
    assert bed.now("1.2.0.192.in-addr.arpa", "PTR") == ("host.example",)


@pytest.mark.parametrize("script", [
    always(("x.example", CNAME("x.example"), 60)),
    always(("x.example", CNAME("y.example"), 60), ("y.example", CNAME("x.example"), 60)),
    lambda message, server, tcp: answer(
        message, (message.queries[0].name.name.decode(), CNAME(b"x" + message.queries[0].name.name), 60)
    ),
])
def test_aliases_without_end_lead_nowhere(script: Script) -> None:
    bed = Bed(script)
    assert bed.now("x.example") == () and len(bed.asked()) <= 8


@pytest.mark.parametrize("forged", [
    # Records of names nobody asked for.
    lambda m: [answer(m, ("bank.example", A("192.0.2.66"), 9999))],
    lambda m: [answer(m, ("y.example", CNAME("x.example"), 60), ("z.example", A("192.0.2.66"), 60))],
    # Records of another kind.
    lambda m: [answer(m, ("x.example", TXT(b"192.0.2.66"), 60))],
])
def test_records_that_were_not_asked_for_are_not_believed(forged: Callable[[Any], list[bytes]]) -> None:
    bed = Bed(lambda message, server, tcp: forged(message))
    assert bed.now("x.example") == ()
    bed.asked()
    bed.now("bank.example")
    # Nothing of it was remembered for its own name either.
    assert [asked[1] for asked in bed.asked()] == ["bank.example"]


@pytest.mark.parametrize("forged", [
    lambda m: answer(m, ("x.example", A("192.0.2.66"), 60), number=(m.id + 1) % 0x10000),
    lambda m: answer(m, ("x.example", A("192.0.2.66"), 60), asked="y.example"),
    lambda m: m.toStr(),
    lambda m: b"",
    lambda m: b"\0" * 12,
    lambda m: m.toStr()[:2] + b"\x80\0" + b"\xff" * 100,
    lambda m: answer(m, ("x.example", A("192.0.2.66"), 60))[:-3],
])
def test_RFC_5452_octets_that_are_no_answer_are_passed_over_and_the_true_one_is_waited_for(
    forged: Callable[[Any], bytes],
) -> None:
    bed = Bed(lambda m, server, tcp: [forged(m), answer(m, ("x.example", A("192.0.2.1"), 60))])
    assert bed.now("x.example") == ("192.0.2.1",) and len(bed.asked()) == 1


def test_a_truncated_answer_is_asked_for_by_tcp() -> None:
    def script(message: Any, server: Any, tcp: bool) -> bytes:
        return answer(message, ("x.example", A("192.0.2.1"), 60)) if tcp else answer(message, truncated=True)

    bed = Bed(script)
    assert bed.now("x.example") == ("192.0.2.1",)
    assert [(server, tcp) for server, _, _, tcp in bed.asked()] == [("192.0.2.53", False), ("192.0.2.53", True)]


def test_an_answer_that_is_truncated_by_tcp_too_is_none() -> None:
    bed = Bed(always(truncated=True), servers=(ONE,))
    assert isinstance(bed.now("x.example"), TryLater)


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_a_server_that_cannot_tell_is_passed_over(code: int) -> None:
    """FORMERR, SERVFAIL, NOTIMP, REFUSED."""

    def script(message: Any, server: Any, tcp: bool) -> bytes:
        return answer(message, code=code) if server == ONE else answer(message, ("x.example", A("192.0.2.1"), 60))

    bed = Bed(script)
    assert bed.now("x.example") == ("192.0.2.1",)
    assert [asked[0] for asked in bed.asked()] == ["192.0.2.53", "192.0.2.54"]


def test_when_no_server_can_tell_it_fails_once_for_a_while() -> None:
    bed = Bed(always(code=2), failure=30.0)
    error = bed.now("x.example")
    assert isinstance(error, TryLater) and error.status == "4.4.3"
    # Those that said something are not asked the same again.
    assert len(bed.asked()) == 2
    assert isinstance(bed.now("x.example"), TryLater) and not bed.asked()
    bed.clock.advance(30)
    bed.now("x.example")
    assert len(bed.asked()) == 2


def test_servers_are_asked_in_their_order_and_then_with_more_patience() -> None:
    bed = Bed(nothing, attempts=(2.0, 4.0), deadline=100.0)
    out = bed.ask("x.example")
    times = []
    for _ in range(13):
        times.append(len(bed.servers.asked))
        assert not out or bed.clock.seconds() == 12
        bed.clock.advance(1)
    # 2 s for each, then 4 s for each.
    assert times == [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4] and isinstance(out[0], TryLater)
    assert [asked[0] for asked in bed.asked()] == ["192.0.2.53", "192.0.2.54"] * 2
    assert bed.servers.open == 0 and not bed.clock.getDelayedCalls()


def test_the_deadline_ends_it_whatever_happens() -> None:
    bed = Bed(nothing, deadline=5.0)
    out = bed.ask("x.example")
    bed.clock.pump([1] * 5)
    assert isinstance(out[0], TryLater) and bed.servers.open == 0 and not bed.clock.getDelayedCalls()


def test_aliases_do_not_move_the_deadline() -> None:
    def script(message: Any, server: Any, tcp: bool) -> bytes:
        name = message.queries[0].name.name
        return answer(message, (name.decode(), CNAME(b"x" + name), 60))

    bed = Bed(script, delay=1.9, deadline=5.0)
    out = bed.ask("x.example")
    bed.clock.pump([0.1] * 51)
    assert isinstance(out[0], TryLater) and bed.clock.seconds() < 5.2


# ---------------------------------------------------------------- what is remembered


@pytest.mark.parametrize(("ttl", "held"), [(60, 60), (0, 1), (10**6, 3600)])
def test_records_are_remembered_as_long_as_they_say_within_bounds(ttl: int, held: float) -> None:
    bed = Bed(always(("x.example", A("192.0.2.1"), ttl)))
    bed.now("x.example")
    bed.clock.advance(held - 0.5)
    assert bed.now("x.example") == ("192.0.2.1",) and len(bed.asked()) == 1
    bed.clock.advance(0.5)
    bed.now("x.example")
    assert len(bed.asked()) == 1 and bed.resolver.counters["remembered"] == 1


def test_of_aliases_the_shortest_life_counts() -> None:
    bed = Bed(always(("x.example", CNAME("y.example"), 10), ("y.example", A("192.0.2.1"), 600)))
    bed.now("x.example")
    bed.clock.advance(10)
    bed.now("x.example")
    assert len(bed.asked()) == 2


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize(("zone", "ttl", "held"), [("example", 60, 60), ("example", 9999, 300), ("other", 60, 1)])
def test_RFC_2308_that_there_is_nothing_is_remembered_as_the_zone_says(
    code: int, zone: str, ttl: int, held: float
) -> None:
    bed = Bed(always(code=code, soa=(zone, ttl)))
    assert bed.now("x.example") == ()
    bed.clock.advance(held - 0.5)
    assert bed.now("x.example") == () and len(bed.asked()) == 1
    bed.clock.advance(0.5)
    bed.now("x.example")
    assert len(bed.asked()) == 1


def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    bed = Bed(lambda m, s, t: answer(m, (m.queries[0].name.name.decode(), A("192.0.2.1"), 60)), entries=3)
    for name in "abcd":
        bed.now(f"{name}.example")
    assert len(bed.resolver._kept) == 3
    bed.asked()
    bed.now("b.example")
    assert not bed.asked()
    bed.now("a.example")
    assert len(bed.asked()) == 1


def test_large_answers_push_out_others() -> None:
    def script(message: Any, server: Any, tcp: bool) -> bytes:
        return answer(message, *((message.queries[0].name.name.decode(), TXT(b"x" * 250), 60) for _ in range(40)))

    bed = Bed(script, octets=50_000)
    for name in "abcdefgh":
        bed.now(f"{name}.example", "TXT")
    assert 2 <= len(bed.resolver._kept) <= 4 and bed.resolver._octets <= 50_000
    bed.asked()
    bed.now("h.example", "TXT")
    assert not bed.asked()
    bed.clock.advance(60)
    for _ in range(5):
        bed.now("h.example", "TXT")
        bed.clock.advance(60)
    while bed.resolver._kept:
        bed.resolver._forget(next(iter(bed.resolver._kept)))
    assert bed.resolver._octets == 0


def test_kinds_of_one_name_are_remembered_apart() -> None:
    bed = Bed(always(("x.example", A("192.0.2.1"), 60)))
    assert bed.now("x.example", "A") == ("192.0.2.1",) and bed.now("x.example", "AAAA") == ()


# ---------------------------------------------------------------- many at once


def test_equal_questions_share_one_answer() -> None:
    bed = Bed(always(("x.example", A("192.0.2.1"), 60)), delay=1.0)
    outs = [bed.ask("x.example"), bed.ask("X.example."), bed.ask("x.example")]
    bed.clock.pump([0.5, 0.5])
    assert outs == [[("192.0.2.1",)]] * 3 and len(bed.asked()) == 1


def test_one_that_does_not_want_to_know_any_more_takes_nothing_from_the_others() -> None:
    bed = Bed(always(("x.example", A("192.0.2.1"), 60)), delay=1.0)
    first = Deferred.fromCoroutine(bed.resolver.lookup("x.example", "A"))
    first.addErrback(lambda failure: None)
    other = bed.ask("x.example")
    first.cancel()
    bed.clock.pump([0.5, 0.5])
    assert other == [("192.0.2.1",)]


def test_so_many_are_under_way_and_so_many_wait() -> None:
    bed = Bed(always(), delay=1.0, parallel=2, waiting=3)
    outs = [bed.ask(f"{n}.example") for n in range(6)]
    assert bed.servers.open == 2
    assert isinstance(outs[5][0], TryLater) and bed.resolver.counters["turned away"] == 1
    bed.clock.pump([1, 0, 1, 0, 1, 0])
    assert [out[0] for out in outs[:5]] == [()] * 5 and bed.servers.most_open == 2
    # Being turned away says nothing about the name.
    bed.asked()
    out = bed.ask("5.example")
    bed.clock.advance(1)
    assert out == [()] and len(bed.asked()) == 1


def test_whoever_waits_too_long_for_a_turn_leaves_the_line() -> None:
    bed = Bed(nothing, parallel=1, waiting=2, deadline=5.0, attempts=(100.0,))
    outs = [bed.ask("a.example")]
    bed.clock.advance(1)
    outs += [bed.ask("b.example"), bed.ask("c.example")]
    bed.clock.pump([1] * 4)
    assert isinstance(outs[0][0], TryLater) and bed.servers.open == 1
    bed.clock.pump([1] * 10)
    assert all(isinstance(out[0], TryLater) for out in outs)
    assert not bed.resolver._turns and bed.resolver._busy == 0 and not bed.resolver._asked


def test_a_bug_in_an_exchange_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr("mailsrv.net.resolver.log.failure", lambda *given, **more: said.append(given))

    def script(message: Any, server: Any, tcp: bool) -> bytes:
        raise ZeroDivisionError

    assert isinstance(Bed(script).now("x.example"), TryLater) and len(said) == 1


# ---------------------------------------------------------------- octets


ASKED = question(7, b"x.example", "A")
_GOOD = dns.Message()
_GOOD.fromStr(ASKED)
GOOD = answer(_GOOD, ("x.example", CNAME("y.example"), 60), ("y.example", A("192.0.2.1"), 60), soa=("example", 9))


@settings(max_examples=tries(60))
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(GOOD)))
@example([], len(GOOD))
def test_no_octets_are_anything_but_an_answer_or_none(changes: list[tuple[int, int]], length: int) -> None:
    octets = bytearray(GOOD)
    for at, value in changes:
        octets[at] = value
    found = read_answer(bytes(octets[:length]), 7, b"x.example", "A")
    assert found is None or all(isinstance(one, str) for one in found.found)
    assert found is not None or changes or length < len(GOOD)


@settings(max_examples=tries(60))
@given(st.binary(max_size=200), st.sampled_from(["A", "AAAA", "PTR", "MX", "TXT"]))
def test_octets_of_anybody_behind_a_true_beginning(octets: bytes, kind: str) -> None:
    head = question(7, b"x.example", kind)
    found = read_answer(head[:2] + b"\x80\0\0\1\0\3\0\1\0\1" + head[12:] + octets, 7, b"x.example", kind)
    assert found is None or found.name


@settings(max_examples=tries(60))
@given(st.text(max_size=80))
def test_no_name_is_longer_on_the_wire_than_allowed(name: str) -> None:
    octets = wire_name(name)
    assert octets is None or (0 < len(octets) <= 253 and max(map(len, octets.split(b"."))) <= 63)


# ---------------------------------------------------------------- resolv.conf


@pytest.mark.parametrize(("text", "servers"), [
    ("", []),
    ("nameserver 192.0.2.53\nsearch example\nnameserver 2001:db8::53 # two\n", ["192.0.2.53", "2001:db8::53"]),
    (" nameserver\t192.0.2.53\n#nameserver 192.0.2.54\n; nameserver 192.0.2.55\n", ["192.0.2.53"]),
    ("nameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n", ["1.1.1.1", "1.1.1.2"]),
    ("nameserver fe80::1%eth0\nnameserver 192.0.2.53\n", ["192.0.2.53"]),
    ("nameserver example.org\n", []),
])
def test_servers_of_resolv_conf(text: str, servers: list[str]) -> None:
    assert parse_resolv_conf(text) == tuple((server, 53) for server in servers)


def test_the_file_of_servers_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "resolv.conf"
    servers = SystemServers(clock.seconds, path)
    assert servers() == (("127.0.0.1", 53),)
    path.write_text("nameserver 192.0.2.1\n")
    assert servers() == (("127.0.0.1", 53),)
    clock.advance(LOOK)
    assert servers() == (("192.0.2.1", 53),)
    path.write_text("nameserver 192.0.2.22\n")
    clock.advance(LOOK)
    assert servers() == (("192.0.2.22", 53),)
    path.unlink()
    clock.advance(LOOK)
    assert servers() == (("127.0.0.1", 53),)
