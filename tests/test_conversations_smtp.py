"""Every reply that SMTP has ready is shown by a conversation, word for word, and every command by several."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from mailsrv.serve import smtp_replies
from mailsrv.wire.smtp_commands import LMTP, SMTP

FOLDER = Path(__file__).parent / "conversations"
REPLIES = {name: octets for name, octets in vars(smtp_replies).items() if name.isupper() and isinstance(octets, bytes)}


@lru_cache
def lines(side: str) -> frozenset[str]:
    """What one side says in the conversations of SMTP and LMTP."""
    found = set()
    for path in (*FOLDER.glob("smtp-*.txt"), *FOLDER.glob("lmtp-*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            said = re.match(rf"{side}\w*<?: ?(.*)", line)
            if said:
                found |= set(said.group(1).split("\\r\\n"))
    return frozenset(found)


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_is_shown(name: str) -> None:
    assert REPLIES[name].decode("ascii").removesuffix("\r\n") in lines("S")


@pytest.mark.parametrize("verb", sorted({*SMTP, *LMTP}))
def test_every_command_is_shown(verb: str) -> None:
    assert sum(line.upper().split(" ")[0] == verb for line in lines("C")) >= 1
