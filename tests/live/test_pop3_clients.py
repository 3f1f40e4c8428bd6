"""POP3 clients drain a maildrop of two thousand real messages, octet for octet; what is deleted, and when."""

from __future__ import annotations

import poplib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CONFIG, DOMAIN, PASSWORD, Server, program
from .corpus import corpus
from .test_standard_library import imap, pop3

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNT = 2000


@pytest.fixture(scope="module")
def messages() -> list[bytes]:
    return corpus(COUNT)


@pytest.fixture(scope="module")
def drop(server: Server, messages: list[bytes]) -> str:
    """An account with all of them in its INBOX; no test deletes any."""
    address = f"corpus@{DOMAIN}"
    server.command("user", "add", address, given=f"{PASSWORD}\n")
    fill(server, address, messages)
    return address


def fill(server: Server, address: str, messages: list[bytes]) -> None:
    """Put messages into an INBOX exactly as they are."""
    client = imap(server, address)
    for octets in messages:
        client.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(octets), octets))
        while not (line := client.readline()).startswith(b"a "):
            pass
        assert line.startswith(b"a OK"), line
    client.shutdown()


def run(*line: str, ok: tuple[int, ...] = (0,), timeout: int = 200) -> str:
    """What a program says."""
    done = subprocess.run(line, capture_output=True, timeout=timeout, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode in ok, f"{line}: {said[-2000:]}"
    return said


def same(got: list[bytes], messages: list[bytes]) -> None:
    """Every message once, in order, octet for octet."""
    assert len(got) == len(messages)
    wrong = [number for number, (one, other) in enumerate(zip(got, messages), 1) if one != other]
    assert not wrong, (wrong[:10], got[wrong[0] - 1][:300], messages[wrong[0] - 1][:300])


def test_poplib_drains_2000_real_messages(
    server: Server, drop: str, messages: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Real lines are longer than poplib likes.
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 20)
    client = pop3(server, drop)
    assert client.stat() == (COUNT, sum(map(len, messages)))
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert sizes == list(map(len, messages))
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == COUNT
    got = []
    for number in range(1, COUNT + 1):
        # As poplib does, but without its tolerance of lines that end with a CR alone.
        client._putcmd(f"RETR {number}")  # type: ignore[attr-defined]
        got.append(rest(client))
    same(got, messages)
    assert [line.split()[1] for line in client.uidl()[1]] == ids
    client.quit()
    again = pop3(server, drop)
    assert [line.split()[1] for line in again.uidl()[1]] == ids
    again.quit()


def rest(client: poplib.POP3) -> bytes:
    """A multi-line response without its first line, unstuffed."""
    client._getresp()  # type: ignore[attr-defined]
    lines = []
    while (line := client.file.readline()) != b".\r\n":  # type: ignore[attr-defined]
        lines.append(line[1:] if line.startswith(b"..") else line)
    return b"".join(lines)


@pytest.mark.parametrize("number", [1, 700])
def test_top_of_a_real_message_is_its_beginning(
    server: Server, drop: str, messages: list[bytes], number: int
) -> None:
    client = pop3(server, drop)
    octets = messages[number - 1]
    head, blank, body = octets.partition(b"\r\n\r\n")
    lines = body.split(b"\r\n")
    for count in (0, 1, 5, len(lines) + 10):
        wanted = head + blank + b"".join(line + b"\r\n" for line in lines[:-1][:count])
        client._putcmd(f"TOP {number} {count}")  # type: ignore[attr-defined]
        assert rest(client) == wanted
    client.quit()


@pytest.mark.parametrize("tls", [True, False], ids=["pop3s", "stls"])
def test_curl_drains_2000_real_messages(
    server: Server, drop: str, messages: list[bytes], tls: bool, tmp_path: Path
) -> None:
    url = f"pop3{'s' if tls else ''}://127.0.0.1:{server.port('pop3/default', tls)}/[1-{COUNT}]"
    run(program("curl"), "-sk", "--ssl-reqd", "--user", f"{drop}:{PASSWORD}", url, "-o", f"{tmp_path}/#1")
    same([(tmp_path / str(number)).read_bytes() for number in range(1, COUNT + 1)], messages)


def mpop(server: Server, address: str, folder: Path, *more: str) -> str:
    """One run of mpop, delivering into the Maildir `folder`/mail."""
    for name in ("mail/cur", "mail/new", "mail/tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    config = folder / "mpoprc"
    config.write_text(
        f"account site\nhost 127.0.0.1\nport {server.port('pop3/default', True)}\nuser {address}\n"
        f"passwordeval echo '{PASSWORD}'\ntls on\ntls_starttls off\ntls_certcheck off\nreceived_header off\n"
        f"delivery maildir {folder}/mail\nuidls_file {folder}/uidls\n"
    )
    config.chmod(0o600)
    return run(program("mpop"), "-C", str(config), "-q", *more, "site")


def test_mpop_drains_2000_real_messages_by_pipelining_and_knows_them_again(
    server: Server, drop: str, messages: list[bytes], tmp_path: Path
) -> None:
    mpop(server, drop, tmp_path, "--keep=on")
    got = [path.read_bytes() for path in (tmp_path / "mail/new").iterdir()]
    same(sorted(got), sorted(octets.replace(b"\r\n", b"\n") for octets in messages))
    assert len((tmp_path / "uidls").read_bytes().splitlines()) >= COUNT
    mpop(server, drop, tmp_path, "--keep=on")
    assert len(list((tmp_path / "mail/new").iterdir())) == COUNT


@pytest.mark.parametrize("tls", [True, False], ids=["pop3s", "stls"])
def test_fetchmail_drains_2000_real_messages(
    server: Server, drop: str, messages: list[bytes], tls: bool, tmp_path: Path
) -> None:
    count = COUNT if tls else 100
    folder = tmp_path / "mail"
    folder.mkdir()
    deliver = tmp_path / "deliver"
    deliver.write_text(f'#!/bin/sh\nexec cat > "{folder}/$$"\n')
    deliver.chmod(0o755)
    rc = tmp_path / "fetchmailrc"
    how = "ssl" if tls else 'sslproto "tls1.2+"'
    rc.write_text(
        f"set no syslog\nset invisible\nset no bouncemail\nset idfile {tmp_path}/ids\n"
        f"poll 127.0.0.1 protocol pop3 port {server.port('pop3/default', tls)} bad-header accept\n"
        f'  user "{drop}" password "{PASSWORD}" {how} no sslcertck keep fetchall no rewrite fetchlimit {count}\n'
        f'  mda "{deliver}"\n'
    )
    rc.chmod(0o600)
    run(program("fetchmail"), "-f", str(rc), "--pidfile", str(tmp_path / "pid"), "--nodetach", ok=(0, 13))
    got = [path.read_bytes() for path in folder.iterdir()]
    assert len(got) == count
    wanted = [octets.replace(b"\r\n", b"\n") for octets in messages[:count]]
    missing = set(wanted) - set(got)
    # It drops a CR that stands alone, and breaks very long lines.
    assert not [octets for octets in missing if b"\r" not in octets and max(map(len, octets.split(b"\n"))) < 8000]
    assert len(missing) < 20


# ---------------------------------------------------------------- what is deleted, and when


def test_deletions_are_there_at_quit_only_and_imap4_sees_them(server: Server, account: str) -> None:
    octets = [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(10)]
    fill(server, account, octets)
    reader = imap(server, account)
    reader.select()
    client = pop3(server, account)
    for number in range(1, 10):
        client.dele(number)
    assert client.stat()[0] == 1 and reader.noop()[0] == "OK" and reader.untagged_responses.get("EXPUNGE") is None
    client.rset()
    assert client.stat()[0] == 10
    for number in range(1, 10):
        client.dele(number)
    client.quit()
    reader.noop()
    assert sorted(reader.untagged_responses["EXPUNGE"]) == [b"%d" % number for number in range(1, 10)]
    last = pop3(server, account)
    assert (last.stat()[0], last.retr(1)[1][0]) == (1, b"Subject: 9")
    last.quit()


def test_fetchmail_deletes_what_it_has_delivered(server: Server, account: str, tmp_path: Path) -> None:
    fill(server, account, [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(3)])
    rc = tmp_path / "fetchmailrc"
    rc.write_text(
        f"set no syslog\nset idfile {tmp_path}/ids\n"
        f"poll 127.0.0.1 protocol pop3 port {server.port('pop3/default', True)}\n"
        f'  user "{account}" password "{PASSWORD}" ssl no sslcertck fetchall mda "cat >> {tmp_path}/mail"\n'
    )
    rc.chmod(0o600)
    line = (program("fetchmail"), "-f", str(rc), "--pidfile", str(tmp_path / "pid"), "--nodetach")
    run(*line)
    assert (tmp_path / "mail").read_bytes().count(b"\nbody\n") == 3
    assert "No mail" in run(*line, "-v", ok=(1,))
    client = pop3(server, account)
    assert client.stat() == (0, 0)
    client.quit()


def test_rfc_1939_section_8_two_sessions_of_one_maildrop(server: Server, account: str) -> None:
    fill(server, account, [b"Subject: one\r\n\r\n"])
    first = pop3(server, account)
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        pop3(server, account)
    first.dele(1)
    first.sock.shutdown(socket.SHUT_RDWR)
    first.close()
    second = soon(server, account)
    assert second.stat()[0] == 1
    second.quit()


def soon(server: Server, account: str) -> poplib.POP3:
    """A session, as soon as nobody else has the maildrop."""
    for _ in range(100):
        try:
            return pop3(server, account)
        except poplib.error_proto as error:
            assert b"IN-USE" in error.args[0]
    raise AssertionError("the maildrop is not set free")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A site of one test, which may be killed."""
    made = Server(tmp_path, CONFIG.replace("[pop3.default]", "[pop3.default]\nmaildrop_lock = false"))
    made.start()
    made.command("user", "add", f"me@{DOMAIN}", given=f"{PASSWORD}\n")
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def test_a_kill_between_dele_and_quit_deletes_nothing_and_one_after_quit_all(own: Server) -> None:
    me, count = f"me@{DOMAIN}", 1500
    fill(own, me, [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(count)])
    client = pop3(own, me)
    ids = client.uidl()[1]
    for number in range(1, count, 2):
        client.dele(number)
    own.stop(signal.SIGKILL)
    own.start()
    client = pop3(own, me)
    assert client.uidl()[1] == ids
    for number in range(1, count, 2):
        client.dele(number)
    client.quit()
    own.stop(signal.SIGKILL)
    own.start()
    left = [line.split()[1] for line in pop3(own, me).uidl()[1]]
    assert left == [line.split()[1] for line in ids[1::2]]


def test_a_kill_during_quit_leaves_all_or_nothing(own: Server) -> None:
    me, count = f"me@{DOMAIN}", 3000
    fill(own, me, [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(count)])
    for wait in (0.0, 0.005, 0.01, 0.02, 0.04):
        client = pop3(own, me)
        before = client.stat()[0]
        # Half of what is there, and no two of them neighbours.
        client.sock.sendall(b"".join(b"DELE %d\r\n" % number for number in range(1, before + 1, 2)) + b"QUIT\r\n")
        answered = 0
        while answered < (before + 1) // 2:
            answered += client.file.readline() == b"+OK Marked\r\n"  # type: ignore[attr-defined]
        time.sleep(wait)
        own.stop(signal.SIGKILL)
        own.start()
        after = pop3(own, me)
        assert after.stat()[0] in (before, before // 2)
        after.quit()


def test_without_the_lock_two_sessions_have_one_maildrop(own: Server) -> None:
    me = f"me@{DOMAIN}"
    fill(own, me, [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(3)])
    first, second = pop3(own, me), pop3(own, me)
    first.dele(1)
    first.quit()
    assert second.stat()[0] == 3 and second.retr(1)[1][0] == b"Subject: 0"
    second.dele(1)
    second.dele(2)
    second.quit()
    third = pop3(own, me)
    assert third.stat()[0] == 1
    third.quit()
