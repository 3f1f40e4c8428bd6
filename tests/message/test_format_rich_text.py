"""Exchange Rich Text, S-155, S-162 and X-9: TNEF, compressed RTF, HTML inside of RTF."""

from __future__ import annotations

import email
import email.policy
import struct
from email.message import EmailMessage

import compressed_rtf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from striprtf.striprtf import rtf_to_text as independent

from mailsrv.message.format import FormatOptions, render
from mailsrv.message.format.lzfu import unpack_rtf
from mailsrv.message.format.rtf import encapsulated_html, rtf_to_text
from mailsrv.message.format.tnef import read_properties, read_tnef
from tests.gallery.samples import (
    PNG,
    attached,
    binary,
    integer,
    lines64,
    message,
    multipart,
    part,
    stored_rtf,
    string,
    tnef,
)

UNPACK = FormatOptions(charset="utf-8", rich_text="unpack")
TEXT_PART = part("Content-Type: text/plain; charset=utf-8", b"Beside it")
PAGE = '<html><body><p>caf\u00e9 <img src="cid:1@x"></p></body></html>'


def winmail(octets: bytes, name: str = "winmail.dat", kind: str = "application/ms-tnef") -> bytes:
    return part(f"Content-Type: {kind}; name={name}\nContent-Transfer-Encoding: base64", lines64(octets))


def unpacked(entity: bytes, options: FormatOptions = UNPACK) -> EmailMessage:
    made = render(message("Test", entity), options)
    return email.message_from_bytes(made, _class=EmailMessage, policy=email.policy.default)


def shape(found: EmailMessage) -> str:
    if found.get_content_maintype() == "multipart":
        return f"{found.get_content_subtype()}({', '.join(shape(one) for one in found.iter_parts())})"
    return found.get_content_subtype()


def test_s_162_stored_passes_it_on() -> None:
    stored = message("Test", multipart("mixed", TEXT_PART, winmail(tnef([string(0x1000, "x")]))))
    assert render(stored, FormatOptions()) is stored
    assert render(stored, FormatOptions("text", "utf-8")) is stored
    # Rich text has no place beside an HTML body (S-162): there it is opened.
    assert b"ms-tnef" not in render(stored, FormatOptions("html", "utf-8"))


def test_s_155_files_have_their_names_types_and_octets() -> None:
    found = unpacked(multipart("mixed", TEXT_PART, winmail(tnef(files=[
        ("a.pdf", b"%PDF", []), ("Preis \u20ac.xls", b"xls", []), ("none", b"x", []),
        ("p", PNG, [string(0x370E, "image/png")]),
        ("bin.doc", b"", [binary(0x3701, b"from the property")]), ("empty.txt", b"", []),
    ]))))  # fmt: skip
    files = list(found.iter_attachments())
    assert [(one.get_filename(), one.get_content_type(), one.get_payload(decode=True)) for one in files] == [
        ("a.pdf", "application/pdf", b"%PDF"), ("Preis \u20ac.xls", "application/vnd.ms-excel", b"xls"),
        ("none", "application/octet-stream", b"x"), ("p", "image/png", PNG),
        ("bin.doc", "application/msword", b"from the property"), ("empty.txt", "text/plain", b""),
    ]  # fmt: skip


def test_s_155_html_comes_beside_the_text_that_is_there() -> None:
    inside = tnef([string(0x1000, "plain"), binary(0x1013, PAGE.encode()), integer(0x3FDE, 65001)],
                  [("1.png", PNG, [string(0x3712, "1@x")]), ("a.pdf", b"", [])])  # fmt: skip
    beside = multipart("mixed", TEXT_PART, winmail(inside))
    assert shape(unpacked(beside)) == "mixed(alternative(plain, related(html, png)), pdf)"
    # In one form it is as any message.
    text = unpacked(beside, FormatOptions("text", "utf-8", rich_text="unpack"))
    assert shape(text) == "mixed(plain, png, pdf)"
    page = unpacked(winmail(inside), FormatOptions("html", "utf-8"))
    assert shape(page) == "mixed(related(html, png), pdf)"
    assert "caf\u00e9" in page.get_body(("html",)).get_content()


