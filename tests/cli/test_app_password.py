"""mailsrv user app-password: what a password is good for is said, or it is not made."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailsrv.cli.common import USAGE
from mailsrv.cli.main import main

CONFIG = '[site]\nhostname = "mail.example.org"\ndomains = ["example.org"]\n[store]\nuse = "memory"\n'


@pytest.mark.parametrize("protocols", ["", ",", " , "])
def test_an_empty_list_of_protocols_is_a_mistake_and_not_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], protocols: str
) -> None:
    """``--for "$PROTOCOLS"`` in a script that forgot to set it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailsrv.toml").write_text(CONFIG)
    status = main(["user", "app-password", "add", "me@example.org", "Phone", "--for", protocols])
    assert status == USAGE and "--for names no protocol" in capsys.readouterr().err
