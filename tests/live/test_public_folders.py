"""Mail to public folders by swaks, read by imaplib, over a restart (S-142)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import CONFIG, PASSWORD, Server
from .test_reception_clients import swaks
from .test_shared_mailboxes import ANNA, IMAP, PUBLIC, user

pytestmark = pytest.mark.live

CANTEEN = "public+news/staff_canteen@example.test"


@pytest.mark.parametrize("restart", [False, True])
def test_s_142_swaks_posts_and_imaplib_reads(tmp_path: Path, restart: bool) -> None:
    made = Server(tmp_path, CONFIG.replace(IMAP, IMAP + 'public_account = "public@example.test"\n'))
    made.start()
    try:
        (tmp_path / "password").write_text(PASSWORD + "\n")
        for name in (PUBLIC, ANNA):
            made.command("user", "add", name, "--password-file", str(tmp_path / "password"))
        owner = user(made, PUBLIC)
        owner.create('"News/Staff Canteen"')
        owner.create("Board")
        assert owner.setacl('"News/Staff Canteen"', "anyone", "lrp")[0] == "OK"
        assert owner.setacl("Board", ANNA, "lrp")[0] == "OK"
        if restart:
            made.stop()
            made.start()
        swaks(made, "smtp/default", "--to", CANTEEN, "--from", "x@remote.test", "--header", "Subject: soup")
        denied = swaks(made, "smtp/default", "--to", "public+Board@example.test", "--from", ANNA, ok=24)
        assert "550 5.7.1 There is no such public folder, or it takes no mail from you" in denied
        login = ("--auth", "PLAIN", "--auth-user", ANNA, "--auth-password", PASSWORD, "--tls")
        swaks(made, "smtp/submission", "--to", "public+Board@example.test", "--from", ANNA, *login)
        reader = user(made, ANNA)
        for name, sender in (("News/Staff Canteen", b"x@remote.test"), ("Board", b"anna@example.test")):
            assert reader.select(f'"Public Folders/{name}"', readonly=True)[1] == [b"1"]
            assert b"From: " + sender in reader.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1]
        reader.logout()
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()
