"""Responses as octets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.numbers import UidSet
from mailsrv.wire import imap_codes as codes
from mailsrv.wire import imap_print as p
from mailsrv.wire.imap_lexer import Lexer
from tests.properties import tries


@pytest.mark.parametrize(
    ("octets", "wire"),
    [
        (b"", b'""'),
        (b"abc def", b'"abc def"'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        (b"two\r\nlines", b"{10}\r\ntwo\r\nlines"),
        (b"caf\xe9", b"{4}\r\ncaf\xe9"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_rfc3501_strings(octets: bytes, wire: bytes) -> None:
    assert p.string(octets) == wire == p.nstring(octets)


def test_nil_and_astrings() -> None:
    assert p.nstring(None) == b"NIL"
    assert p.astring(b"abc]") == b"abc]"
    assert p.astring(b"nil") == b'"nil"'
    assert p.astring(b"a b") == b'"a b"'


@settings(max_examples=tries(300), deadline=None)
@given(st.binary(max_size=40))
def test_strings_round_trip(octets: bytes) -> None:
    wire = p.string(octets)
    if wire.startswith(b"{"):
        mark, _, rest = wire.partition(b"\r\n")
        assert int(mark[1:-1]) == len(rest) and rest == octets
    else:
        assert Lexer(wire).string() == octets


@settings(max_examples=tries(300), deadline=None)
@given(st.text(max_size=40))
def test_human_text_stays_one_plain_line(text: str) -> None:
    line = p.ok(b"a1", text)
    assert line.startswith(b"a1 OK ") and line.endswith(b"\r\n") and len(line) > len(b"a1 OK \r\n")
    assert all(0x20 <= octet < 0x7F for octet in line[:-2]) and line[6:7] != b"["


def test_status_responses() -> None:
    assert p.no(b"t", "No such mailbox", codes.TRYCREATE) == b"t NO [TRYCREATE] No such mailbox\r\n"
    assert p.bad(None, "What?") == b"* BAD What?\r\n"
    assert p.bad(b"t", "x\r\n* OK injected") == b"t BAD x  * OK injected\r\n"
    assert p.bye("Bye", codes.UNAVAILABLE) == b"* BYE [UNAVAILABLE] Bye\r\n"
    assert p.challenge() == b"+ \r\n" and p.challenge(b"YQ==") == b"+ YQ==\r\n"


def test_rfc4315_codes() -> None:
    assert codes.append_uid(38505, [3955, 3956, 3957]) == b"APPENDUID 38505 3955:3957"
    assert codes.copy_uid(38505, [(304, 3956), (319, 3957), (320, 3958)]) == b"COPYUID 38505 304,319:320 3956:3958"
    assert codes.copy_uid(1, [(1, 9), (2, 7)]) == b"COPYUID 1 1:2 9,7"


def test_other_codes() -> None:
    assert codes.permanent_flags([b"\\Seen"], True) == b"PERMANENTFLAGS (\\Seen \\*)"
    assert codes.permanent_flags([], False) == b"PERMANENTFLAGS ()"
    assert codes.number("UIDNEXT", 4392) == b"UIDNEXT 4392"
    assert codes.capability(["IMAP4rev1", "IDLE"]) == b"CAPABILITY IMAP4rev1 IDLE"


def test_untagged_lines() -> None:
    assert p.capability(["IMAP4rev1", "AUTH=PLAIN"]) == b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
    assert p.enabled([]) == b"* ENABLED\r\n" and p.enabled(["X"]) == b"* ENABLED X\r\n"
    assert p.list_line("Entwürfe", [b"\\HasNoChildren", b"\\Drafts"]) == (
        b'* LIST (\\HasNoChildren \\Drafts) "/" Entw&APw-rfe\r\n'
    )
    assert p.list_line("a b", [], b"LSUB") == b'* LSUB () "/" "a b"\r\n'
    assert p.list_root() == b'* LIST (\\Noselect) "/" ""\r\n'
    assert p.status_line("INBOX", [("MESSAGES", 2), ("UIDNEXT", 5)]) == b"* STATUS INBOX (MESSAGES 2 UIDNEXT 5)\r\n"
    assert p.namespace() == b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    assert p.id_line({}) == b"* ID NIL\r\n"
    assert p.id_line({"name": "mailsrv", "os": None}) == b'* ID ("name" "mailsrv" "os" NIL)\r\n'
    assert p.flags_line([b"$x"]) == b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $x)\r\n"
    assert p.exists(3) + p.recent(1) == b"* 3 EXISTS\r\n* 1 RECENT\r\n"
    assert p.expunges([9, 4]) == b"* 9 EXPUNGE\r\n* 4 EXPUNGE\r\n"
    assert p.search([]) == b"* SEARCH\r\n" and p.search([2, 84]) == b"* SEARCH 2 84\r\n"


def test_rfc4731_esearch() -> None:
    line = p.esearch(b"A1", True, [(b"MIN", 2), (b"ALL", UidSet([(2, 4), (9, 9)]))])
    assert line == b'* ESEARCH (TAG "A1") UID MIN 2 ALL 2:4,9\r\n'
    assert p.esearch(b"A1", False, [(b"COUNT", 0)]) == b'* ESEARCH (TAG "A1") COUNT 0\r\n'


def test_flag_lists_follow_a_growing_keyword_table() -> None:
    keywords = [b"$Forwarded"]
    flags = p.FlagLists(keywords)
    assert flags.octets(0) == b"()"
    assert flags.octets(0b111111) == b"(\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)"
    assert flags.text(0b1001000) == "(\\Seen)"
    keywords.append(b"later")
    assert flags.text(0b1001000) == "(\\Seen later)"
    assert flags.text(8, True) == "(\\Seen \\Recent)" and flags.text(8) == "(\\Seen)"


def test_flag_lists_keep_a_bounded_number_of_masks() -> None:
    flags = p.FlagLists([b"k%d" % number for number in range(20)])
    for mask in range(10_000):
        flags.text(mask << 5)
    assert len(flags._lists) <= 4096
    assert flags.text(1 << 5) == "(k0)"


def test_a_block_of_fetch_rows() -> None:
    flags = p.FlagLists([])
    assert flags.rows([1, 2], [10, 20], [8, 0]) == (
        b"* 1 FETCH (UID 10 FLAGS (\\Seen))\r\n* 2 FETCH (UID 20 FLAGS ())\r\n"
    )
    assert flags.rows(range(7, 8), None, [0], True) == b"* 7 FETCH (FLAGS (\\Recent))\r\n"
    assert flags.rows([], [], []) == b""


def test_fetch_rows() -> None:
    row = p.fetch_row(12, [b"UID 7", p.section(b"BODY[TEXT]<0>", b"ab\0\xff")])
    assert row == b"* 12 FETCH (UID 7 BODY[TEXT]<0> {4}\r\nab\0\xff)\r\n"
    assert p.section(b"BODY[9]", None) == b"BODY[9] NIL"
    assert p.section_head(b"BODY[]", 10) == b"BODY[] {10}\r\n"


@pytest.mark.parametrize(
    ("epoch", "zone", "octets"),
    [
        (837596665, -420, b'"17-Jul-1996 02:44:25 -0700"'),
        (0, 0, b'" 1-Jan-1970 00:00:00 +0000"'),
        (0, -30, b'"31-Dec-1969 23:30:00 -0030"'),
        (10**15, 0, b'"31-Dec-9999 01:46:40 +0000"'),
        (-(10**15), 0, b'" 1-Jan-0001 22:13:20 +0000"'),
    ],
)
def test_rfc3501_internal_date(epoch: int, zone: int, octets: bytes) -> None:
    assert p.internal_date(epoch, zone) == octets
