"""smtplib, imaplib and poplib against a real server: the main job, end to end."""

from __future__ import annotations

import contextlib
import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess

import pytest

from .conftest import PASSWORD, TWISTD, Server
from .messages import REAL, without_trace

pytestmark = pytest.mark.live


def context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def send(server: Server, to: list[str], octets: bytes = REAL) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=20) as client:
        return client.sendmail("juergen@remote.example", to, octets, ["BODY=8BITMIME"])


def imap(server: Server, account: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("127.0.0.1", server.port("imap/default", tls=True), ssl_context=context(), timeout=20)
    client.login(account, PASSWORD)
    return client


def pop3(server: Server, account: str) -> poplib.POP3:
    client = poplib.POP3_SSL("127.0.0.1", server.port("pop3/default", tls=True), context=context(), timeout=20)
    # RFC 6856: messages as they are, header fields of UTF-8 too.
    client.utf8()
    client.user(account)
    client.pass_(PASSWORD)
    return client


def test_a_message_answered_250_is_read_at_once_octet_for_octet(server: Server, account: str) -> None:
    assert send(server, [account]) == {}
    reader = imap(server, account)
    assert reader.select() == ("OK", [b"1"])
    whole = reader.fetch("1", "(RFC822.SIZE BODY.PEEK[])")[1][0]
    assert without_trace(whole[1]) == REAL
    assert b"RFC822.SIZE %d" % len(whole[1]) in whole[0]
    structure = reader.fetch("1", "(BODYSTRUCTURE)")[1][0]
    assert b'"mixed"' in structure.lower() and b'"data.bin"' in structure
    envelope = reader.fetch("1", "(ENVELOPE)")[1][0]
    assert b"=?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4=?=" in envelope
    reader.logout()
    maildrop = pop3(server, account)
    assert maildrop.stat() == (1, len(whole[1]))
    assert b"\r\n".join(maildrop.retr(1)[1]) + b"\r\n" == whole[1]
    maildrop.quit()


def test_one_of_several_recipients_is_refused(server: Server, account: str) -> None:
    refused = send(server, [account, "nobody@example.test", "x@elsewhere.example"])
    assert refused["nobody@example.test"][0] == 550 and b"5.1.1" in refused["nobody@example.test"][1]
    assert refused["x@elsewhere.example"][0] == 550 and b"5.7.1" in refused["x@elsewhere.example"][1]
    assert imap(server, account).select() == ("OK", [b"1"])


def test_rfc_3207_submission_with_starttls_and_auth(server: Server, account: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp/submission"), timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("auth"), "AUTH is offered in clear text"
        client.starttls(context=context())
        client.login(account, PASSWORD)
        client.sendmail(account, [account], REAL, ["BODY=8BITMIME"])
    with smtplib.SMTP_SSL(
        "127.0.0.1", server.port("smtp/submission", tls=True), context=context(), timeout=20
    ) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
            client.login(account, "wrong")
        assert wrong.value.smtp_code == 535
    reader = imap(server, account)
    assert reader.select() == ("OK", [b"1"])
    received = reader.fetch("1", "(BODY[HEADER.FIELDS (RECEIVED)])")[1][0][1]
    assert b"with ESMTPSA" in received and b"version=TLSv1.3" in received


def test_submission_needs_a_login(server: Server, account: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp/submission"), timeout=20) as client:
        client.ehlo()
        assert client.mail(account) == (530, b"5.7.0 Authentication required")


def test_s_053_no_password_in_clear_text(server: Server, account: str) -> None:
    client = imaplib.IMAP4("127.0.0.1", server.port("imap/default"), timeout=20)
    assert "LOGINDISABLED" in client.capabilities
    with pytest.raises(imaplib.IMAP4.error):
        client.login(account, PASSWORD)
    client.starttls(context())
    client.login(account, PASSWORD)
    client.logout()
    maildrop = poplib.POP3("127.0.0.1", server.port("pop3/default"), timeout=20)
    with pytest.raises(poplib.error_proto):
        maildrop.user(account)
    maildrop.stls(context())
    maildrop.user(account)
    maildrop.pass_(PASSWORD)
    maildrop.quit()


def test_imap_append_flags_search_move_expunge(server: Server, account: str) -> None:
    client = imap(server, account)
    assert client.append("Drafts", r"(\Draft custom)", imaplib.Time2Internaldate(1_795_492_800), REAL)[0] == "OK"
    client.select("Drafts")
    assert client.search(None, "KEYWORD custom SUBJECT Gr")[1] == [b"1"]
    assert client.search("UTF-8", b'SUBJECT "Gr\xc3\xbc\xc3\x9fe"')[1] == [b"1"]
    assert client.store("1", "+FLAGS", r"(\Flagged)")[0] == "OK"
    assert client.copy("1", "Archive")[0] == "OK"
    assert client.uid("MOVE", "1", "Trash")[0] == "OK"
    assert client.select("Drafts") == ("OK", [b"0"])
    client.select("Trash")
    flags = client.fetch("1", "(FLAGS INTERNALDATE)")[1][0]
    assert b"custom" in flags and rb"\Flagged" in flags and rb"\Draft" in flags and b"24-Nov-2026" in flags
    client.store("1", "+FLAGS", r"(\Deleted)")
    assert client.expunge()[1] == [b"1"]
    client.logout()


def test_rfc_2177_idle_tells_of_a_delivery(server: Server, account: str) -> None:
    client = imap(server, account)
    client.select()
    client.send(b"i1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    send(server, [account])
    assert client.readline() == b"* 1 EXISTS\r\n"
    client.send(b"DONE\r\n")
    lines = []
    while not (line := client.readline()).startswith(b"i1 "):
        lines.append(line)
    assert line.startswith(b"i1 OK")


def test_pop3_deletes_at_quit_only(server: Server, account: str) -> None:
    for _ in range(3):
        send(server, [account])
    first = pop3(server, account)
    ids = first.uidl()[1]
    first.dele(2)
    first.sock.shutdown(socket.SHUT_RDWR)
    first.close()
    for _ in range(50):
        with contextlib.suppress(poplib.error_proto):
            second = pop3(server, account)
            break
    assert second.uidl()[1] == ids
    second.dele(2)
    second.quit()
    third = pop3(server, account)
    assert [line.split()[1] for line in third.uidl()[1]] == [ids[0].split()[1], ids[2].split()[1]]
    third.quit()


def test_a_big_message_passes(server: Server, account: str) -> None:
    line = b"x" * 76 + b"\r\n"
    big = b"Subject: big\r\n\r\n" + line * 60_000
    send(server, [account], big)
    client = imap(server, account)
    client.select()
    assert without_trace(client.fetch("1", "(BODY.PEEK[])")[1][0][1]) == big


def test_the_server_is_small_and_keeps_its_promises_after_a_restart(server: Server, account: str) -> None:
    send(server, [account])
    reader = imap(server, account)
    reader.select()
    before = reader.fetch("1", "(UID FLAGS BODY.PEEK[])")[1]
    server.stop()
    server.start()
    reader = imap(server, account)
    reader.select()
    after = reader.fetch("1", "(UID FLAGS BODY.PEEK[])")[1]
    assert [item.replace(b"\\Recent ", b"").replace(b"\\Recent", b"") for item in before[0]] == list(after[0])


def test_commands_work_on_the_running_server(server: Server, account: str) -> None:
    listed = server.command("user", "list").stdout
    assert account in listed
    servers = server.command("server", "list").stdout
    assert "smtp/default" in servers and "running" in servers
    wrong = server.command("user", "add", account, given="x\n", check=False)
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    client = imap(server, account)
    sessions = server.command("session", "list").stdout
    assert account in sessions
    client.logout()


def test_a_second_server_on_the_same_folder_is_refused(server: Server) -> None:
    line = [TWISTD, "-n", "--pidfile=", "mailsrv", "--config", str(server.config)]
    done = subprocess.run(line, cwd=server.folder, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said
    assert str(server.folder / "data") in said
