"""The way to other servers by the name system: zones of twisted.names, and the whole site behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from dns_network import NEGATIVE, TTL, NameServer
from mail_network import HOUR, MINUTE, ZONE, MailNetwork, delivery, fields
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from mailsrv.errors import TryLater
from mailsrv.host.control import run as control
from mailsrv.net.dns_exchange import NetworkExchange
from mailsrv.net.resolver import Resolver, ResolverLimits

Make = Callable[..., MailNetwork]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the one network of a test."""
    made: list[MailNetwork] = []

    def network(settings: str | None = None, zone: dict[str, Any] | None = None) -> MailNetwork:
        made.append(MailNetwork(tmp_path, delivery() if settings is None else settings, zone, monkeypatch))
        return made[0]

    yield network
    made[0].close()


# ---------------------------------------------------------------- MX


def tried(net: MailNetwork) -> list[str]:
    """Addresses that were connected to, in order."""
    return [host for host, _ in net.ports]


def test_s169_the_lowest_preference_first_and_the_next_when_it_is_away(make: Make) -> None:
    net = make()
    net.put("me@two.test")
    net.until(1)
    net.refuse = {"192.0.2.21"}
    net.until(20)
    net.put("me@two.test")
    net.until(21)
    assert tried(net) == ["192.0.2.21", "192.0.2.21", "192.0.2.22"]
    assert [len(net.taken(f"192.0.2.{last}")) for last in (21, 22)] == [1, 1] and not net.rows()


def test_s169_servers_of_one_preference_share_the_mail(make: Make) -> None:
    zone = {"x.test MX": [(10, f"m{n}.x.test") for n in range(3)] + [(20, "last.x.test")]}
    zone |= {f"m{n}.x.test A": [f"192.0.2.{n}"] for n in range(3)} | {"last.x.test A": ["192.0.2.9"]}  # type: ignore[dict-item]
    net = make(zone=zone)
    for number in range(60):
        net.put("me@x.test")
        # A connection is kept for five seconds: each message has one of its own.
        net.until(10 * (number + 1))
    counts = [len(net.taken(f"192.0.2.{n}")) for n in range(3)]
    # Each is missed by chance once in 10**8 runs or so.
    assert sum(counts) == 60 and min(counts) > 1 and not net.taken("192.0.2.9")


def test_mail_for_each_kind_of_name_goes_where_rfc5321_5_1_says(make: Make) -> None:
    net = make(zone=ZONE | {
        "bare.test A": ["192.0.2.30"],
        "alias.test CNAME": ["one.test"],
        "hop.test MX": [(1, "there.hop.test")], "there.hop.test CNAME": ["mx.one.test"],
        "six.test MX": [(1, "mx.six.test")], "mx.six.test AAAA": ["2001:db8::6"], "mx.six.test A": ["192.0.2.36"],
    })  # fmt: skip
    net.refuse = {"2001:db8::6"}
    for domain in ("bare", "alias", "hop", "six"):
        net.put(f"me@{domain}.test")
        net.until(net.now + 10)
    assert tried(net) == ["192.0.2.30", "192.0.2.1", "192.0.2.1", "2001:db8::6", "192.0.2.36"]
    # The address is as its sender wrote it: an alias is not put in its place.
    assert [one.recipients for one in net.taken()] == [[b"me@alias.test"], [b"me@hop.test"]]


@pytest.mark.parametrize(
    ("zone", "status", "words"),
    [
        ({}, "5.1.2", "There is no mail domain gone.test"),
        ({"gone.test TXT": [b"x"]}, "5.1.2", "There is no mail domain gone.test"),
        ({"gone.test MX": [(0, "")]}, "5.1.10", "The domain gone.test takes no mail"),
        ({"gone.test MX": [(1, "a.gone.test")]}, "5.4.4", "No mail server of gone.test has an address"),
        ({"gone.test MX": [(1, "mail.home.test")]}, "5.4.6", "Mail for gone.test leads back to this server"),
    ],
)
def test_what_can_never_arrive_is_reported_at_once(
    make: Make, zone: dict[str, Any], status: str, words: str
) -> None:
    net = make(zone={"other.test A": ["192.0.2.1"], **zone})
    net.put("me@gone.test")
    net.until(1)
    (report,) = net.reports()
    assert fields(report)["Status"] == status and words in report.as_string().replace("\n    ", " ")
    assert not net.rows() and not net.made


