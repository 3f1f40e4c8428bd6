"""Tables of routes and of delivery: what can be said, and what of it contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailsrv.auth.outbound import OutboundLogin
from mailsrv.errors import ConfigError
from mailsrv.host.config.delivery import (
    DEFAULT,
    EXCHANGE_2003,
    DeliveryTable,
    badmail_folder,
    defaults_of,
    delivery_mistakes,
    policy_of,
    unresolved_rule,
)
from mailsrv.host.config.profiles import toml
from mailsrv.host.config.routes import RouteTable, login_of, route_mistakes, route_name, rule_of
from mailsrv.parts import Place, fields_of, kind_of, read_table
from mailsrv.transfer.routes import Defaults, RouteRule
from mailsrv.transfer.schedule import Ages, Policy
from mailsrv.values import Address

HOUR, DAY = 3600.0, 86400.0

#: Key -> a value as TOML has it, and what is kept of it.
CHANGED: dict[str, tuple[Any, Any]] = {
    "auth": ("ntlm", "ntlm"),
    "username": ("CORP\\bob", "CORP\\bob"),
    "password_file": ("secret.txt", "secret.txt"),
    "password_env": ("SECRET", "SECRET"),
    "login_without_tls": (True, True),
    "retry": (["1m"], (60.0,)),
    "delay_notification": ({"local": "90m", "outbound": "off"}, Ages(1.5 * HOUR, None)),
    "expiration": ({"local": "1d", "outbound": "3d"}, Ages(DAY, 3 * DAY)),
    "masquerade_domain": ("Public.Example", "public.example"),
    "dns_servers": (["192.0.2.53", "2001:DB8::53"], ("192.0.2.53", "2001:db8::53")),
    "addresses": ("only-ipv4", "only-ipv4"),
    "port": (2525, 2525),
    "tls": ("verify", "verify"),
    "max_connections": (1_999_999_999, 1_999_999_999),
    "max_connections_per_domain": (5, 5),
    "timeout": ("30s", 30.0),
    "messages_per_connection": ("off", None),
    "recipients_per_message": (50, 50),
    "ndr_copy": ("Help@Example.org", Address("Help", "example.org")),
    "report_size": ("10K", 10240),
    "badmail": ("/var/bad", "/var/bad"),
    "badmail_size": ("5M", 5 * 2**20),
    "forward_unresolved": ("old.example.org", "old.example.org"),
    "host": (["relay.Example", "[192.0.2.1]", "2001:DB8::1"], ("relay.example", "192.0.2.1", "2001:db8::1")),
    "protocol": ("lmtp", "lmtp"),
}


def delivery(**keys: Any) -> DeliveryTable:
    table: DeliveryTable = read_table(DeliveryTable, keys, Place())
    return table


def route(**keys: Any) -> RouteTable:
    table: RouteTable = read_table(RouteTable, keys, Place())
    return table


@pytest.mark.parametrize("options", [DeliveryTable, RouteTable])
def test_every_key_can_be_set_and_is_explained(options: type) -> None:
    for key, entry in fields_of(options).items():
        value, kept = CHANGED[key]
        assert getattr(read_table(options, {key: value}, Place()), key) == kept != entry.default, key
        assert entry.metadata["text"]
        assert kind_of(options, key).name


def test_s070_s074_s075_numbers_of_the_profiles() -> None:
    """The table's own defaults are those of the profile `default`; what a profile writes is TOML."""
    today, chapter = delivery(**DEFAULT), delivery(**EXCHANGE_2003)
    assert today == DeliveryTable()
    assert policy_of(chapter) == Policy() == Policy((600.0, 600.0, 600.0, 900.0), Ages(12 * HOUR, 12 * HOUR),
                                                    Ages(2 * DAY, 2 * DAY))  # fmt: skip
    assert (chapter.timeout, chapter.messages_per_connection, chapter.recipients_per_message) == (600, 20, 64000)
    assert toml(EXCHANGE_2003["retry"]) == '["10m", "10m", "10m", "15m"]'