def test_s_155_a_message_that_is_only_rich_text() -> None:
    found = unpacked(winmail(tnef([string(0x1000, "Caf\u00e9\r\nline")])))
    assert shape(found) == "plain" and found.get_content().split() == ["Caf\u00e9", "line"]
    assert found["Subject"] == "Test"
    assert shape(unpacked(winmail(tnef([binary(0x1013, PAGE.encode())])))) == "alternative(plain, html)"


def test_a_message_inside_is_a_message() -> None:
    inner = tnef([
        string(0x0037, "Gr\u00fc\u00dfe"), string(0x0C1A, "Carl"), string(0x5D01, "carl@example.org"),
        string(0x1000, "Inside"),
        string(0x0E04, "Ann; Ben"), (0x0039, 0x0040, struct.pack("<Q", 134_000_000_000_000_000)),
    ], [("x.txt", b"x", [])])  # fmt: skip
    outer = tnef(files=[("m", b"", [integer(0x3705, 5), attached(inner)])])
    found = unpacked(multipart("mixed", TEXT_PART, winmail(outer)))
    assert shape(found) == "mixed(plain, rfc822)"
    inside = list(found.iter_parts())[1].get_content()
    assert (inside["Subject"], inside["From"]) == ("Gr\u00fc\u00dfe", "Carl <carl@example.org>")
    assert inside["Date"].startswith("Mon, 18 Aug 2025") and shape(inside) == "mixed(plain, plain)"
    assert not inside.defects and not inside["To"].defects


def test_messages_inside_end_at_a_depth() -> None:
    inner = tnef([string(0x1000, "deepest")])
    for _ in range(20):
        inner = tnef([string(0x1000, "x")], [("m", b"", [attached(inner)])])
    made = render(message("Test", winmail(inner)), UNPACK)
    assert made.count(b"message/rfc822") == 5


def test_meetings_and_contacts_are_more_than_their_text() -> None:
    meeting = tnef([string(0x1000, "Noon")], message_class=b"IPM.Schedule.Meeting.Request")
    assert shape(unpacked(winmail(meeting))) == "mixed(plain, ms-tnef)"


LONG = "\u00fcber " * 22 + "ende.pdf"


def test_rfc_2231_names_of_any_length_and_letters() -> None:
    for name in ("plain.pdf", "\u20ac.pdf", LONG, "\u65e5\u672c\u8a9e" * 12 + ".doc"):
        found = unpacked(multipart("mixed", TEXT_PART, winmail(tnef(files=[(name, b"x", [])]))))
        made = bytes(found)
        assert next(found.iter_attachments()).get_filename() == name
        assert max(map(len, made.split(b"\n"))) <= 100


@pytest.mark.parametrize("subject", ["plain", "\u00fc" * 300, "=?utf-8?q?x?=", "\u65e5" * 100])
def test_rfc_2047_subjects_of_messages_inside(subject: str) -> None:
    inner = tnef([string(0x0037, subject), string(0x0C1A, 'Q "R" S'), string(0x1000, "x")])
    found = unpacked(winmail(tnef(files=[("m", b"", [attached(inner)])])))
    assert found.get_content()["Subject"] == subject
    # An author without an address of the Internet is a group (RFC 6854).
    assert found.get_content()["From"] == '"Q \\"R\\" S":;'


