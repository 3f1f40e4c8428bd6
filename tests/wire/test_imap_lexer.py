"""Tokens, message sets and mailbox names: what is taken, what is refused, and round trips."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.numbers import NumSet
from mailsrv.wire import imap_names, imap_numset, imap_print
from mailsrv.wire.imap_lexer import MAX_63, BadSyntax, Form, Lexer
from tests.properties import tries


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (b"abc]def rest", b"abc]def"),
        (b'"a b" rest', b"a b"),
        (b'"a\\"b\\\\c"', b'a"b\\c'),
        (b'""', b""),
        (b'"caf\xc3\xa9"', b"caf\xc3\xa9"),
        (b"NIL", b"NIL"),
        (b"\0", b"literal"),
    ],
)
def test_rfc3501_astring(text: bytes, token: bytes) -> None:
    assert Lexer(text, 0, [b"literal"]).astring() == token


@pytest.mark.parametrize(
    "text",
    [b"", b"(", b" a", b'"open', b'"bad\\escape"', b'"a\rb"', b'"a\nb"', b'"\0"', b"\x7f", b"\xe9", b"{3}", b"\\Seen"],
)
def test_rfc3501_not_an_astring(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        Lexer(text).astring()


def test_rfc3501_atoms_are_narrower_than_astrings() -> None:
    lexer = Lexer(b"BODY[1]")
    assert lexer.atom() == b"BODY[1"
    assert Lexer(b"a%b*c").list_mailbox() == b"a%b*c"
    assert Lexer(b"a%b").atom() == b"a"


def test_rfc3501_nstring() -> None:
    assert Lexer(b"nil").nstring() is None
    assert Lexer(b'"NIL"').nstring() == b"NIL"
    with pytest.raises(BadSyntax):
        Lexer(b"other").nstring()


@pytest.mark.parametrize(
    ("text", "largest", "value"),
    [(b"0", 9, 0), (b"4294967295", 2**32 - 1, 2**32 - 1), (b"9223372036854775807", MAX_63, MAX_63), (b"007", 9, 7)],
)
def test_numbers_in_range(text: bytes, largest: int, value: int) -> None:
    assert Lexer(text).number(largest) == value


@pytest.mark.parametrize(
    ("text", "largest"),
    [(b"4294967296", 2**32 - 1), (b"9223372036854775808", MAX_63), (b"9" * 5000, MAX_63), (b"-1", 9), (b"", 9)],
)
def test_numbers_out_of_range(text: bytes, largest: int) -> None:
    with pytest.raises(BadSyntax):
        Lexer(text).number(largest)


def test_lists_have_a_depth() -> None:
    lexer = Lexer(b"((((", max_depth=3)
    for _ in range(3):
        lexer.open()
    with pytest.raises(BadSyntax, match="deep"):
        lexer.open()


def test_flags() -> None:
    assert Lexer(b"(\\Seen $Forwarded)").flags() == (b"\\Seen", b"$Forwarded")
    assert Lexer(b"()").flags() == ()
    assert Lexer(b"\\Seen kw").flags() == (b"\\Seen", b"kw")
    for text in (b"(\\Seen", b"(\\Seen  kw)", b"\\*", b"(a(b))", b'"a"', b"x" * 256, b"(" + b"a " * 256 + b"b)"):
        with pytest.raises(BadSyntax):
            Lexer(text).flags()


@pytest.mark.parametrize(
    ("text", "epoch", "zone"),
    [
        (b'"17-Jul-1996 02:44:25 -0700"', 837596665, -420),
        (b'" 1-jan-1970 00:00:00 +0000"', 0, 0),
        (b'"01-Jan-1970 01:00:00 +0130"', -1800, 90),
        (b'"31-Dec-9999 23:59:60 +0000"', 253402300799, 0),
    ],
)
def test_rfc3501_date_time(text: bytes, epoch: int, zone: int) -> None:
    assert Lexer(text).date_time() == (epoch, zone)


@pytest.mark.parametrize(
    "text",
    [
        b'"31-Feb-2020 00:00:00 +0000"', b'"01-Foo-2020 00:00:00 +0000"', b'"01-Jan-2020 24:00:00 +0000"',
        b'"01-Jan-2020 00:60:00 +0000"', b'"01-Jan-2020 00:00:00 +2400"', b'"01-Jan-2020 00:00:00"', b'"1-Jan-2020"',
        b'"01-Jan-0000 00:00:00 +0000"', b'"  -Jan-2020 00:00:00 +0000"',
    ],
)  # fmt: skip
def test_rfc3501_not_a_date_time(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        Lexer(text).date_time()


@settings(max_examples=tries(200), deadline=None)
@given(st.integers(-62135596800 + 86400, 253402300799 - 86400), st.integers(-1439, 1439))
def test_internal_dates_round_trip(epoch: int, zone: int) -> None:
    assert Lexer(imap_print.internal_date(epoch, zone)).date_time() == (epoch, zone)


# ---------------------------------------------------------------- message sets


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"1", NumSet([(1, 1)])),
        (b"1:*", NumSet([(1, 0)])),
        (b"*", NumSet([(0, 0)])),
        (b"*:4,7,9:10", NumSet([(0, 4), (7, 7), (9, 10)])),
        (b"4294967295", NumSet([(2**32 - 1, 2**32 - 1)])),
        (b"$", NumSet(saved=True)),
    ],
)
def test_rfc9051_sequence_set(text: bytes, numbers: NumSet) -> None:
    assert imap_numset.parse(text) == numbers
    assert imap_numset.encode(numbers) == text


@pytest.mark.parametrize(
    "text",
    [b"", b"0", b"01", b"1,", b",1", b"1:", b":1", b"1:2:3", b"4294967296", b"1:99999999999", b"**", b"$,1", b"1,$",
     b"1 ", b"1:*\n", b"9" * 100_000, b",".join([b"1"] * (imap_numset.MAX_INTERVALS + 1))],
)  # fmt: skip
def test_not_a_sequence_set(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        imap_numset.parse(text)


_star_or_number = st.integers(0, 2**32 - 1)


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(st.tuples(_star_or_number, _star_or_number), min_size=1, max_size=20))
def test_sequence_sets_round_trip(ranges: list[tuple[int, int]]) -> None:
    numbers = NumSet(ranges)
    assert imap_numset.parse(imap_numset.encode(numbers)) == numbers


# ---------------------------------------------------------------- mailbox names


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (b"inBox", "INBOX"),
        (b"INBOX/sub", "INBOX/sub"),
        (b"Entw&APw-rfe", "Entwürfe"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        (b"Q&-A", "Q&A"),
        (b"&2D3eAA-", "\U0001f600"),
        (b"", ""),
    ],
)
def test_rfc3501_modified_utf7(octets: bytes, name: str) -> None:
    assert imap_names.decode(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        b"a&b", b"&AOk", b"&", b"a&!-", b"&A-", b"&AO-", b"&AGE-", b"&ACY-", b"&AOk-&AOk-", b"&AOn-x&",
        b"&2D0-", b"&3gA-", b"&AAA-", b"&AAo-", b"&ICg-", b"caf\xc3\xa9", b"a\tb", b"a\x7f", b"&AOl,-", b"&AOm=-",
    ],
)  # fmt: skip
def test_invalid_modified_utf7_is_refused(octets: bytes) -> None:
    with pytest.raises(BadSyntax):
        imap_names.decode(octets)


def test_names_become_nfc() -> None:
    decomposed = "e\u0301"
    assert imap_names.decode(imap_names.encode(decomposed)) == "é"


_names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=30)


@settings(max_examples=tries(300), deadline=None)
@given(_names)
def test_names_round_trip(name: str) -> None:
    octets = imap_names.encode(name)
    assert octets.isascii()
    expected = "INBOX" if octets.upper() == b"INBOX" else normalize("NFC", name)
    assert imap_names.decode(octets) == expected
    assert Lexer(imap_names.wire(name)).astring() == octets


@settings(max_examples=tries(300), deadline=None)
@given(st.one_of(st.binary(max_size=20), st.from_regex(rb"[&+,\-A-Z/a-z=]{0,12}", fullmatch=True)))
def test_any_octets_decode_to_one_name_or_are_refused(octets: bytes) -> None:
    try:
        name = imap_names.decode(octets)
    except BadSyntax:
        return
    # NFC may change the spelling; what was taken is the only spelling of what it meant.
    assert normalize("NFC", name) == name
    assert imap_names.decode(imap_names.encode(name)) == name


@pytest.mark.parametrize(("name", "octets"), [("INBOX", b"INBOX"), ("a b", b'"a b"'), ('a"\\', b'"a\\"\\\\"'),
                                              ("nil", b'"nil"'), ("", b'""'), ("Ü%", b'"&ANw-%"')])  # fmt: skip
def test_names_are_quoted_where_they_must(name: str, octets: bytes) -> None:
    assert imap_names.wire(name) == octets


@given(st.text(st.sampled_from("a/.^|&ü ")), st.sampled_from("/.^|"), st.booleans())
def test_separator_outside_and_inside_change_places_so_no_two_names_become_one(
    name: str, separator: str, utf8: bool
) -> None:
    form = Form(utf8, separator)
    octets = Lexer(imap_names.wire(name, form)).astring()
    assert imap_names.decode(octets, form) == name
    assert octets.count(separator.encode()) == name.count("/") and octets.count(b"/") == name.count(separator)
