"""SEARCH programs and FETCH items."""

from __future__ import annotations

from datetime import date
from encodings.aliases import aliases
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv import query as q
from mailsrv.numbers import NumSet
from mailsrv.wire.imap_commands import SELECTED, read
from mailsrv.wire.imap_fetch_items import fetch_items
from mailsrv.wire.imap_lexer import BadSyntax, Lexer
from mailsrv.wire.imap_query import MAX_DEPTH, MAX_KEYS
from mailsrv.wire.imap_requests import BadCharset, Fetch, FetchItem, Invalid, Search, Section


def search(program: bytes, literals: list[bytes] | None = None) -> Any:
    return read(b"a SEARCH " + program, SELECTED, literals or [], 16)[0]


SEEN = q.HasFlag(b"\\Seen")
DAY = date(1994, 2, 1).toordinal()
KEYS: list[tuple[bytes, q.Query]] = [
    (b"ALL", q.All()),
    (b"ANSWERED", q.HasFlag(b"\\Answered")),
    (b"deleted", q.HasFlag(b"\\Deleted")),
    (b"DRAFT", q.HasFlag(b"\\Draft")),
    (b"FLAGGED", q.HasFlag(b"\\Flagged")),
    (b"SEEN", SEEN),
    (b"RECENT", q.Recent()),
    (b"NEW", q.And((q.Recent(), q.Not(SEEN)))),
    (b"OLD", q.Not(q.Recent())),
    (b"UNANSWERED", q.Not(q.HasFlag(b"\\Answered"))),
    (b"UNDELETED", q.Not(q.HasFlag(b"\\Deleted"))),
    (b"UNDRAFT", q.Not(q.HasFlag(b"\\Draft"))),
    (b"UNFLAGGED", q.Not(q.HasFlag(b"\\Flagged"))),
    (b"UNSEEN", q.Not(SEEN)),
    (b"KEYWORD $x", q.HasFlag(b"$x")),
    (b"UNKEYWORD $x", q.Not(q.HasFlag(b"$x"))),
    (b"BCC x", q.HeaderContains("bcc", "x")),
    (b"CC x", q.HeaderContains("cc", "x")),
    (b"FROM x", q.HeaderContains("from", "x")),
    (b'SUBJECT "x y"', q.HeaderContains("subject", "x y")),
    (b"TO x", q.HeaderContains("to", "x")),
    (b'HEADER X-Foo ""', q.HeaderContains("x-foo", "")),
    (b"BODY x", q.BodyContains("x")),
    (b"TEXT x", q.TextContains("x")),
    (b"BEFORE 1-Feb-1994", q.Internal("<", DAY)),
    (b'ON "01-feb-1994"', q.Internal("=", DAY)),
    (b"SINCE 1-Feb-1994", q.Internal(">=", DAY)),
    (b"SENTBEFORE 1-Feb-1994", q.Sent("<", DAY)),
    (b"SENTON 1-Feb-1994", q.Sent("=", DAY)),
    (b"SENTSINCE 1-Feb-1994", q.Sent(">=", DAY)),
    (b"LARGER 4294967296", q.Larger(4294967296)),
    (b"SMALLER 0", q.Smaller(0)),
    (b"UID 1:*", q.UidNumbers(NumSet([(1, 0)]))),
    (b"2,4:7", q.Numbers(NumSet([(2, 2), (4, 7)]))),
    (b"*", q.Numbers(NumSet([(0, 0)]))),
    (b"$", q.Numbers(NumSet(saved=True))),
    (b"NOT SEEN", q.Not(SEEN)),
    (b"OR SEEN ALL", q.Or(SEEN, q.All())),
    (b"(SEEN)", SEEN),
    (b"(SEEN ALL)", q.And((SEEN, q.All()))),
    (b"OR (SEEN NOT ALL) NOT OR ALL SEEN", q.Or(q.And((SEEN, q.Not(q.All()))), q.Not(q.Or(q.All(), SEEN)))),
    (b"SEEN UID 1 ALL", q.And((SEEN, q.UidNumbers(NumSet([(1, 1)])), q.All()))),
]


@pytest.mark.parametrize(("program", "query"), KEYS, ids=[row[0].decode("latin-1") for row in KEYS])
def test_rfc3501_section_6_4_4_keys(program: bytes, query: q.Query) -> None:
    assert search(program) == Search(b"a", "SEARCH", query)


