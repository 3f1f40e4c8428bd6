"""Nothing secret reaches the log, the audit lines, what commands print, or the disk in clear text."""

from __future__ import annotations

import imaplib
import io
import json
import re
import stat
from base64 import b64encode
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from mailsrv.cli.main import main
from mailsrv.wire.ntlm import keep as ntlm_keep
from mailsrv.wire.sasl import cram_md5

from .conftest import Server
from .logins import PASSWORD, PROTOCOLS, Client, tls_context, token

pytestmark = pytest.mark.live

ACCOUNT = "quinn@example.test"
RIGHT, WRONG, NEW = "Turbid-Otter-5512", "Gaudy-Newt-9043", "Limpid-Crane-1187"
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM")
TOKENS = ("OAUTHBEARER", "XOAUTH2")


def base64_parts(octets: bytes) -> set[str]:
    """What base64 of anything with these octets inside has in it, at each of the three alignments."""
    parts = set()
    for before in range(3):
        text = b64encode(bytes(before) + octets).decode()
        # The first and the last signs depend on the neighbours.
        parts.add(text[(8 * before + 5) // 6 : (8 * (before + len(octets))) // 6])
    return parts


def forms(secret: str) -> set[str]:
    """How a password would look in a text: itself, quoted, in base64, hexadecimal, UTF-16, and hashed for NTLM."""
    octets, wide = secret.encode(), secret.encode("utf-16-le")
    nt = ntlm_keep(secret)
    hashed = {nt, nt.upper(), repr(bytes.fromhex(nt))[2:-1], cram_md5.keep(secret)}
    whole = {secret, secret.lower(), octets.hex(), wide.hex(), repr(wide)[2:-1]}
    return whole | hashed | base64_parts(octets) | base64_parts(wide) | base64_parts(bytes.fromhex(nt))


def test_the_forms_that_are_searched_for_would_be_found() -> None:
    """Else the other tests of this file prove nothing."""
    for before in (b"", b"\0q\0", b"\0qu\0", b"\0quinn@example.test\0"):
        encoded = b64encode(before + RIGHT.encode() + b"\1\1").decode()
        assert any(part in encoded for part in base64_parts(RIGHT.encode())), before
    assert {len(part) >= 20 for part in base64_parts(RIGHT.encode())} == {True}


@pytest.fixture(scope="module")
def said(logins: Server) -> dict[str, str]:
    """Logins of all kinds, right and wrong, and all that commands say meanwhile."""
    out: dict[str, str] = {}

    def command(*line: str, given: str | None = None, note: bool = True) -> str:
        more = () if given is None else ("--password-file", str(_file(logins.folder, given)))
        # In this process: two dozen interpreters would take half of this file's time.
        texts = io.StringIO(), io.StringIO()
        with redirect_stdout(texts[0]), redirect_stderr(texts[1]):
            main([*line[:2], "--config", str(logins.config), *line[2:], *more])
        told = texts[0].getvalue() + texts[1].getvalue()
        if note:
            out[" ".join(line)] = told
        return told

    command("user", "add", ACCOUNT, given=RIGHT)
    for password in (RIGHT, WRONG):
        _log_in(logins, password)
        for mechanism in ("PLAIN", "NTLM", "XOAUTH2"):
            command("auth", "test", ACCOUNT, "--mechanism", mechanism, given=password)
    # It is told this once, and nowhere else.
    added = json.loads(command("user", "app-password", "add", ACCOUNT, "Phone", "--json", note=False))
    out["the app password"] = added["password"]
    out["the token"] = token(logins.folder, ACCOUNT, scope="mail")
    for shown in (out["the app password"], out["the token"]):
        _log_in(logins, shown)
    command("user", "password", ACCOUNT, given=NEW)
    command("user", "password", "nobody@example.test", given=NEW)
    _log_in(logins, NEW)
    for line in (
        ("auth", "list"), ("user", "list"), ("user", "list", "--json"), ("user", "app-password", "list", ACCOUNT),
        ("ban", "list"), ("session", "list"), ("server", "list"), ("config", "show"),
        ("user", "keep", ACCOUNT, "ntlm"), ("user", "disable", ACCOUNT), ("user", "enable", ACCOUNT),
        ("user", "app-password", "remove", ACCOUNT, "Phone"),
    ):  # fmt: skip
        command(*line)
    return out


def _log_in(server: Server, secret: str) -> None:
    """By everything that can take it, broken exchanges among them; what comes of it is of no interest here."""
    for protocol in PROTOCOLS:
        for name in MECHANISMS + TOKENS:
            with Client(server, protocol, tls=name.endswith("-PLUS")) as client:
                client.login(name, ACCOUNT, secret)
        octets = secret.encode()
        for mechanism in MECHANISMS[:5] + TOKENS + ("NTLM", "GSSAPI", secret):
            with Client(server, protocol) as client:
                # Malformed: as initial response, as response, and where a command should be.
                command = "x AUTHENTICATE" if protocol == "imap" else "AUTH"
                encoded = b64encode(octets + b"\0\xff").decode()
                for line in (f"{command} {mechanism} {encoded}", secret, f"x {secret} {encoded}"):
                    client.say(line)
                    client.hear()
    with Client(server, "pop3") as client:
        for line in (f"USER {ACCOUNT}", f"PASS {secret}"):
            client.say(line)
            client.hear()
    with imaplib.IMAP4_SSL("127.0.0.1", server.port("imap/default", tls=True), ssl_context=tls_context()) as reader:
        try:
            reader.login(ACCOUNT, secret)
        except imaplib.IMAP4.error as error:
            assert secret not in str(error)


def _file(folder: Path, text: str) -> Path:
    path = folder / "given"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def secrets_of(said: dict[str, str]) -> set[str]:
    """All that must not be shown, in all its forms."""
    app, bearer = said["the app password"], said["the token"]
    # PASSWORD is what the other files of these tests log in with, at the same site.
    found = set().union(*(forms(one) for one in (RIGHT, WRONG, NEW, PASSWORD, app, app.replace("-", ""))))
    # The signature is what makes a token good; what is before it may be told, though nobody does.
    return found | {bearer.rpartition(".")[2]} | base64_parts(bearer.rpartition(".")[2].encode())


def test_the_log_tells_who_logged_in_and_no_secret(logins: Server, said: dict[str, str]) -> None:
    log = logins.log()
    for name in (*MECHANISMS, *TOKENS, "USER"):
        assert re.search(f"login of {ACCOUNT} on .* by {name}\n", log), name
    assert "login refused" in log and "operation user.password" in log
    assert [one for one in secrets_of(said) if one in log] == []
    # Neither what is kept of a password: argon2, SCRAM keys, whatever of them stands in hexadecimal or base64.
    assert not re.search(r"\$argon2|i=\d+,s=|,k=[A-Za-z0-9+/]{20}|\b[0-9a-fA-F]{32}\b", log)


def test_commands_print_no_secret(said: dict[str, str]) -> None:
    hidden = secrets_of(said)
    for line, text in said.items():
        if not line.startswith("the "):
            assert [one for one in hidden if one in text] == [], line
            assert not re.search(r"\$argon2|\b[0-9a-fA-F]{32}\b", text), line
    assert f"wrong password for {ACCOUNT}" in said[f"auth test {ACCOUNT} --mechanism NTLM"]


def test_the_disk_has_no_password_in_clear_text_and_nobody_else_reads_it(logins: Server, said: dict[str, str]) -> None:
    app = said["the app password"]
    hidden = [one.encode() for one in (RIGHT, WRONG, NEW, app, app.replace("-", ""), said["the token"])]
    hidden += [part for one in (RIGHT, NEW) for part in map(str.encode, base64_parts(one.encode()))]
    files = [path for path in logins.data.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        octets = path.read_bytes()
        assert [one for one in hidden if one in octets] == [], path
        if b"$argon2" in octets or ntlm_keep(NEW).encode() in octets or path.name.endswith(".key"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    # There is what stands for the password, or this test looked in the wrong place.
    everything = b"".join(path.read_bytes() for path in files)
    assert b"$argon2id$" in everything and ntlm_keep(NEW).encode() in everything


def test_a_challenge_is_never_used_again(logins: Server) -> None:
    """Who listens could answer it another time."""
    seen = set()
    for name in ("CRAM-MD5", "SCRAM-SHA-256", "NTLM"):
        for _ in range(5):
            with Client(logins, "imap") as client:
                client.login(name, ACCOUNT, WRONG)
                challenges = [line for line in client.heard if line.startswith("+ ") and len(line) > 2]
                assert challenges and not seen & set(challenges), name
                seen |= set(challenges)
