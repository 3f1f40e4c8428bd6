"""mbox and Maildir as octets: From_ lines, fields of flags, names, Dovecot's files; nothing makes them fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.line_ends import bare, crlf, lf
from mailsrv.message.maildir import (
    UidLine,
    base_of,
    flags_of,
    letters_of,
    read_keywords,
    read_subscriptions,
    read_uid_header,
    read_uid_line,
    write_keywords,
    write_subscriptions,
    write_uid_header,
    write_uid_line,
)
from mailsrv.message.mbox import put_flags, quote, read_from, take_flags, unquote, write_from

OCTETS = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from([b"From ", b">", b"\r", b"\n", b"Status: RO", b"X-Keywords:", b" a,b", b"1 ", b":"])).map(
        b"".join
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "when", "zone"),
    [
        (b"From a@b Thu Aug 22 12:36:23 2002", 1_030_019_783, 0),
        (b"From a@b  Thu Aug 22 12:36:23 2002", 1_030_019_783, 0),
        (b"From - Thu Aug 22 12:36 2002", 1_030_019_760, 0),
        (b"From a b Thu Aug 22 14:36:23 +0200 2002", 1_030_019_783, 120),
        (b"From a@b Thu Aug 22 14:36:23 2002 +0200", 1_030_019_783, 120),
        (b"From a@b Thu Aug 22 12:36:23 GMT 2002 remote from x", 1_030_019_783, 0),
    ],
)
def test_rfc_4155_from_lines_of_many_programs_are_read(line: bytes, when: int, zone: int) -> None:
    found = read_from(line)
    assert found is not None and found[1:] == (when, zone)


@pytest.mark.parametrize(
    "line",
    [
        b"From here on", b">From a Thu Aug 22 12:36:23 2002", b"From: a Thu Aug 22 12:36:23 2002",
        b"From a Thu Abc 22 12:36:23 2002", b"From a Thu Feb 31 12:36:23 2002", b"From a Thu Aug 22 25:36:23 2002",
        b"From a Thu Aug 22 12:36:23 20025", b"From " + b"a" * 2000 + b" Thu Aug 22 12:36:23 2002",
    ],
)  # fmt: skip
def test_text_is_no_from_line(line: bytes) -> None:
    assert read_from(line) is None


@given(st.integers(0, 2**33), OCTETS)
def test_a_written_from_line_is_read(epoch: int, sender: bytes) -> None:
    found = read_from(write_from(sender, epoch).rstrip(b"\n"))
    assert found is not None and found[1:] == (epoch, 0)


@given(OCTETS)
def test_quoting_is_undone(line: bytes) -> None:
    assert unquote(quote(line), "rd") == line
    assert unquote(line, "none") == line
    assert not quote(line).startswith(b"From ")


def test_mboxo_quotes_once_alone() -> None:
    given, wanted = (b">From a", b">>From a", b"> From a"), [b"From a", b">>From a", b"> From a"]
    assert [unquote(line, "o") for line in given] == wanted


def test_flags_come_and_go_with_their_fields() -> None:
    head = b"A: b\nStatus: RO\nX-Keywords: one two\n  three\nx-status: AF\nC: d\n\nStatus: O\n"
    flags = frozenset({b"\\Seen", b"\\Answered", b"\\Flagged", b"one", b"two", b"three"})
    assert take_flags(head) == (b"A: b\nC: d\n\nStatus: O\n", flags)


@given(OCTETS, st.frozensets(st.sampled_from([b"\\Seen", b"\\Draft", b"\\Deleted", b"word"])))
def test_put_flags_are_taken_again(head: bytes, flags: frozenset[bytes]) -> None:
    plain = take_flags(head)[0]
    if plain.endswith(b"\n") and not plain.endswith(b"\r"):
        assert take_flags(put_flags(head, flags)) == (plain, flags)


@given(st.lists(OCTETS))
def test_line_ends_turn_back_where_nothing_is_bare(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert b"".join(crlf(pieces)) == whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert bare(pieces) is (b"\r\r\n" in whole or whole.count(b"\n") != whole.count(b"\r\n"))
    if not bare(pieces):
        assert b"".join(crlf(lf(pieces))) == whole


def test_letters_of_a_name_are_flags() -> None:
    assert base_of("1.x:2,FS") == base_of("1.x") == "1.x"
    assert flags_of("1.x:2,DFRSTab", {0: b"work"}) == {
        b"\\Draft", b"\\Flagged", b"\\Answered", b"\\Seen", b"\\Deleted", b"work",
    }  # fmt: skip
    known: dict[bytes, int] = {}
    assert letters_of([b"\\Seen", b"work", b"$Forwarded", b"not usable"], known) == ("PSab", [b"not usable"])
    assert letters_of([b"k%d" % at for at in range(100)], known)[1] != [] and len(known) == 26


def test_dovecot_files() -> None:
    assert read_uid_header(b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n") == 1275660208
    assert read_uid_header(b"1 1275660208 25022\n") == 1275660208
    assert read_uid_header(write_uid_header(7, 9)) == 7
    assert read_uid_line(b"25006 :1276528487.M364837P9451.k,S=2355:2,S\n", 16) == UidLine(
        25006, "1276528487.M364837P9451.k,S=2355", b"000061ae00000010"
    )
    assert read_uid_line(b"25017 W2481 Pabc :12.x\n", 1) == UidLine(25017, "12.x", b"abc")
    assert read_uid_line(write_uid_line(UidLine(3, "b", b"id")), 1) == UidLine(3, "b", b"id")
    assert read_subscriptions(b"A.B\nC\n") == [[b"A", b"B"], [b"C"]]
    assert read_subscriptions(write_subscriptions([[b"A", b"B"], [b"C"]])) == [[b"A", b"B"], [b"C"]]
    assert read_keywords(write_keywords([b"a", b"b"]) + b"x y\n99 z\n") == {0: b"a", 1: b"b"}


@given(OCTETS)
def test_no_octets_make_them_fail(octets: bytes) -> None:
    for read in (read_from, take_flags, read_uid_header, read_keywords, read_subscriptions):
        read(octets)  # type: ignore[operator]
    read_uid_line(octets, 1)
