"""Parameters of Content-Type and Content-Disposition: RFC 2045 section 5.1, RFC 2183, RFC 2231."""

from __future__ import annotations

import pytest

from mailsrv.message.parameters import MAX_BOUNDARY, MAX_PARAMETERS, disposition, media, parameter_text, parameters


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (b"text/plain; charset=us-ascii (Plain text)", b"text/plain", ((b"charset", b"us-ascii"),)),
        (b'text/plain; charset="us-ascii"', b"text/plain", ((b"charset", b"us-ascii"),)),
        (b"TEXT/Html;CHARSET = utf-8 ;a=b", b"text/html", ((b"CHARSET", b"utf-8"), (b"a", b"b"))),
        (b'a/b; c="x;y\\"z"; d=e', b"a/b", ((b"c", b'x;y"z'), (b"d", b"e"))),
        (b"a/b; name=my file (1).pdf; d=e", b"a/b", ((b"name", b"my file (1).pdf"), (b"d", b"e"))),
        (b"a/b;; ;c=d;", b"a/b", ((b"c", b"d"),)),
        (b"a/b; c", b"a/b", ()),
        (b'a/b; c="unterminated', b"a/b", ((b"c", b"unterminated"),)),
        (b"a/b; c=", b"a/b", ((b"c", b""),)),
        (b"a/b charset=x", b"a/b", ()),
        (b" text / plain", b"text/plain", ()),
        (b"text", b"text/plain", ((b"CHARSET", b"US-ASCII"),)),
        # RFC 2231 section 3.
        (
            b'message/external-body; access-type=URL; URL*0="ftp://"; URL*1="cs.utk.edu/pub/x"',
            b"message/external-body",
            ((b"access-type", b"URL"), (b"URL", b"ftp://cs.utk.edu/pub/x")),
        ),
        (b"a/b; n*1=b; n*0=a; n*3=z", b"a/b", ((b"n", b"ab"),)),
        (b"a/b; n*1=b; n*2=c", b"a/b", ((b"n", b"bc"),)),
    ],
)
def test_rfc2045_5_1_content_type(value: bytes, name: bytes, expected: tuple[tuple[bytes, bytes], ...]) -> None:
    found = media(value)
    assert (found.name, found.parameters) == (name, expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 2231 sections 4 and 4.1.
        (b"a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"),
        (
            b"a/b; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; "
            b'title*2="isn\'t it!"',
            "This is even more ***fun*** isn't it!",
        ),
        (b"a/b; title=plain", "plain"),
        (b"a/b; title=plain; title*=utf-8''J%C3%B6rg", "Jörg"),
        (b'a/b; title="=?utf-8?Q?J=C3=B6rg?="', "Jörg"),
        (b"a/b; title*=J%C3%B6rg", "Jörg"),
        (b"a/b; title*0=a%20b; title*1*=%20c", "a%20b c"),
        (b"a/b; title*0*=utf-8''J%C3; title*1*=%B6rg", "Jörg"),
        (b"a/b; title*=x-unknown''%E4%", "ä%"),
        (b"a/b", None),
    ],
)
def test_rfc2231_text(value: bytes, text: str | None) -> None:
    assert parameter_text(media(value).parameters, b"title") == text


def test_rfc2183_disposition() -> None:
    assert disposition(b'attachment; filename="x y"; size=1') == (
        b"attachment",
        ((b"filename", b"x y"), (b"size", b"1")),
    )
    assert disposition(b"inline") == (b"inline", ())
    assert disposition(b"") is None and disposition(b"; filename=x") is None


def test_bounds() -> None:
    assert len(parameters(b"; a=b" * 1000, 0)) == MAX_PARAMETERS
    assert media(b"multipart/mixed; boundary=" + b"x" * MAX_BOUNDARY).boundary
    assert not media(b"multipart/mixed; boundary=" + b"x" * (MAX_BOUNDARY + 1)).boundary
    assert media(b'multipart/mixed; boundary="x "').boundary == b"x"
    assert media(b"text/plain; boundary=x").boundary == b""