def test_ms_oxcdata_properties_of_every_kind() -> None:
    """Named, of several values, of old strings, of unknown kinds: what follows is still read, or the reading ends."""
    named = b"\x1f\0\x00\x80" + bytes(16) + struct.pack("<II", 1, 6) + "abc".encode("utf-16-le") + b"\0\0"
    named += struct.pack("<II", 1, 4) + "x\0".encode("utf-16-le")
    number = b"\x03\0\x01\x80" + bytes(16) + struct.pack("<III", 0, 7, 9)
    many = struct.pack("<HHI", 0x101E, 0x3000, 2) + struct.pack("<I", 2) + b"a\0\0\0" + struct.pack("<I", 1) + b"\0" * 4
    flag, day = struct.pack("<HHI", 0x000B, 0x0E1B, 1), struct.pack("<HHQ", 0x0040, 0x3007, 5)
    text = struct.pack("<HHII", 0x001E, 0x1000, 1, 5) + b"caf\xe9\0\0\0\0"
    found = read_properties(struct.pack("<I", 6) + named + number + many + flag + day + text)
    assert found == {0x0E1B: (0x000B, b"\1\0\0\0"), 0x3007: (0x0040, b"\5" + bytes(7)), 0x1000: (0x001E, b"caf\xe9\0")}
    unknown = struct.pack("<HHI", 0x7777, 0x3001, 1)
    assert read_properties(struct.pack("<I", 3) + flag + unknown + text) == {0x0E1B: (0x000B, b"\1\0\0\0")}


def test_what_old_outlook_wrote_beside_the_properties() -> None:
    """Attributes of their own for subject and text, in the code page that is told."""
    made = bytearray(tnef())
    at = made.index(struct.pack("<II", 1252, 0))
    made[at : at + 2] = struct.pack("<H", 1251)
    for number, octets in ((0x00018004, b"\xd2\xe5\xec\xe0\0"), (0x0002800C, b"\xcc\xe8\xf0\0")):
        made += struct.pack("<BII", 1, number, len(octets)) + octets + b"\0\0"
    assert unpacked(winmail(bytes(made))).get_content().strip() == "\u041c\u0438\u0440"
    inside = unpacked(winmail(tnef(files=[("m", b"", [attached(bytes(made))])]))).get_content()
    assert inside["Subject"] == "\u0422\u0435\u043c\u0430"


def test_nothing_is_lost_where_a_tnef_could_not_be_read_to_its_end() -> None:
    whole = tnef([string(0x1000, "x")], [("a.pdf", b"%PDF", []), ("b.pdf", b"%PDF", [])])
    assert shape(unpacked(winmail(whole))) == "mixed(plain, pdf, pdf)"
    assert shape(unpacked(winmail(whole[:-20]))) == "mixed(plain, pdf, pdf, ms-tnef)"
    many = tnef([string(0x1000, "x")], [("a", b"x", [])] * 501)
    assert shape(unpacked(winmail(many))).endswith("octet-stream, ms-tnef)")
    long = tnef([(0x1009, 0x0102, stored_rtf(b"{\\rtf1 " + b"{}" * 110_000 + b"words}"))])
    assert shape(unpacked(winmail(long))) == "ms-tnef"


SMIME = tnef(message_class=b"IPM.Note.SMIME", files=[("a", b"x", [])])


@pytest.mark.parametrize("octets", [b"", b"no TNEF", SMIME, tnef()], ids=["nothing", "another", "signed", "empty"])
def test_what_cannot_be_unpacked_stays(octets: bytes) -> None:
    stored = message("Test", winmail(octets))
    assert render(stored, UNPACK) is stored


def test_a_tnef_without_its_type_is_known_by_its_name() -> None:
    found = winmail(tnef([string(0x1000, "x")]), "WinMail.dat", "application/octet-stream")
    assert shape(unpacked(found)) == "plain"


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 400))
def test_tnef_that_is_damaged_never_raises(noise: bytes, at: int, cut: int) -> None:
    inner = tnef([string(0x1000, "deep")])
    whole = tnef([string(0x1000, "x"), binary(0x1009, stored_rtf(rb"{\rtf1 x}"))], [("a", b"x", [attached(inner)])])
    damaged = (whole[:at] + noise + whole[at:])[: len(whole) + len(noise) - cut]
    read_tnef(damaged)
    made = render(message("Test", winmail(damaged)), UNPACK)
    assert len(made) < 20 * len(whole) + 40 * len(noise)


