"""The parts: what a sender list means, how rates count, what HELO may say, whose addresses are one's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.access import fcrdns, helo, own_sender, rates
from mailsrv.access.rates import Bucket, Rates
from mailsrv.access.senders import SenderList, read_entry
from mailsrv.errors import ConfigError, TryLater
from mailsrv.interfaces import IMessagePolicy
from mailsrv.message.content import MemoryContent
from mailsrv.parts import find
from mailsrv.testing.loop import Loop
from mailsrv.values import ACCEPT, Address, Identity, Peer, Transaction, Verdict
from tests.properties import tries


def run(coroutine: Any) -> Any:
    return Loop().run(coroutine)


# ---------------------------------------------------------------- senders (S-045)


@pytest.mark.parametrize(("text", "normal"), [
    (" <> ", "<>"), ("Example.COM", "example.com"), ("@Example.com", "@example.com"), (".Example.com", ".example.com"),
    ("Bob@Example.com", "bob@example.com"), ('"bob smith"@example.com', "bob smith@example.com"),
    ("xn--bcher-kva.example", "bücher.example"), ("Bücher.example", "bücher.example"),
    ("a@[192.0.2.1]", "a@[192.0.2.1]"),
])  # fmt: skip
def test_s045_entries_have_a_normal_form(text: str, normal: str) -> None:
    assert read_entry(text) == normal == read_entry(normal if " " not in normal else text)


@pytest.mark.parametrize("text", [
    "", "@", ".", "bob@", "a b", "bob@ex ample", "*.example.com", "a@b@c", "bob@.x", "x" * 500,
])  # fmt: skip
def test_s045_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be NAME@DOMAIN"):
        read_entry(text)


LABELS = st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=4).map(".".join)
ENTRIES = st.lists(
    st.builds(lambda kind, domain: kind + domain, st.sampled_from(["", "@", ".", "x@", "y@"]), LABELS) | st.just("<>"),
    max_size=6,
)


def means(entry: str, sender: Address | None) -> bool:
    """What the page says, entry by entry."""
    if sender is None or entry == "<>":
        return sender is None and entry == "<>"
    if entry.startswith("@"):
        return sender.domain == entry[1:]
    if entry.startswith("."):
        return sender.domain.endswith(entry)
    if "@" in entry:
        return f"{sender.local.lower()}@{sender.domain}" == entry
    return sender.domain == entry or sender.domain.endswith("." + entry)


@given(ENTRIES, st.none() | st.builds(Address, st.sampled_from(["x", "X", "z"]), LABELS))
@settings(max_examples=tries(200), deadline=None)
def test_s045_a_list_means_what_its_entries_mean(entries: list[str], sender: Address | None) -> None:
    found = SenderList(map(read_entry, entries)).match(sender)
    assert bool(found) == any(means(entry, sender) for entry in entries)
    assert not found or (found in entries and means(found, sender))


# ---------------------------------------------------------------- rates


def test_a_bucket_gives_its_number_then_the_rate() -> None:
    bucket = Bucket(6, 60.0, 100)
    assert [bucket.take("a", 1000.0) for _ in range(7)] == [True] * 6 + [False]
    # What was refused has taken nothing.
    assert [bucket.take("a", 1009.9), bucket.take("a", 1010.1), bucket.take("a", 1010.2)] == [False, True, False]
    assert bucket.take("b", 1010.2)
    assert [bucket.take("a", 2000.0) for _ in range(7)] == [True] * 6 + [False]


@given(
    st.integers(1, 5), st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab")), max_size=60),
)  # fmt: skip
@settings(max_examples=tries(60), deadline=None)
def test_no_interval_holds_more_than_twice_the_number(limit: int, calls: list[tuple[float, str]]) -> None:
    """The burst, and what comes back during the interval: the bound of a bucket."""
    bucket, now = Bucket(limit, 60.0, 10), 1000.0
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for pause, name in calls:
        now += pause
        if bucket.take(name, now):
            taken[name].append(now)
    for times in taken.values():
        assert all(sum(start <= one < start + 60 for one in times) <= 2 * limit for start in times)


def test_a_table_is_bounded_and_forgets_who_was_not_seen_for_longest() -> None:
    bucket = Bucket(1, 60.0, 3)
    assert all(bucket.take(name, 0.0) for name in "abc") and not bucket.take("a", 1.0)
    assert bucket.take("d", 2.0) and len(bucket) == 3
    assert not bucket.take("a", 3.0) and bucket.take("b", 3.0)


def transaction(**more: Any) -> Transaction:
    return Transaction("smtp/default", Peer(more.pop("host", "192.0.2.1")), **more)


@pytest.mark.parametrize(("hosts", "counted"), [
    (("192.0.2.1", "192.0.2.1"), True), (("192.0.2.1", "192.0.2.2"), False), (("", ""), False),
    (("2001:db8::1", "2001:db8::ffff:1"), True), (("2001:db8::1", "2001:db8:0:1::1"), False),
])  # fmt: skip
def test_an_ipv6_client_is_its_network(hosts: tuple[str, str], counted: bool) -> None:
    policy = Rates(rates.Options(messages_per_address=1), lambda: 0.0).for_connection()
    answers = [run(policy.on_sender(transaction(host=host))) for host in hosts]
    assert answers[0] is ACCEPT and (answers[1].action == "tempfail") is counted
    assert not counted or answers[1].rule == "messages_per_address"


def test_an_address_that_is_never_counted_and_one_written_in_two_ways() -> None:
    options = find(IMessagePolicy, "rates").read({"messages_per_address": 1, "never": ["10.1.2.3/8", "2001:db8::/32"]})
    assert options.never == ("10.0.0.0/8", "2001:db8::/32")
    policy = Rates(options, lambda: 0.0).for_connection()
    hosts = ["10.9.9.9"] * 3 + ["2001:db8::1"] * 3 + ["192.0.2.1", "::ffff:192.0.2.1"]
    said = [run(policy.on_sender(transaction(host=host))).action for host in hosts]
    assert said == ["accept"] * 7 + ["tempfail"]
    with pytest.raises(ConfigError, match="is no IP address"):
        find(IMessagePolicy, "rates").read({"never": ["x"]})


def test_a_proxy_that_is_never_counted_lets_nobody_through_uncounted_whom_it_does_not_name() -> None:
    options = rates.Options(messages_per_address=1, connections_per_address=1, never=("10.0.0.0/8",))
    policy = Rates(options, lambda: 0.0).for_connection()
    nobody = Peer("10.0.0.1", unknown=True)
    about = Transaction("smtp/default", nobody)
    assert [run(policy.on_sender(about)).action for _ in range(2)] == ["accept", "tempfail"]
    assert [run(policy.on_connect(nobody, "")).action for _ in range(2)] == ["accept", "tempfail"]
    assert run(policy.on_sender(transaction(host="10.0.0.1"))) is ACCEPT


# ---------------------------------------------------------------- HELO, reverse DNS


def said(name: str, options: helo.Options, known: Any = None, **more: Any) -> str:
    policy = helo.HeloCheck(options, {"mx.example.org"}, known)
    verdict: Verdict = run(policy.on_sender(transaction(helo=name, **more)))
    return verdict.rule


@pytest.mark.parametrize(("name", "rule"), [
    ("host.example", ""), ("host_1.example", ""), ("bücher.example", ""), ("[192.0.2.1]", ""), ("localhost", "fqdn"),
    ("192.0.2.1", "fqdn"), ("[192.0.2.2]", "address literal"), ("[nonsense]", "address literal"), ("", "fqdn"),
    ("a..b", "fqdn"), ("-a.example", "fqdn"), ("MX.example.org.", "own_names"),
])  # fmt: skip
def test_rfc5321_4_1_1_1_what_helo_may_be(name: str, rule: str) -> None:
    assert said(name, helo.Options()) == rule


def test_helo_of_whom_is_not_asked() -> None:
    assert said("x", helo.Options(), origin="local") == said("x", helo.Options(), host="") == ""
    assert said("x", helo.Options(fqdn=False)) == said("[192.0.2.9]", helo.Options(fqdn=False)) == ""
    assert said("mx.example.org", helo.Options(own_names=False)) == ""


def test_an_ipv6_literal_is_compared_as_an_address() -> None:
    """RFC 5321 section 4.1.3."""
    assert said("[IPv6:2001:DB8:0::1]", helo.Options(), host="2001:db8::1") == ""
    assert said("[IPv6:2001:db8::2]", helo.Options(), host="2001:db8::1") == "address literal"


def test_a_name_is_looked_up_once_a_connection_and_a_known_one_not_at_all() -> None:
    asked: list[str] = []

    async def name(host: str) -> str:
        asked.append(host)
        return "a.example"

    policy = fcrdns.ReverseCheck("reject", name, {})
    assert run(policy.on_sender(transaction())) is run(policy.on_sender(transaction())) is ACCEPT
    assert asked == ["192.0.2.1"]
    other = fcrdns.ReverseCheck("reject", name, {})
    assert run(other.on_sender(transaction(client_name="x.example"))) is ACCEPT and len(asked) == 1


def test_a_look_up_that_fails_is_tried_again_and_told_in_the_field() -> None:
    async def name(host: str) -> str:
        raise TryLater()

    with pytest.raises(TryLater) as failed:
        run(fcrdns.ReverseCheck("reject", name, {}).on_sender(transaction()))
    assert failed.value.status == "4.7.25"
    verdict = run(fcrdns.ReverseCheck("field", name, {"smtp/default": "mx"}).on_sender(transaction()))
    assert verdict.fields == (b"Authentication-Results: mx;\r\n\tiprev=temperror policy.iprev=192.0.2.1\r\n",)


# ---------------------------------------------------------------- own addresses


class Grants:
    """An authorizer that allows some addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def permits(self, identity: Any, action: str, resource: str) -> Verdict:
        assert action == "send.as"
        self.asked.append(resource)
        return ACCEPT if resource in self.addresses else Verdict("reject")


