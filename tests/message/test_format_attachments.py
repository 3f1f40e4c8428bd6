"""Attachments in the text, S-157 and S-158: UUENCODE, BinHex 4.0, AppleDouble; read again by decoders written here.

Independent decoders are in tests/live/test_format_decoders.py.
"""

from __future__ import annotations

import binascii
import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.format import FormatOptions, render
from mailsrv.message.format.appledouble import MacFile, read_apple_file
from mailsrv.message.format.binhex import binhexed
from mailsrv.message.format.names import safe_name
from mailsrv.message.format.uuencode import harmless, uuencoded
from tests.gallery.samples import apple_double, lines64, message, multipart, part

UU, HQX = FormatOptions(attachments="uuencode"), FormatOptions(attachments="binhex")
TEXT_PART = part("Content-Type: text/plain; charset=utf-8", "caf\u00e9".encode())
FILE = part("Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64", lines64(b"\0\1\2"))


def uudecoded(octets: bytes) -> dict[str, bytes]:
    """The files between `begin` and `end` lines."""
    found: dict[str, bytes] = {}
    name = None
    for line in octets.decode("latin-1").split("\r\n"):
        if name is None and line.startswith("begin 644 "):
            name = line[10:]
            found[name] = b""
        elif name is not None and line == "end":
            name = None
        elif name is not None:
            found[name] += binascii.a2b_uu(line.encode("latin-1"))
    return found


HQX_LETTERS = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"


def hexbin(octets: bytes) -> MacFile:
    """The first file in BinHex 4.0, read letter by letter; its checksums are right."""
    text = octets.decode("latin-1")
    letters = text[text.index("\r\n:") + 3 : text.rindex(":")].replace("\r\n", "")
    bits = "".join([format(HQX_LETTERS.index(letter), "06b") for letter in letters])
    packed = [int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8)]
    out = bytearray()
    while packed:
        one = packed.pop(0)
        count = packed.pop(0) if one == 0x90 else None
        out += bytes((one,)) if count is None else b"\x90" if count == 0 else out[-1:] * (count - 1)
    name = bytes(out[1 : 1 + out[0]])
    at = 2 + out[0]
    sizes = [int.from_bytes(out[at + 10 + part : at + 14 + part], "big") for part in (0, 4)]
    end = at + 18
    parts = [bytes(out[:end])]
    for size in sizes:
        start = end + 2
        assert int.from_bytes(out[end:start], "big") == binascii.crc_hqx(parts[-1], 0)
        parts.append(bytes(out[start : start + size]))
        end = start + size
    flags = int.from_bytes(out[at + 8 : at + 10], "big")
    kind, creator = bytes(out[at : at + 4]), bytes(out[at + 4 : at + 8])
    return MacFile(parts[1], parts[2], name.decode("mac_roman"), kind, creator, flags)


@given(st.binary(max_size=400))
def test_s_157_uuencode_and_back(data: bytes) -> None:
    made = b"begin 644 x\r\n" + uuencoded(data)
    assert uudecoded(made) == {"x": data}
    assert all(len(line) <= 61 and not line.endswith(b" ") for line in made.split(b"\r\n"))


RUNS = st.lists(st.tuples(st.sampled_from([0x90, 0, 0x41, 0xFF]), st.integers(1, 600)), max_size=8).map(
    lambda runs: b"".join([bytes((one,)) * count for one, count in runs])
)


@given(st.one_of(st.binary(max_size=300), RUNS), st.binary(max_size=100), st.text(max_size=80))
def test_s_158_binhex_and_back(data: bytes, resource: bytes, name: str) -> None:
    file = MacFile(data, resource, name, b"TEXT", b"ttxt", 0x0100 | 0x0400)
    made = binhexed(file)
    found = hexbin(made)
    assert (found.data, found.resource) == (data, resource)
    assert (found.kind, found.creator, found.flags) == (b"TEXT", b"ttxt", 0x0400)
    assert all(len(line) <= 64 for line in made.split(b"\r\n"))
    assert made.startswith(b"(This file must be converted with BinHex 4.0)\r\n\r\n:")


def test_s_157_text_first_then_the_files() -> None:
    made = render(message("Test", multipart("mixed", TEXT_PART, FILE, TEXT_PART)), UU)
    found = email.message_from_bytes(made, policy=email.policy.default)
    assert found.get_content_type() == "text/plain" and found["Content-Transfer-Encoding"] == "8bit"
    text, _, rest = found.get_content().replace("\r\n", "\n").partition("begin 644 ")
    assert text == "caf\u00e9\n\ncaf\u00e9\n\n" and rest.endswith("`\nend\n")
    assert uudecoded(made) == {"a.bin": b"\0\1\2"}


