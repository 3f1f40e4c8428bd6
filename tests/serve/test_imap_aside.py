"""A message of many octets is examined away from the reactor, a small one is not."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.serve.imap.summaries import LARGE
from mailsrv.testing.bed import Bed

SMALL = b"Subject: small\r\n\r\nneedle\r\n"


@pytest.mark.parametrize("command", [b"FETCH 1:* (ENVELOPE)", b"SEARCH BODY needle"])
@pytest.mark.parametrize("size", [LARGE // 2, LARGE * 2])
def test_a_large_message_is_examined_aside(command: bytes, size: int) -> None:
    seen: list[str] = []

    async def aside(function: Any, *arguments: Any) -> Any:
        seen.append(function.__name__)
        return function(*arguments)

    bed = Bed(aside=aside)
    bed.deliver(SMALL)
    bed.deliver(b"Subject: large\r\n\r\n" + b"x" * 78 + b"\r\n" + (b"y" * 78 + b"\r\n") * (size // 80) + b"needle\r\n")
    client = bed.connect("imap")
    client.send(b"a LOGIN me@example.org secret\r\nb SELECT INBOX\r\n")
    bed.settle()
    client.take()
    client.send(b"c " + command + b"\r\n")
    bed.settle()
    said = client.take()
    assert b"c OK" in said
    assert (b"* SEARCH 1 2" in said) if command.startswith(b"SEARCH") else (said.count(b"ENVELOPE") == 2)
    assert len(seen) == (1 if size > LARGE else 0)