def test_compressed_rtf_of_an_independent_packer() -> None:
    hello = rb"{\rtf1\ansi\pard hello hello hello}"
    for text in (hello, b"{" + b"abcabcabd" * 200 + b"}", bytes(range(256)) * 4, b""):
        for smaller in (True, False):
            assert unpack_rtf(compressed_rtf.compress(text, compressed=smaller)) == text


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_compressed_rtf_never_raises_and_is_bounded(data: bytes, size: int) -> None:
    for kind in (b"LZFu", b"MELA", b"????"):
        found = unpack_rtf(struct.pack("<II4sI", len(data), size, kind, 0) + data)
        assert found is None or len(found) <= min(size, 9 * len(data) + 17)


RTF = {
    rb"{\rtf1\ansi Hello\par world}": "Hello\nworld",
    rb"{\rtf1\ansi caf\'e9 \u8364?\u-10179?\u-8704?}": "caf\u00e9 \u20ac\U0001f600",
    rb"{\rtf1\ansi\ansicpg1251 \'cc\'e8\'f0}": "\u041c\u0438\u0440",
    rb"{\rtf1{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset128 B;}}\f1 \'82\'a0\f0 \'e9}": "\u3042\u00e9",
    rb"{\rtf1{\*\generator x;}{\info{\title y}}a\~b\{\}\\{\pict 0011}}": "a\u00a0b{}\\",
    rb"{\rtf1\uc2\u8364 ab c{\uc0\u233}d}": "\u20ac c\u00e9d",
    rb"{\rtf1 a\bin3 }}}b}": "ab",
    rb"{\rtf1 a{\v hidden}b\v x\v0 c}": "abc",
    rb'{\rtf1{\field{\*\fldinst{HYPERLINK "https://a.org/"}}{\fldrslt{\ul here}}}.}': "here <https://a.org/>.",
    rb"{\rtf1 a\cell b\row c\emdash d\ldblquote e\rdblquote}": "a\tb\nc\u2014d\u201ce\u201d",
    rb"}}}}\par{{{{": "\n",
    b"": "",
}


@pytest.mark.parametrize("data", RTF)
def test_rtf_as_text(data: bytes) -> None:
    assert rtf_to_text(data) == RTF[data]


def test_rtf_as_an_independent_reader_sees_it() -> None:
    data = rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0\fswiss Arial;}{\colortbl;\red1\green2\blue3;}"
    data += rb"\f0\pard One \b two\b0\par Th\'fcr\par}"
    assert rtf_to_text(data).split() == independent(data.decode("latin-1")).split() == ["One", "two", "Th\u00fcr"]


def test_ms_oxrtfex_html_in_rtf() -> None:
    data = rb"""{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}}
{\*\htmltag18 <html>}{\*\htmltag50 <body>}\htmlrtf \lang1033 \htmlrtf0
{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 caf\'e9 {\*\htmltag84 &nbsp;}\htmlrtf \'a0\htmlrtf0 {\*\mhtmltag84 <x>}
{\*\htmltag84 <b>}\htmlrtf {\b \htmlrtf0 \{bold\}\htmlrtf }\htmlrtf0 {\*\htmltag92 </b>}\htmlrtf\par}\htmlrtf0
{\*\htmltag0 \par }{\*\htmltag58 </body>}{\*\htmltag27 </html>}}"""
    assert encapsulated_html(data) == "<html><body><p>caf\u00e9 &nbsp;<b>{bold}</b>\n</body></html>"
    assert encapsulated_html(rb"{\rtf1 x}") is None


WORDS = [
    b"{", b"}", b"\\", b"\\'e", b"\\'e9", b"\\u-1", b"\\u99999999 ", b"\\bin9", b"\\*", b"x", b"\\htmltag",
    b"\\fonttbl", b"\\f1", b"\\fcharset128", b"\\ansicpg932", b"\\uc9", b"\\v", b"\\fldrslt", b"\\fldinst",
    b'HYPERLINK "a"', b"\\fromhtml1", b"\n", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_rtf_never_raises_and_never_grows(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    for text in (rtf_to_text(data), encapsulated_html(b"{\\rtf1\\fromhtml1 " + data)):
        assert text is not None and len(text.encode("utf-8")) <= 4 * len(data) + 16
