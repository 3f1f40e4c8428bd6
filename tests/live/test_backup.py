"""Backup of a site under traffic, restore into a new one, and comparison message by message (decisions 9)."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from .conftest import CONFIG, DOMAIN, PASSWORD, Server
from .test_kill import identity, message
from .test_standard_library import imap, send

pytestmark = pytest.mark.live

ACCOUNT = f"me@{DOMAIN}"


def sends(server: Server, acknowledged: list[str], stop: threading.Event, seed: int) -> None:
    """Mail without a pause; the names of what was answered 250, in order."""
    import random
    import smtplib

    dice = random.Random(seed)
    with smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=20) as client:
        while not stop.is_set():
            name, octets = message(dice)
            assert client.sendmail("storm@remote.example", [ACCOUNT], octets) == {}
            acknowledged.append(name)


def names(server: Server) -> list[str]:
    """What INBOX holds, every message whole."""
    client = imap(server, ACCOUNT)
    client.select(readonly=True)
    found = client.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]
    client.logout()
    return [identity(item[1]) for item in found if isinstance(item, tuple)]


def test_a_backup_under_traffic_restores_all_that_was_acknowledged_before(tmp_path: Path) -> None:
    old = Server(tmp_path)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    old.command("user", "add", ACCOUNT, "--password-file", str(tmp_path / "password"))
    backup = str(tmp_path / "backup")
    said = old.command("store", "backup", backup).stdout
    assert "files" in said, "also without a server"
    old.start()
    stop, acknowledged = threading.Event(), [list[str]() for _ in range(3)]
    senders = [
        threading.Thread(target=sends, args=(old, mine, stop, seed), daemon=True)
        for seed, mine in enumerate(acknowledged)
    ]
    try:
        for sender in senders:
            sender.start()
        while min(len(mine) for mine in acknowledged) < 20:
            assert all(sender.is_alive() for sender in senders)
            stop.wait(0.02)
        before = {name for mine in acknowledged for name in mine}
        old.command("store", "backup", backup, "--progress")
        during = {name for mine in acknowledged for name in mine}
        stop.set()
        for sender in senders:
            sender.join(20)
        after = {name for mine in acknowledged for name in mine}
        refused = old.command("store", "restore", backup, "--force", check=False)
        assert refused.returncode == 1 and "in use" in refused.stderr
        inside = old.command("store", "backup", str(old.data / "backup"), check=False)
        assert inside.returncode == 1 and "data folder" in inside.stderr
    finally:
        stop.set()
        old.stop()
    assert "Traceback" not in old.log()
    whole = json.loads(old.command("store", "verify-backup", backup, "--json").stdout)
    assert whole["ok"] and whole["hostname"] == "mx.example.test"

    # The site is lost; the backup makes another one, with its configuration.
    said = old.command("store", "restore", backup, "--into", str(tmp_path / "new")).stdout
    assert str(tmp_path / "new" / "mailsrv.toml") in said
    new = Server(tmp_path / "new", (tmp_path / "new" / "mailsrv.toml").read_text())
    assert "nothing wrong" in new.command("store", "check").stdout
    assert (new.data / "tls" / "default.key").read_bytes() == (old.data / "tls" / "default.key").read_bytes()
    new.start()
    try:
        found = names(new)
        assert len(found) == len(set(found)) and before <= set(found) <= after and before
        assert during >= before
        assert send(new, [ACCOUNT]) == {}
        client = imap(new, ACCOUNT)
        client.select()
        assert int(client.uid("SEARCH", "1:*")[1][0].split()[-1]) > 1_000_000
        client.logout()
    finally:
        new.stop()
    assert "Traceback" not in new.log(), new.log()


def test_the_queue_is_on_hold_after_a_restore_until_it_is_released(tmp_path: Path) -> None:
    server = Server(tmp_path, CONFIG + '[routes."far.example"]\nhost = ["127.0.0.1"]\nport = 9\n')
    (tmp_path / "password").write_text(PASSWORD + "\n")
    server.command("user", "add", ACCOUNT, "--password-file", str(tmp_path / "password"))
    server.command("alias", "add", f"away@{DOMAIN}", "someone@far.example")
    server.start()
    try:
        send(server, [f"away@{DOMAIN}"])
        backup = str(tmp_path / "backup")
        server.command("store", "backup", backup)
    finally:
        server.stop()
    said = server.command("store", "restore", backup, check=False)
    assert said.returncode == 1 and "--force" in said.stderr
    said = server.command("store", "restore", backup, "--force")
    assert "queue release --all" in said.stdout and "data.before-" in said.stdout
    server.start()
    try:
        summary = server.command("queue", "summary").stdout
        assert "1 on hold since the store was restored" in summary and "queue release --all" in summary
        assert json.loads(server.command("queue", "list", "--json").stdout)["rows"][0]["state"] == "held"
        server.command("queue", "release", "--all")
        assert "since the store was restored" not in server.command("queue", "summary").stdout
    finally:
        server.stop()
    assert "Traceback" not in server.log(), server.log()
