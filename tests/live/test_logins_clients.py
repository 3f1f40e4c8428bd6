"""Mail programs from other people's hands log in, each by all mechanisms it has.

| client | library |
|---|---|
| msmtp, mpop, mutt, gsasl | GNU SASL; gsasl alone binds SCRAM to TLS (the -PLUS mechanisms), by tls-exporter |
| mbsync | Cyrus SASL |
| fetchmail, swaks, Mail::IMAPClient | their own code, or Perl's; NTLM is NTLMv1 |
"""

from __future__ import annotations

import imaplib
import os
import pty
import select
import smtplib
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import Server, program
from .logins import BO, CY, PASSWORD, SERVERS, imaplib_answers, new_lines, tls_context, token
from .test_clients import run

pytestmark = pytest.mark.live

#: One run of these mechanisms takes as many logins as connections, so a client goes through all of them in one test.
OURS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "NTLM", "PLAIN", "LOGIN")
TOKENS = ("XOAUTH2", "OAUTHBEARER")
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def logged(lines: Sequence[str], protocol: str, mechanism: str, account: str = CY) -> None:
    """There was one login, as told."""
    wanted = f"login of {account} on {SERVERS[protocol]} from 127.0.0.1 by {mechanism}"
    assert len(lines) == 1 and lines[0].endswith(wanted), (wanted, lines)


def secret_file(folder: Path, text: str) -> Path:
    """A file of the user alone."""
    path = folder / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return path


def shown(server: Server, mechanism: str, account: str = CY) -> str:
    """What the client gets as password."""
    return token(server.folder, account) if mechanism in TOKENS else PASSWORD


# ---------------------------------------------------------------- msmtp and mpop


def msmtp(server: Server, folder: Path, mechanism: str, secret: str, tls: bool, ok: int = 0) -> str:
    more = ("--tls=on", "--tls-starttls=off", "--tls-certcheck=off") if tls else ("--tls=off",)
    return run(
        program("msmtp"), "--file=", "--host=127.0.0.1", f"--port={server.port('smtp/default', tls)}",
        f"--auth={mechanism.lower()}", f"--user={CY}", f"--passwordeval=cat {secret_file(folder, secret)}",
        f"--from={CY}", *more, BO, given=b"Subject: sent by msmtp\n\nhello\n", ok=(ok,),
    )  # fmt: skip


@TLS
def test_msmtp_sends_after_a_login_by_each_mechanism(logins: Server, tls: bool, tmp_path: Path) -> None:
    for mechanism in OURS + TOKENS:
        with new_lines(logins) as lines:
            msmtp(logins, tmp_path, mechanism, shown(logins, mechanism), tls)
        logged(lines, "smtp", mechanism)
    for mechanism in OURS + TOKENS:
        assert "535 5.7.8" in msmtp(logins, tmp_path, mechanism, "wrong", tls, ok=77)


def mpop(server: Server, folder: Path, mechanism: str, secret: str, tls: bool, ok: int = 0) -> str:
    config = folder / "mpoprc"
    config.write_text(
        f"account site\nhost 127.0.0.1\nport {server.port('pop3/default', tls)}\nuser {CY}\nauth {mechanism.lower()}\n"
        f"passwordeval cat {secret_file(folder, secret)}\ndelivery mbox {folder}/mbox\nuidls_file {folder}/uidls\n"
        + ("tls on\ntls_starttls off\ntls_certcheck off\n" if tls else "tls off\n")
    )
    config.chmod(0o600)
    return run(program("mpop"), "-C", str(config), "site", ok=(ok,))


@TLS
def test_mpop_fetches_after_a_login_by_each_mechanism(logins: Server, tls: bool, tmp_path: Path) -> None:
    for mechanism in OURS + TOKENS:
        with new_lines(logins) as lines:
            mpop(logins, tmp_path, mechanism, shown(logins, mechanism), tls)
        logged(lines, "pop3", mechanism)
    for mechanism in OURS + TOKENS:
        assert f"authentication failed (method {mechanism})" in mpop(logins, tmp_path, mechanism, "wrong", tls, ok=77)


