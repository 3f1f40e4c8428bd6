"""Shared mailboxes, public folders, quotas and annotations with Python's imaplib, over a restart (S-142, S-146)."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CONFIG, PASSWORD, Server
from .test_virtual_servers import unchecked

pytestmark = pytest.mark.live

PUBLIC, ANNA, BO = "public@example.test", "anna@example.test", "bo@example.test"
PRIVATE = """[imap.private]
public_account = "public@example.test"
public_folders = false
listen = ["127.0.0.1:0/tls"]
"""
IMAP = "[imap.default]\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Server]:
    """A site with public folders; its second server does not list them."""
    config = CONFIG.replace(IMAP, IMAP + 'public_account = "public@example.test"\n') + PRIVATE
    made = Server(tmp_path, config + '[limits]\nquota = "1M"\n')
    made.start()
    (tmp_path / "password").write_text(PASSWORD + "\n")
    for name in (PUBLIC, ANNA, BO):
        made.command("user", "add", name, "--password-file", str(tmp_path / "password"))
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def user(site: Server, name: str, server: str = "imap/default") -> imaplib.IMAP4_SSL:
    """A login."""
    client = imaplib.IMAP4_SSL("127.0.0.1", site.port(server, True), ssl_context=unchecked(), timeout=20)
    client.login(name, PASSWORD)
    return client


def folders(client: imaplib.IMAP4_SSL) -> set[str]:
    """The names of LIST."""
    return {line.decode().partition(' "/" ')[2].strip('"') for line in client.list()[1]}


def test_s_142_s_146_they_are_granted_listed_or_not_and_there_after_a_restart(site: Server) -> None:
    owner = user(site, PUBLIC)
    assert owner.create("News")[0] == "OK" and owner.setacl("News", "anyone", "lrs")[0] == "OK"
    assert owner.create("News/Canteen")[0] == "OK"
    owner.append("News/Canteen", None, None, b"Subject: menu\r\n\r\nsoup\r\n")
    owner.logout()
    anna = user(site, ANNA)
    anna.create("Work")
    assert anna.setacl("Work", BO, "lrswite")[0] == "OK"
    assert anna.getquotaroot("INBOX")[1][1][0].startswith(b'"" (STORAGE 0 1024')
    anna.logout()
    site.stop()
    site.start()
    bo = user(site, BO)
    work = f"Other Users/{ANNA}/Work"
    assert {work, "Public Folders/News", "Public Folders/News/Canteen"} <= folders(bo)
    assert b"lrswite" in bo.myrights(f'"{work}"')[1][0]
    assert bo.append(f'"{work}"', None, None, b"Subject: from bo\r\n\r\n\r\n")[0] == "OK"
    bo.select('"Public Folders/News/Canteen"')
    assert bo.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1] == b"Subject: menu\r\n\r\n"
    assert bo.store("1", "+FLAGS", r"(\Deleted)")[0] == "NO"
    bo.logout()
    private = user(site, BO, "imap/private")
    assert work in folders(private) and not any(name.startswith("Public") for name in folders(private))
    assert private.select('"Public Folders/News/Canteen"')[0] == "OK"
    private.logout()
    anna = user(site, ANNA)
    anna.select("Work")
    assert anna.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1] == b"Subject: from bo\r\n\r\n"
    anna.logout()