def judged(header: bytes, *addresses: str, path: Address | None = Address("me", "x.org")) -> tuple[str, list[str]]:
    grants = Grants(*addresses)
    policy = own_sender.build(own_sender.Options(), SimpleNamespace(authorizer=grants))
    about = transaction(identity=Identity(1, "me@x.org"), reverse_path=path)
    verdict = run(policy.on_content(about, MemoryContent(header + b"\r\nFrom: body@x.org\r\n")))
    return verdict.rule, grants.asked


@pytest.mark.parametrize(("header", "rule", "asked"), [
    (b"From: Me <me@X.org>\r\n", "", []),
    (b"From: Team: me@x.org, boss@x.org;\r\n", "", ["boss@x.org"]),
    (b"From: Evil <you@x.org>\r\n", "From", ["you@x.org"]),
    (b"From:\r\n =?utf-8?q?you=40x=2Eorg?= <me@x.org>\r\n", "", []),
    (b"From: me@x.org\r\nSender: Evil <you@x.org>\r\n", "Sender", ["you@x.org"]),
    (b"from : me@x.org\r\nFROM: you@x.org\r\n", "From", ["you@x.org"]),
    (b"From: =?utf-8?q?j=C3=B6rg?= <j\xc3\xb6rg@x.org>\r\n", "From", ["jörg@x.org"]),
    (b"From: undisclosed:;\r\n", "no From", []),
    (b"From: me\r\n", "no From", []),
    (b"From: <@x.org>\r\n", "no From", []),
    (b"From: <me@>\r\n", "no From", []),
    (b"From:\r\n", "no From", []),
    (b"Subject: x\r\n", "no From", []),
    (b"From: " + b", ".join(b"me@x.org" for _ in range(51)) + b"\r\n", "no From", []),
])  # fmt: skip
def test_rfc6409_6_1_authors_are_addresses_of_the_login(header: bytes, rule: str, asked: list[str]) -> None:
    assert judged(header, "boss@x.org") == (rule, asked)


@given(st.binary(max_size=80))
@settings(max_examples=tries(200), deadline=None)
def test_whatever_from_says_is_judged(value: bytes) -> None:
    rule, _ = judged(b"From: " + value + b"\r\n", path=None)
    assert rule in ("From", "Sender", "no From")
