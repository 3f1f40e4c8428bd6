"""The pages about reception say what is: each one's configuration is run as a site, and its conversations are held.

A block ```smtp begins with `# SERVER from ADDRESS`, and perhaps `with TLS`, when STARTTLS is not shown; `S:` is heard
and `C:` is said (with \\r and \\n as in Python); `S: ...` is the rest of a reply, `TLS` a handshake.
The site is behind a proxy that says where a client comes from.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from .conftest import PASSWORD, Server
from .test_standard_library import context

pytestmark = pytest.mark.live

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [*sorted((DOCS / "smtp").glob("*.md")), DOCS / "policies.md"]
SITE = '[site]\nhostname = "mx.example.org"\ndomains = ["example.org"]\n'


def blocks(page: Path, kind: str) -> list[str]:
    """The blocks of code of that kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def configuration(page: Path) -> str:
    """All that the page shows, on ports of this machine, with this test as a proxy."""
    text = "\n".join(blocks(page, "toml"))
    document: Any = tomlkit.parse(text if "[site]" in text else SITE + text)
    # There is no such certificate here: that of the first start is shown.
    document.pop("tls", None)
    for server in document["smtp"].values():
        server["listen"] = ["127.0.0.1:0"]
        server.pop("certificates", None)
        server["trusted_proxies"] = ["127.0.0.1"]
    return tomlkit.dumps(document)


@pytest.fixture(scope="module", params=PAGES, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(scope="module")
def site(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(page.stem)
    users = ("anna@example.org", "bob@example.org")
    lines = [json.dumps({"address": user, "password": PASSWORD}) for user in users]
    (folder / "users").write_text("\n".join(lines) + "\n")
    made = Server(folder, configuration(page))
    made.start()
    try:
        made.command("user", "add", "--from", str(folder / "users"))
        made.command("alias", "add", "staff@example.org", *users)
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def hold(site: Server, block: str) -> None:
    """One conversation, line by line."""
    first, *lines = block.splitlines()
    told = re.fullmatch(r"# (smtp/\w+) from (\S+)( with TLS)?", first)
    assert told is not None, first
    if told[3]:
        lines = ["S: 220 mx.example.org ESMTP mailsrv", "C: EHLO c", "S: 250-mx.example.org", "S: ...", "C: STARTTLS",
                 "S: 220 2.0.0 Ready to start TLS", "TLS", *lines]  # fmt: skip
    client = socket.create_connection(("127.0.0.1", site.port(told[1])), 20)
    client.sendall(f"PROXY TCP4 {told[2]} 192.0.2.25 40000 25\r\n".encode())
    stream = client.makefile("rb")
    last = ""
    for line in lines:
        if line == "TLS":
            client = context().wrap_socket(client, server_hostname="mx.example.org")
            stream = client.makefile("rb")
        elif line == "S: ...":
            while last[3:4] != " ":
                last = stream.readline().decode()
                assert last, block
        elif line.startswith("S: "):
            last = stream.readline().decode()
            assert last == line[3:] + "\r\n", f"{last!r} in {block}"
        else:
            assert line.startswith("C:"), line
            said = line[2:].removeprefix(" ").replace("\\r", "\r").replace("\\n", "\n")
            client.sendall(said.encode() + b"\r\n")
    client.close()


def test_the_conversations_of_the_page_are_held_as_they_are_shown(site: Server, page: Path) -> None:
    shown = blocks(page, "smtp")
    assert shown
    for block in shown:
        hold(site, block)
