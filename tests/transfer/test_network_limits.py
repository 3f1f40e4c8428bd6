"""What the configuration says of the way out, seen by the other servers: limits, logins, ports, names."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mail_network import CONFIG, HOUR, MINUTE, TEXT, ZONE, MailNetwork, delivery, fields, server

from mailsrv.host.config import load

Make = Callable[..., MailNetwork]
PIPELINING = b"250-mx.one.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
LOGIN = b"250-mx\r\n250 AUTH PLAIN\r\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[MailNetwork] = []
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o600)

    def network(more: str = "", **keys: Any) -> MailNetwork:
        made.append(MailNetwork(tmp_path, delivery(**keys) + more))
        return made[0]

    yield network
    made[0].close()


def route(name: str, *hosts: str, **keys: Any) -> str:
    """A table [routes.NAME]."""
    lines = [f'[routes."{name}"]', f"host = {list(hosts)}".replace("'", '"')]
    values = {key: str(value).lower() if isinstance(value, bool) else repr(value) for key, value in keys.items()}
    lines += [f"{key} = {value}" for key, value in values.items()]
    return "\n".join([*lines, ""]).replace("'", '"')


def used(net: MailNetwork, address: str = "192.0.2.1") -> int:
    """Connections to an address."""
    return [host for host, _ in net.ports].count(address)


# ---------------------------------------------------------------- messages and recipients


def test_s122_fifty_messages_take_three_connections(make: Make) -> None:
    net = make()
    for _ in range(50):
        net.put()
    net.until(MINUTE)
    assert len(net.taken()) == 50 and used(net) == 3 and not net.rows()
    assert sorted(wire.commands.count(b".") for wire in net.wires) == [10, 20, 20]


def test_s122_a_limit_that_was_set(make: Make) -> None:
    net = make(messages_per_connection=7)
    for _ in range(50):
        net.put()
    net.until(MINUTE)
    assert len(net.taken()) == 50 and max(wire.commands.count(b".") for wire in net.wires) == 7 and used(net) == 8


def test_s123_2500_recipients_at_a_limit_of_1000_take_three_connections(make: Make) -> None:
    net = make(recipients_per_message=1000)
    net.remote("192.0.2.1", ehlo=PIPELINING)
    everybody = [f"r{number}@one.test" for number in range(2500)]
    net.put(*everybody)
    net.until(MINUTE)
    assert [len(one.recipients) for one in net.taken()] == [1000, 1000, 500] and used(net) == 3
    assert [name for one in net.taken() for name in one.recipients] == [name.encode() for name in everybody]
    assert not net.rows()


def test_s123_a_lot_that_fails_is_tried_again_alone(make: Make) -> None:
    net = make(recipients_per_message=10)
    net.remote("192.0.2.1", ehlo=PIPELINING)
    good = server(ehlo=PIPELINING)
    net.remote("192.0.2.1", lambda line: b"451 not now\r\n" if line.startswith(b"RCPT TO:<b") else good(line))
    net.put(*[f"{lot}{number}@one.test" for lot in "abc" for number in range(10)])
    net.until(MINUTE)
    assert [one.recipients[0][:1] for one in net.taken()] == [b"a", b"c"] and len(net.row().recipients) == 10
    net.remote("192.0.2.1", good)
    net.until(11 * MINUTE)
    assert [one.recipients[0][:1] for one in net.taken()] == [b"a", b"c", b"b"] and not net.rows()


def test_s124_both_limits_of_the_way_out_can_be_off(make: Make) -> None:
    net = make(messages_per_connection="off", recipients_per_message="off")
    net.remote("192.0.2.1", ehlo=PIPELINING)
    for _ in range(50):
        net.put()
    net.until(MINUTE)
    assert len(net.taken()) == 50 and used(net) == 1
    net.put(*[f"r{number}@one.test" for number in range(2500)])
    net.until(2 * MINUTE)
    assert len(net.taken()[-1].recipients) == 2500 and used(net) == 2 and not net.rows()


def test_s118_the_report_names_the_limit_of_the_other_server(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", ehlo=b"250-mx\r\n250 SIZE 100\r\n")
    net.remote("192.0.2.21", mail=b"552 5.3.4 Message size exceeds fixed limit\r\n")
    net.put("me@one.test")
    net.put("me@two.test")
    net.until(1)
    here, there = sorted(net.reports(), key=lambda one: fields(one)["Final-Recipient"])
    assert fields(here)["Status"] == fields(there)["Status"] == "5.3.4" and not net.rows()
    # Which of us found it: the first server has not been asked.
    told = "The message has 197 octets, and the server takes 100"
    assert " ".join(fields(here)["Diagnostic-Code"].split()) == f"x-mailsrv; {told}"
    assert f"mx.one.test: {told}" in here.as_string().replace("\n    ", " ")
    assert fields(there)["Diagnostic-Code"] == "smtp; 552 5.3.4 Message size exceeds fixed limit"


# ---------------------------------------------------------------- connections


def flood(net: MailNetwork, domains: int = 4, messages: int = 30) -> None:
    """Many messages for some domains, whose servers take their time."""
    net.delay = 1.0
    for number in range(messages):
        for domain in range(domains):
            net.put(f"u{number}@d{domain}.test")


@pytest.fixture
def domains(monkeypatch: pytest.MonkeyPatch) -> None:
    for domain in range(4):
        monkeypatch.setitem(ZONE, f"d{domain}.test A", [f"192.0.2.{100 + domain}"])


def most(net: MailNetwork, seconds: int) -> tuple[int, int]:
    """Connections at a time in all, and to one address, while this passes."""
    in_all = to_one = 0
    for _ in range(seconds):
        net.until(net.now + 1)
        now = [wire.address for wire in net.made if not wire.closed]
        in_all, to_one = max(in_all, len(now)), max([to_one, *map(now.count, now)])
    return in_all, to_one


@pytest.mark.usefixtures("domains")
def test_s113_connections_in_all_are_limited(make: Make) -> None:
    net = make(max_connections=3)
    flood(net)
    in_all, _ = most(net, 600)
    assert in_all == 3 and not net.rows() and sum(map(len, net.mails.values())) == 120


@pytest.mark.usefixtures("domains")
def test_s114_connections_to_one_domain_are_limited(make: Make) -> None:
    net = make(max_connections_per_domain=2, messages_per_connection=3)
    flood(net)
    in_all, to_one = most(net, 600)
    assert to_one == 2 and 4 < in_all <= 8 and not net.rows() and sum(map(len, net.mails.values())) == 120


@pytest.mark.usefixtures("domains")
def test_connections_grow_with_success_where_nothing_limits_them(make: Make) -> None:
    net = make(messages_per_connection=3)
    flood(net, 1, 100)
    in_all, to_one = most(net, 300)
    assert in_all == to_one > 5 and not net.rows()


# ---------------------------------------------------------------- ports and names


def test_s116_mail_goes_to_the_mapped_port(make: Make) -> None:
    net = make(route("two.test", "192.0.2.22", port=10025), port=2525)
    net.put("me@one.test")
    net.put("me@two.test")
    net.until(1)
    assert sorted(net.ports) == [("192.0.2.1", 2525), ("192.0.2.22", 10025)] and not net.rows()


def test_s086_each_server_says_its_own_name_to_others(make: Make) -> None:
    net = make('[smtp.two]\nhostname = "two.home.test"\nlisten = ["*:26"]\n')
    for name in ("default", "two"):
        net.put(server=f"smtp/{name}")
        net.until(net.now + 10)
    said = [line for _, _, line in net.heard if line.startswith(b"EHLO")]
    assert said == [b"EHLO mail.home.test", b"EHLO two.home.test"]
    assert [b"by two.home.test with" in one.octets for one in net.taken()] == [False, True]


def test_s086_it_says_helo_to_servers_that_know_no_ehlo(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", ehlo=b"502 what\r\n")
    net.put()
    net.until(1)
    assert (0.0, "192.0.2.1", b"HELO mail.home.test") in net.heard and len(net.taken()) == 1


@pytest.mark.parametrize("name", ["first.machine.test", "second.machine.test"])
def test_s087_a_new_name_of_the_machine_is_the_name_after_the_next_start(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(load.socket, "gethostname", lambda: name)
    monkeypatch.setattr("mail_network.CONFIG", CONFIG.replace('hostname = "mail.home.test"\n', ""))
    net = make()
    net.put()
    net.until(1)
    assert net.commands(b"EHLO " + name.encode()) == [0.0]
    assert f"by {name} with".encode() in net.taken()[0].octets


def test_s083_s084_s085_the_masquerade_domain_is_what_others_see_of_mail_that_begins_here(make: Make) -> None:
    net = make(masquerade_domain="outside.test")
    net.put(origin="local")
    net.put(origin="local", sender="bob@elsewhere.test")
    net.put(origin="outside")
    # It has been through another server before: its first hop is over.
    net.put(origin="local", octets=b"Received: from a by b; Mon, 12 Jan 1970 13:46:40 +0000\r\n" + TEXT)
    net.until(1)
    assert [one.mail for one in net.taken()] == [
        b"MAIL FROM:<ann@outside.test>", b"MAIL FROM:<bob@elsewhere.test>", b"MAIL FROM:<ann@home.test>",
        b"MAIL FROM:<ann@home.test>",
    ]  # fmt: skip
    assert all(b"From: Ann <ann@home.test>\r\n" in one.octets for one in net.taken())


def test_s083_a_report_goes_to_the_sender_that_we_know(make: Make) -> None:
    net = make(masquerade_domain="outside.test")
    net.remote("192.0.2.1", rcpt=b"550 5.1.1 nobody\r\n")
    net.put(origin="local")
    net.until(1)
    assert fields(net.reports()[0])["Status"] == "5.1.1"


# ---------------------------------------------------------------- logins

USER: dict[str, Any] = {"username": "me@example.org", "password_file": "secret"}


def test_s108_other_servers_are_not_logged_in_to(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", ehlo=LOGIN)
    net.put()
    net.until(1)
    assert len(net.taken()) == 1 and not net.commands(b"AUTH")


@pytest.mark.parametrize(("auth", "verb"), [("basic", b"AUTH PLAIN"), ("ntlm", b"AUTH NTLM"), ("sasl", b"AUTH SCRAM")])
def test_s109_s110_mail_goes_on_with_a_login_at_another_server_of_ours(make: Make, auth: str, verb: bytes) -> None:
    net = make(route("example.org", "192.0.2.25", auth=auth, tls="off", login_without_tls=True, **USER))
    net.settings = {"kinds": "scram-sha-256,ntlm"}
    net.beds = {"192.0.2.25"}
    net.put("you@example.org")
    net.until(5 * MINUTE)
    assert not net.rows() and verb in net.made[0].said
    assert b"secret" not in net.made[0].said


def test_s109_basic_by_octets(make: Make) -> None:
    net = make(route("one.test", "192.0.2.1", auth="basic", login_without_tls=True, **USER))
    net.remote("192.0.2.1", ehlo=LOGIN, auth=b"235 ok\r\n")
    net.put()
    net.until(1)
    said = base64.b64encode(b"\0me@example.org\0secret")
    assert net.commands(b"AUTH PLAIN " + said) == [0.0] and len(net.taken()) == 1


def test_s112_a_login_for_one_destination_and_none_for_all_others(make: Make) -> None:
    net = make(route("two.test", "192.0.2.22", auth="basic", login_without_tls=True, **USER))
    for address in ("192.0.2.1", "192.0.2.22"):
        net.remote(address, ehlo=LOGIN, auth=b"235 ok\r\n")
    net.put("me@one.test")
    net.put("me@two.test")
    net.until(1)
    assert net.commands(b"AUTH", "192.0.2.22") and not net.commands(b"AUTH", "192.0.2.1") and not net.rows()


def test_s111_everything_goes_to_the_smart_host_with_the_login_of_the_server(make: Make) -> None:
    net = make(
        route("*", "smart.test") + route("two.test", "192.0.2.22"), auth="basic", login_without_tls=True, **USER
    )
    for address in ("192.0.2.60", "192.0.2.22"):
        net.remote(address, ehlo=LOGIN, auth=b"235 ok\r\n")
    for domain in ("one.test", "gone.test", "deep.down.test", "two.test"):
        net.put(f"me@{domain}")
    net.until(MINUTE)
    assert len(net.taken("192.0.2.60")) == 3 and len(net.taken("192.0.2.22")) == 1 and not net.rows()
    assert net.commands(b"AUTH", "192.0.2.60") and not net.commands(b"AUTH", "192.0.2.22")
    # Nobody is asked where the mail for these domains goes.
    assert {name for name, _, _ in net.system.asked} == {"smart.test"}


def test_a_login_that_is_refused_keeps_the_mail_and_tries_no_other_host_s111(make: Make) -> None:
    net = make(route("*", "smart.test", "192.0.2.61", auth="basic", login_without_tls=True, **USER))
    net.remote("192.0.2.60", ehlo=LOGIN, auth=b"535 5.7.8 bad password\r\n")
    net.put()
    net.until(MINUTE)
    assert net.row().reply == "smart.test [192.0.2.60]: Login by PLAIN failed: 535 5.7.8 bad password"
    assert used(net, "192.0.2.61") == 0 and not net.commands(b"MAIL")
    net.remote("192.0.2.60", ehlo=LOGIN, auth=b"235 ok\r\n")
    net.until(11 * MINUTE)
    assert len(net.taken("192.0.2.60")) == 1


def test_a_password_is_not_shown_because_tls_is_broken(make: Make) -> None:
    net = make(route("*", "smart.test", auth="basic", **USER))
    net.remote("192.0.2.60", ehlo=b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", starttls=b"220 go\r\n")
    net.faults["192.0.2.60"] = "garbage in TLS"
    net.put()
    net.until(MINUTE)
    assert not net.commands(b"AUTH") and not net.commands(b"MAIL")
    assert net.row().reply.endswith("(without TLS: TLS failed: wrong version number)"), net.row().reply


def test_s115_x1_a_short_idle_time_is_taken(make: Make) -> None:
    net = make(timeout="45s")
    net.remote("192.0.2.1", dot=b"")
    net.put()
    net.until(44)
    assert net.row().attempts == 0
    net.until(47)
    assert net.row().reply == "mx.one.test: The server did not answer in time after the message"


def test_a_smart_host_that_is_away_holds_all_mail_and_is_tried_once_an_interval(make: Make) -> None:
    net = make(route("*", "smart.test"))
    net.refuse = {"192.0.2.60"}
    for number in range(20):
        net.put("me@one.test" if number % 2 else "me@two.test")
    net.until(HOUR + 1)
    assert len(net.rows()) == 20 and used(net, "192.0.2.60") <= 2 * 6
    net.refuse = set()
    net.until(HOUR + 16 * MINUTE)
    assert not net.rows() and len(net.taken("192.0.2.60")) == 20