@pytest.mark.parametrize("mood", ["servfail", "refused", "silent"])
def test_a_domain_that_cannot_be_looked_up_waits_and_says_why(make: Make, mood: str) -> None:
    net = make()
    net.system.moods["one.test"] = mood
    net.put()
    net.until(MINUTE)
    assert net.row().reply == "The mail servers of one.test cannot be looked up now"
    assert net.row().attempts == 1
    net.system.moods.clear()
    net.until(10 * MINUTE + 20)
    assert len(net.taken()) == 1 and not net.rows()


def test_a_server_whose_address_cannot_be_looked_up_gives_way_to_the_next(make: Make) -> None:
    net = make()
    net.system.moods["a.two.test"] = "servfail"
    net.put("me@two.test")
    net.until(30)
    assert len(net.taken("192.0.2.22")) == 1 and not net.rows()


def test_answers_are_remembered_for_their_time(make: Make) -> None:
    net = make()
    for instant, questions in ((0, 3), (TTL - 10, 4), (TTL + 10, 6)):
        # That mx.one.test has no AAAA holds for less.
        net.until(instant)
        net.put()
        net.until(instant + 1)
        assert len(net.system.asked) == questions, net.system.asked
    net.put("me@gone.test")
    net.until(TTL + 20)
    net.put("me@gone.test")
    net.until(TTL + 21)
    assert len([one for one in net.system.asked if one[:2] == ("gone.test", "MX")]) == 1
    net.until(TTL + 20 + NEGATIVE)
    net.put("me@gone.test")
    net.until(TTL + 22 + NEGATIVE)
    assert len([one for one in net.system.asked if one[:2] == ("gone.test", "MX")]) == 2


def test_no_letter_of_a_domain_stands_for_another_rfc5891(make: Make) -> None:
    # Whoever has fass.test must not get what is meant for faß.test.
    net = make(zone={
        "fass.test MX": [(10, "mx.fass.test")], "mx.fass.test A": ["192.0.2.99"],
        "xn--fa-hia.test MX": [(10, "mx.xn--fa-hia.test")], "mx.xn--fa-hia.test A": ["192.0.2.1"],
    })  # fmt: skip
    net.put("me@faß.test")
    net.until(1)
    assert [one.recipients for one in net.taken()] == [[b"me@xn--fa-hia.test"]] and net.taken("192.0.2.99") == []


def test_a_domain_that_moves_is_found_at_the_next_attempt(make: Make) -> None:
    net = make()
    net.refuse = {"192.0.2.1"}
    net.put()
    net.until(5 * MINUTE)
    net.names.servers["10.0.0.1"] = NameServer(ZONE | {"mx.one.test A": ["192.0.2.99"]})
    net.until(10 * MINUTE + 1)
    assert len(net.taken("192.0.2.99")) == 1 and not net.rows()


# ---------------------------------------------------------------- servers of names for outside


def test_s094_s095_the_servers_of_the_configuration_are_asked_and_no_others(make: Make) -> None:
    net = make(delivery(dns_servers=["10.9.9.1"]))
    own = net.names.servers["10.9.9.1"] = NameServer(ZONE | {"mx.one.test A": ["192.0.2.77"]})
    net.put()
    net.until(1)
    assert len(net.taken("192.0.2.77")) == 1 and {name for name, _, _ in own.asked} == {"one.test", "mx.one.test"}
    # Nor when they fail.
    own.mood = "silent"
    net.put("me@two.test")
    net.until(MINUTE)
    assert net.row().reply == "The mail servers of two.test cannot be looked up now"
    assert net.system.asked == []


@pytest.mark.parametrize("mood", ["servfail", "refused", "silent", "gone"])
def test_s096_the_second_is_asked_when_the_first_does_not_tell(make: Make, mood: str) -> None:
    net = make(delivery(dns_servers=["10.9.9.2", "10.9.9.1", "10.9.9.3"]))
    first, second, third = (NameServer(ZONE) for _ in range(3))
    net.names.servers.update({"10.9.9.2": first, "10.9.9.1": second, "10.9.9.3": third})
    first.mood = mood
    if mood == "gone":
        del net.names.servers["10.9.9.2"]
    net.put()
    net.until(30)
    assert len(net.taken()) == 1 and second.asked and not third.asked
    assert bool(first.asked) is (mood != "gone")