@pytest.mark.parametrize(
    ("unit", "seconds"), [("90m", 5400.0), ("36h", 36 * HOUR), ("2d", 2 * DAY), ("1m", 60.0)]
)
def test_s078_minutes_hours_or_days_for_each_of_the_four(unit: str, seconds: float) -> None:
    both = {"local": unit, "outbound": "9d"}
    assert delivery(expiration=both).expiration == Ages(seconds, 9 * DAY)
    assert delivery(delay_notification=both).delay_notification == Ages(seconds, 9 * DAY)
    assert delivery(delay_notification=unit).delay_notification == Ages(seconds, seconds)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retry", []), ("retry", ["0m"]), ("retry", "10m"), ("retry", ["1m"] * 21), ("expiration", "off"),
        ("expiration", {"local": "1d"}), ("delay_notification", {"local": "1d", "outbound": "x"}), ("port", 0),
        ("port", 65536), ("dns_servers", ["ns.example"]), ("dns_servers", ["::1", "0::1"]), ("ndr_copy", "postmaster"),
        ("ndr_copy", "a@b@c"), ("tls", "maybe"), ("max_connections", 2_000_000_000), ("forward_unresolved", "a b"),
        ("dns_servers", [f"192.0.2.{n}" for n in range(11)]), ("addresses", "both"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        delivery(**{key: value})
    assert caught.value.key == key


@pytest.mark.parametrize("hosts", [["a b"], ["192.0.2"], ["x.org", "X.org"], [f"h{n}.org" for n in range(11)], "x.org"])
def test_hosts_of_a_route(hosts: Any) -> None:
    with pytest.raises(ConfigError):
        route(host=hosts)


@pytest.mark.parametrize(("name", "canonical"), [
    ("*", "*"), ("Partner.Example", "partner.example"), (".Example.com", ".example.com"),
    ("xn--exmple-cua.org", "exämple.org"), ("[192.0.2.1]", "[192.0.2.1]"), ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
])  # fmt: skip
def test_names_of_routes(name: str, canonical: str) -> None:
    assert route_name(name) == canonical


@pytest.mark.parametrize("name", ["", ".", "*.example.com", "a b", "..x", "[x]", "unresolved:smtp/default"])
def test_what_is_no_name_of_a_route(name: str) -> None:
    with pytest.raises(ValueError):
        route_name(name)


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"auth": "basic", "username": "u", "password_env": "P", "host": ["x.org"]}, []),
        ({"auth": "basic", "username": "u", "password_env": "P"}, ["auth"]),
        ({"auth": "ntlm", "host": ["x.org"]}, ["username", "password_file"]),
        (
            {"auth": "sasl", "username": "u", "password_env": "P", "password_file": "f", "host": ["x.org"]},
            ["password_env"],
        ),
        ({"username": "u"}, ["auth"]),
        ({"protocol": "lmtp"}, ["protocol"]),
    ],
)
def test_s112_what_contradicts_itself_in_a_route(keys: dict[str, Any], wrong: list[str]) -> None:
    assert [key for key, _ in route_mistakes(route(**keys))] == wrong


def test_s111_the_login_of_a_server_needs_a_smart_host() -> None:
    table = delivery(auth="basic", username="u", password_env="P")
    assert [key for key, _ in delivery_mistakes(table, smart_host=False)] == ["auth"]
    assert not list(delivery_mistakes(table, smart_host=True))


def test_a_notice_after_the_end_is_a_mistake() -> None:
    table = delivery(delay_notification={"local": "5d", "outbound": "off"})
    assert [text[:5] for _, text in delivery_mistakes(table, smart_host=False)] == ["local"]


def test_what_is_made_of_it() -> None:
    """S-109, S-110, S-112, S-116, S-131, S-133."""
    login = login_of(route(auth="ntlm", username="CORP\\bob", host=["x.org"]), "pw")
    assert login == OutboundLogin("ntlm", "bob", "pw", domain="CORP")
    basic = login_of(route(auth="basic", username="CORP\\bob", login_without_tls=True), "pw")
    assert basic == OutboundLogin("basic", "CORP\\bob", "pw", plain=True)
    assert login_of(route(), "") is None
    assert login_of(route(auth="anonymous"), "") == OutboundLogin()
    made = rule_of("x.org", route(host=["h.org"], port=26, tls="require", protocol="lmtp"), login)
    assert made == RouteRule("x.org", ("h.org",), 26, "require", "lmtp", login)
    assert rule_of("*", route(auth="anonymous"), OutboundLogin()) == RouteRule("*")
    assert defaults_of(delivery(port=26, addresses="ipv4"), login) == Defaults(26, "opportunistic", "ipv4", login)
    assert unresolved_rule("smtp/a", delivery()) is None
    assert unresolved_rule("smtp/a", delivery(forward_unresolved="h.org")) == RouteRule("unresolved:smtp/a", ("h.org",))
    base, data = Path("/etc/mailsrv"), Path("/var/mailsrv")
    assert badmail_folder("a", delivery(), base, data) == Path("/var/mailsrv/badmail/a")
    assert badmail_folder("a", delivery(badmail="bad"), base, data) == Path("/etc/mailsrv/bad")
