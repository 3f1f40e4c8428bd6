"""XCLIENT (Postfix's XCLIENT_README): what a proxy may say of its client, read exactly or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.wire.smtp_events import Wrong
from mailsrv.wire.smtp_xclient import ATTRIBUTES, XClient, read_xclient


@pytest.mark.parametrize("argument, said", [
    ("ADDR=192.0.2.7", {"ADDR": "192.0.2.7"}),
    ("addr=IPV6:2001:DB8::0:7 port=65535", {"ADDR": "2001:db8::7", "PORT": "65535"}),
    # The access list knows IPv4 clients by their IPv4 address alone.
    ("ADDR=ipv6:::ffff:192.0.2.7", {"ADDR": "192.0.2.7"}),
    ("ADDR=[UNAVAILABLE] NAME=[tempunavail]", {"ADDR": "", "NAME": ""}),
    ("NAME=Host.Example. PROTO=smtp", {"NAME": "host.example", "PROTO": "SMTP"}),
    ("HELO=a+20b DESTADDR=192.0.2.25 DESTPORT=25", {"HELO": "a b", "DESTADDR": "192.0.2.25", "DESTPORT": "25"}),
    ("LOGIN=[UNAVAILABLE]", {"LOGIN": ""}),
])
def test_what_is_said(argument: str, said: dict[str, str]) -> None:
    assert read_xclient("XCLIENT", argument) == XClient(said)


@pytest.mark.parametrize("argument", [
    "", "ADDR", "ADDR=", "ADDR=192.0.2", "ADDR=2001:db8::7", "ADDR=IPV6:192.0.2.7", "ADDR=IPV6:fe80::1%eth0", "PORT=0",
    "PORT=65536", "PORT=٣", "PORT=-1", "PROTO=LMTP", "NAME=a b=c", "NAME=[192.0.2.7]", "NAME=-", "HELO=a+0D+0Ab",
    "HELO=a+00", "HELO=+FF", "HELO=+0d", "HELO=" + "a" * 256, "LOGIN=bob", "LOGIN=", "FOO=bar",
    "ADDR=192.0.2.7 ADDR=192.0.2.7",
])
def test_what_cannot_be_read_is_refused_whole(argument: str) -> None:
    wrong = read_xclient("XCLIENT", argument)
    assert isinstance(wrong, Wrong) and (wrong.reply.code, wrong.reply.status) == (501, "5.5.4") and not wrong.fatal


@given(st.lists(st.tuples(st.sampled_from([*ATTRIBUTES, "LOGIN", "X"]), st.text(max_size=20)), max_size=4))
def test_whatever_is_said_is_read_or_refused_and_never_grows(pairs: list[tuple[str, str]]) -> None:
    argument = " ".join(f"{key}={value}" for key, value in pairs)
    event = read_xclient("XCLIENT", argument)
    if isinstance(event, XClient):
        assert set(event.said) <= {*ATTRIBUTES, "LOGIN"} and event.said.get("LOGIN", "") == ""
        for value in event.said.values():
            assert value.isprintable() and len(value) <= 2 * len(argument) + 16