def test_s096_a_dead_first_server_does_not_delay_every_message(make: Make) -> None:
    net = make(delivery(dns_servers=["10.9.9.1", "10.9.9.2"]))
    first, second = NameServer(ZONE, "silent"), NameServer(ZONE)
    net.names.servers.update({"10.9.9.1": first, "10.9.9.2": second})
    net.put("me@one.test")
    net.put("me@two.test")
    net.until(2.5)
    # Both waited for it once; since then it is asked last.
    assert len(first.asked) == 2 and not net.rows()
    # And first again, when it may have come back.
    first.mood = "well"
    net.until(MINUTE + 10)
    net.put("me@gone.test")
    net.until(MINUTE + 11)
    assert first.asked[-1][0] == "gone.test"


def test_s096_no_such_name_is_an_answer_too(make: Make) -> None:
    net = make(delivery(dns_servers=["10.9.9.1", "10.9.9.2"]))
    first, second = NameServer({"x.test A": ["192.0.2.1"]}), NameServer(ZONE)
    net.names.servers.update({"10.9.9.1": first, "10.9.9.2": second})
    net.put("me@one.test")
    net.until(1)
    assert fields(net.reports()[0])["Status"] == "5.1.2" and first.asked and not second.asked


@pytest.mark.parametrize("order", [["10.9.9.1", "10.9.9.2"], ["10.9.9.2", "10.9.9.1"], ["10.9.9.2"]])
def test_s097_the_order_of_the_list_is_the_order_of_asking(make: Make, order: list[str]) -> None:
    net = make(delivery(dns_servers=order))
    one, two = NameServer(ZONE), NameServer(ZONE)
    net.names.servers.update({"10.9.9.1": one, "10.9.9.2": two})
    net.put()
    net.until(1)
    assert (bool(one.asked), bool(two.asked)) == (order[0] == "10.9.9.1", order[0] == "10.9.9.2")


def test_s094_each_server_has_its_own_list(make: Make) -> None:
    settings = delivery(dns_servers=["10.9.9.1"]) + (
        '[smtp.two]\nlisten = ["*:26"]\n[smtp.two.delivery]\ndns_servers = ["10.9.9.2"]\n'
        '[smtp.three]\nlisten = ["*:27"]\n'
    )
    net = make(settings)
    own = {
        name: NameServer(ZONE | {"mx.one.test A": [f"192.0.2.{name[-1]}"]}) for name in ("10.9.9.1", "10.9.9.2")
    }  # fmt: skip
    net.names.servers.update(own)
    net.system.moods["mx.one.test"] = "silent"
    for name in ("default", "two", "three"):
        net.put(server=f"smtp/{name}")
        net.until(net.now + 10)
    assert len(net.taken("192.0.2.1")) == len(net.taken("192.0.2.2")) == 1
    assert net.row().server == "smtp/three"


def test_names_of_clients_are_not_asked_of_the_servers_for_outside(make: Make) -> None:
    """S-094 is about names outside the organisation on the way out."""
    net = make(delivery(dns_servers=["10.9.9.1"]))
    net.names.servers["10.9.9.1"] = outside = NameServer(ZONE)
    net.wait_for(net.site.access.resolver.lookup("one.test", "MX"))
    assert net.system.asked and not outside.asked


def test_a_night_without_names_loses_nothing_and_tells_once(make: Make) -> None:
    net = make()
    net.system.mood = "silent"
    for _ in range(5):
        net.put(origin="local")
    net.until(13 * HOUR)
    assert [fields(one)["Action"] for one in net.reports()] == ["delayed"] * 5
    assert all("cannot be looked up now" in one.as_string().replace("\n    ", " ") for one in net.reports())
    net.system.mood = "well"
    net.until(14 * HOUR)
    assert len(net.taken()) == 5 and not net.rows() and len(net.reports()) == 5


# ---------------------------------------------------------------- our own names

