"""Arguments and responses of RFC 7162 (CONDSTORE, QRESYNC)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.numbers import UidSet
from mailsrv.wire import imap_condstore as c
from mailsrv.wire import imap_print as p
from mailsrv.wire.imap_lexer import BadSyntax, Form, Lexer
from mailsrv.wire.imap_names import decode, wire
from mailsrv.wire.imap_requests import Qresync

UTF8 = Form(utf8=True)

SETS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=8).map(
    lambda pairs: UidSet((low, low + more) for low, more in pairs)
)


def test_rfc7162_section_3_2_5_qresync() -> None:
    assert c.qresync(b"(67890007 20050715194045000)") == Qresync(67890007, 20050715194045000)
    known = c.qresync(b"(67890007 90060115194045000 41:211,214:541)")
    assert known == Qresync(67890007, 90060115194045000, UidSet([(41, 211), (214, 541)]))
    whole = c.qresync(b"(1 2 1:9 (2:4 5,7,9))")
    assert whole.known == UidSet([(1, 9)]) and whole.matches == (UidSet([(2, 4)]), UidSet.of([5, 7, 9]))
    assert c.qresync(b"(1 2 (3 9))") == Qresync(1, 2, None, (UidSet.of([3]), UidSet.of([9])))
    assert c.qresync(b"(1 2 9:3)").known == UidSet([(3, 9)])


@given(st.text("()0123456789:,*$ ", max_size=40).map(str.encode))
def test_any_argument_is_read_or_refused(octets: bytes) -> None:
    for read in (c.qresync, c.modseq, c.no_argument):
        try:
            read(octets)
        except BadSyntax as error:
            assert error.text.isascii()


@pytest.mark.parametrize("octets", [b"9223372036854775807", b"0", b"1"])
def test_rfc7162_section_7_modseq(octets: bytes) -> None:
    assert c.modseq(octets) == int(octets)


@pytest.mark.parametrize("octets", [b"", b"-1", b"9223372036854775808", b"1 ", b"(1)", b"99999999999999999999", b"*"])
def test_what_is_no_modseq(octets: bytes) -> None:
    with pytest.raises(BadSyntax):
        c.modseq(octets)


def test_rfc7162_section_3_1_5_entry_names() -> None:
    assert c.search_modseq(Lexer(b" 620162338")) == 620162338
    assert c.search_modseq(Lexer(b' "/flags/\\\\draft" all 620162338')) == 620162338
    assert c.search_modseq(Lexer(b' "/flags/$Forwarded" PRIV 1')) == 1
    for bad in (b"", b" ", b" x", b' "/flags/" all 1', b' "/flags/x" 1', b' "/flags/x" nobody 1', b' "/x/y" all 1'):
        with pytest.raises(BadSyntax):
            c.search_modseq(Lexer(bad))


def test_rfc7162_section_3_2_10_vanished() -> None:
    assert p.vanished(UidSet.of([405, 407, 410, 425])) == b"* VANISHED 405,407,410,425\r\n"
    assert p.vanished(UidSet([(300, 310)]), earlier=True) == b"* VANISHED (EARLIER) 300:310\r\n"
    assert p.vanished(UidSet()) == b""


def test_vanished_of_many_is_said_in_lines_of_a_length_that_clients_take() -> None:
    """RFC 7162 section 4: 8192 octets."""
    lines = p.vanished(UidSet.of(range(1_000_000, 1_010_000, 2))).split(b"\r\n")[:-1]
    assert len(lines) > 1 and all(len(line) < 8192 for line in lines)
    assert sum(line.count(b",") + 1 for line in lines) == 5000


def test_rows_with_modseq_and_without_numbers() -> None:
    flags = p.FlagLists([])
    assert flags.rows([1, 2], [10, 20], [8, 0], False, [7, 9]) == (
        b"* 1 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (7))\r\n* 2 FETCH (UID 20 FLAGS () MODSEQ (9))\r\n"
    )
    assert flags.rows([1], None, None, False, [7]) == b"* 1 FETCH (MODSEQ (7))\r\n"
    assert flags.rows([10], None, [8], True, None, "UIDFETCH") == b"* 10 UIDFETCH (FLAGS (\\Seen \\Recent))\r\n"


@given(SETS, SETS)
def test_the_intersection_of_sets(one: UidSet, two: UidSet) -> None:
    assert set(one & two) == set(one) & set(two)
    assert (one & two).ranges == UidSet.of(set(one) & set(two)).ranges


@given(st.text(max_size=20), st.binary(max_size=20))
def test_rfc9051_section_5_1_names_in_utf8(name: str, octets: bytes) -> None:
    for given_octets in (name.encode("utf-8", "surrogatepass"), octets):
        try:
            read = decode(given_octets, UTF8)
        except BadSyntax:
            continue
        said = wire(read, UTF8)
        again = Lexer(said).astring()
        assert decode(again, UTF8) == read and b"\r" not in said and b"\n" not in said


def test_rfc9051_section_5_1_an_ampersand_is_nothing_special_in_utf8() -> None:
    assert decode(b"R&D", UTF8) == "R&D" and wire("R&D", UTF8) == b"R&D" and wire("R&D") == b"R&-D"
    assert decode(b"inbox", UTF8) == "INBOX"
    assert decode("Entwu\u0308rfe".encode(), UTF8) == "Entwürfe"
    for bad in (b"\xff", b"a\x00b", b"a\x7f", "a\u2028".encode()):
        with pytest.raises(BadSyntax):
            decode(bad, UTF8)
