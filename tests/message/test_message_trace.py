"""Trace fields: RFC 5321 section 4.4, RFC 3848, RFC 6531 section 4.3; the hop count (S-080)."""

from __future__ import annotations

import email
from email import policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message.header import fields
from mailsrv.message.trace import (
    count_received,
    delivered_to_field,
    received_field,
    return_path_field,
    verdict_field,
    with_protocol,
)
from mailsrv.values import Address, TlsFacts
from tests.properties import tries

TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
BOB = Address("bob", "example.net")


def test_rfc5321_4_4_received() -> None:
    assert received_field(
        "mail.example.org",
        "192.0.2.1",
        "host.example.org",
        "mx.example.net",
        "ESMTP",
        "0123456789ABC",
        BOB,
        1795492800,
        60,
    ) == (
        b"Received: from mail.example.org (host.example.org [192.0.2.1])\r\n"
        b"\tby mx.example.net with ESMTP\r\n\tid 0123456789ABC\r\n\tfor <bob@example.net>;\r\n"
        b"\tTue, 24 Nov 2026 05:00:00 +0100\r\n"
    )


def test_rfc3848_tls_ipv6_and_no_recipient() -> None:
    assert received_field("", "2001:db8::1", None, "mx", "ESMTP", "ID", None, 0, 0, TLS, True) == (
        b"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby mx with ESMTPSA\r\n"
        b"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384)\r\n\tid ID;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("protocol", "tls", "authenticated", "keyword"),
    [
        ("SMTP", False, False, "SMTP"),
        ("SMTP", True, False, "SMTP"),
        ("ESMTP", False, True, "ESMTPA"),
        ("ESMTP", True, True, "ESMTPSA"),
        ("ESMTPSA", True, True, "ESMTPSA"),
        ("LMTP", True, False, "LMTPS"),
        ("UTF8SMTP", True, True, "UTF8SMTPSA"),
    ],
)
def test_rfc3848_keywords(protocol: str, tls: bool, authenticated: bool, keyword: str) -> None:
    assert with_protocol(protocol, tls, authenticated) == keyword


@pytest.mark.parametrize(
    ("address", "protocol", "expected"),
    [
        (Address("john doe", "x.org"), "ESMTP", b'for <"john doe"@x.org>'),
        (Address('a"b\\c', "x.org"), "ESMTP", b'for <"a\\"b\\\\c"@x.org>'),
        (Address("bob", "bücher.example"), "ESMTP", b"for <bob@xn--bcher-kva.example>"),
        (Address("bob", "bücher.example"), "UTF8SMTP", "for <bob@bücher.example>".encode()),
        (Address("jörg", "x.org"), "UTF8SMTP", "for <jörg@x.org>".encode()),
        (Address("jörg", "x.org"), "ESMTP", None),
        (Address("a\r\nb", "x.org"), "ESMTP", None),
        (Address("postmaster", ""), "ESMTP", b"for <postmaster>"),
    ],
)
def test_rfc6531_recipients(address: Address, protocol: str, expected: bytes | None) -> None:
    octets = received_field("h", "192.0.2.1", None, "mx", protocol, "ID", address, 0, 0)
    assert (expected in octets) if expected else b"for <" not in octets


def test_return_path() -> None:
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(BOB) == b"Return-Path: <bob@example.net>\r\n"
    assert return_path_field(Address("x\r\nX-Evil: 1", "y")) == b"Return-Path: <>\r\n"


def test_s093_a_client_that_is_not_verified_is_called_so() -> None:
    def begin(**more: Any) -> bytes:
        return received_field("h.example", "192.0.2.1", "n.example", "mx", "SMTP", "ID", None, 0, 0, **more)[:70]

    assert begin(verified=False).startswith(b"Received: from h.example (n.example [192.0.2.1] unverified)\r\n")
    # S-092: a match, or nobody who looked: no mark.
    for verified in (True, None):
        assert begin(verified=verified).startswith(b"Received: from h.example (n.example [192.0.2.1])\r\n")


def test_a_hidden_client_and_a_user_that_is_told() -> None:
    octets = received_field("h", "192.0.2.1", "n", "mx", "ESMTP", "ID", None, 0, 0, TLS, True, user="bob", hidden=True)
    assert octets.startswith(
        b"Received: by mx with ESMTPSA\r\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384)\r\n"
        b"\t(authenticated as bob)\r\n\tid ID;\r\n\tThu, 01 Jan 1970"
    )


@pytest.mark.parametrize(("address", "field"), [
    (BOB, b"Delivered-To: bob@example.net\r\n"),
    (Address("a b", "x.org"), b'Delivered-To: "a b"@x.org\r\n'),
    (Address("jörg", "bücher.example"), "Delivered-To: jörg@bücher.example\r\n".encode()),
    (Address("postmaster", ""), b"Delivered-To: postmaster\r\n"),
    (Address("x\r\nX-Evil: 1", "y"), b""),
])  # fmt: skip
def test_delivered_to(address: Address, field: bytes) -> None:
    assert delivered_to_field(address) == field


def test_a_verdict_names_part_and_rule_in_one_line() -> None:
    assert verdict_field("quarantine", "spam", "score 9") == b"X-Mailsrv-Verdict: quarantine by spam (score 9)\r\n"
    assert verdict_field("redirect", "a\r\nb", "") == b"X-Mailsrv-Verdict: redirect by a??b\r\n"
    assert len(verdict_field("redirect", "a" * 1000, "ü")) < 300


ANY = st.text(max_size=40) | st.sampled_from(
    ["\r\nX-Evil: 1", "a\x1b[2Jb", "\x85", "\u2028", "a)b(c", 'x"y', "\ud800", "a" * 600]
)


@given(ANY, ANY, st.none() | ANY, ANY, ANY, ANY, ANY, ANY, st.booleans())
@settings(max_examples=tries(200), deadline=None)
def test_what_clients_say_never_breaks_the_field(
    helo: str, host: str, name: str | None, by: str, protocol: str, ident: str, local: str, domain: str, tls: bool
) -> None:
    facts = TlsFacts(helo, name or "") if tls else None
    octets = received_field(helo, host, name, by, protocol, ident, Address(local, domain), 0, 0, facts, tls, user=local)
    octets += return_path_field(Address(local, domain)) + verdict_field("quarantine", helo, host)
    written = delivered_to_field(Address(local, domain))
    assert [field.name for field in fields(octets + b"\r\n")] == [b"received", b"return-path", b"x-mailsrv-verdict"]
    assert not written or [field.name for field in fields(written + b"\r\n")] == [b"delivered-to"]
    for line in octets.split(b"\r\n")[:-1]:
        assert not any((octet < 32 and octet != 9) or octet == 127 for octet in line) and len(line) <= 2100
    assert octets.count(b"\n") == octets.count(b"\r") == octets.count(b"\r\n")
    parsed = email.message_from_bytes(octets + b"\r\n", policy=policy.compat32)
    assert len(parsed.keys()) == 3 and not parsed.defects


@pytest.mark.parametrize(
    ("header", "count"),
    [
        (b"", 0),
        (b"Received: a\r\nRECEIVED: b\r\nreceived : c\r\nReceived\t:d\r\n\r\nReceived: body\r\n", 4),
        (b"X: Received: a\r\n Received: b\r\nReceived-SPF: pass\r\nreceived x: y\r\n\r\n", 0),
        (b"Subject: x\nReceived: a\n\nReceived: body", 1),
        (b"Received: x\r\n" * 31 + b"\r\n", 31),
    ],
)
def test_s080_hops_are_received_fields(header: bytes, count: int) -> None:
    assert count_received(header) == count
