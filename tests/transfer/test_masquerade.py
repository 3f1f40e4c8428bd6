"""Domain names of outgoing mail (S-083..S-086, S-089, S-170)."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.errors import TryLater
from mailsrv.testing.dns import NameTable
from mailsrv.testing.loop import Loop
from mailsrv.transfer.masquerade import Published, check_hostname, domain_records, outgoing_path
from mailsrv.values import Address

PTR, MX = "1.2.0.192.in-addr.arpa PTR", "example.org MX"
LOCAL = {"example.org", "sub.example.org"}.__contains__


@pytest.mark.parametrize(
    ("path", "origin", "masquerade", "hops", "sent"),
    [
        ("example.org", "local", "public.example", 0, "public.example"),
        ("sub.example.org", "local", "public.example", 0, "public.example"),
        ("example.org", "local", "", 0, "example.org"),
        ("other.example", "local", "public.example", 0, "other.example"),
        ("example.org", "outside", "public.example", 0, "example.org"),
        ("example.org", "local", "public.example", 1, "example.org"),
    ],
    ids=["S-083", "S-083 each local domain", "off", "a foreign sender", "S-085 from outside", "S-085 second hop"],
)
def test_s083_s085_the_local_domain_is_replaced_on_the_first_hop(
    path: str, origin: str, masquerade: str, hops: int, sent: str
) -> None:
    assert outgoing_path(Address("Bob", path), origin, masquerade, LOCAL, hops) == Address("Bob", sent)


def test_s083_the_null_path_stays() -> None:
    assert outgoing_path(None, "local", "public.example", LOCAL) is None


def test_s170_the_records_of_two_servers() -> None:
    servers = [
        Published("smtp/default", "mx1.example.org", ("192.0.2.1", "2001:db8::1"), ((25, False),), 10),
        Published("smtp/second", "mx2.example.org", ("192.0.2.2",), ((25, False),), 20),
        Published("smtp/submission", "mx1.example.org", ("192.0.2.1",), ((587, False), (465, True))),
        Published("imap/default", "mail.exämple.org", ("192.0.2.3",), ((143, False), (993, True), (1143, False))),
    ]
    assert domain_records(["example.org"], servers) == [
        "example.org. 3600 IN MX 10 mx1.example.org.",
        "example.org. 3600 IN MX 20 mx2.example.org.",
        "_submission._tcp.example.org. 3600 IN SRV 10 1 587 mx1.example.org.",
        "_submissions._tcp.example.org. 3600 IN SRV 0 1 465 mx1.example.org.",
        "_imap._tcp.example.org. 3600 IN SRV 10 1 143 mail.xn--exmple-cua.org.",
        "_imaps._tcp.example.org. 3600 IN SRV 0 1 993 mail.xn--exmple-cua.org.",
        "mx1.example.org. 3600 IN A 192.0.2.1",
        "mx1.example.org. 3600 IN AAAA 2001:db8::1",
        "mx2.example.org. 3600 IN A 192.0.2.2",
        "mail.xn--exmple-cua.org. 3600 IN A 192.0.2.3",
    ]


# ---------------------------------------------------------------- does the name lead here, and back?

GOOD: dict[str, Any] = {
    "mx.example.org A": ["192.0.2.1"],
    "1.2.0.192.in-addr.arpa PTR": ["mx.example.org"],
    "example.org MX": [(10, "mx.example.org")],
}


def found(table: dict[str, Any], hostname: str = "mx.example.org", **more: Any) -> list[str]:
    findings = Loop().run(check_hostname(NameTable(table), hostname, **more))
    return [f"{one.level}: {one.text}" for one in findings]


def test_s089_all_is_well() -> None:
    assert found(GOOD, addresses=["192.0.2.1"], domains=["example.org"]) == [
        "ok: mx.example.org has the address 192.0.2.1",
        "ok: 192.0.2.1 has the name mx.example.org",
        "ok: example.org has the MX 10 mx.example.org",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mx.example.org A": []}, "error: mx.example.org has no A or AAAA record"),
        ({"mx.example.org A": TryLater}, "warning: the name system does not tell the A records of mx.example.org"),
        ({PTR: []}, "error: 192.0.2.1 has no name (PTR): many servers take no mail from it"),
        ({PTR: ["x.net"]}, "warning: 192.0.2.1 has the name x.net (PTR), not mx.example.org"),
        ({PTR: TryLater}, "warning: the name system does not tell the PTR records of 1.2.0.192.in-addr.arpa"),
        ({MX: [(1, "x.net")]}, "warning: mail for example.org goes to x.net (MX), not to mx.example.org"),
        ({MX: [(0, "")]}, "warning: example.org says that it takes no mail at all (null MX)"),
        ({MX: []}, "warning: example.org has no MX: `mailsrv domain records example.org` tells what to publish"),
        ({"mx.example.org A": ["10.0.0.5"]},
         "error: mx.example.org has the address 10.0.0.5, which the world cannot reach"),
        ({MX: TryLater}, "warning: the name system does not tell the MX records of example.org"),
    ],
)  # fmt: skip
def test_s089_what_is_not_well(change: dict[str, Any], told: str) -> None:
    assert told in found(GOOD | change, domains=["example.org"])


def test_mail_sent_from_another_address() -> None:
    told = found(GOOD, addresses=["192.0.2.1", "192.0.2.99"])
    assert "warning: mail is sent from 192.0.2.99, which mx.example.org does not have" in told


def test_a_name_without_a_domain() -> None:
    [told] = found({}, hostname="mail")
    assert told.startswith("error: mail has no domain")


def test_a_domain_that_is_its_own_server() -> None:
    table = {"example.org AAAA": ["2001:db8::1"]}
    told = found(table, hostname="example.org", domains=["example.org"])
    assert "ok: example.org has no MX, so its mail comes to its address" in told
