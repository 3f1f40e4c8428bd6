"""The client sides of the mechanisms against a server that is not ours: Dovecot (S-108..S-110)."""

from __future__ import annotations

import getpass
import grp
import imaplib
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.ports import free_ports

from .conftest import program
from .logins import Client, imaplib_answers

pytestmark = pytest.mark.live

USER, PASSWORD, OTHER = "rhea@example.test", "Brisk-Tapir-6408", "Blunt=Lemur,Ünder-7012"
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")


class Dovecot:
    """One on a loopback port, with nothing of the system's own; `port` as of `Server`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def port(self, name: str, tls: bool = False) -> int:
        """Its only one."""
        return self._port

    def start(self) -> None:
        """Start and wait until it greets."""
        # Dovecot wants three users apart; where we are not root there is only one.
        root = os.geteuid() == 0
        names = ("dovecot", "dovenull", "nobody") if root else (getpass.getuser(),) * 3
        mail = pwd.getpwnam(names[2])
        home = self.folder / "mail"
        home.mkdir()
        if root:
            os.chown(home, mail.pw_uid, mail.pw_gid)
            self.folder.chmod(0o755)
        (self.folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\nother@example.test:{{PLAIN}}{OTHER}\n")
        config = self.folder / "dovecot.conf"
        config.write_text(CONFIG.format(
            folder=self.folder, port=self._port, internal=names[0], login=names[1],
            group=grp.getgrgid(pwd.getpwnam(names[0]).pw_gid).gr_name, uid=mail.pw_uid,
            gid=mail.pw_gid, mechanisms=" ".join(MECHANISMS).lower(),
        ))  # fmt: skip
        line = [program("dovecot"), "-F", "-c", str(config)]
        with (self.folder / "out").open("wb") as out:
            self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until = time.monotonic() + 60
        while True:
            assert self._process.poll() is None and time.monotonic() < until, self.told()
            try:
                with Client(self, "imap") as client:
                    assert client.heard[0].startswith("* OK"), client.heard
                return
            except OSError:
                time.sleep(0.05)

    def told(self) -> str:
        """What it says of itself."""
        return "".join(path.read_text() for path in (self.folder / "out", self.folder / "log") if path.exists())

    def stop(self) -> None:
        """End it; it ends its own children."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
mail_location = maildir:~/Maildir
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service auth {{
  unix_listener auth-relay {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """One for all tests of this file."""
    # Its users must reach the folder: those of pytest are their owner's alone.
    with TemporaryDirectory(prefix="mailsrv-dovecot-") as folder:
        made = Dovecot(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.mark.parametrize("initial", [True, False], ids=["initial", "bare"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_dovecot_takes_what_our_client_side_sends(dovecot: Dovecot, mechanism: str, initial: bool) -> None:
    # Both ways are one for LOGIN and CRAM-MD5, where the server speaks first.
    for user, password in ((USER, PASSWORD), ("other@example.test", OTHER)):
        with Client(dovecot, "imap") as client:
            assert client.login(mechanism, user, password, initial=initial) == "ok", (client.heard, dovecot.told())


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_dovecot_refuses_a_wrong_password(dovecot: Dovecot, mechanism: str) -> None:
    with Client(dovecot, "imap") as client:
        assert client.login(mechanism, USER, "wrong") == "no", client.heard


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_imaplib_logs_in_at_dovecot_with_our_client_side(dovecot: Dovecot, mechanism: str) -> None:
    with imaplib.IMAP4("127.0.0.1", dovecot.port("imap"), timeout=20) as client:
        client.authenticate(mechanism, imaplib_answers(mechanism, USER, PASSWORD))
        assert client.select()[0] == "OK"
