"""`mailsrv store check|compact|rescue` on the folder of a real site."""

from __future__ import annotations

import imaplib
import re
from pathlib import Path

import pytest

from .conftest import CONFIG, DOMAIN, PASSWORD, Server
from .messages import REAL, without_trace
from .test_standard_library import imap, send

pytestmark = pytest.mark.live


def rows(client: imaplib.IMAP4) -> list[object]:
    """UIDs, flags, dates and contents of all messages; who saw a message first is not kept."""
    fetched = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
    return [(re.sub(rb" ?\\Recent", b"", item[0]).replace(b"( ", b"("), item[1]) for item in fetched[::2]]


def test_a_site_goes_on_with_the_store_that_rescue_made(tmp_path: Path) -> None:
    old = Server(tmp_path)
    account = f"me@{DOMAIN}"
    (tmp_path / "password").write_text(PASSWORD + "\n")
    old.command("user", "add", account, "--password-file", str(tmp_path / "password"))
    old.start()
    try:
        for _ in range(3):
            send(old, [account])
        client = imap(old, account)
        client.select()
        client.store("2", "+FLAGS", r"(\Flagged custom)")
        client.store("3", "+FLAGS", r"(\Deleted)")
        client.expunge()
        client.create("Projects")
        client.copy("1", "Projects")
        before = rows(client)
        client.logout()
        assert "nothing wrong" in old.command("store", "check").stdout
        assert "given back" in old.command("store", "compact").stdout
        busy = old.command("store", "rescue", str(tmp_path / "new"), check=False)
        assert busy.returncode == 1 and str(tmp_path / "data") in busy.stderr
    finally:
        old.stop()
    said = old.command("store", "rescue", str(tmp_path / "new")).stdout
    assert "1 accounts" in said and "Traceback" not in said
    (tmp_path / "again").mkdir()
    new = Server(tmp_path / "again", CONFIG.replace('data = "data"', f'data = "{tmp_path}/new"'))
    new.data = tmp_path / "new"
    assert "nothing wrong" in new.command("store", "check").stdout
    new.start()
    try:
        client = imap(new, account)
        client.select()
        assert rows(client) == before and len(before) == 2
        client.select("Projects")
        assert without_trace(client.fetch("1", "(BODY.PEEK[])")[1][0][1]) == REAL
        client.logout()
        send(new, [account])
        client = imap(new, account)
        assert client.select() == ("OK", [b"3"])
        assert client.fetch("3", "(UID)")[1] == [b"3 (UID 4)"], "a UID was used again"
    finally:
        new.stop()