OURS: dict[str, Any] = {
    "mail.home.test A": ["203.0.113.5"], "5.113.0.203.in-addr.arpa PTR": ["mail.home.test"],
    "home.test MX": [(10, "mail.home.test")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "ok", "home.test has the MX 10 mail.home.test"),
        ({"5.113.0.203.in-addr.arpa PTR": []}, "error",
         "203.0.113.5 has no name (PTR): many servers take no mail from it"),
        ({"home.test MX": [(5, "mx.provider.test")]}, "warning",
         "mail for home.test goes to mx.provider.test (MX), not to mail.home.test"),
        ({"mail.home.test A": []}, "error", "mail.home.test has no A or AAAA record"),
    ],
)  # fmt: skip
def test_s089_s170_what_the_records_say_can_be_published_and_is_then_good(
    make: Make, change: dict[str, Any], level: str, words: str
) -> None:
    net = make(zone=OURS | change | {"other.test A": ["192.0.2.1"]})
    (checked,) = net.wait_for(control.run(net.site, "dns.check", {}))["result"]
    assert checked["level"] == level and words in [one["text"] for one in checked["findings"]]
    told = net.wait_for(control.run(net.site, "domain.records", {"addresses": ["203.0.113.5"]}))["result"]
    assert told["records"] == [
        "home.test. 3600 IN MX 10 mail.home.test.", "mail.home.test. 3600 IN A 203.0.113.5",
    ]  # fmt: skip


SERVERS = """\
[smtp.mx]
hostname = "mx.home.test"
listen = ["1.2.3.4:25"]
[imap.default]
hostname = "imap.home.test"
listen = ["1.2.3.5:143", "1.2.3.5:993/tls"]
[pop3.default]
hostname = "pop.home.test"
listen = ["1.2.3.6:995/tls"]
"""


def test_s171_clients_are_led_to_one_address_and_servers_to_another(make: Make) -> None:
    net = make(SERVERS)
    told = net.wait_for(control.run(net.site, "domain.records", {}))["result"]["records"]
    assert set(told) >= {
        "home.test. 3600 IN MX 20 mx.home.test.", "mx.home.test. 3600 IN A 1.2.3.4",
        "_imap._tcp.home.test. 3600 IN SRV 10 1 143 imap.home.test.",
        "_imaps._tcp.home.test. 3600 IN SRV 0 1 993 imap.home.test.", "imap.home.test. 3600 IN A 1.2.3.5",
        "_pop3s._tcp.home.test. 3600 IN SRV 0 1 995 pop.home.test.", "pop.home.test. 3600 IN A 1.2.3.6",
    }


# ---------------------------------------------------------------- real sockets


class Sockets:
    """A reactor that turns while something is awaited."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()

    def run(self, coroutine: Coroutine[Any, Any, Any], seconds: float = 60.0) -> Any:
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        self.turn(lambda: bool(done), seconds)
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    def turn(self, over: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not over():
            assert time.monotonic() < end, "nothing happened in time"
            self.reactor.iterate(0.01)

    def close(self) -> None:
        for port in self.reactor.removeAll():
            port.connectionLost(Failure(ConnectionError("the end")))


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


MANY = {"many.test MX": [(n, f"host-{n}.with.a.long.name.in.many.test") for n in range(40)]}


def test_udp_tcp_and_the_next_server_over_real_sockets_s096(sockets: Sockets) -> None:
    silent, good = NameServer(ZONE | MANY, "silent"), NameServer(ZONE | MANY)
    places = [("127.0.0.1", one.listen(sockets.reactor, "127.0.0.1")) for one in (silent, good)]
    resolver = Resolver(
        NetworkExchange(sockets.reactor), lambda: places, sockets.reactor, time.monotonic,
        ResolverLimits(attempts=(0.3, 5.0), deadline=30.0),
    )  # fmt: skip
    assert sockets.run(resolver.lookup("two.test", "MX")) == ((10, "a.two.test"), (20, "b.two.test"))
    assert len(sockets.run(resolver.lookup("many.test", "MX"))) == 40
    assert [tcp for name, _, tcp in good.asked if name == "many.test"] == [False, True]
    assert sockets.run(resolver.lookup("gone.test", "A")) == ()
    silent.mood = "refused"
    assert sockets.run(resolver.lookup("mx.one.test", "A")) == ("192.0.2.1",)
    good.mood = "servfail"
    with pytest.raises(TryLater):
        sockets.run(resolver.lookup("mx.one.test", "AAAA"))


