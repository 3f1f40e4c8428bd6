"""What a message may come in: literals of any octets (RFC 3516), UTF8 (RFC 6855), REPLACE (RFC 8508)."""

from __future__ import annotations

import pytest
from test_imap_server import LAST, MESSAGE, NOOP, SIZE, events, names

from mailsrv.limits import Limits
from mailsrv.numbers import NumSet
from mailsrv.wire import imap_requests as r

REPLACES = [
    (b"a REPLACE 4 INBOX {3+}\r\nabc\r\n", r.Replace(b"a", "REPLACE", "INBOX", NumSet([(4, 4)]))),
    (b"a uid replace * {5+}\r\ninbox {3+}\r\nabc\r\n", r.Replace(b"a", "UID REPLACE", "INBOX", NumSet([(0, 0)]))),
    (b'a REPLACE 1 "x" (\\Seen) ~{3+}\r\nabc\r\n', r.Replace(b"a", "REPLACE", "x", NumSet([(1, 1)]))),
    (b"a REPLACE 1 x UTF8 (~{3+}\r\nabc)\r\n", r.Replace(b"a", "REPLACE", "x", NumSet([(1, 1)]))),
]


@pytest.mark.parametrize("octets, first", REPLACES)
def test_rfc8508_replace_is_an_append_with_a_number(octets: bytes, first: r.Replace) -> None:
    found = events(octets + LAST)
    assert found[0] == first
    assert names(found[1:]) == ["AppendMessage", "AppendOctets", "AppendEnd", "NOOP"]


@pytest.mark.parametrize(
    "octets, text",
    [
        (b"a REPLACE 1:2 x {3+}\r\nabc\r\n", "Message number expected"),
        (b"a REPLACE $ x {3+}\r\nabc\r\n", "Message number expected"),
        (b"a REPLACE 0 x {3+}\r\nabc\r\n", "Not a message set"),
        (b"a REPLACE x {3+}\r\nabc\r\n", "Message set expected"),
        (b"a REPLACE 1 x\r\n", "Message literal expected"),
        (b"a APPEND x UTF8 {3+}\r\nabc\r\n", "Message literal expected"),
        (b"a APPEND x UTF8 (~{3+}\r\nabc\r\n", "Closing parenthesis expected"),
        (b"a APPEND x ~\r\n", "Message literal expected"),
    ],
)
def test_what_is_none(octets: bytes, text: str) -> None:
    found = events(octets + LAST)
    assert found[-2:] == [r.Invalid(b"a", text), NOOP]


def test_a_replace_has_one_message() -> None:
    found = events(b"a REPLACE 1 x {3+}\r\nabc {3+}\r\ndef\r\n" + LAST)
    assert found[-2:] == [r.Invalid(b"a", "Too many messages"), NOOP]


def test_rfc3516_rfc6855_the_forms_are_told_apart() -> None:
    octets = b"a APPEND x {%b+}\r\n%b ~{%b+}\r\n%b utf8 (~{%b}\r\n%b)\r\n" % ((SIZE, MESSAGE) * 3)
    told = [one for one in events(octets + LAST) if isinstance(one, r.AppendMessage)]
    assert [(one.binary, one.utf8) for one in told] == [(False, False), (True, False), (True, True)]


def test_rfc6855_a_refused_one_is_dropped_with_its_parenthesis() -> None:
    octets = b"a APPEND x UTF8 (~{%b+}\r\n%b) {3+}\r\nabc\r\n" % (SIZE, MESSAGE)
    assert names(events(octets + LAST, refuse=[0])) == ["APPEND", "AppendMessage", "NOOP"]


LONG = b"x" * 4097


@pytest.mark.parametrize(
    "octets, kinds",
    [
        (b"a SELECT {4096+}\r\n" + LONG[1:] + b"\r\n", ["SELECT"]),
        (b"a SELECT {4097+}\r\n" + LONG + b"\r\n", ["Invalid"]),
        (b"a SELECT {4097}\r\n" + LONG + b"\r\n", ["Continue", "SELECT"]),
        (b"a APPEND x {4097+}\r\n" + LONG + b"\r\n", ["Invalid"]),
        (b"a APPEND x ~{4097+}\r\n" + LONG + b" {3+}\r\nabc\r\n", ["Invalid"]),
        (b"a APPEND x {1+}\r\nz {4097+}\r\n" + LONG + b"\r\n", ["APPEND", "AppendMessage", "AppendOctets", "Invalid"]),
        (b"a APPEND x {4097}\r\n" + LONG + b"\r\n",
         ["APPEND", "AppendMessage", "Continue", "AppendOctets", "AppendEnd"]),
    ],
)  # fmt: skip
def test_rfc7888_with_literal_minus_little_comes_unasked(octets: bytes, kinds: list[str]) -> None:
    found = events(octets + LAST, limits=Limits(imap_unasked_octets=4096))
    assert names(found) == [*kinds, "NOOP"]
    assert all(one.text == "Literal too large to come unasked" for one in found if isinstance(one, r.Invalid))


def test_imapclient_has_two_spaces_between_messages() -> None:
    found = events(b"a APPEND x {3+}\r\nabc  {3+}\r\ndef  (\\Seen) {3+}\r\nghi\r\n" + LAST)
    assert [one.flags for one in found if isinstance(one, r.AppendMessage)] == [(), (), (b"\\Seen",)]
    assert names(events(b"a APPEND x {3+}\r\nabc   {3+}\r\ndef\r\n" + LAST))[-2:] == ["Invalid", "NOOP"]