def test_s_157_html_has_no_place_without_mime() -> None:
    page = part("Content-Type: text/html", b"<p>Hello <b>you</b>")
    for options in (UU, FormatOptions("html", attachments="uuencode")):
        assert render(message("Test", page), options).endswith(b"\r\n\r\nHello you\r\n")
        # The plain text of a message is there already.
        both = multipart("alternative", part("Content-Type: text/plain", b"plain"), page)
        assert render(message("Test", both), options).endswith(b"\r\n\r\nplain\r\n")


def test_s_157_plain_text_is_the_very_same_object() -> None:
    stored = message("Test", part("Content-Type: text/plain; charset=iso-8859-1", b"caf\xe9\r\n"))
    assert render(stored, UU) is stored


def test_s_157_encodings_of_mime_are_undone() -> None:
    stored = message("Test", part("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64",
                                  lines64("caf\u00e9\r\n".encode())))  # fmt: skip
    assert render(stored, UU).endswith(b"Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n")


def test_s_157_a_message_inside_is_a_file_that_is_not_altered() -> None:
    inside = message("Inside", part("Content-Type: text/html; charset=utf-8", "<p>\u00fc</p>".encode()))
    made = render(message("Test", multipart("mixed", TEXT_PART, part("Content-Type: message/rfc822", inside))), UU)
    assert uudecoded(made) == {"attachment-1.eml": inside}


def test_s_157_an_unknown_encoding_leaves_the_message() -> None:
    odd = part("Content-Type: image/png\nContent-Transfer-Encoding: x-odd", b"?")
    stored = message("Test", multipart("mixed", TEXT_PART, odd))
    assert render(stored, UU) is stored and render(stored, HQX) is stored


HEAD = lines64(apple_double("Notes", b"fork"))
DOUBLE = multipart(
    "appledouble",
    part("Content-Type: application/applefile\nContent-Transfer-Encoding: base64", HEAD),
    part("Content-Type: application/octet-stream; name=Notes", b"data"),
)


def test_s_158_an_appledouble_is_one_file_with_both_forks() -> None:
    made = hexbin(render(message("Test", DOUBLE), HQX))
    assert made == MacFile(b"data", b"fork", "Notes", b"TEXT", b"ttxt", 0)


def test_s_157_a_resource_fork_travels_beside_the_file() -> None:
    made = uudecoded(render(message("Test", DOUBLE), UU))
    assert made == {"Notes": b"data", "._Notes": apple_double("Notes", b"fork")}


def test_rfc_1740_an_applesingle_holds_all_of_the_file() -> None:
    single = b"\0\5\x16\0" + apple_double("Notes", b"fork")[4:]
    head = part("Content-Type: application/applefile\nContent-Transfer-Encoding: base64", lines64(single))
    assert hexbin(render(message("Test", head), HQX)) == MacFile(b"", b"fork", "Notes", b"TEXT", b"ttxt", 0)
    broken = DOUBLE.replace(HEAD, lines64(b"not an AppleDouble"))
    made = uudecoded(render(message("Test", broken), UU))
    assert made == {"attachment-1.bin": b"not an AppleDouble", "Notes": b"data"}


def test_s_158_type_and_creator_of_other_files_come_from_the_name() -> None:
    plain = part('Content-Type: application/pdf; name="a.pdf"', b"x")
    made = hexbin(render(message("Test", multipart("mixed", plain)), HQX))
    assert (made.kind, made.creator, made.name) == (b"PDF ", b"CARO", "a.pdf")


def test_text_never_begins_a_file() -> None:
    assert harmless("begin 644 evil.exe\nM\nend\n Begin 600 x\nBEGIN 7 y\nbegin here") == (
        " begin 644 evil.exe\nM\nend\n Begin 600 x\n BEGIN 7 y\nbegin here"
    )


@pytest.mark.parametrize(
    "name, safe",
    {
        "../../etc/passwd": "passwd", "C:\\a\\b.exe": "b.exe", "a\r\nbegin 644 b": "a_begin 644 b",
        "..": "attachment-7.png", "": "attachment-7.png", " x .": "x",
        "a\u202egnp.exe": "a_gnp.exe", "x" * 300 + ".pdf": "x" * 116 + ".pdf",
        "\u00fcber.txt": "\u00fcber.txt", 'q"<>|?*:.txt': "q_.txt",
    }.items(),
)  # fmt: skip
def test_names_of_files_are_names_only(name: str, safe: str) -> None:
    assert safe_name(name, b"image/png", 7) == safe


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_rfc_1740_apple_files_never_raise(data: bytes, more: bytes) -> None:
    for magic in (b"\0\5\x16\0", b"\0\5\x16\7", b""):
        found = read_apple_file(magic + data + more)
        assert found is None or len(found.data) + len(found.resource) <= 2 * len(magic + data + more)