# ---------------------------------------------------------------- gsasl, mbsync, mutt


@pytest.mark.parametrize("protocol", ["smtp", "imap"])
def test_gsasl_binds_scram_to_tls_and_takes_the_other_mechanisms_too(logins: Server, protocol: str) -> None:
    line = (
        program("gsasl"), f"--{protocol}", "--connect", f"127.0.0.1:{logins.port(SERVERS[protocol])}", "--starttls",
        f"--x509-ca-file={logins.folder}/server.crt", "-a", CY, "--quiet",
    )  # fmt: skip
    for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", *OURS):
        # Without binding, a client that knows of it says so and is refused: somebody may have hidden the offer.
        more = () if mechanism.endswith("-PLUS") else ("--no-cb",)
        with new_lines(logins) as lines:
            run(*line, "-m", mechanism, "-p", PASSWORD, *more)
        logged(lines, protocol, mechanism)
    run(*line, "-m", "SCRAM-SHA-256-PLUS", "-p", "wrong", ok=(1,))
    with new_lines(logins) as lines:
        run(*line, "-m", "EXTERNAL", f"--x509-cert-file={logins.folder}/person.crt",
            f"--x509-key-file={logins.folder}/person.key")  # fmt: skip
    logged(lines, protocol, "EXTERNAL", "anna@example.test")
    # Anonymous is for sending alone (S-099).
    with new_lines(logins) as lines:
        run(*line, "-m", "ANONYMOUS", "-n", "trace@example.org", ok=(0,) if protocol == "smtp" else (1,))
    if protocol == "smtp":
        logged(lines[1:], protocol, "ANONYMOUS", "anonymous")


@TLS
def test_mbsync_logs_in_by_each_mechanism_of_cyrus_sasl(logins: Server, tls: bool, tmp_path: Path) -> None:
    config = tmp_path / "mbsyncrc"
    (tmp_path / "mail").mkdir()
    for mechanism in OURS:
        config.write_text(
            f"IMAPAccount site\nHost 127.0.0.1\nPort {logins.port('imap/default', tls)}\nUser {CY}\n"
            f'Pass "{PASSWORD}"\nSSLType {"IMAPS" if tls else "None"}\nAuthMechs {mechanism}\n'
            f"CertificateFile {logins.folder}/server.crt\n\nIMAPStore far\nAccount site\n\n"
            f"MaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\n\n"
            "Channel all\nFar :far:\nNear :near:\n"
        )
        with new_lines(logins) as lines:
            run(program("mbsync"), "-c", str(config), "-l", "all", HOME=str(tmp_path))
        logged(lines, "imap", mechanism)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", *TOKENS])
def test_mutt_reads_after_a_login(logins: Server, mechanism: str, tmp_path: Path) -> None:
    config = tmp_path / "muttrc"
    config.write_text(
        f'set imap_user="{CY}" imap_pass="{PASSWORD}" imap_authenticators="{mechanism.lower()}"\n'
        f'set imap_oauth_refresh_command="cat {secret_file(tmp_path, shown(logins, mechanism))}"\n'
        f'set folder="{tmp_path}" spoolfile="{tmp_path}" record=""\n'
        f'set certificate_file="{logins.folder}/server.crt" ssl_verify_host=no sleep_time=0\npush <exit>\n'
    )
    url = f"imaps://127.0.0.1:{logins.port('imap/default', tls=True)}/INBOX"
    with new_lines(logins) as lines:
        on_terminal([program("mutt"), "-n", "-F", str(config), "-f", url], tmp_path)
    logged(lines, "imap", mechanism)


