"""A site among servers of other people, over real sockets: names, failing over, TLS that is broken, mail in circles."""

from __future__ import annotations

import os
import smtplib
import time
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest

from tests.ports import free_ports
from tests.transfer.smtp_network import server as script

from .conftest import Server
from .messages import REAL
from .postfix import until
from .remotes import TLS_EHLO, Authority, RemoteFactory, Remotes
from .test_relay import BOTH, give, prepare, report, route, rows
from .test_standard_library import pop3

pytestmark = pytest.mark.live

#: Domains by the number of their server's address.
HOSTS = {"good": 11, "expired": 12, "other": 13, "garbage": 14, "hangs-up": 15, "grey": 16, "never": 17}
SITE = """
[site]
hostname = "mx.home.test"
domains = ["home.test"]
[access.here]
mode = "only"
list = ["127.0.0.1"]
[access.all-but]
mode = "except"
list = ["127.0.9.9"]
[smtp.default]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.default.delivery]
retry = ["1s"]
delay_notification = "off"
expiration = "1h"
port = {port}
dns_servers = ["{silent}", "{names}"]
[smtp.open]
listen = ["127.0.0.1:0"]
relay = "all-but"
[smtp.open.delivery]
port = {port}
dns_servers = ["{names}"]
[smtp.strict]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.strict.delivery]
retry = ["1h"]
tls = "verify"
port = {port}
dns_servers = ["{names}"]
"""


class World:
    """The servers of others, and a site of ours among them."""

    def __init__(self, folder: Any, authority: Authority) -> None:
        remotes = self.remotes = Remotes()
        zone: dict[str, Any] = {"null.test MX": [(0, "")], "two.test MX": [(10, "dead.test"), (20, "mx.good.test")]}
        zone["dead.test A"] = [remotes.address(99)]
        for name, number in HOSTS.items():
            zone |= {f"{name}.test MX": [(10, f"mx.{name}.test")], f"mx.{name}.test A": [remotes.address(number)]}
        self.names, self.silent = remotes.names(2, zone), remotes.names(1, zone, "silent")
        self.hosts: dict[str, RemoteFactory] = {}
        seen: list[float] = []

        def grey(line: bytes) -> bytes | None:
            if line.startswith(b"RCPT"):
                seen.append(time.monotonic())
                if seen[-1] - seen[0] < 0.9:
                    return b"450 4.7.1 Greylisted\r\n"
            return script()(line)

        garbage = script(ehlo=TLS_EHLO, starttls=b"220 go\r\n")
        made: dict[str, tuple[Any, ...]] = {
            "good": (None, authority.options("mx.good.test")),
            "expired": (None, authority.options("mx.expired.test", days=-1)),
            "other": (None, authority.options("mx.somebody.test")),
            "garbage": (garbage,),
            "hangs-up": (script(ehlo=TLS_EHLO, starttls=None),),
            "grey": (grey,),
            "never": (script(rcpt=b"550 5.1.1 Nobody of that name\r\n"),),
        }
        for name, number in HOSTS.items():
            self.hosts[name] = remotes.smtp(number, *made[name])
        remotes.start()
        places = {"silent": remotes.address(1), "names": remotes.address(2), "port": remotes.port}
        self.site = Server(prepare(folder), SITE.format(**places) + BOTH)

    def got(self, name: str, token: bytes) -> bool:
        """A host has the message with this in it, as soon as it has; whether it came by TLS."""

        def found() -> list[tuple[bytes, bool]]:
            return [one for one in self.hosts[name].taken if token in one[0]]

        (message,) = until(found, lambda: f"{self.hosts[name].lines} {self.names.asked}\n{self.site.log()}")
        assert message[0].endswith(REAL[-20:].rstrip())
        return message[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    made = World(tmp_path_factory.mktemp("home"), authority)
    # What OpenSSL takes for the authorities of the platform.
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority.path)
    try:
        made.site.start()
        yield made
    finally:
        made.site.stop()
        made.remotes.stop()
        os.environ.pop("SSL_CERT_FILE")
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before
    assert "Traceback" not in made.site.log(), made.site.log()


def send(world: World, to: str, token: bytes, door: str = "smtp/default") -> None:
    """A message with this in its subject."""
    give(world.site, "u1@home.test", [to], door, b"Subject: " + token + b"\r\n" + REAL)


def test_s_169_the_second_server_has_it_when_the_first_is_dead(world: World) -> None:
    # The first test of this page: a connection that is kept from another message would be taken at once.
    send(world, "who@two.test", b"fail-over")
    world.got("good", b"fail-over")
    # The other side has the message a moment before the line about it is written.
    until(lambda: any("no session with" in line and "for two.test" in line for line in world.site.log().splitlines()),
          world.site.log)  # fmt: skip


