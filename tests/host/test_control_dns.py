"""Operations on the name system: the records to publish, and whether they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import TryLater
from mailsrv.host.control.table import OPERATIONS
from mailsrv.testing.queue_site import QueueSite

ONE = '[site]\nhostname = "mail.example.org"\ndomains = ["example.org"]\n[store]\nuse = "memory"\n'


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[str], QueueSite]]:
    sites: list[QueueSite] = []

    def make(config: str) -> QueueSite:
        sites.append(QueueSite(tmp_path, config))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


def records(site: QueueSite, **arguments: Any) -> tuple[list[str], str]:
    """Records, and all notes as one text."""
    told = site.ask("domain.records", **arguments)
    return told["records"], " | ".join(told["notes"])


def test_s170_several_smtp_servers_need_several_mx_records(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + """
        [smtp.one]
        listen = ["1.1.1.1:25"]
        [smtp.two]
        hostname = "mx2.example.org"
        listen = ["9.9.9.9:25", "[2620:fe::fe]:25"]
        [smtp.submission]
        role = "submission"
        listen = ["*:587", "*:465/tls"]
    """)
    found, notes = records(site, domain="Example.ORG.")
    assert found[:2] == ["example.org. 3600 IN MX 10 mail.example.org.", "example.org. 3600 IN MX 20 mx2.example.org."]
    assert "_submissions._tcp.example.org. 3600 IN SRV 0 1 465 mail.example.org." in found
    assert [line for line in found if " IN A" in line] == [
        "mail.example.org. 3600 IN A 1.1.1.1", "mx2.example.org. 3600 IN A 9.9.9.9",
        "mx2.example.org. 3600 IN AAAA 2620:fe::fe",
    ]  # fmt: skip
    # The third is known by its name alone, and the name system tells nothing of that yet.
    assert "mail.example.org needs an A or AAAA record" in notes


def test_addresses_are_given_or_those_of_the_name_system(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + '[smtp.in]\nlisten = ["*:25"]\n')
    assert records(site, addresses=["192.0.2.9", "2001:DB8::9"])[0] == [
        "example.org. 3600 IN MX 10 mail.example.org.", "mail.example.org. 3600 IN A 192.0.2.9",
        "mail.example.org. 3600 IN AAAA 2001:db8::9",
    ]  # fmt: skip
    assert site.names.asked == []
    site.names.table = {"mail.example.org A": ["192.0.2.1"], "mail.example.org AAAA": TryLater}
    assert records(site)[0][-1] == "mail.example.org. 3600 IN A 192.0.2.1"
    assert "is no" in site.ask("domain.records", addresses=["x"]) or "not appear" in site.ask(
        "domain.records", addresses=["x"]
    )
    assert "at most 16 addresses" in site.ask("domain.records", addresses=["192.0.2.1"] * 17)


def test_what_the_world_cannot_reach_is_not_published(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + """
        [smtp.local]
        listen = ["127.0.0.1:25", "[::1]:25"]
        [smtp.lmtp]
        role = "lmtp"
        listen = ["*:24"]
        [imap.private]
        listen = ["10.0.0.1:143"]
    """)
    found, notes = records(site)
    assert found == ["_imap._tcp.example.org. 3600 IN SRV 10 1 143 mail.example.org."]
    assert "no SMTP server takes mail from other servers" in notes and "mail.example.org needs an A" in notes


def test_high_ports_need_a_firewall(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + '[smtp.in]\nlisten = ["*:2525"]\n')
    found, notes = records(site, addresses=["192.0.2.1"])
    assert found[0] == "example.org. 3600 IN MX 10 mail.example.org."
    assert "smtp/in does not listen on port 25" in notes and "port 2525" in notes


def test_records_are_for_local_domains_those_that_were_added_too(
    made: Callable[[str], QueueSite], tmp_path: Path
) -> None:
    site = made(ONE + '[smtp.in]\nlisten = ["*:25"]\n')
    said = site.ask("domain.records", domain="exampel.org")
    assert 'did you mean "example.org"' in said and "`mailsrv domain add exampel.org`" in said
    assert "must be a host or domain name" in site.ask("domain.records", domain="a b")
    site.ask("domain.add", domain="bücher.example")
    assert records(site, domain="bücher.example")[0][0] == "xn--bcher-kva.example. 3600 IN MX 10 mail.example.org."
    assert OPERATIONS["domain.records"].resource({"domain": "example.org"}) == "domain/example.org"


# ---------------------------------------------------------------- are they there?


def test_s089_s086_check_of_the_name_of_each_server(made: Callable[[str], QueueSite]) -> None:
    """A, AAAA, PTR, and the MX that ties the name to a mail domain."""
    site = made(ONE + '[smtp.in]\n[smtp.submission]\nrole = "submission"\n[smtp.two]\nlisten = ["*:26"]\n'
                'hostname = "mx2.example.org"\n'
                '[smtp.lmtp]\nrole = "lmtp"\n')  # fmt: skip
    site.names.host("192.0.2.1", "mail.example.org")
    site.names.table["example.org MX"] = [(10, "mail.example.org")]
    first, second = site.ask("dns.check", addresses=["192.0.2.1"])
    assert first == {
        "hostname": "mail.example.org", "servers": ["smtp/in", "smtp/submission"], "level": "ok",
        "findings": [
            {"level": "ok", "text": "mail.example.org has the address 192.0.2.1"},
            {"level": "ok", "text": "192.0.2.1 has the name mail.example.org"},
            {"level": "ok", "text": "example.org has the MX 10 mail.example.org"},
        ],
    }  # fmt: skip
    assert (second["servers"], second["level"]) == (["smtp/two"], "error")
    assert "mx2.example.org has no A or AAAA record" in str(second)


def test_s089_one_server_alone(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + '[smtp.in]\n[smtp.submission]\nrole = "submission"\n[smtp.lmtp]\nrole = "lmtp"\n[imap.a]\n')
    site.names.host("192.0.2.1", "mail.example.org")
    (told,) = site.ask("dns.check", server="smtp/submission")
    # Nobody brings mail of others there, so no MX need name it.
    assert told["level"] == "ok" and "MX" not in str(told)
    (told,) = site.ask("dns.check", server="smtp/in", addresses=["192.0.2.7"])
    assert told["level"] == "warning" and "mail is sent from 192.0.2.7" in str(told)
    assert 'did you mean "smtp/in"' in site.ask("dns.check", server="smtp/im")
    for wrong in ("imap/a", "smtp/lmtp"):
        assert "no SMTP server of the network" in site.ask("dns.check", server=wrong)
    assert OPERATIONS["dns.check"].resource({"server": "smtp/in"}) == "server/smtp/in"


def test_a_name_system_that_says_nothing_is_a_warning(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + "[smtp.in]\n")
    site.names.table = dict.fromkeys(("mail.example.org A", "mail.example.org AAAA", "example.org MX"), TryLater)
    (told,) = site.ask("dns.check")
    assert told["level"] == "warning" and "does not tell" in str(told)


def test_s094_what_the_name_system_says_of_a_name_and_of_an_address(made: Callable[[str], QueueSite]) -> None:
    site = made(ONE + '[smtp.in]\nlisten = ["*:25"]\n')
    site.names.table = {
        "b.example MX": [(10, "mx.b.example")], "b.example A": ["192.0.2.1"], "b.example AAAA": TryLater,
        "b.example TXT": [b"v=spf1 -all"], "1.2.0.192.in-addr.arpa PTR": ["mx.b.example"],
    }  # fmt: skip
    found = [(one["kind"], one["value"]) for one in site.ask("dns.lookup", name="B.example")]
    assert found == [("MX", "10 mx.b.example"), ("A", "192.0.2.1"), ("AAAA", ""), ("TXT", "v=spf1 -all")]
    told = site.ask("dns.lookup", name="192.0.2.1", server="smtp/in")
    assert [(one["kind"], one["value"]) for one in told] == [("PTR", "mx.b.example")]
    assert "did you mean" in site.ask("dns.lookup", name="b.example", server="smtp/on")
    assert "must be a host or domain name" in site.ask("dns.lookup", name="a b")
