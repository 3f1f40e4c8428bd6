"""Renderings read by programs of others: uudecode (sharutils), hexbin (macutils), tnef; real mail in every format."""

from __future__ import annotations

import email
import email.policy
import subprocess
from pathlib import Path

import pytest

from mailsrv.message.format import FormatOptions, fingerprint, render
from mailsrv.message.structure import parse

from ..gallery.samples import apple_double, attached, integer, lines64, message, multipart, part, string, tnef
from .conftest import program
from .corpus import corpus

pytestmark = pytest.mark.live

RUNS = b"\x90" * 300 + b"a" * 1000 + b"\0\x90\x90b"
FILES = {"empty.bin": b"", "every.dat": bytes(range(256)) * 300, "runs.bin": RUNS}
BASE64 = "Content-Transfer-Encoding: base64"
MESSAGES = 2000


def carrier(*extra: bytes) -> bytes:
    """A message with all the files, and some text that looks like one."""
    parts = [
        part(f"Content-Type: application/octet-stream; name={name}\n{BASE64}", lines64(octets))
        for name, octets in FILES.items()
    ]
    return message("Files", multipart("mixed", part("Content-Type: text/plain", b"begin 644 no"), *parts, *extra))


def each(decoder: str, start: bytes, octets: bytes, folder: Path, *options: str) -> None:
    """Decode every file: these programs read one of each input."""
    for text in octets.split(b"\r\n" + start)[1:]:
        subprocess.run([decoder, *options], input=start + text, cwd=folder, check=True, timeout=30)


def test_s_157_uudecode_finds_every_file(tmp_path: Path) -> None:
    octets = render(carrier(), FormatOptions(attachments="uuencode"))
    each(program("uudecode"), b"begin 644 ", octets, tmp_path)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(found) == sorted(FILES) and found == FILES


def test_s_158_hexbin_finds_both_forks(tmp_path: Path) -> None:
    resource = bytes(range(200)) * 3
    double = multipart(
        "appledouble",
        part(f"Content-Type: application/applefile\n{BASE64}", lines64(apple_double("Notes", resource))),
        part(f"Content-Type: application/octet-stream; name=Notes\n{BASE64}", lines64(RUNS)),
    )
    octets = render(carrier(double), FormatOptions(attachments="binhex"))
    each(program("hexbin"), b"(This file must be converted", octets, tmp_path, "-3")
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, data in {**FILES, "Notes": RUNS}.items():
        assert found[f"{name}.data"] == data
    assert found["Notes.rsrc"] == resource
    assert found["Notes.info"][65:73] == b"TEXTttxt"


def test_s_155_tnef_finds_what_is_unpacked(tmp_path: Path) -> None:
    """The same winmail.dat by the program `tnef` and by the renderer."""
    made = tnef([string(0x1000, "x")], [(name, octets, []) for name, octets in FILES.items() if octets])
    (tmp_path / "winmail.dat").write_bytes(made)
    subprocess.run([program("tnef"), "-C", str(tmp_path), str(tmp_path / "winmail.dat")], check=True, timeout=30)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "winmail.dat"}
    outer = part(f"Content-Type: application/ms-tnef\n{BASE64}", lines64(made))
    octets = render(message("x", outer), FormatOptions(rich_text="unpack"))
    parsed = email.message_from_bytes(octets, policy=email.policy.default)
    files = {one.get_filename(): one.get_payload(decode=True) for one in parsed.iter_attachments()}
    assert files == found == {name: octets for name, octets in FILES.items() if octets}


@pytest.fixture(scope="module")
def real() -> list[bytes]:
    return corpus(MESSAGES)


FORMATS = [
    FormatOptions("text"), FormatOptions("html", "utf-8"), FormatOptions("both", rich_text="unpack"),
    FormatOptions(attachments="uuencode"), FormatOptions("text", "utf-8", "binhex", "unpack"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("options", FORMATS, ids=fingerprint)
def test_s_154_two_thousand_real_messages(real: list[bytes], options: FormatOptions) -> None:
    """Nothing raises, and an independent parser finds no defect that the message did not have."""
    assert len(real) == MESSAGES
    changed = 0
    for octets in real:
        made = render(octets, options)
        changed += made is not octets
        if made is octets:
            continue
        parse(made)
        before = [defect for one in email.message_from_bytes(octets).walk() for defect in one.defects]
        after = [defect for one in email.message_from_bytes(made).walk() for defect in one.defects]
        assert len(after) <= len(before), (after, octets[:2000])
        assert len(made) <= 20 * len(octets)
        kept = email.message_from_bytes(octets), email.message_from_bytes(made)
        assert kept[0]["Subject"] == kept[1]["Subject"] and kept[0]["Message-ID"] == kept[1]["Message-ID"]
    assert changed > (100 if options.body != "both" or options.attachments != "mime" else 0)


def test_s_155_a_message_inside_of_rich_text_is_sound() -> None:
    inner = tnef([string(0x0037, "Inside"), string(0x1000, "text")], [("a.pdf", b"%PDF", [])])
    made = tnef(files=[("m", b"", [integer(0x3705, 5), attached(inner)])])
    outer = part(f"Content-Type: application/ms-tnef\n{BASE64}", lines64(made))
    found = email.message_from_bytes(render(message("x", outer), FormatOptions(rich_text="unpack")))
    assert not [defect for one in found.walk() for defect in one.defects]
