"""Which text a message has in a format, and what stays as it is: S-154, S-155, S-159..S-163."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, Message

import pytest

from mailsrv.message.format import FormatOptions, render
from tests.gallery.samples import PNG, lines64, message, multipart, part

TEXT, HTML, UTF8 = FormatOptions("text"), FormatOptions("html"), FormatOptions("text", "utf-8")
ANY = [
    FormatOptions(body, "utf-8", attachments, rich_text)
    for body in ("text", "html", "both")
    for attachments in ("mime", "uuencode", "binhex")
    for rich_text in ("stored", "unpack")
]
PLAIN_PART = part("Content-Type: text/plain; charset=utf-8", "caf\u00e9".encode())
HTML_PART = part("Content-Type: text/html; charset=utf-8", "<p>caf\u00e9</p>".encode())
PICTURE = part("Content-Type: image/png\nContent-ID: <1@x>\nContent-Transfer-Encoding: base64", lines64(PNG))
FILE = part('Content-Type: application/octet-stream; name="a.pdf"\nContent-Transfer-Encoding: base64', lines64(b"%PDF"))
INSIDE = part("Content-Type: message/rfc822", message("Inside", HTML_PART))
CALENDAR = part("Content-Type: text/calendar", b"BEGIN:VCALENDAR")


def parsed(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, _class=EmailMessage, policy=email.policy.default)


def text_of(octets: bytes) -> str:
    """The text of a message of one part, with LF line ends."""
    return parsed(octets).get_content().replace("\r\n", "\n")


def shape(found: Message) -> str:
    """The types of all parts: `mixed(plain, pdf)`."""
    if found.is_multipart() and found.get_content_maintype() == "multipart":
        return f"{found.get_content_subtype()}({', '.join(shape(one) for one in found.get_payload())})"
    return found.get_content_subtype()


def shown(entity: bytes, options: FormatOptions) -> str:
    return shape(parsed(render(message("Test", entity), options)))


def alternative(*parts: bytes) -> bytes:
    return multipart("alternative", *parts)


def mixed(*parts: bytes) -> bytes:
    return multipart("mixed", *parts)


def related(*parts: bytes) -> bytes:
    return multipart("related", *parts)


SHAPES = [
    # (stored, as text, as HTML)
    (HTML_PART, "plain", "html"),
    (PLAIN_PART, "plain", "html"),
    (alternative(PLAIN_PART, HTML_PART), "plain", "html"),
    (alternative(HTML_PART, PLAIN_PART), "plain", "html"),
    (alternative(PLAIN_PART, related(HTML_PART, PICTURE)), "mixed(plain, png)", "related(html, png)"),
    (related(alternative(PLAIN_PART, HTML_PART), PICTURE), "mixed(plain, png)", "related(html, png)"),
    (related(HTML_PART, PICTURE), "mixed(plain, png)", "related(html, png)"),
    (mixed(alternative(PLAIN_PART, HTML_PART), FILE), "mixed(plain, pdf)", "mixed(html, pdf)"),
    (alternative(PLAIN_PART, mixed(HTML_PART, FILE)), "mixed(plain, pdf)", "mixed(html, pdf)"),
    (mixed(HTML_PART, PICTURE, PLAIN_PART), "mixed(plain, png, plain)", "mixed(html, png, html)"),
    (alternative(PLAIN_PART, HTML_PART, CALENDAR), "alternative(plain, calendar)", "alternative(html, calendar)"),
    (alternative(PLAIN_PART, CALENDAR), "alternative(plain, calendar)", "alternative(html, calendar)"),
    (mixed(HTML_PART, INSIDE), "mixed(plain, rfc822)", "mixed(html, rfc822)"),
    (CALENDAR, "calendar", "calendar"),
    (mixed(), "mixed", "mixed"),
]


@pytest.mark.parametrize("entity, text, html", SHAPES, ids=[row[1] for row in SHAPES])
def test_s_159_s_160_one_form_of_the_text_and_every_other_part(entity: bytes, text: str, html: str) -> None:
    assert shown(entity, TEXT) == text
    assert shown(entity, HTML) == html


def test_s_163_the_body_carries_the_charset() -> None:
    made = render(message("Test", PLAIN_PART), TEXT)
    assert text_of(made) == "caf\u00e9\n"
    assert b"Content-Type: text/plain; charset=iso-8859-1\r\n" in made and b"caf=E9" in made


def test_s_163_utf8_where_a_character_would_be_lost() -> None:
    stored = message("Test", part("Content-Type: text/plain; charset=windows-1252", b"5 \x80\r\n"))
    made = parsed(render(stored, TEXT))
    assert text_of(bytes(made)) == "5 \u20ac\n" and made.get_content_charset() == "utf-8"
    # HTML has references: nothing is lost in any charset.
    page = parsed(render(stored, HTML))
    assert "5 &#8364;" in page.get_content() and page.get_content_charset() == "iso-8859-1"


def test_s_163_utf8_that_must_stay_utf8_is_not_touched() -> None:
    stored = message("Test", part("Content-Type: text/plain; charset=utf-8", "5 \u20ac\r\n".encode()))
    assert render(stored, TEXT) is stored


@pytest.mark.parametrize("charset", ["us-ascii", "utf-8", "windows-1251", "iso-2022-jp"])
def test_s_163_ascii_is_the_same_in_every_charset(charset: str) -> None:
    stored = message("Test", part("Content-Type: text/plain; charset=utf-8", b"plain\r\n"))
    assert render(stored, FormatOptions("text", charset)) is stored


@pytest.mark.parametrize("charset, octets", [("x-odd", b"\xe4"), ("utf-8", b"\xe4b"), ("shift_jis", b"\x81")])
def test_s_163_text_that_cannot_be_read_is_not_made_worse(charset: str, octets: bytes) -> None:
    stored = message("Test", part(f"Content-Type: text/plain; charset={charset}", octets + b"\r\n"))
    assert render(stored, TEXT) is stored


def test_s_163_html_declares_the_charset_it_has() -> None:
    page = '<html><head><meta charset="koi8-r"></head><p>\u043c\u0438\u0440'.encode("koi8-r")
    made = parsed(render(message("Test", part("Content-Type: text/html", page)), FormatOptions("html", "utf-8")))
    assert made.get_content().startswith('<html><head><meta charset="utf-8"></head><p>\u043c\u0438\u0440')
    assert made.get_content_charset() == "utf-8"


def test_s_155_the_type_of_a_file_is_that_of_its_name() -> None:
    stored = message("Test", mixed(PLAIN_PART, FILE))
    for options in (TEXT, HTML, FormatOptions(rich_text="unpack")):
        file = next(parsed(render(stored, options)).iter_attachments())
        assert file.get_content_type() == "application/pdf" and file.get_filename() == "a.pdf"
        assert file.get_content() == b"%PDF"
        # A file that has a type now is still a file.
        assert file.get_content_disposition() == "attachment"
    assert render(stored, FormatOptions()) is stored


@pytest.mark.parametrize("name", ["unknown.xyz", "none", "", "a.", "."])
def test_s_155_a_name_that_says_nothing_leaves_the_type(name: str) -> None:
    stored = message("Test", part(f'Content-Type: application/octet-stream; name="{name}"', b"x\r\n"))
    assert render(stored, FormatOptions(rich_text="unpack")) is stored


PROTECTED = {
    "PGP/MIME": multipart("signed", HTML_PART, part("Content-Type: application/pgp-signature", b"x")),
    "PGP/MIME, encrypted": multipart("encrypted", part("Content-Type: application/pgp-encrypted", b"Version: 1")),
    "S/MIME": part("Content-Type: application/pkcs7-mime; smime-type=signed-data", b"MIAG"),
    "S/MIME by name": part('Content-Type: application/octet-stream; name="smime.p7m"', b"MIAG"),
    "a list's footer": mixed(multipart("signed", HTML_PART, PLAIN_PART), PLAIN_PART),
    "PGP in text": mixed(part("Content-Type: text/plain", b"-----BEGIN PGP SIGNED MESSAGE-----\r\nx"), HTML_PART),
    "PGP in encoded text": part(
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64", lines64(b"-----BEGIN PGP MESSAGE-----\r\nx")
    ),
}


@pytest.mark.parametrize("options", ANY, ids=str)
@pytest.mark.parametrize("entity", PROTECTED.values(), ids=PROTECTED)
def test_what_is_signed_or_encrypted_is_never_altered(entity: bytes, options: FormatOptions) -> None:
    stored = message("Test", entity)
    assert render(stored, options) is stored


def test_messages_inside_and_attached_texts_are_not_altered() -> None:
    attached = part("Content-Type: text/html; charset=utf-8\nContent-Disposition: attachment", "<p>\u00fc".encode())
    stored = message("Test", mixed(PLAIN_PART, attached, INSIDE))
    made = render(stored, TEXT)
    assert attached in made and INSIDE in made and made != stored


def test_what_is_not_rewritten_is_the_same_octets() -> None:
    entity = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n" + HTML_PART + b"\r\n--b  \r\n"
        b"X-Odd:   kept\r\nContent-Type: image/png\r\n\r\nnot really\r\n--b--\r\nepilogue"
    )
    made = render(message("Test", entity), TEXT)
    assert b"\r\n\r\npreamble\r\n--b\r\n" in made
    rest = b"X-Odd:   kept\r\nContent-Type: image/png\r\n\r\nnot really\r\n--b--\r\nepilogue\r\n"
    assert made.endswith(b"\r\n--b  \r\n" + rest)


BROKEN = {
    "no parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n<p>text",
    "no boundary": b"Content-Type: multipart/alternative\r\n\r\n--x\r\n\r\n<p>text",
    "unknown encoding": b"Content-Type: text/html\r\nContent-Transfer-Encoding: x-odd\r\n\r\n<p>text",
    "multipart by name only": b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n\xff",
    "message without a message": b"Content-Type: message/partial\r\n\r\n<p>",
}


@pytest.mark.parametrize("options", [one for one in ANY if one.attachments == "mime"], ids=str)
@pytest.mark.parametrize("entity", BROKEN.values(), ids=BROKEN)
def test_malformed_mime_is_served_as_it_is(entity: bytes, options: FormatOptions) -> None:
    stored = message("Test", entity)
    assert render(stored, options) is stored


def test_a_message_without_mime_gets_what_it_needs() -> None:
    stored = b"From: a@example.org\r\n\r\nHi http://example.org/\r\n"
    made = parsed(render(stored, HTML))
    assert made["MIME-Version"] == "1.0" and made.get_content_type() == "text/html"
    assert '<a href="http://example.org/">' in made.get_content()
    assert render(b"", HTML).startswith(b"MIME-Version: 1.0\r\n")


def test_rfc_2387_the_root_may_be_another_part_than_the_first() -> None:
    root = part("Content-Type: text/html\nContent-ID: <root@x>", b"<p>root</p>")
    entity = multipart("related", PICTURE, root).replace(b"related;", b'related; start="<root@x>";', 1)
    made = parsed(render(message("Test", entity), TEXT))
    assert shape(made) == "mixed(plain, png)" and "root" in next(iter(made.iter_parts())).get_content()
    # What was a page of two forms is one of HTML: the type that the multipart tells is that of its root.
    both = render(message("Test", related(alternative(PLAIN_PART, HTML_PART), PICTURE)), HTML)
    assert parsed(both)["Content-Type"].params["type"] == "text/html"


def test_rtf_in_the_text_is_text() -> None:
    stored = message("Test", part("Content-Type: text/rtf", rb"{\rtf1 caf\'e9\par x}"))
    assert text_of(render(stored, TEXT)) == "caf\u00e9\nx\n"
    assert "<p>caf\u00e9<br>\nx</p>" in text_of(render(stored, HTML))


def test_s_154_two_servers_two_renderings() -> None:
    stored = message("Test", alternative(PLAIN_PART, HTML_PART))
    assert text_of(render(stored, TEXT)) == "caf\u00e9\n"
    assert text_of(render(stored, HTML)) == "<p>caf\u00e9</p>\n"


def test_limits_beyond_them_a_message_is_as_it_is_stored() -> None:
    many = message("Test", mixed(*[HTML_PART] * 2001))
    assert render(many, TEXT) is many
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (at, at) for at in range(300))
    assert parsed(render(deep + HTML_PART, TEXT)).is_multipart()
    long = message("Test", part("Content-Type: text/html", b"<p>x</p>" * 600_000))
    assert render(long, TEXT) is long
