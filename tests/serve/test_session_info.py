"""What administrators see of a session, and what keeping it costs (S-065)."""

from __future__ import annotations

import sys

import pytest

from mailsrv.serve.session_info import SessionInfo
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Identity

LOGIN = {
    "smtp": b"AUTH PLAIN AG1lAHNlY3JldA==\r\n",
    "imap": b"a LOGIN me secret\r\n",
    "pop3": b"USER me\r\nPASS secret\r\n",
}


def only(bed: Bed, protocol: str) -> SessionInfo:
    """The one session."""
    info, = bed.server(protocol).sessions()
    return info


def say(bed: Bed, client: MemoryTransport, octets: bytes) -> bytes:
    """Say it, and take what is answered."""
    client.send(octets)
    bed.settle()
    return client.take()


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_s065_a_session_tells_who_is_there_from_where_since_when_and_how_he_logged_in(protocol: str) -> None:
    bed = Bed()
    client = bed.connect(protocol, tls=True, host="192.0.2.9")
    before = only(bed, protocol)
    assert (before.id, before.server, before.protocol) == (1, f"{protocol}/default", protocol)
    assert (before.peer, before.port, before.user, before.account, before.mechanism) == (
        "192.0.2.9", 40000, "", 0, "",
    )  # fmt: skip
    assert (before.secure, before.tls, before.cipher) == (True, "TLSv1.3", "TLS_AES_256_GCM_SHA384")
    bed.settle(5)
    say(bed, client, (b"EHLO c\r\n" if protocol == "smtp" else b"") + LOGIN[protocol])
    bed.settle(7)
    after = only(bed, protocol)
    assert (after.user, after.acting_as, after.account) == ("me@example.org", "", bed.accounts["me"])
    assert after.mechanism == {"smtp": "PLAIN", "imap": "LOGIN", "pop3": "USER"}[protocol]
    assert (after.since, after.age, after.idle) == (before.since, 12, 7)


def test_s065_octets_are_those_of_the_wire_in_both_directions() -> None:
    bed = Bed()
    client = bed.connect("smtp")
    greeting = len(client.take())
    assert (only(bed, "smtp").octets_in, only(bed, "smtp").octets_out) == (0, greeting)
    answer = say(bed, client, b"EHLO c.example\r\n")
    assert (only(bed, "smtp").octets_in, only(bed, "smtp").octets_out) == (16, greeting + len(answer))


def test_octets_that_were_deflated_count_as_they_went() -> None:
    bed = Bed()
    client = bed.connect("imap")
    said = len(client.take()) + len(say(bed, client, b"a LOGIN me secret\r\nb COMPRESS DEFLATE\r\n"))
    client.deflate()
    client.send(b"c NOOP\r\n")
    bed.settle()
    packed = len(client.output)
    info = only(bed, "imap")
    assert info.octets_out == said + packed
    assert info.octets_in > len(b"a LOGIN me secret\r\nb COMPRESS DEFLATE\r\n")


def test_s065_smtp_tells_how_far_it_is() -> None:
    bed = Bed()
    client = bed.connect("smtp")
    seen = []
    for octets in (
        b"", b"EHLO c.example\r\n", b"NOOP\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<me@example.org>\r\n",
        b"DATA\r\n", b"Subject: x\r\n", b"\r\n.\r\n", b"BAD\r\n",
    ):  # fmt: skip
        say(bed, client, octets)
        seen.append((only(bed, "smtp").state, only(bed, "smtp").verb))
    assert seen == [
        ("connected", ""), ("ready", "EHLO"), ("ready", "NOOP"), ("transaction", "MAIL"), ("transaction", "RCPT"),
        ("message", "DATA"), ("message", "DATA"), ("ready", "DATA"), ("ready", "?"),
    ]
    assert only(bed, "smtp").helo == "c.example"


def test_s065_imap_tells_its_state_with_the_mailbox() -> None:
    bed = Bed()
    client = bed.connect("imap")
    seen = []
    for octets in (b"", b"a LOGIN me secret\r\n", b"b SELECT inbox\r\n", b"c IDLE\r\n", b"DONE\r\n", b"d CLOSE\r\n"):
        say(bed, client, octets)
        seen.append((only(bed, "imap").state, only(bed, "imap").verb))
    assert seen == [
        ("not authenticated", ""), ("authenticated", "LOGIN"), ("selected INBOX", "SELECT"),
        ("selected INBOX, idle", "IDLE"), ("selected INBOX", "IDLE"), ("authenticated", "CLOSE"),
    ]  # fmt: skip


def test_s065_pop3_tells_its_state() -> None:
    bed = Bed()
    client = bed.connect("pop3")
    seen = []
    for octets in (b"", b"USER me\r\n", b"PASS secret\r\n", b"STAT\r\n", b"what\r\n"):
        say(bed, client, octets)
        seen.append((only(bed, "pop3").state, only(bed, "pop3").verb))
    assert seen == [
        ("authorization", ""), ("authorization", "USER"), ("transaction", "PASS"), ("transaction", "STAT"),
        ("transaction", "?"),
    ]  # fmt: skip


def test_somebody_who_acts_for_another_is_shown_with_both_names() -> None:
    bed = Bed()
    session = bed.connect("imap").protocol.session
    session.identity = Identity(7, "chief@example.org", "me@example.org", "PLAIN")
    info = only(bed, "imap")
    assert (info.user, info.acting_as, info.account) == ("chief@example.org", "me@example.org", 7)


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_what_is_kept_of_a_connection_stays_packed(protocol: str) -> None:
    """Python keeps about 28 attributes of an object packed; with more of them each object has a table of 1.5 KB."""
    bed = Bed()
    connections = [bed.connect(protocol).protocol for _ in range(3)]
    for one in connections:
        assert sys.getsizeof(vars(one)) < 400, f"{len(vars(one))} attributes"
        assert sys.getsizeof(vars(one.session)) < 400, f"{len(vars(one.session))} attributes"
