"""The options of a format and their fingerprint."""

from __future__ import annotations

import pytest

from mailsrv.message.format import FormatOptions, attachments_of, fingerprint, render

MESSAGE = b"From: a@example.org\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n"


def test_s_161_both_is_the_very_same_object() -> None:
    options = FormatOptions()
    assert options.stored and options.body == "both"
    assert render(MESSAGE, options) is MESSAGE
    assert fingerprint(options) == "stored"


def test_the_fingerprint_tells_formats_apart() -> None:
    formats = [
        FormatOptions(body, charset, attachments, rich_text)
        for body in ("text", "html", "both")
        for charset in ("iso-8859-1", "utf-8")
        for attachments in ("mime", "uuencode", "binhex")
        for rich_text in ("stored", "unpack")
    ]
    names = {fingerprint(options) for options in formats}
    # The charset says nothing where nothing is rewritten.
    assert len(names) == len(formats) - 1
    assert all(name.isascii() and " " not in name and len(name) <= 80 for name in names)


UNFIT = ["utf-16", "utf-7", "base64", "no-such-charset", "cp037", "rot13", "x" * 500, "ü", ""]
FIT = ["ISO-8859-1", "utf-8", "windows-1251", "koi8-r", "iso-2022-jp", "big5", "us-ascii"]


@pytest.mark.parametrize("charset", UNFIT)
def test_s_163_what_is_no_charset_for_mail_is_refused(charset: str) -> None:
    with pytest.raises(ValueError):
        FormatOptions(charset=charset)


@pytest.mark.parametrize("charset", FIT)
def test_s_163_charsets_of_mail(charset: str) -> None:
    assert FormatOptions(charset=charset).charset == charset.lower()


def test_s_158_binhex_belongs_to_uuencode() -> None:
    assert attachments_of("mime", True) == "mime"
    assert attachments_of("uuencode", False) == "uuencode"
    assert attachments_of("uuencode", True) == "binhex"
