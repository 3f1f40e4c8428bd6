"""Header blocks: fields, unfolding, selection (RFC 9051 section 6.4.5), encoded words (RFC 2047)."""

from __future__ import annotations

import base64
import encodings
import random
from email.header import Header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message import charsets, header
from tests.properties import tries

BLOCK = (
    b"Received: from a\r\n\tby b;\r\n Tue, 24 Nov 2026 04:00:00 +0000\r\n"
    b"Subject: one\r\n two\r\nTo: x@y\r\nX-Empty:\r\nsubject : three\r\nnonsense without colon\r\n\r\n"
)


def test_fields_carry_their_offsets() -> None:
    found = header.fields(BLOCK + b"Subject: in the body\r\n")
    assert [field.name for field in found] == [b"received", b"subject", b"to", b"x-empty", b"subject"]
    assert BLOCK[found[1].start : found[1].end] == b"Subject: one\r\n two\r\n"
    assert BLOCK[found[1].value : found[1].end] == b" one\r\n two\r\n"
    assert header.fields(memoryview(BLOCK)) == found


@pytest.mark.parametrize(
    ("octets", "end"),
    [
        (b"", 0),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\n\nbody\r\n\r\nmore", 6),
        (b"A: b\r\n\r\nbody\n\nmore", 8),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
    ],
)
def test_the_header_ends_at_the_first_blank_line(octets: bytes, end: int) -> None:
    assert header.header_end(octets) == end


def test_values_are_unfolded_and_found_without_case() -> None:
    assert header.values(BLOCK, b"SUBJECT") == [b"one two", b"three"]
    assert header.values(BLOCK, b"X-Empty") == [b""]
    assert header.values(BLOCK + b"X-Body: no\r\n\r\n", b"x-body") == []
    assert header.values(BLOCK, b"subj") == header.values(BLOCK, b"") == header.values(b"", b"x") == []
    assert header.values(b"A: b", b"a") == [b"b"]
    assert header.values(b"A : b\n c\nAB: d\nA: e", b"a") == [b"b c", b"e"]


@pytest.mark.parametrize(
    ("names", "inverted", "expected"),
    [
        ([b"subject"], False, b"Subject: one\r\n two\r\nsubject : three\r\n\r\n"),
        ([b"TO", b"x-EMPTY"], False, b"To: x@y\r\nX-Empty:\r\n\r\n"),
        ([b"missing"], False, b"\r\n"),
        ([], False, b"\r\n"),
        ([b"received", b"subject"], True, b"To: x@y\r\nX-Empty:\r\nnonsense without colon\r\n\r\n"),
        ([], True, BLOCK),
    ],
)
def test_rfc9051_6_4_5_header_fields(names: list[bytes], inverted: bool, expected: bytes) -> None:
    assert header.select_fields(BLOCK, names, inverted) == expected


def test_selection_ends_a_truncated_header_properly() -> None:
    assert header.select_fields(b"To: a\r\nCc: b", [b"cc"], False) == b"Cc: b\r\n\r\n"
    assert header.select_fields(b"To: a\nCc: b\n\n", [b"to"], False) == b"To: a\r\n\r\n"
    assert header.select_fields(b"", [b"to"], True) == b"\r\n"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        # The table at the end of RFC 2047 section 8, as it would be displayed.
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen <keld@dkuug.dk>"),
        (
            b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example.",
        ),
        (b"=?iso-8859-8?b?7eXs+SDv4SDs6Pjv?=", "םולש ןב לטרן"),
        # RFC 2231 section 5: a language.
        (b"=?US-ASCII*EN?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        (b"plain", "plain"),
        (b"J\xc3\xb6rg", "Jörg"),
        (b"J\xf6rg", "Jörg"),
        # A character split between two words; an unknown charset; a Windows quote in "Latin-1".
        (b"=?utf-8?Q?J=C3?= =?utf-8?Q?=B6rg?=", "Jörg"),
        (b"=?x-nobody-knows?Q?J=F6rg?=", "Jörg"),
        (b"=?iso-8859-1?Q?=93a=94?=", "\u201ca\u201d"),
        (b"=?gb2312?B?1tDOxA==?=", "中文"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?ks_c_5601-1987?B?x9GxuQ==?=", "한국"),
        (b"=?utf-8?B?SGFsbG8?=", "Hallo"),
        (b"=?utf-8?Q?broken", "=?utf-8?Q?broken"),
        (b"=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        (b"a =?utf-8?Q??= b", "a  b"),
        (b"=?utf-8?Q?with space inside?=", "with space inside"),
    ],
)
def test_rfc2047_encoded_words(octets: bytes, text: str) -> None:
    assert header.decode(octets) == text


@pytest.mark.parametrize("label", [b"zlib", b"rot13", b"base64", b"unicode-escape", b"idna", b"punycode", b"undefined"])
def test_codecs_that_are_no_charsets_are_unknown(label: bytes) -> None:
    assert charsets.codec(label) is None
    assert charsets.text_of(b"a\xe4", label) == "aä"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (b"UTF-8", "utf_8"),
        (b"utf8", "utf_8"),
        (b"us-ascii", "utf_8"),
        (b"ISO-8859-1", "cp1252"),
        (b"windows-1251", "cp1251"),
        (b"win-1251", "cp1251"),
        (b"cp-850", "cp850"),
        (b"ISO-8859-15", "iso8859_15"),
        (b"ISO-8859-8-I", "iso8859_8"),
        (b"koi8-r", "koi8_r"),
        (b"KOI8-U", "koi8_u"),
        (b"Shift_JIS", "cp932"),
        (b"big5", "big5"),
        (b"utf-16le", "utf_16_le"),
        (b"windows-874", "cp874"),
        (b"macintosh", "mac_roman"),
    ],
)
def test_charset_labels(label: bytes, name: str) -> None:
    assert charsets.codec(label) == name


