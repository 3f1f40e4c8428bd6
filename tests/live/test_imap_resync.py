"""Clients of other people that come back to a mailbox (RFC 7162): the standard library's, IMAPClient and mbsync.

The store is the one on the disk, and the server is killed while they are away.
"""

from __future__ import annotations

import imaplib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient

from .conftest import DOMAIN, PASSWORD, Server, _password_file
from .test_clients import mbsync
from .test_standard_library import context, imap

pytestmark = pytest.mark.live

ME = f"back@{DOMAIN}"
MESSAGE = b"Subject: %d\r\n\r\nbody\r\n"
#: Lines that imaplib would take for something else are read by ourselves.
_ROW = re.compile(rb"\d+ \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, which may be killed."""
    made = Server(tmp_path)
    made.start()
    made.command("user", "add", ME, "--password-file", str(_password_file(made)))
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def fill(client: imaplib.IMAP4, count: int) -> None:
    for number in range(count):
        assert client.append("INBOX", None, None, MESSAGE % number)[0] == "OK"


def command(client: imaplib.IMAP4, name: str, *arguments: str) -> Any:
    """A command that imaplib cannot say; its untagged responses by name."""
    client.untagged_responses = {}
    kind, said = client._simple_command(name, *arguments)  # type: ignore[attr-defined]
    assert kind == "OK", said
    return client.untagged_responses


def rows(responses: Any) -> dict[int, tuple[frozenset[bytes], int]]:
    """UID -> flags, MODSEQ of FETCH responses."""
    found = [_ROW.fullmatch(line) for line in responses.get("FETCH", [])]
    assert all(found), responses
    return {
        int(one[1]): (frozenset(one[2].split()) - {b"\\Recent"}, int(one[3])) for one in found if one is not None
    }


def vanished(responses: Any) -> set[int]:
    """UIDs of VANISHED (EARLIER)."""
    gone: set[int] = set()
    for line in responses.get("VANISHED", []):
        for part in line.removeprefix(b"(EARLIER) ").split(b","):
            low, _, high = part.partition(b":")
            gone |= set(range(int(low), int(high or low) + 1))
    return gone


def test_rfc7162_a_copy_outlives_a_killed_server(site: Server) -> None:
    client = imap(site, ME)
    fill(client, 20)
    assert command(client, "ENABLE", "QRESYNC")["ENABLED"] == [b"QRESYNC"]
    told = command(client, "SELECT", "INBOX")
    validity = int(told["UIDVALIDITY"][0])
    client.state = "SELECTED"
    copy = rows(command(client, "UID", "FETCH", "1:*", "(FLAGS)"))
    assert sorted(copy) == list(range(1, 21))
    modseq = int(told["HIGHESTMODSEQ"][0])
    for way in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        other = imap(site, ME)
        other.select()
        other.store("2:3", "+FLAGS", "(\\Seen $label1)")
        other.store("5", "+FLAGS", "\\Deleted")
        other.expunge()
        fill(other, 2)
        site.stop(way)
        site.start()
        back = imap(site, ME)
        command(back, "ENABLE", "QRESYNC")
        said = command(back, "SELECT", "INBOX", f"(QRESYNC ({validity} {modseq}))")
        back.state = "SELECTED"
        gone = vanished(said)
        assert len(gone) == 1 and gone <= set(copy)
        copy = {uid: row for uid, row in copy.items() if uid not in gone} | rows(said)
        modseq = int(said["HIGHESTMODSEQ"][0])
        assert copy == rows(command(back, "UID", "FETCH", "1:*", "(FLAGS)"))
        assert len(rows(said)) <= 4, "only what changed is told"
        back.logout()


def connect(site: Server) -> IMAPClient:
    client = IMAPClient("127.0.0.1", site.port("imap/default", tls=True), ssl_context=context(), timeout=20)
    client.login(ME, PASSWORD)
    return client


def test_imapclient_keeps_flags_in_step_by_changedsince(site: Server) -> None:
    fill(imap(site, ME), 10)
    client = connect(site)
    assert client.has_capability("CONDSTORE") and client.has_capability("QRESYNC")
    assert client.enable("CONDSTORE") == [b"CONDSTORE"]
    selected = client.select_folder("INBOX")
    modseq = selected[b"HIGHESTMODSEQ"]
    flags = {uid: data[b"FLAGS"] for uid, data in client.fetch(client.search(), ["FLAGS", "MODSEQ"]).items()}
    assert client.search(["MODSEQ", str(modseq)])
    client.logout()

    other = connect(site)
    other.select_folder("INBOX")
    other.add_flags([3, 4], [b"\\Flagged"])
    other.delete_messages([7])
    other.expunge([7])
    assert other.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"] > modseq
    other.logout()

    site.stop(signal.SIGKILL)
    site.start()
    back = connect(site)
    back.select_folder("INBOX")
    changed = back.fetch(back.search(), ["FLAGS"], [f"CHANGEDSINCE {modseq}"])
    assert set(changed) == {3, 4} and all(data[b"MODSEQ"][0] > modseq for data in changed.values())
    there = set(back.search("ALL"))
    flags = {uid: data for uid, data in flags.items() if uid in there}
    flags |= {uid: data[b"FLAGS"] for uid, data in changed.items()}
    now = {uid: data[b"FLAGS"] for uid, data in back.fetch(back.search(), ["FLAGS"]).items()}
    recent = b"\\Recent"
    assert {uid: set(data) - {recent} for uid, data in flags.items()} == {
        uid: set(data) - {recent} for uid, data in now.items()
    }
    back.logout()


def test_mbsync_goes_on_after_a_killed_server(site: Server, tmp_path: Path) -> None:
    client = imap(site, ME)
    fill(client, 5)
    home = tmp_path / "home"
    home.mkdir()
    mbsync(site, ME, home)
    client.select()
    client.store("2", "+FLAGS", "\\Seen")
    client.store("3", "+FLAGS", "\\Deleted")
    client.expunge()
    site.stop(signal.SIGKILL)
    site.start()
    mbsync(site, ME, home)
    mbsync(site, ME, home)
    assert imap(site, ME).select() == ("OK", [b"4"])