def on_terminal(line: list[str], home: Path) -> None:
    """Run a program that wants a terminal, for at most a minute."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "vt100", "HOME": str(home)}
    child = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said, until = b"", time.monotonic() + 60
    try:
        while child.poll() is None:
            assert time.monotonic() < until, said
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    said += os.read(ours, 4096)
                except OSError:
                    # The other side is closed.
                    child.wait(5)
    finally:
        child.kill()
        child.wait(5)
        os.close(ours)
    assert child.returncode == 0, said


# ---------------------------------------------------------------- NTLMv1, and where it is refused


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_fetchmail_logs_in_by_ntlm_and_cram_md5(logins: Server, protocol: str, tmp_path: Path) -> None:
    config = tmp_path / "fetchmailrc"
    for mechanism, name, status in (
        ("NTLM", "default", 1), ("CRAM-MD5", "default", 1), ("NTLM", "strict", 3), ("CRAM-MD5", "strict", 3),
    ):  # fmt: skip
        config.write_text(
            f"poll 127.0.0.1 service {logins.port(f'{protocol}/{name}')} protocol {protocol} "
            f"auth {mechanism.lower()}\n  user 'dee@example.test' password '{PASSWORD}' sslproto '' mda 'cat'\n"
        )
        config.chmod(0o600)
        with new_lines(logins) as lines:
            # 1: there is no mail; 3: refused.
            run(program("fetchmail"), "-f", str(config), "--pidfile", str(tmp_path / "pid"), "--nobounce",
                FETCHMAILHOME=str(tmp_path), ok=(status,))  # fmt: skip
        if name == "default":
            logged(lines, protocol, mechanism, "dee@example.test")
        else:
            # NTLMv1 is tried and refused; CRAM-MD5 is not offered.
            assert [line.endswith(f"login refused on {protocol}/strict from 127.0.0.1") for line in lines] in (
                [[True]] if mechanism == "NTLM" else [[]]
            )


def test_swaks_logs_in_by_ntlm_and_cram_md5(logins: Server) -> None:
    for mechanism, name, status in (
        ("NTLM", "default", 0), ("CRAM-MD5", "default", 0), ("NTLM", "strict", 28), ("CRAM-MD5", "strict", 28),
    ):  # fmt: skip
        with new_lines(logins) as lines:
            said = run(
                program("swaks"), "--server", "127.0.0.1", "--port", str(logins.port(f"smtp/{name}")),
                "--auth", mechanism, "--auth-user", CY, "--auth-password", PASSWORD, "--quit-after", "AUTH",
                "--from", CY, "--to", BO, ok=(status,),
            )  # fmt: skip
        if name == "default":
            logged(lines, "smtp", mechanism)
        else:
            assert ("535 5.7.8" if mechanism == "NTLM" else "requested type not available") in said


def test_mail_imapclient_logs_in_by_ntlm(logins: Server) -> None:
    script = (
        "use Mail::IMAPClient; my ($port, $user, $mechanism) = @ARGV; my $password = <STDIN>; "
        "my $c = Mail::IMAPClient->new(Server => '127.0.0.1', Port => $port, User => $user, "
        "Password => $password, Authmechanism => $mechanism) or die $@; $c->logout;"
    )
    port = str(logins.port("imap/default"))
    for mechanism in ("NTLM", "CRAM-MD5", "PLAIN"):
        with new_lines(logins) as lines:
            run(program("perl"), "-e", script, port, CY, mechanism, given=PASSWORD.encode())
        logged(lines, "imap", mechanism)


# ---------------------------------------------------------------- the standard library


def test_smtplib_takes_cram_md5_first(logins: Server) -> None:
    with new_lines(logins) as lines, smtplib.SMTP("127.0.0.1", logins.port("smtp/default"), timeout=20) as client:
        client.login(CY, PASSWORD)
    logged(lines, "smtp", "CRAM-MD5")


def test_imaplib_logs_in_by_its_own_cram_md5_and_by_our_client_sides(logins: Server) -> None:
    port = logins.port("imap/default", tls=True)
    with new_lines(logins) as lines, imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=tls_context()) as client:
        client.login_cram_md5(CY, PASSWORD)
    logged(lines, "imap", "CRAM-MD5")
    for mechanism in OURS:
        with new_lines(logins) as lines, imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=tls_context()) as client:
            client.authenticate(mechanism, imaplib_answers(mechanism, CY, PASSWORD))
        logged(lines, "imap", mechanism)