def test_every_codec_takes_any_octets_and_ascii_is_known() -> None:
    source = random.Random(1)
    ascii_octets = bytes(range(9, 127)).replace(b"\x1b", b"").replace(b"\\", b"").replace(b"~", b"")
    for name in sorted(charsets._CODECS):
        label = name.encode()
        assert charsets.codec(label) is not None
        for size in range(40):
            assert isinstance(charsets.text_of(source.randbytes(size), label), str)
        if charsets.ascii_compatible(label):
            assert ascii_octets.decode(charsets.codec(label) or "", "replace") == ascii_octets.decode("ascii"), name


def test_unknown_names_are_not_remembered_by_the_interpreter() -> None:
    before = set(encodings._cache)  # type: ignore[attr-defined]
    for number in range(50):
        charsets.text_of(b"\xe4", b"x-invented-%d" % number)
    assert set(encodings._cache) == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"SGVsbG8=", b"Hello"),
        (b"SGVs\r\nbG8=\r\n", b"Hello"),
        (b"SGVsbG8", b"Hello"),
        (b"SGVsbG8=SGVsbG8=", b"HelloHello"),
        (b"S G!V#sbG8x", b"Hello1"),
        (b"SGVsbG8hA", b"Hello!"),
        (b"", b""),
        (b"====", b""),
    ],
)
def test_base64_of_real_mail(octets: bytes, expected: bytes) -> None:
    assert header.base64_octets(octets) == expected


@given(st.binary(max_size=300))
@settings(max_examples=tries(200), deadline=None)
def test_base64_never_raises_and_undoes_the_standard_encoding(octets: bytes) -> None:
    header.base64_octets(octets)
    assert header.base64_octets(base64.encodebytes(octets)) == octets


@given(
    st.lists(
        st.sampled_from(
            [
                b"=?",
                b"?=",
                b"utf-8",
                b"?Q?",
                b"?B?",
                b"?",
                b" ",
                b"=C3",
                b"iso-2022-jp",
                b"utf-7",
                b"+AG-",
                b"\x1b$B",
                b"a",
            ]
        ),
        max_size=30,
    )
)
@settings(max_examples=tries(200), deadline=None)
def test_decoding_never_raises(pieces: list[bytes]) -> None:
    assert isinstance(header.decode(b"".join(pieces)), str)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), max_size=60))
@settings(max_examples=tries(200), deadline=None)
def test_what_the_standard_library_encodes_is_read_back(text: str) -> None:
    encoded = Header(text.encode().decode(), "utf-8").encode(maxlinelen=0).encode("ascii")
    assert header.decode(encoded) == text


def test_encoded_words_are_bounded() -> None:
    text = header.decode(b"=?utf-8?Q?a?= " * (header.MAX_WORDS + 1))
    assert text.startswith("a" * header.MAX_WORDS) and "=?utf-8?Q?a?=" in text


def test_a_header_is_bounded() -> None:
    block = b"X: y\r\n" * (header.MAX_FIELDS + 100) + b"\r\n"
    assert len(header.fields(block)) == header.MAX_FIELDS
    assert len(header.values(block, b"x")) == header.MAX_FIELDS


def test_selection_is_bounded() -> None:
    block = b"To: a\r\nX: " + b"y" * header.MAX_OCTETS + b"\r\nTo: b\r\n\r\n"
    assert header.select_fields(block, [b"to"], False) == b"To: a\r\n\r\n"
    assert header.values(block, b"to") == [b"a"]


def test_padding_without_end_is_bounded() -> None:
    assert header.base64_octets(b"=" * 2**20 + b"SGVsbG8=") == b"Hello"
