"""The gallery: every message in every format is what the files say, octet for octet."""

from __future__ import annotations

import email
import email.policy

import pytest

from mailsrv.message.format import render
from tests.gallery import FORMATS, INDEX, RENDERED, STORED, file_of, renderings

NAMES = sorted(path.stem for path in STORED.glob("*.eml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_message_looks_as_the_gallery_shows(name: str) -> None:
    octets = (STORED / f"{name}.eml").read_bytes()
    for options in FORMATS:
        kept = file_of(name, options)
        expected = kept.read_bytes() if kept.exists() else octets
        assert render(octets, options) == expected, f"{kept}: python -m tests.gallery"


def test_the_gallery_has_no_other_files() -> None:
    made = renderings()
    assert set(RENDERED.rglob("*.eml")) == set(made) - {INDEX}
    assert INDEX.read_bytes() == made[INDEX]


@pytest.mark.parametrize("name", NAMES)
def test_renderings_are_sound_for_a_strict_reader(name: str) -> None:
    octets = (STORED / f"{name}.eml").read_bytes()
    sound = not email.message_from_bytes(octets, policy=email.policy.default).defects
    for options in FORMATS:
        made = render(octets, options)
        found = email.message_from_bytes(made, policy=email.policy.default)
        assert b"\n" not in made.replace(b"\r\n", b"")
        for part in found.walk():
            assert not sound or not part.defects, (name, options, part.defects)
            if part.get_content_maintype() == "text" and not part.get_filename():
                assert "\N{REPLACEMENT CHARACTER}" not in part.get_content()


def test_renderings_of_renderings_are_the_same() -> None:
    """What has the form already stays: nothing grows or changes by being rendered twice."""
    for name in NAMES:
        octets = (STORED / f"{name}.eml").read_bytes()
        for options in FORMATS:
            if options.attachments != "mime":
                continue
            once = render(octets, options)
            assert render(once, options) == once, (name, options)
