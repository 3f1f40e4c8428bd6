"""Unique ids (RFC 1939 section 7): formats of other servers, ids that came with messages, ids that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message.content import MemoryContent
from mailsrv.serve.pop3_uidl import DEFAULT, MAX_OCTETS, UidlFormat, possible, unique_ids
from mailsrv.testing.bed import Bed
from mailsrv.values import NewMessage
from tests.properties import tries

VALIDITY, UID = 1_700_000_000, 255


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (DEFAULT, b"6553f100000000ff"),
        ("%08Xu%08Xv", b"000000ff6553f100"),  # Dovecot
        ("%v.%u", b"1700000000.255"),  # Cyrus
        ("%u", b"255"),  # Cyrus before version 2
        ("UID%u-%v", b"UID255-1700000000"),  # Courier
        ("%v-%u", b"1700000000-255"),  # Courier version 0
        ("%Xu", b"ff"),
        ("%010u%%~", b"0000000255%~"),
    ],
)
def test_rfc1939_section_7_the_formats_of_other_servers(text: str, shown: bytes) -> None:
    assert UidlFormat(text).template(VALIDITY) % UID == shown
    assert possible(shown) and str(UidlFormat(text)) == text and UidlFormat(text) == UidlFormat(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%v", "%u must stand in it once"),
        ("", "%u must stand in it once"),
        ("%u%u", "%u must stand in it once"),
        ("%u %v", "from ! to ~"),
        ("ü%u", "from ! to ~"),
        ("%g%u", "after % stands u or v"),
        ("%u%", "after % stands u or v"),
        ("%8Xu", "a width begins with 0"),
        ("x" * 61 + "%u", "71 octets, 70 may be"),
        ("%099u", "99 octets, 70 may be"),
    ],
)
def test_a_format_that_makes_no_ids_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UidlFormat(text)


@settings(max_examples=tries(200), deadline=None)
@given(st.text(st.sampled_from("%uvX0189x-"), max_size=14), st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_whatever_is_taken_makes_possible_ids_that_differ(text: str, validity: int, uid: int) -> None:
    try:
        template = UidlFormat(text).template(validity)
    except ValueError:
        return
    ids = {template % uid, template % (uid % 2**31 + 1)}
    assert all(map(possible, ids)) and (len(ids) == 2 or uid == uid % 2**31 + 1)


@pytest.mark.parametrize("octets", [b"", b"x" * (MAX_OCTETS + 1), b"a b", b"\x7f", b"\xc3\xa4"])
def test_what_cannot_be_an_id(octets: bytes) -> None:
    assert not possible(octets)


def fill(bed: Bed, *ids: bytes) -> Any:
    box = bed.loop.run(bed.loop.run(bed.store.account(bed.accounts["me"])).open("INBOX"))
    new = NewMessage(MemoryContent(b"Subject: x\r\n\r\n"))
    bed.loop.run(box.append([evolve(new, unique_id=one) for one in ids]))
    return box


def listing(bed: Bed, *said: bytes) -> list[bytes]:
    """The ids that a session shows, one by one and all together alike."""
    client = bed.connect("pop3")
    client.send(b"USER me\r\nPASS secret\r\n" + b"".join(said) + b"UIDL\r\n")
    bed.settle()
    lines = client.take().split(b"\r\n")
    lines = lines[lines.index(b"+OK Unique ids follow") + 1 : -2]
    for line in lines:
        client.send(b"UIDL " + line.split()[0] + b"\r\n")
        bed.settle()
        assert client.take() == b"+OK " + line + b"\r\n"
    client.send(b"QUIT\r\n")
    bed.settle()
    return [line.split()[1] for line in lines]


def test_ids_that_came_with_messages_are_shown_beside_our_own() -> None:
    bed = Bed(uidl="%u")
    fill(bed, b"000000ff6553f100", b"", b"UID7-1")
    assert listing(bed) == [b"000000ff6553f100", b"2", b"UID7-1"]
    assert listing(bed, b"DELE 1\r\n") == [b"2", b"UID7-1"]
    assert listing(bed) == [b"2", b"UID7-1"]


def test_an_id_of_our_own_is_never_one_that_came_with_another_message() -> None:
    bed = Bed(uidl="%u")
    fill(bed, b"3", b"", b"")
    assert listing(bed) == [b"3", b"2", b"3~"]
    assert unique_ids(b"%d", [3], {1: b"3"}) == [b"3~"]
