"""2,000 real messages through IMAP4: their octets come back as they went in, and what is told of them can be read."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.response_types import Envelope

from .conftest import PASSWORD, Server
from .corpus import corpus
from .test_standard_library import context

pytestmark = pytest.mark.live

COUNT, BATCH = 2000, 200


def test_2000_real_messages_are_kept_described_sorted_and_found(server: Server, account: str) -> None:
    messages = [one for one in corpus(COUNT + 50) if b"\0" not in one][:COUNT]
    client = IMAPClient("127.0.0.1", server.port("imap/default", tls=True), ssl_context=context(), timeout=60)
    client.login(account, PASSWORD)
    for at in range(0, COUNT, BATCH):
        client.multiappend("INBOX", messages[at : at + BATCH])
    assert client.select_folder("INBOX")[b"EXISTS"] == COUNT
    alike = 0
    for at in range(0, COUNT, BATCH):
        uids = range(at + 1, at + BATCH + 1)
        found = client.fetch(list(uids), ["BODY.PEEK[]", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE"])
        for uid, message in zip(uids, messages[at : at + BATCH]):
            row = found[uid]
            assert row[b"BODY[]"] == message and row[b"RFC822.SIZE"] == len(message)
            # Its classes refuse what is not in the grammar.
            assert isinstance(row[b"ENVELOPE"], Envelope) and isinstance(row[b"BODYSTRUCTURE"], tuple)
            parsed = email.message_from_bytes(message, policy=email.policy.compat32)
            alike += types(row[b"BODYSTRUCTURE"]) == [part.get_content_type() for part in parsed.walk()]
    assert alike >= COUNT * 0.99, "the standard library sees the same parts, but for broken messages"
    subject = client.sort(["SUBJECT"], charset="UTF-8")
    assert sorted(subject) == list(range(1, COUNT + 1))
    assert sum(len(flat(thread)) for thread in client.thread("REFERENCES", charset="UTF-8")) == COUNT
    words = client.search(["TEXT", "mailing list"])
    assert set(words) >= {
        uid for uid, message in enumerate(messages, 1) if b"mailing list" in message.partition(b"\r\n\r\n")[0].lower()
    }
    assert client.search(["LARGER", "100000"]) == [
        uid for uid, message in enumerate(messages, 1) if len(message) > 100_000
    ]
    client.logout()


def types(structure: Any) -> list[str]:
    """The content types in the order of `email`'s walk.  IMAPClient gathers the parts of a multipart in a list, but not
    those inside of an embedded message."""
    parts = structure[0] if isinstance(structure[0], list) else [one for one in structure if isinstance(one, tuple)]
    if isinstance(structure[0], list | tuple):
        kinds = [one for one in structure if isinstance(one, bytes)]
        kind = kinds[0].decode("ascii", "replace").lower()
        return [f"multipart/{kind}", *(name for part in parts for name in types(part))]
    name = f"{structure[0].decode('ascii', 'replace')}/{structure[1].decode('ascii', 'replace')}".lower()
    return [name, *(types(structure[8]) if name == "message/rfc822" else [])]


def flat(thread: Any) -> list[int]:
    """The UIDs of a thread."""
    return [thread] if isinstance(thread, int) else [uid for one in thread for uid in flat(one)]