@pytest.mark.parametrize("name", ["good", "expired", "other", "garbage", "hangs-up"])
def test_s_096_mail_finds_its_way_by_the_second_name_server_with_tls_or_without(world: World, name: str) -> None:
    send(world, f"who@{name}.test", b"open-" + name.encode())
    tls = world.got(name, b"open-" + name.encode())
    assert tls is (name in ("good", "expired", "other"))
    assert world.silent.asked and (f"{name}.test", "MX", False) in world.names.asked
    if name in ("garbage", "hangs-up"):
        # The second message does not try again what has just failed.
        send(world, f"who@{name}.test", b"again-" + name.encode())
        world.got(name, b"again-" + name.encode())
        assert world.hosts[name].lines.count(b"STARTTLS") == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expired", "certificate has expired"), ("other", "the certificate is for another name"),
        ("garbage", "TLS failed"), ("hangs-up", "The server closed the connection after STARTTLS"),
    ],
)  # fmt: skip
def test_rfc_9525_mail_waits_with_the_reason_where_certificates_are_looked_at(
    world: World, name: str, words: str
) -> None:
    send(world, f"strict@{name}.test", b"strict-" + name.encode(), "smtp/strict")
    found = until(
        lambda: [one for one in rows(world.site, f"{name}.test") if one["attempts"] and one["reply"]], world.site.log
    )
    (row,) = found
    assert words in str(row["reply"]) and str(row["reply"]).startswith(f"mx.{name}.test ["), row
    assert b"RCPT TO:<strict@" + name.encode() + b".test>" not in world.hosts[name].lines


def test_rfc_9525_a_certificate_that_is_good_is_believed(world: World) -> None:
    send(world, "strict@good.test", b"verified", "smtp/strict")
    assert world.got("good", b"verified") is True


def test_a_greylisting_server_gets_it_a_moment_later(world: World) -> None:
    send(world, "who@grey.test", b"greylisted")
    world.got("grey", b"greylisted")
    until(lambda: "1 delayed: mx.grey.test: 450 4.7.1 Greylisted" in world.site.log(), world.site.log)


@pytest.mark.parametrize(
    ("domain", "status"), [("null.test", "5.1.10"), ("gone.test", "5.1.2"), ("never.test", "5.1.1")]
)
def test_the_sender_hears_at_once_of_what_can_never_arrive(world: World, domain: str, status: str) -> None:
    # The first login makes the account, and only then a report can come.
    pop3(world.site, f"{domain}@home.test").quit()
    give(world.site, f"{domain}@home.test", [f"who@{domain}"], "smtp/default")
    recipient, made = report(world.site, f"{domain}@home.test")
    assert (recipient["Action"], recipient["Status"]) == ("failed", status), made


@pytest.mark.parametrize(
    ("door", "address", "relays"),
    [
        ("default", "127.0.0.1", True), ("default", "127.0.9.8", False),
        ("open", "127.0.9.8", True), ("open", "127.0.9.9", False),
    ],
)  # fmt: skip
def test_s_138_s_139_s_140_who_is_on_the_list_has_mail_sent_on_and_others_have_not(
    world: World, door: str, address: str, relays: bool
) -> None:
    token = f"relay-{door}-{address}".encode()
    port = world.site.port(f"smtp/{door}")
    with smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(address, 0)) as client:
        if not relays:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                client.sendmail("a@b.example", ["who@good.test"], REAL)
            assert caught.value.recipients["who@good.test"][0] == 550
            return
        client.sendmail("a@b.example", ["who@good.test"], b"Subject: " + token + b"\r\n" + REAL, ["BODY=8BITMIME"])
    world.got("good", token)


# ---------------------------------------------------------------- mail in circles

CIRCLE = """
[site]
hostname = "mx.{name}.test"
domains = ["{name}.test", "circle.test"]
[domain."circle.test"]
kind = "relay"
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:{port}"]
relay = "here"
[smtp.default.delivery]
retry = ["1s"]
"""


def test_s_081_s_135_mail_that_two_sites_send_to_each_other_ends_by_the_hop_count(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ports = dict(zip(("left", "right"), free_ports(2), strict=True))
    sites: dict[str, Server] = {}
    for name, other in (("left", "right"), ("right", "left")):
        config = CIRCLE.format(name=name, port=ports[name]) + BOTH
        config += route("circle.test", ports[other]) + route(f"{other}.test", ports[other])
        sites[name] = Server(prepare(tmp_path_factory.mktemp(name)), config)
    try:
        for one in sites.values():
            one.start()
        pop3(sites["left"], "u1@left.test").quit()
        give(sites["left"], "u1@left.test", ["who@circle.test"], "smtp/default")
        recipient, made = report(sites["left"], "u1@left.test")
        assert (recipient["Action"], recipient["Status"]) == ("failed", "5.4.6"), made.as_string()
        assert "hop" in recipient["Diagnostic-Code"].lower()
        returned = made.get_payload()[2]  # type: ignore[union-attr]
        inner = message_from_bytes(returned.get_payload(0).as_bytes())  # type: ignore[union-attr]
        assert len(inner.get_all("Received", [])) == 31
        until(lambda: not any(rows(one, "circle.test") for one in sites.values()), sites["left"].log)
        # One report, and no second one about it.
        assert not any(rows(one, domain) for one in sites.values() for domain in ("left.test", "right.test"))
    finally:
        for one in sites.values():
            one.stop()
    for one in sites.values():
        assert "Traceback" not in one.log(), one.log()


