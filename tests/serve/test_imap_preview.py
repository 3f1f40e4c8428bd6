"""PREVIEW in a session (RFC 8970): made once, kept for all copies, and nothing breaks where it cannot be kept."""

from __future__ import annotations

from typing import Any

import pytest
from test_imap_session import hook, login, raiser, say

from mailsrv import errors
from mailsrv.message import preview
from mailsrv.testing.bed import Bed


def test_rfc8970_a_preview_is_made_once_and_copies_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = preview.make
    monkeypatch.setattr("mailsrv.message.preview.make", lambda octets: made.append(len(octets)) or make(octets))
    bed = Bed()
    bed.deliver(b"\r\nhello" + b" " * 300_000)
    client = login(bed)
    for tag in (b"a", b"b"):
        assert say(bed, client, tag + b" FETCH 1 PREVIEW").startswith(b'* 1 FETCH (PREVIEW "hello")\r\n')
    say(bed, client, b"c COPY 1 INBOX")
    assert say(bed, client, b"d FETCH 2 (PREVIEW (LAZY))").startswith(b'* 2 FETCH (PREVIEW "hello")\r\n')
    assert made == [preview.OCTETS]


def test_a_store_that_cannot_keep_it_still_shows_it() -> None:
    bed = Bed()
    bed.deliver(b"\r\nhello")
    client = login(bed)
    hook(client, keep_summaries=raiser(errors.StoreUnavailable()))
    assert say(bed, client, b"a FETCH 1 PREVIEW").startswith(b'* 1 FETCH (PREVIEW "hello")\r\n')


def test_a_store_that_cannot_be_read_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    bed.deliver(b"\r\nhello")
    client = login(bed)
    hook(client, contents=raiser(errors.StoreUnavailable()))
    assert say(bed, client, b"a FETCH 1 PREVIEW").startswith(b"a NO [UNAVAILABLE]")


def test_many_previews_come_in_order() -> None:
    bed = Bed()
    for number in range(450):
        bed.deliver(b"\r\nnumber %d" % number)
    client = login(bed)
    answer: Any = say(bed, client, b"a FETCH 1:* PREVIEW").split(b"\r\n")
    assert answer[:-2] == [b'* %d FETCH (PREVIEW "number %d")' % (at + 1, at) for at in range(450)]
