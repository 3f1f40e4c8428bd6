"""Where mail goes next (RFC 5321 section 5.1, RFC 7505; S-094, S-111, S-112, S-116, S-133..S-135, S-169)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.errors import MailError, Refused, TryLater, Unroutable
from mailsrv.testing.dns import NameTable
from mailsrv.testing.loop import Loop
from mailsrv.transfer.routes import (
    FAMILIES,
    MAX_ADDRESSES,
    MAX_ALL,
    MAX_HOSTS,
    Defaults,
    Own,
    Plan,
    RouteRule,
    Routes,
    unresolved,
)
from mailsrv.values import Hop
from tests.properties import tries

OWN = Own(frozenset({"mx2.example.org"}), frozenset({"203.0.113.9", "2001:db8::9"}))
ZONE: dict[str, Any] = {
    "example.net MX": [(20, "b.example.net"), (10, "a.example.net")],
    "a.example.net A": ["192.0.2.1"],
    "a.example.net AAAA": ["2001:db8::1"],
    "b.example.net A": ["192.0.2.2"],
}


def keep(items: list[Any]) -> None:
    """Mixes nothing."""


def plan(destination: str, *rules: RouteRule, zone: dict[str, Any] | None = None, own: Own = OWN,
         shuffle: Any = keep, **defaults: Any) -> Plan:  # fmt: skip
    names = NameTable(ZONE if zone is None else zone)
    routes = Routes(names, {rule.name: rule for rule in rules}, lambda: own, Defaults(**defaults), shuffle)
    made: Plan = Loop().run(routes.hops(destination))
    return made


def refusal(destination: str, *rules: RouteRule, **more: Any) -> tuple[type[MailError], str]:
    with pytest.raises(MailError) as caught:
        plan(destination, *rules, **more)
    return type(caught.value), caught.value.status


# ---------------------------------------------------------------- The name system


def test_s169_the_lowest_preference_comes_first() -> None:
    assert plan("example.net") == Plan((
        Hop("a.example.net", ("2001:db8::1", "192.0.2.1")), Hop("b.example.net", ("192.0.2.2",)),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ("ipv6", ("2001:db8::1", "192.0.2.1")), ("ipv4", ("192.0.2.1", "2001:db8::1")),
        ("only-ipv6", ("2001:db8::1",)), ("only-ipv4", ("192.0.2.1",)),
    ],
)  # fmt: skip
def test_order_of_addresses(addresses: str, expected: tuple[str, ...]) -> None:
    assert plan("example.net", addresses=addresses).hops[0].addresses == expected


def test_rfc5321_5_1_equal_preferences_are_mixed_and_only_they() -> None:
    zone = {"x.org MX": [(10, f"m{n}.x.org") for n in range(5)] + [(20, "last.x.org")]}
    zone |= {f"{host} A": [f"192.0.2.{n}"] for n, (_, host) in enumerate(zone["x.org MX"])}
    seen = set()
    for seed in range(20):
        hosts = [hop.host for hop in plan("x.org", zone=zone, shuffle=random.Random(seed).shuffle).hops]
        assert hosts[-1] == "last.x.org"
        assert sorted(hosts[:-1]) == [f"m{n}.x.org" for n in range(5)]
        seen.add(hosts[0])
    assert len(seen) == 5


def test_rfc5321_5_1_implicit_mx() -> None:
    zone = {"x.org A": ["192.0.2.1"]}
    assert plan("x.org", zone=zone).hops == (Hop("x.org", ("192.0.2.1",)),)


def test_a_domain_beyond_ascii() -> None:
    [hop] = plan("exämple.org", zone={"xn--exmple-cua.org A": ["192.0.2.1"]}).hops
    assert hop.host == "xn--exmple-cua.org"


def test_no_implicit_mx_where_there_is_an_mx() -> None:
    zone = {"x.org MX": [(10, "gone.x.org")], "x.org A": ["192.0.2.1"]}
    assert refusal("x.org", zone=zone) == (Unroutable, "5.4.4")


def test_rfc7505_null_mx() -> None:
    assert refusal("x.org", zone={"x.org MX": [(0, "")], "x.org A": ["192.0.2.1"]}) == (Refused, "5.1.10")


def test_a_null_mx_beside_others_says_nothing() -> None:
    zone = {"x.org MX": [(0, ""), (10, "m.x.org")], "m.x.org A": ["192.0.2.1"]}
    assert [hop.host for hop in plan("x.org", zone=zone).hops] == ["m.x.org"]


def test_an_address_in_place_of_a_name_is_no_server() -> None:
    zone = {"x.org MX": [(10, "192.0.2.7")], "192.0.2.7 A": ["192.0.2.7"]}
    assert refusal("x.org", zone=zone) == (Unroutable, "5.4.4")


def test_no_such_domain() -> None:
    assert refusal("nowhere.example", zone={}) == (Unroutable, "5.1.2")


def test_a_silent_name_system_is_no_answer() -> None:
    assert refusal("x.org", zone={"x.org MX": TryLater}) == (TryLater, "4.4.3")
    assert refusal("x.org", zone={"x.org A": TryLater}) == (TryLater, "4.4.3")
    assert refusal("x.org", zone={"x.org MX": [(1, "m.x.org")], "m.x.org AAAA": TryLater}) == (TryLater, "4.4.3")


def test_what_is_known_is_tried_though_the_rest_is_not() -> None:
    zone = {"x.org MX": [(1, "a.x.org"), (2, "b.x.org")], "a.x.org A": TryLater, "b.x.org AAAA": TryLater,
            "b.x.org A": ["192.0.2.2"]}  # fmt: skip
    assert plan("x.org", zone=zone).hops == (Hop("b.x.org", ("192.0.2.2",)),)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "127.0.0.1", "::1", "::ffff:127.0.0.1", "203.0.113.9", "2001:db8::9"]
)
def test_a_domain_that_points_at_us(address: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    zone = {"x.org MX": [(10, "m.x.org")], f"m.x.org {kind}": [address]}
    assert refusal("x.org", zone=zone) == (Unroutable, "5.4.6")
    assert refusal("x.org", zone={f"x.org {kind}": [address]}) == (Unroutable, "5.4.6")


def test_loopback_is_somebody_else_where_that_is_said() -> None:
    zone = {"x.org A": ["127.0.0.3"]}
    assert plan("x.org", zone=zone, own=Own(loopback=False)).hops[0].addresses == ("127.0.0.3",)


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1", "169.254.1.1", "junk"])
def test_addresses_where_no_server_is(address: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    assert refusal("x.org", zone={f"x.org {kind}": [address]}) == (Unroutable, "5.1.2")


# ---------------------------------------------------------------- RFC 5321 section 5.1: better servers alone

LOOP: dict[str, Any] = {
    "x.org MX": [
        (10, "mx1.example.org"), (20, "mx2.example.org"), (20, "also.example.org"), (30, "mx3.example.org"),
    ],
    "mx1.example.org A": ["192.0.2.1"],
    "mx3.example.org A": ["192.0.2.3"],
    "also.example.org A": ["192.0.2.4"],
}


def test_cut_off_at_our_own_name() -> None:
    assert [hop.host for hop in plan("x.org", zone=LOOP).hops] == ["mx1.example.org"]


def test_cut_off_at_our_own_address() -> None:
    zone = LOOP | {"mx2.example.org A": ["203.0.113.9"]}
    own = Own(addresses=OWN.addresses)
    assert [hop.host for hop in plan("x.org", zone=zone, own=own).hops] == ["mx1.example.org"]


def test_a_better_server_without_an_address_is_no_loop() -> None:
    zone = LOOP | {"mx1.example.org A": []}
    assert refusal("x.org", zone=zone) == (Unroutable, "5.4.4")
    assert refusal("x.org", zone=zone | {"mx1.example.org A": TryLater}) == (TryLater, "4.4.3")


def test_we_are_the_best() -> None:
    zone = LOOP | {"x.org MX": [(5, "mx2.example.org"), (10, "mx1.example.org")]}
    assert refusal("x.org", zone=zone) == (Unroutable, "5.4.6")


def test_a_route_is_believed() -> None:
    """S-135: a host that sends mail back is found out by the hops."""
    assert plan("x.org", RouteRule("x.org", ("127.0.0.1",), 2525)).hops == (
        Hop("127.0.0.1", ("127.0.0.1",), 2525, named=True),
    )


# ---------------------------------------------------------------- routes of the configuration

PARTNER = RouteRule("partner.example", ("relay.partner.example", "192.0.2.50"), 2525, "verify", login="a login")
BELOW = RouteRule(".example.com", ("[2001:db8::5]",))
DEEP = RouteRule(".deep.example.com", ("192.0.2.6",), protocol="lmtp")
SMART = RouteRule("*", ("smart.example",), tls="require")
TABLE = (PARTNER, BELOW, DEEP, SMART)
SMART_ZONE: dict[str, Any] = {"relay.partner.example A": ["192.0.2.40"], "smart.example A": ["192.0.2.60"]}


def test_s112_a_connector_with_a_login_beside_others_without() -> None:
    made = plan("partner.example", *TABLE, zone=SMART_ZONE)
    assert (made.route, made.login) == ("partner.example", "a login")
    assert made.hops == (
        Hop("relay.partner.example", ("192.0.2.40",), 2525, "verify", named=True),
        Hop("192.0.2.50", ("192.0.2.50",), 2525, "verify", named=True),
    )
    assert plan("other.example", *TABLE, zone=SMART_ZONE).login is None


def test_s111_the_smart_host_takes_all_others() -> None:
    made = plan("example.net", *TABLE, zone=SMART_ZONE)
    assert (made.route, made.hops) == ("*", (Hop("smart.example", ("192.0.2.60",), 25, "require", named=True),))
    assert plan("[192.0.2.7]", *TABLE, zone=SMART_ZONE).route == "*"


def test_s109_s111_the_login_of_the_server_is_for_the_smart_host_alone() -> None:
    assert plan("example.net", *TABLE, zone=SMART_ZONE, login="mine").login == "mine"
    assert plan("a.example.com", *TABLE, zone=SMART_ZONE, login="mine").login is None
    assert plan("example.net", login="mine").login is None


def test_a_login_without_hosts_would_go_to_anybody() -> None:
    with pytest.raises(ValueError, match="hosts"):
        RouteRule("x.org", login="secret")
    assert "a login" not in repr(PARTNER)


@pytest.mark.parametrize(("destination", "route"), [
    ("a.example.com", ".example.com"), ("a.b.example.com", ".example.com"), ("example.com", "*"),
    ("a.deep.example.com", ".deep.example.com"), ("deep.example.com", ".example.com"), ("notexample.com", "*"),
])  # fmt: skip
def test_the_nearest_domain_above_wins(destination: str, route: str) -> None:
    assert plan(destination, *TABLE, zone=SMART_ZONE).route == route


def test_a_route_is_a_destination_by_its_name() -> None:
    """A row can be sent another way by hand."""
    assert plan("*", *TABLE, zone=SMART_ZONE).hops[0].host == "smart.example"
    assert plan(".deep.example.com", *TABLE, zone=SMART_ZONE).hops[0].protocol == "lmtp"


def test_a_route_without_hosts_changes_how_not_where() -> None:
    made = plan("example.net", RouteRule("example.net", tls="verify", port=26))
    assert [(hop.host, hop.port, hop.tls) for hop in made.hops] == [
        ("a.example.net", 26, "verify"), ("b.example.net", 26, "verify"),
    ]  # fmt: skip
    assert made.route == "example.net"


def test_hosts_that_are_unknown_are_our_mistake_so_mail_waits() -> None:
    assert refusal("x.org", RouteRule("x.org", ("typo.example",)), zone={}) == (TryLater, "4.3.5")
    zone = {"typo.example A": TryLater}
    assert refusal("x.org", RouteRule("x.org", ("typo.example",)), zone=zone) == (TryLater, "4.4.3")


def test_s116_the_port_is_mapped_where_a_route_names_none() -> None:
    assert {hop.port for hop in plan("example.net", port=2525).hops} == {2525}
    assert plan("partner.example", PARTNER, zone=SMART_ZONE, port=99).hops[0].port == 2525


def test_s133_recipients_nobody_knows_go_to_another_host() -> None:
    name = unresolved("smtp/default")
    made = plan(name, RouteRule(name, ("old.example",)), SMART, zone={"old.example A": ["192.0.2.70"]})
    assert [hop.host for hop in made.hops] == ["old.example"]


# ---------------------------------------------------------------- RFC 5321 section 4.1.3


@pytest.mark.parametrize(("literal", "address"), [
    ("[192.0.2.7]", "192.0.2.7"), ("[ipv6:2001:db8::7]", "2001:db8::7"), ("[ipv6:::ffff:192.0.2.7]", "192.0.2.7"),
])  # fmt: skip
def test_an_address_is_where_it_goes(literal: str, address: str) -> None:
    assert plan(literal, zone={}).hops == (Hop(address, (address,)),)


@pytest.mark.parametrize("literal", ["[", "[]", "[x]", "[192.0.2]", "[224.0.0.1]", "[0.0.0.0]", "[ipv6:fe80::1%1]"])
def test_what_is_no_servers_address(literal: str) -> None:
    assert refusal(literal, zone={}) == (Unroutable, "5.1.2")


@pytest.mark.parametrize("domain", ["192.0.2.1", "127.0.0.1", "203.0.113.9", "192.0.2", "7", "a.7", "2001:db8::1"])
def test_an_address_without_brackets_is_no_domain_rfc5321_4_1_3(domain: str) -> None:
    zone = {f"{domain} A": ["192.0.2.1"], f"{domain} MX": [(1, "mx.example.net")], "mx.example.net A": ["192.0.2.5"]}
    for told in ({}, zone):
        assert refusal(domain, zone=told) == (Unroutable, "5.1.2")
        assert refusal(domain, RouteRule("*", tls="verify"), zone=told) == (Unroutable, "5.1.2")
    assert plan(domain, RouteRule(domain, ("192.0.2.3",)), zone={}).hops[0].addresses == ("192.0.2.3",)
    assert plan(domain, RouteRule("*", ("192.0.2.3",)), zone={}).hops[0].addresses == ("192.0.2.3",)
    assert plan("192.0.2.1", RouteRule("192.0.2.1"), zone={}).hops[0].addresses == ("192.0.2.1",)


@pytest.mark.parametrize("literal", ["[127.0.0.1]", "[203.0.113.9]", "[ipv6:2001:db8::9]"])
def test_ourselves(literal: str) -> None:
    assert refusal(literal, zone={}) == (Unroutable, "5.4.6")


def test_limits_of_hosts_and_addresses() -> None:
    zone: dict[str, Any] = {"x.org MX": [(n, f"m{n}.x.org") for n in range(50)]}
    zone |= {f"m{n}.x.org A": [f"10.{n}.0.{k}" for k in range(1, 100)] for n in range(50)}
    names = NameTable(zone)
    made = Loop().run(Routes(names, {}, lambda: OWN, shuffle=keep).hops("x.org"))
    assert len(names.asked) == 1 + 2 * MAX_HOSTS
    assert max(len(hop.addresses) for hop in made.hops) == MAX_ADDRESSES
    assert sum(len(hop.addresses) for hop in made.hops) == MAX_ALL


def test_an_address_is_tried_once() -> None:
    zone = {"x.org MX": [(1, "a.x.org"), (2, "b.x.org")], "a.x.org A": ["192.0.2.1"] * 3, "b.x.org A": ["192.0.2.1"]}
    assert plan("x.org", zone=zone).hops == (Hop("a.x.org", ("192.0.2.1",)),)


def test_hosts_are_looked_up_side_by_side() -> None:
    names = NameTable(ZONE, held=["a.example.net AAAA"])
    loop = Loop()
    names.table["b.example.net MX"] = ()
    routes = Routes(names, {}, lambda: OWN, shuffle=keep)
    loop.call_from_thread(names.release, "a.example.net AAAA")
    loop.run(routes.hops("example.net"))
    assert names.asked.index("b.example.net AAAA") < names.asked.index("a.example.net A")


HOSTS = st.sampled_from(["", "m1.x.org", "m2.x.org", "mx2.example.org", "1.2.3.4", "é.org", "."])
ADDRESSES = st.sampled_from(["192.0.2.1", "127.0.0.1", "203.0.113.9", "224.0.0.1", "::1", "2001:db8::9", "x", ""])


@settings(max_examples=tries(60))
@given(
    st.one_of(st.text(max_size=20), st.sampled_from(["x.org", "[1.2.3.4]", "a.x.org"])),
    st.lists(st.tuples(st.integers(0, 3), HOSTS), max_size=5), st.lists(ADDRESSES, max_size=4),
    st.sampled_from(sorted(FAMILIES)),
)  # fmt: skip
def test_whatever_the_name_system_says_a_plan_never_leads_here(
    destination: str, servers: list[tuple[int, str]], addresses: list[str], families: str
) -> None:
    zone = {f"{destination} MX": servers, "m1.x.org A": addresses, "m2.x.org AAAA": addresses,
            f"{destination} A": addresses}  # fmt: skip
    try:
        hops = plan(destination, zone=zone, addresses=families).hops
    except MailError:
        return
    assert hops
    tried = {address for hop in hops for address in hop.addresses}
    assert not {"127.0.0.1", "::1", "203.0.113.9", "2001:db8::9", "224.0.0.1"} & tried
