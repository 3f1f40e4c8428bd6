"""The site needs nothing of the epoll reactor: it runs on the others that an embedding program may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import DOMAIN, PASSWORD, Server
from .messages import REAL, without_trace
from .test_standard_library import imap, send

pytestmark = pytest.mark.live


@pytest.mark.parametrize("reactor", ["asyncio", "select"])
def test_mail_passes_on_another_reactor(reactor: str, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.options = ["-r", reactor]
    account = f"me@{DOMAIN}"
    (tmp_path / "password").write_text(PASSWORD + "\n")
    server.command("user", "add", account, "--password-file", str(tmp_path / "password"))
    server.start()
    try:
        for _ in range(3):
            assert send(server, [account]) == {}
        client = imap(server, account)
        assert client.select() == ("OK", [b"3"])
        assert without_trace(client.fetch("3", "(BODY.PEEK[])")[1][0][1]) == REAL
        client.logout()
    finally:
        server.stop()
    assert "Traceback" not in server.log()
