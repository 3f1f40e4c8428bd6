"""mutt: reads, flags, saves to another folder, searches on the server, makes and subscribes a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import PASSWORD, Server, program
from .test_logins_clients import on_terminal
from .test_standard_library import imap

pytestmark = pytest.mark.live


def test_mutt_reads_flags_saves_and_searches(server: Server, account: str, tmp_path: Path) -> None:
    client = imap(server, account)
    for name in ("first", "second", "third"):
        text = f"From: ann@example.org\r\nSubject: {name}\r\nMessage-ID: <{name}@x>\r\n\r\nthe {name} text\r\n"
        assert client.append("INBOX", "", "", text.encode())[0] == "OK"  # type: ignore[arg-type]
    where = f"imaps://127.0.0.1:{server.port('imap/default', tls=True)}/"
    config = tmp_path / "muttrc"
    keys = (
        # Read the first, flag the second, save the one whose body says "third", which the server must find.
        "<display-message><exit><next-entry><flag-message><limit>=b 'third text'<enter>"
        "<save-message>=Saved<enter><limit>all<enter><sync-mailbox><exit>"
    )
    config.write_text(
        f'set imap_user="{account}" imap_pass="{PASSWORD}" folder="{where}" spoolfile="{where}INBOX" record=""\n'
        f'set header_cache="" certificate_file="{server.folder}/data/tls/default.crt" ssl_verify_host=no sleep_time=0\n'
        'set wait_key=no confirmcreate=no confirmappend=no quit=yes delete=yes move=no imap_qresync=yes\n'
        f'push "{keys}"\n'
    )
    on_terminal([program("mutt"), "-n", "-F", str(config), "-f", f"{where}INBOX"], tmp_path)
    client.select("INBOX", readonly=True)
    assert client.search(None, "SEEN", "SUBJECT", "first")[1] == [b"1"]
    assert client.search(None, "FLAGGED")[1] == [b"2"]
    assert client.search(None, "ALL")[1] == [b"1 2"]
    assert client.select("Saved", readonly=True) == ("OK", [b"1"])
    assert client.search(None, "SUBJECT", "third")[1] == [b"1"]
    client.logout()
