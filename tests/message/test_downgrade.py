"""Messages for servers that take seven bits only: converted where that breaks nothing, else refused."""

from __future__ import annotations

import email
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.errors import Refused
from mailsrv.message.downgrade import MAX_OCTETS, downgrade, header_beyond_ascii
from mailsrv.message.structure import parse

TEXT = "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
EIGHT = "Grüße\r\n.\r\nTrailing \r\n" + "lang " * 40 + "\r\n"


def octets(text: str) -> bytes:
    return text.encode()


def bodies(message: bytes) -> list[bytes]:
    """The decoded leaves, as somebody else reads them."""
    made = email.message_from_bytes(message, policy=policy.default)
    return [part.get_payload(decode=True) for part in made.walk() if not part.is_multipart()]


def test_text_becomes_quoted_printable_rfc6152_3() -> None:
    out = downgrade(octets(TEXT + "Content-Transfer-Encoding: 8bit\r\nSubject: x\r\n\r\n" + EIGHT))
    assert out.isascii() and b"Content-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\n" in out
    assert out.count(b"Content-Transfer-Encoding") == 1 and max(map(len, out.split(b"\r\n"))) <= 78
    assert bodies(out) == [octets(EIGHT)]


def test_what_is_not_text_becomes_base64() -> None:
    data = bytes(range(256)) * 3
    out = downgrade(b"Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data)
    assert out.isascii() and bodies(out) == [data] and out.endswith(b"\r\n")


def test_a_message_without_mime_gets_some_rfc1428() -> None:
    out = downgrade(octets("Subject: x\r\n\r\nüber\r\n"))
    assert b"MIME-Version: 1.0\r\n" in out and b"text/plain; charset=utf-8" in out
    assert bodies(out) == [octets("über\r\n")]
    assert b"charset=unknown-8bit" in downgrade(b"Subject: x\r\n\r\n\xfc\r\n")


MIXED = (
    "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n\r\n"
    "pré\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nplain\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + EIGHT + "\r\n"
    "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "Subject: inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>é\r\n--b--\r\nend\r\n"
)


def test_parts_are_converted_one_by_one_and_all_else_stays() -> None:
    out = downgrade(octets(MIXED))
    assert out.isascii() and b"8bit" not in out and b"\r\npr??\r\n--b\r\n" in out
    assert out.endswith(b"\r\n--b--\r\nend\r\n")
    assert bodies(out) == [b"plain", octets(EIGHT), octets("<p>é")]
    assert b"Content-Transfer-Encoding: 7bit\r\n\r\nplain\r\n" in out
    assert [child.media.name for child in parse(out).children] == [b"text/plain", b"text/plain", b"message/rfc822"]


@pytest.mark.parametrize(
    "message",
    [
        "DKIM-Signature: v=1\r\n" + TEXT + "\r\n" + EIGHT,
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\né\r\n--b\r\n\r\nsig\r\n--b--\r\n",
        "Content-Type: application/pkcs7-mime\r\n\r\né",
        TEXT + "\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\né\r\n",
        TEXT + "Content-Transfer-Encoding: base64\r\n\r\né\r\n",
        "Content-Type: message/rfc822\r\n\r\nDKIM-signature: x\r\n\r\né\r\n",
    ],
)
def test_what_is_signed_or_broken_is_never_touched(message: str) -> None:
    with pytest.raises(Refused) as caught:
        downgrade(octets(message))
    assert caught.value.status == "5.6.3"


def test_a_signed_part_of_seven_bits_does_not_stand_in_the_way() -> None:
    signed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nx \r\n--s\r\n\r\nsig\r\n--s--\r\n"
    text = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{signed}\r\n--b\r\n\r\né\r\n--b--\r\n"
    out = downgrade(octets(text))
    assert out.isascii() and octets(signed) in out


def test_too_big() -> None:
    with pytest.raises(Refused):
        downgrade(bytes(MAX_OCTETS + 1))


def test_headers_of_parts_count_for_smtputf8() -> None:
    assert not header_beyond_ascii(octets(MIXED))
    assert header_beyond_ascii(octets("Subject: é\r\n\r\n"))
    assert header_beyond_ascii(octets(MIXED.replace("Subject: inner", "Subject: ínner")))


PIECES = st.sampled_from(
    ["é", "a", "\r\n", "--b\r\n", "--b--\r\n", "Content-Type: multipart/mixed; boundary=b\r\n", "\r\n\r\n", "=", " ",
     "Content-Type: text/plain\r\n", "Content-Transfer-Encoding: 8bit\r\n", "Content-Type: message/rfc822\r\n", "\n",
     "\r", "."]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30))
def test_whatever_comes_the_bodies_are_of_seven_bits_or_it_is_refused(pieces: list[str]) -> None:
    message = octets("".join(pieces))
    try:
        out = downgrade(message)
    except Refused:
        return
    assert len(out) <= 4 * len(message) + 1000
    # Only headers may keep eight bits.
    waiting = [parse(out)]
    while waiting:
        part = waiting.pop()
        waiting += part.children
        if not part.children:
            assert out[part.body_start : part.body_end].isascii()


@given(st.text(alphabet="aé= .\t-", max_size=120).map(lambda text: text.replace("-", "\r\n")))
def test_text_comes_back_as_it_was(text: str) -> None:
    body = octets(text + "é\r\n")
    assert bodies(downgrade(octets(TEXT + "\r\n") + body)) == [body]


@pytest.mark.parametrize("line", [EIGHT, "é" * 99_998 + "\r\n", "é" * 30_000])
def test_long_text_is_converted_in_pieces_and_is_whole(line: str) -> None:
    body = octets(line) * (300_000 // len(octets(line)) + 1)
    out = downgrade(octets(TEXT + "\r\n") + body)
    assert bodies(out) == [body] and max(map(len, out.split(b"\r\n"))) <= 78
    assert out.count(b"\n") == out.count(b"\r") == out.count(b"\r\n")
