"""METADATA's bounds, which are too long for a conversation (RFC 5464 section 4.3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailsrv.errors import MailError
from mailsrv.store import sharing_rules as rules
from mailsrv.testing.bed import Bed
from mailsrv.wire.imap_commands import AUTHENTICATED, read


def said(bed: Bed, client: object, line: bytes) -> bytes:
    client.send(line)  # type: ignore[attr-defined]
    bed.settle()
    return client.take()  # type: ignore[attr-defined, no-any-return]


def test_rfc5464_a_value_has_a_largest_size_and_there_are_only_so_many() -> None:
    bed = Bed()
    client = bed.connect("imap")
    said(bed, client, b"l LOGIN me secret\r\n")
    big = b"x" * (rules.MAX_VALUE_OCTETS + 1)
    answer = said(bed, client, b"a SETMETADATA INBOX (/private/a {%d+}\r\n%b)\r\n" % (len(big), big))
    assert answer.startswith(b"a NO [METADATA MAXSIZE %d]" % rules.MAX_VALUE_OCTETS)
    for number in range(rules.MAX_ENTRIES):
        assert b" OK " in said(bed, client, b'b SETMETADATA INBOX (/private/%d "x")\r\n' % number)
    assert said(bed, client, b'c SETMETADATA INBOX (/private/more "x")\r\n').startswith(b"c NO [METADATA TOOMANY]")


WORDS = st.sampled_from([
    b"GETMETADATA", b"SETMETADATA", b"INBOX", b'""', b"(", b")", b"/private/x", b"/shared", b"MAXSIZE", b"DEPTH",
    b"infinity", b"1", b"NIL", b'"x"', b"/", b"SETACL", b"+lr", b"anyone", b"LIST", b"RETURN", b"METADATA", b"*",
])  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.binary(max_size=8)), max_size=12))
def test_no_words_make_the_reader_fail(words: list[bytes]) -> None:
    line = b"a " + b" ".join(words).replace(b"\r", b"").replace(b"\n", b"")
    for text in (line, line.replace(b"( ", b"(").replace(b" )", b")")):
        try:
            read(text, AUTHENTICATED, [], 16)
        except MailError:
            raise AssertionError("refusals are events") from None
