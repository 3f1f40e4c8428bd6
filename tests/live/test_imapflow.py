"""imapflow, the client library of Node.js programs: fetched once from the npm registry into the user's cache."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .apart import unable
from .conftest import PASSWORD, Server, program
from .corpus import cache

pytestmark = pytest.mark.live

VERSION = "2.10.2"
SCRIPT = Path(__file__).with_name("imapflow_session.js")


def module() -> Path:
    """The library; skips the test where it cannot be had, fails it in CI."""
    folder = cache() / f"imapflow-{VERSION}"
    found = folder / "node_modules" / "imapflow"
    if not found.exists():
        line = [program("npm"), "install", "--prefix", str(folder), f"imapflow@{VERSION}", "--no-audit", "--no-fund",
                "--ignore-scripts"]  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=folder, check=False)
        if done.returncode or not found.exists():
            unable(f"imapflow cannot be had: {done.stderr[-300:]}")
    return found


def test_imapflow_reads_searches_moves_idles_and_comes_back_with_qresync(server: Server, account: str) -> None:
    where = {
        "module": str(module()), "port": server.port("imap/default", tls=True), "user": account, "password": PASSWORD,
    }  # fmt: skip
    line = [program("node"), str(SCRIPT), json.dumps(where)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert {"CONDSTORE", "QRESYNC"} <= set(out["enabled"]) and out["compressed"] and out["server"] == "mailsrv"
    assert out["namespace"] == {"prefix": "", "delimiter": "/"}
    assert out["created"]["path"] == "Wörk/sub" and out["created"]["created"] and out["again"] is False
    folders = {name: rest for name, *rest in out["folders"]}
    assert folders["Sent"] == ["\\Sent", True, 0] and folders["INBOX"] == ["\\Inbox", True, 0] and "Wörk/sub" in folders
    assert out["appended"] == 1
    message = out["message"]
    assert message["subject"] == "Grüße" and message["from"] == {"name": "Zoë", "address": "zoe@example.org"}
    assert {"\\Seen", "$label1"} <= set(message["flags"]) and message["date"] == "2020-02-03T04:05:06.000Z"
    assert message["size"] and (message["modseq"], message["emailId"]) == ("bigint", "string")
    assert message["parts"] == ["text/plain", "application/pdf"]
    assert out["text"].strip() == "café" and out["file"] == "r.pdf" and out["source"]
    assert out["found"] == [[1], [1], [1], [2, 3], [2, 3, 4]]
    assert {"\\Flagged", "Custom"} <= set(out["flags"])
    assert out["copied"] == [1, 2] and out["moved"] == [[4, 1]] and out["status"][:2] == [2, 3] and out["quota"]
    assert out["told"] == ["exists", "expunge", "flags"]
    changed = {uid: flags for uid, flags in out["back"]}
    assert changed[1] == ["$label1", "\\Answered", "\\Seen"] and 5 in changed
    # It counts its MODSEQ from before its own MOVE of 4.
    assert out["gone"] == [[2, True], [4, True]]
    assert out["after"] == ["Büro"] and out["refused"] == "AUTHENTICATIONFAILED"