@pytest.mark.parametrize(
    ("program", "charset", "query"),
    [
        (b"CHARSET us-ascii TEXT x", b"US-ASCII", q.TextContains("x")),
        (b'CHARSET "UTF-8" TEXT "\xc3\xa9"', b"UTF-8", q.TextContains("é")),
        (b'CHARSET koi8-r TEXT "\xc1"', b"KOI8-R", q.TextContains("а")),
        (b'CHARSET iso-2022-jp TEXT "\x1b$BF|\x1b(B"', b"ISO-2022-JP", q.TextContains("日")),
    ],
)
def test_charset_is_told(program: bytes, charset: bytes, query: q.Query) -> None:
    assert search(program) == Search(b"a", "SEARCH", query, charset=charset)


@given(st.sampled_from(sorted({*aliases, "utf-16", "x-y"})), st.binary(max_size=20))
def test_whatever_the_charset_a_search_is_one_or_is_refused(charset: str, octets: bytes) -> None:
    event = search(b"CHARSET %b TEXT \0" % charset.encode(), [octets])
    assert isinstance(event, (Search, Invalid, BadCharset))


def test_text_may_be_literals() -> None:
    event = search(b"CHARSET UTF-8 OR SUBJECT \0 TEXT \0", [b"\xc3\xa9", b"two\r\nlines"])
    assert event.query == q.Or(q.HeaderContains("subject", "é"), q.TextContains("two\r\nlines"))


def test_rfc5530_badcharset() -> None:
    assert search(b"CHARSET X-KOI9 TEXT x") == BadCharset(b"a", "SEARCH")


def test_rfc4731_return() -> None:
    assert search(b"RETURN (MIN count) ALL").returns == {"MIN", "COUNT"}
    assert search(b"RETURN () CHARSET UTF-8 ALL").returns == {"ALL"}
    assert search(b"ALL").returns is None
    for program in (b"RETURN (FOO) ALL", b"RETURN MIN ALL", b"RETURN (MIN)"):
        assert type(search(program)) is Invalid


@pytest.mark.parametrize(
    "program",
    [b"", b"FOO", b"ALL ", b"ALL)", b"(ALL", b"()", b"( ALL)", b"NOT", b"OR ALL", b"FROM", b"HEADER x", b"BEFORE x",
     b"BEFORE 31-Feb-2020", b"BEFORE 1-Feb-94", b"LARGER x", b"LARGER 9223372036854775808", b"UID ALL", b"0", b"1,,2",
     b'TEXT "\xff"', b"KEYWORD \\Seen", b"CHARSET UTF-8", b"CHARSET", b"ALL\tALL"],
)  # fmt: skip
def test_refused_programs(program: bytes) -> None:
    assert type(search(program)) is Invalid


def test_depth_and_number_of_keys_are_bounded() -> None:
    deep = MAX_DEPTH - 1
    assert type(search(b"NOT " * deep + b"ALL")) is Search
    assert type(search(b"(" * deep + b"ALL" + b")" * deep)) is Search
    for program in (
        b"NOT " * MAX_DEPTH + b"ALL",
        b"(" * MAX_DEPTH + b"ALL" + b")" * MAX_DEPTH,
        b"OR ALL " * MAX_DEPTH + b"ALL",
        b"(" * 100_000,
        b"NOT " * 50_000,
        b" ".join([b"ALL"] * (MAX_KEYS + 1)),
    ):
        event = search(program)
        assert type(event) is Invalid and event.text == "Search is too complex"
    assert type(search(b" ".join([b"ALL"] * MAX_KEYS))) is Search


# ---------------------------------------------------------------- FETCH


def items(text: bytes, literals: list[bytes] | None = None) -> tuple[FetchItem, ...]:
    lexer = Lexer(text, 0, literals)
    found = fetch_items(lexer)
    lexer.end()
    return found


def section(label: bytes, peek: bool = True, partial: tuple[int, int] | None = None, **inside: Any) -> FetchItem:
    return FetchItem("SECTION", Section(**inside), peek, partial, label)


