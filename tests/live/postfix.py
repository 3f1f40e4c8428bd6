"""Debian's Postfix on loopback ports, with nothing of the system's own: a private configuration and queue."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.ports import free_ports

from .apart import unable
from .conftest import program

T = TypeVar("T")

#: The doors: no TLS; TLS for who wants it; TLS and a login for all who relay.
DOORS = ("clear", "tls", "login")
#: The domains whose mailboxes Postfix has itself.
DOMAINS = ("peer.test", "require.test", "verify.test", "old.test", "bare.test", "smart.test", "guess.test", "open.test")


def until(found: Callable[[], T], told: Callable[[], str], seconds: float = 60) -> T:
    """Look again and again until there is something; fails with what is `told`."""
    end = time.monotonic() + seconds
    while not (seen := found()):
        assert time.monotonic() < end, told()
        time.sleep(0.05)
    return seen


class Postfix:
    """One Postfix; `ports` by door.  It delivers mail for DOMAINS into one Maildir and has no other mailbox.

    Needs the rights of root and the packages postfix and openssl: without them a test is skipped, in CI it fails.
    """

    def __init__(self, folder: Path) -> None:
        if os.geteuid():
            unable("Postfix starts with the rights of root alone")
        self.folder, self.etc, self.queue = folder, folder / "etc", folder / "queue"
        self._program = program("postfix")
        self.ports = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))

    def start(self, settings: str = "") -> None:
        """Start with these lines of main.cf besides, and wait until it listens."""
        folder, nobody = self.folder, pwd.getpwnam("nobody")
        folder.chmod(0o755)
        for name in ("etc", "queue", "data", "mail"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=postfix.test", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip
        main = MAIN.format(folder=folder, domains=" ".join(DOMAINS), uid=nobody.pw_uid, gid=nobody.pw_gid)
        (self.etc / "main.cf").write_text(main + settings)
        (self.etc / "master.cf").write_text(MASTER.format(**self.ports))
        self._run("start")
        until(self._listens, self.log)

    def stop(self) -> None:
        """End it; it ends its own children."""
        pid = self.queue / "pid/master.pid"
        if not pid.exists():
            return
        master = int(pid.read_text())
        try:
            self._run("stop")
        except (subprocess.SubprocessError, AssertionError):
            os.kill(master, signal.SIGKILL)

    def _run(self, verb: str) -> None:
        # It leaves daemons behind that would hold a pipe open.
        with (self.folder / "out").open("ab") as out:
            done = subprocess.run([self._program, "-c", str(self.etc), verb], stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out, timeout=30)  # fmt: skip
        assert done.returncode == 0, f"{verb}: {self.log()}"

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.ports["clear"]), timeout=10) as client:
                return client.recv(100).startswith(b"220 ")
        except OSError:
            return False

    def log(self) -> str:
        """What it logged so far."""
        return "".join(path.read_text() for path in (self.folder / "out", self.folder / "log") if path.exists())

    def wait_log(self, *words: str) -> str:
        """A line of the log with all these words, as soon as there is one."""

        def found() -> str:
            return next((line for line in self.log().splitlines() if all(word in line for word in words)), "")

        return until(found, lambda: f"nothing with {words} in:\n{self.log()}")

    def message(self, token: bytes, told: Callable[[], str] = str) -> bytes:
        """The message of its Maildir with these octets in it, lines with CRLF, as soon as it is there."""

        def found() -> bytes:
            for path in (self.folder / "mail/box/new").glob("*"):
                octets = path.read_bytes()
                if token in octets:
                    return octets
            return b""

        return until(found, lambda: f"no {token!r}: {told()}\n{self.log()}").replace(b"\n", b"\r\n")

    def mailbox(self) -> list[bytes]:
        """All messages of its Maildir."""
        return [path.read_bytes() for path in (self.folder / "mail/box/new").glob("*")]


MAIN = """
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
multi_instance_name = postfix-mailsrv-test
multi_instance_enable = yes
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
local_transport = error:no local mail
alias_maps =
alias_database =
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 52428800
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_tls_cert_file = {folder}/cert.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_loglevel = 1
smtpd_sasl_type = dovecot
smtpd_sasl_security_options = noanonymous
smtpd_tls_auth_only = yes
smtpd_error_sleep_time = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtp_line_length_limit = 0
smtp_destination_recipient_limit = 1000
"""

MASTER = """
127.0.0.1:{clear} inet n - n - - smtpd
127.0.0.1:{tls} inet n - n - - smtpd -o smtpd_tls_security_level=may
127.0.0.1:{login} inet n - n - - smtpd
  -o smtpd_tls_security_level=may -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
