"""NOTIFY over real sockets and the store on the disk (RFC 5465): a client of few lines."""

from __future__ import annotations

import re

import pytest

from .conftest import PASSWORD, Server
from .test_imap_compress import Client
from .test_standard_library import imap, send

pytestmark = pytest.mark.live


def test_rfc5465_deliveries_and_names_are_told(server: Server, account: str) -> None:
    client = Client(server)
    assert b" NOTIFY " in client.command(b'LOGIN %b "%b"' % (account.encode(), PASSWORD.encode()))
    client.command(b"SELECT Drafts")
    groups = b"(SELECTED (MessageNew MessageExpunge)) (PERSONAL (MessageNew MessageExpunge MailboxName))"
    answer = client.command(b"NOTIFY SET STATUS " + groups)
    assert b"* STATUS INBOX (MESSAGES 0 UIDNEXT 1 " in answer and b"STATUS Drafts" not in answer
    send(server, [account])
    assert re.fullmatch(rb"\* STATUS INBOX \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 1\)", client.line())
    other = imap(server, account)
    other.create("Lists")
    assert client.line() == b'* LIST () "/" Lists'
    assert client.line().startswith(b"* STATUS Lists (MESSAGES 0 ")
    assert other.append("Drafts", None, None, b"Subject: x\r\n\r\nx\r\n")[0] == "OK"
    assert client.line() == b"* 1 EXISTS" and client.line() == b"* 1 RECENT"
    # Above the deflate layer too.
    client.command(b"COMPRESS DEFLATE")
    client.deflate()
    other.delete("Lists")
    assert client.line() == b'* LIST (\\NonExistent) "/" Lists'
    assert client.command(b"NOTIFY NONE") == b"a OK NOTIFY completed\r\n"
    other.logout()
    client.close()