FLAGS, INTERNALDATE, SIZE = FetchItem("FLAGS"), FetchItem("INTERNALDATE"), FetchItem("RFC822.SIZE")
ENVELOPE, BODY, UID = FetchItem("ENVELOPE"), FetchItem("BODY"), FetchItem("UID")
ITEMS: list[tuple[bytes, tuple[FetchItem, ...]]] = [
    (b"FAST", (FLAGS, INTERNALDATE, SIZE)),
    (b"all", (FLAGS, INTERNALDATE, SIZE, ENVELOPE)),
    (b"FULL", (FLAGS, INTERNALDATE, SIZE, ENVELOPE, BODY)),
    (b"flags", (FLAGS,)),
    (b"(UID FLAGS)", (UID, FLAGS)),
    (b"BODYSTRUCTURE", (FetchItem("BODYSTRUCTURE"),)),
    (b"BODY", (BODY,)),
    (b"BODY[]", (section(b"BODY[]", False),)),
    (b"body.peek[]", (section(b"BODY[]"),)),
    (b"BODY[1.2.3]", (section(b"BODY[1.2.3]", False, part=(1, 2, 3)),)),
    (b"BODY.PEEK[header]", (section(b"BODY[HEADER]", text="HEADER"),)),
    (b"BODY.PEEK[2.MIME]", (section(b"BODY[2.MIME]", part=(2,), text="MIME"),)),
    (b"BODY.PEEK[4.1.TEXT]<10.20>", (section(b"BODY[4.1.TEXT]<10>", True, (10, 20), part=(4, 1), text="TEXT"),)),
    (
        b'BODY.PEEK[header.fields (Date "From" "X Y")]',
        (
            section(
                b'BODY[HEADER.FIELDS (Date From "X Y")]', text="HEADER.FIELDS", fields=(b"Date", b"From", b"X Y")
            ),
        ),
    ),
    (
        b"BODY[1.HEADER.FIELDS.NOT (To)]<0.1>",
        (
            section(
                b"BODY[1.HEADER.FIELDS.NOT (To)]<0>", False, (0, 1), part=(1,), text="HEADER.FIELDS.NOT",
                fields=(b"To",),
            ),
        ),
    ),
    (b"RFC822", (section(b"RFC822", False),)),
    (b"RFC822.HEADER", (section(b"RFC822.HEADER", text="HEADER"),)),
    (b"RFC822.TEXT", (section(b"RFC822.TEXT", False, text="TEXT"),)),
    (b"(RFC822.SIZE BODY.PEEK[1])", (SIZE, section(b"BODY[1]", part=(1,)))),
]


@pytest.mark.parametrize(("text", "expected"), ITEMS, ids=[row[0].decode() for row in ITEMS])
def test_rfc3501_section_6_4_5_items(text: bytes, expected: tuple[FetchItem, ...]) -> None:
    assert items(text) == expected == items(text)


def test_field_names_may_be_literals() -> None:
    found = items(b"BODY.PEEK[HEADER.FIELDS (\0 To)]", [b"From"])
    assert found == (section(b"BODY[HEADER.FIELDS (From To)]", text="HEADER.FIELDS", fields=(b"From", b"To")),)


@pytest.mark.parametrize(
    "text",
    [b"", b"FOO", b"()", b"(FAST)", b"(FLAGS", b"(FLAGS  UID)", b"(FLAGS,UID)", b"FAST)", b"BODY[", b"BODY[1",
     b"BODY[0]", b"BODY[1.]", b"BODY[.1]", b"BODY[01]", b"BODY[4294967296]", b"BODY[99999999999]", b"BODY[MIME]",
     b"BODY[FOO]", b"BODY[1.FOO]", b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]", b'BODY[HEADER.FIELDS ("")]',
     b'BODY[HEADER.FIELDS ("caf\xc3\xa9")]', b'BODY[HEADER.FIELDS ("a\tb")]', b"BODY[]<1>", b"BODY[]<1.0>",
     b"BODY[]<.1>", b"BODY[]<1.2", b"BODY[]<9223372036854775808.1>", b"BODY.FOO[]", b"FLAGS[]", b"RFC822.SIZE[1]",
     b"BODY.PEEK", b"BINARY[1.MIME]", b"BODY[" + b"1." * 101 + b"1]", b"(" + b"UID " * 200 + b"UID)",
     b"BODY[HEADER.FIELDS (" + b"a " * 1000 + b"b)]", b"(" * 1000],
)  # fmt: skip
def test_refused_items(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        items(text)


def test_what_follows_the_items_is_not_theirs() -> None:
    assert type(read(b"a FETCH 1 (FLAGS) x", SELECTED, [], 16)[0]) is Invalid
    event = read(b"a FETCH 1 (FLAGS) (FOO)", SELECTED, [], 16)[0]
    assert event == Fetch(b"a", "FETCH", NumSet([(1, 1)]), (FLAGS,), {"FOO": b""})
