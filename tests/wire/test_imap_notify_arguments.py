"""Arguments of NOTIFY (RFC 5465 section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.wire import imap_requests as r
from mailsrv.wire.imap_commands import read
from mailsrv.wire.imap_lexer import Form
from mailsrv.wire.imap_notify import MAX_GROUPS, MAX_NAMES


def parsed(octets: bytes, utf8: bool = False) -> r.Notify | r.Invalid:
    event, then = read(b"a NOTIFY " + octets, "authenticated", [], 16, Form(utf8))
    assert then == ""
    return event


def test_rfc5465_what_a_client_says() -> None:
    event = parsed(
        b"set status (Selected-Delayed (MessageNew (UID BODY.PEEK[]) MessageExpunge)) (subtree (A inbox) NONE) "
        b'(mailboxes "B c" (MailboxName X-Other))'
    )
    assert isinstance(event, r.Notify) and event.status and event.groups is not None
    first, second, third = event.groups
    assert first.filter == "SELECTED-DELAYED" and [item.name for item in first.items] == ["UID", "SECTION"]
    assert first.events == {"MESSAGENEW": "MessageNew", "MESSAGEEXPUNGE": "MessageExpunge"}
    assert second == r.EventGroup("SUBTREE", ("A", "INBOX"), {})
    assert third == r.EventGroup("MAILBOXES", ("B c",), {"MAILBOXNAME": "MailboxName", "X-OTHER": "X-Other"})
    assert parsed(b"none") == r.Notify(b"a", "NOTIFY", None, False)


def test_names_are_as_the_client_enabled_them() -> None:
    assert parsed(b"SET (SUBTREE &APw- NONE)").groups[0].names == ("ü",)  # type: ignore[union-attr, index]
    assert parsed("SET (SUBTREE \"ü\" NONE)".encode(), True).groups[0].names == ("ü",)  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    "octets, text",
    [
        (b"SET (PERSONAL (MailboxName MailboxName))", "The same event twice"),
        (b"SET (PERSONAL ())", "Atom expected"),
        (b"SET (PERSONAL)", "Space expected"),
        (b"SET (SUBTREE () NONE)", "String expected"),
        (b"SET (PERSONAL NONE", "Closing parenthesis expected"),
        (b"SET (PERSONAL NONE) x", "List expected"),
        (b"NONE x", "Unexpected characters after the command"),
        (b"SET " + b" ".join([b"(PERSONAL NONE)"] * (MAX_GROUPS + 1)), "Too many event groups"),
        (b"SET (SUBTREE (" + b" ".join([b"x"] * (MAX_NAMES + 1)) + b") NONE)", "Too many mailboxes"),
        (b"SET (PERSONAL (%b))" % b" ".join(b"e%d" % number for number in range(60)), "Too many events"),
        (b"SET (SELECTED (MessageNew (NONSENSE) MessageExpunge))", "Unknown data item"),
    ],
)
def test_what_is_none(octets: bytes, text: str) -> None:
    assert parsed(octets) == r.Invalid(b"a", text)


PIECES = st.sampled_from(
    [b"SET", b"NONE", b"STATUS", b" ", b" ", b"(", b")", b"SELECTED", b"PERSONAL", b"SUBTREE", b"MAILBOXES", b"x",
     b'"y"', b"MessageNew", b"MessageExpunge", b"FlagChange", b"MailboxName", b"(UID)", b"\xff", b"[", b"\\"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=20).map(b"".join) | st.binary(max_size=50))
def test_anything_is_a_notify_or_refused(octets: bytes) -> None:
    assert isinstance(parsed(octets.replace(b"\0", b"")), r.Notify | r.Invalid)
