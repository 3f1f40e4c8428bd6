"""Clients that are slow, rude, broken or malicious: nobody else suffers, nothing grows, nothing leaks, no traceback."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .apart import resident
from .conftest import CONFIG, DOMAIN, PASSWORD, Server
from .hostile import SERVICES, Raw, Witness

pytestmark = pytest.mark.live

ACCOUNT, HEAVY = f"me@{DOMAIN}", f"heavy@{DOMAIN}"
#: Octets the server may grow by, whatever a client does.
GROWTH = 20 * 10**6


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site for these tests only: they count its descriptors and its memory."""
    folder = tmp_path_factory.mktemp("hostile")
    plain = CONFIG.replace("[imap.default]", "[imap.default]\nlogin_without_tls = true").replace(
        "[pop3.default]", "[pop3.default]\nlogin_without_tls = true"
    )
    made = Server(folder, plain)
    (folder / "password").write_text(PASSWORD + "\n")
    for account in (ACCOUNT, HEAVY):
        made.command("user", "add", account, "--password-file", str(folder / "password"))
    made.start()
    yield made
    log = made.log()
    made.stop()
    assert "Traceback" not in log and "incident" not in log, log


@pytest.fixture
def witness(site: Server) -> Iterator[Witness]:
    """Somebody else, while a test is rude."""
    with Witness(site) as watching:
        yield watching


def imap(site: Server, account: str = ACCOUNT, **how: int) -> Raw:
    client = Raw(site, "imap", **how)
    client.until(b"* OK")
    client.send(b'l LOGIN %s "%s"\r\n' % (account.encode(), PASSWORD.encode()))
    client.until(b"l OK")
    return client


def pop3(site: Server, account: str = ACCOUNT, **how: int) -> Raw:
    client = Raw(site, "pop3", **how)
    client.until(b"+OK")
    client.send(b"USER %s\r\nPASS %s\r\n" % (account.encode(), PASSWORD.encode()))
    client.until(b"+OK")
    client.until(b"+OK")
    return client


def count(site: Server, account: str = ACCOUNT) -> int:
    """Messages in INBOX."""
    client = imap(site, account)
    client.send(b"e STATUS INBOX (MESSAGES)\r\n")
    line = client.until(b"* STATUS")
    client.vanish(rudely=False)
    return int(line.split(b"MESSAGES ")[1].split(b")")[0])


def descriptors(site: Server) -> int:
    """Files and sockets the server holds."""
    return len(os.listdir(f"/proc/{site.pid}/fd"))


def soon(true: Callable[[], bool]) -> bool:
    """Whether it becomes true before long."""
    until = time.monotonic() + 60
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def deliver(site: Server, account: str, octets: bytes, times: int = 1) -> None:
    client = Raw(site, "smtp")
    client.until(b"220 ")
    client.send(b"HELO x\r\n")
    client.until(b"250 ")
    for _ in range(times):
        client.send(b"MAIL FROM:<>\r\n")
        client.until(b"250 ")
        client.send(b"RCPT TO:<%s>\r\nDATA\r\n" % account.encode())
        client.until(b"354 ")
        client.send(octets + b"\r\n.\r\n")
        client.until(b"250 ")
    client.send(b"QUIT\r\n")
    client.rest()


def drip(client: Raw, octets: bytes) -> None:
    """One octet in a packet."""
    for at in range(len(octets)):
        client.send(octets[at : at + 1])
        # The network would gather what is written at once.
        time.sleep(0.0005)


def test_octet_by_octet(site: Server, witness: Witness) -> None:
    before = count(site)
    others = [Raw(site, service) for service in SERVICES for _ in range(20)]
    for client in others:
        client.send(b"N")
    smtp = Raw(site, "smtp")
    drip(smtp, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ACCOUNT.encode())
    drip(smtp, b"Subject: slow\r\n\r\n..x\r\n.\r\n")
    for expected in (b"220 ", b"250 ", b"250 ", b"250 ", b"354 ", b"250 "):
        smtp.until(expected)
    imap_client, pop3_client = Raw(site, "imap"), Raw(site, "pop3")
    drip(imap_client, b'a LOGIN {%d}\r\n' % len(ACCOUNT))
    imap_client.until(b"+ ")
    drip(imap_client, b'%s "%s"\r\nb EXAMINE INBOX\r\n' % (ACCOUNT.encode(), PASSWORD.encode()))
    imap_client.until(b"a OK")
    assert imap_client.until(b"* ").endswith(b"\r\n") and imap_client.until(b"b OK")
    drip(pop3_client, b"USER %s\r\nPASS %s\r\nSTAT\r\n" % (ACCOUNT.encode(), PASSWORD.encode()))
    for expected in (b"+OK", b"+OK", b"+OK", b"+OK %d " % (before + 1)):
        pop3_client.until(expected)
    for client in (smtp, imap_client, pop3_client, *others):
        client.vanish(rudely=False)


def test_clients_that_read_nothing(site: Server, witness: Witness, figure: Callable[[str, float], None]) -> None:
    big = b"Subject: big\r\n\r\n" + b"%s\r\n" % (b"y" * 76) * (10**6 // 78)
    deliver(site, HEAVY, big, 50)
    # Whatever delivery and login take once is taken before the measurement.
    imap(site, HEAVY).vanish(rudely=False)
    before = worst = resident(site.pid)
    readers = [imap(site, HEAVY, receive_buffer=4096) for _ in range(8)]
    for at, client in enumerate(readers):
        fetch = b"f FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n" if at % 2 else b"f FETCH 1:* BODY[TEXT]\r\n"
        client.send(b"s SELECT INBOX\r\n" + fetch * 20)
    maildrop = pop3(site, HEAVY, receive_buffer=4096)
    maildrop.send(b"".join(b"RETR %d\r\n" % number for number in range(1, 51)))
    readers.append(maildrop)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        worst = max(worst, resident(site.pid))
        time.sleep(0.01)
    figure("nine clients read nothing of 50 MB, growth in MB", (worst - before) / 1e6)
    assert worst - before < GROWTH
    # One of them was only slow: all of it is there, and whole.
    patient = readers[1]
    patient.until(b"s OK")
    for _ in range(50):
        size = int(patient.until(b"* ").rsplit(b"{", 1)[1].split(b"}")[0])
        while len(patient.read) < size:
            patient.read += patient.socket.recv(1 << 20)
        assert big in patient.read[:size] + b"\r\n"
        patient.read = patient.read[size:]
        assert patient.line() == b")\r\n"
    patient.until(b"f OK")
    for client in readers:
        client.vanish()


def test_a_client_that_sends_commands_and_reads_no_answer(site: Server, witness: Witness) -> None:
    before = resident(site.pid)
    for service, (_, command, _) in SERVICES.items():
        client = Raw(site, service, receive_buffer=4096)
        client.socket.settimeout(1)
        sent = 0
        # The server must stop reading: what it takes without an end it would have to keep.
        with pytest.raises(TimeoutError):
            while sent < 40 * 10**6:
                sent += client.socket.send(command * 2000)
        client.vanish()
    assert resident(site.pid) - before < GROWTH


def test_ten_thousand_commands_at_once(site: Server, witness: Witness) -> None:
    login = {"imap": imap, "pop3": pop3, "smtp": lambda site: Raw(site, "smtp")}
    for service, command, answer in (
        ("smtp", b"NOOP\r\n", b"250 "), ("imap", b"n NOOP\r\n", b"n OK "), ("pop3", b"NOOP\r\n", b"+OK"),
    ):
        client = login[service](site)
        if service == "smtp":
            client.until(b"220 ")
        writer = threading.Thread(target=client.send, args=(command * 10_000,))
        writer.start()
        for _ in range(10_000):
            line = client.line()
            assert line.startswith(answer), line
        writer.join(10)
        client.vanish(rudely=False)


def test_clients_that_vanish(site: Server, witness: Witness) -> None:
    deliver(site, ACCOUNT, b"Subject: long\r\n\r\n" + b"z" * 70 + b"\r\n" * 500_000)
    before, open_before, names_before = count(site), descriptors(site), set(os.listdir(site.folder / "data"))
    octets = b"z" * 70 + b"\r\n"
    for round_ in range(12):
        rudely = bool(round_ % 2)
        smtp = Raw(site, "smtp")
        smtp.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ACCOUNT.encode())
        smtp.until(b"354 ")
        # Some of them when a spool file is open already, and one right after the dot of a text's last line.
        smtp.send(octets * (10_000 if round_ % 3 else 10) + b"\r\n.")
        smtp.vanish(rudely)
        appender = imap(site)
        appender.send(b"a APPEND INBOX {1000000}\r\n")
        appender.until(b"+ ")
        appender.send(octets * (10_000 if round_ % 3 else 10))
        appender.vanish(rudely)
        idler = imap(site)
        idler.send(b"s SELECT INBOX\r\ni IDLE\r\n")
        idler.until(b"+ ")
        idler.vanish(rudely)
        reader = imap(site, receive_buffer=4096)
        reader.send(b"s SELECT INBOX\r\nf FETCH 1:* BODY[]\r\n")
        reader.until(b"s OK")
        reader.socket.recv(100)
        reader.vanish(rudely)
        maildrop = pop3(site, receive_buffer=4096)
        maildrop.send(b"DELE 1\r\nRETR %d\r\n" % before)
        maildrop.until(b"+OK")
        maildrop.vanish(rudely)
        # A maildrop is locked until its session is gone.
        assert soon(lambda: "pop3" not in site.command("session", "list").stdout)
    assert soon(lambda: descriptors(site) <= open_before + 2), "descriptors leak"
    assert count(site) == before
    assert set(os.listdir(site.folder / "data")) == names_before, "files are left"


def test_half_closed_connections(site: Server, witness: Witness) -> None:
    for octets, service, last in (
        (b"EHLO x\r\nNOOP\r\n", "smtp", b"250 "),
        (b"c CAPABILITY\r\nn NOOP\r\n", "imap", b"n OK"),
        (b"CAPA\r\nUSER x\r\n", "pop3", b"+OK"),
    ):
        client = Raw(site, service)
        client.send(octets)
        client.half_close()
        said = client.rest()
        assert said.rstrip(b"\r\n").rpartition(b"\n")[2].startswith(last), said
    before = count(site)
    smtp = Raw(site, "smtp")
    smtp.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\nno end" % ACCOUNT.encode())
    smtp.half_close()
    assert b"\n354 " in smtp.rest()
    appender = imap(site)
    appender.send(b"a APPEND INBOX {100}\r\nno end")
    appender.half_close()
    assert b"a OK" not in appender.rest()
    idler = imap(site)
    idler.send(b"s SELECT INBOX\r\ni IDLE\r\n")
    idler.half_close()
    assert b"\r\n+ " in idler.rest()
    assert count(site) == before


def test_a_thousand_connections(site: Server, witness: Witness, figure: Callable[[str, float], None]) -> None:
    before, open_before = resident(site.pid), descriptors(site)
    for number in range(1000):
        client = Raw(site, ("smtp", "imap", "pop3")[number % 3], tls=number % 9 in (4, 5))
        if number % 2:
            client.send(b"\x16\x03\x01" if number % 9 in (4, 5) else b"NOO")
        client.vanish(rudely=bool(number % 3))
    assert soon(lambda: descriptors(site) <= open_before + 2), "descriptors leak"
    held = [Raw(site, ("smtp", "imap", "pop3")[number % 3]) for number in range(300)]
    for client in held:
        assert client.line()
    figure("300 silent connections, growth in MB", (resident(site.pid) - before) / 1e6)
    for client in held:
        client.vanish()
    assert soon(lambda: descriptors(site) <= open_before + 2), "descriptors leak"


def test_what_is_no_tls_on_the_tls_port(site: Server, witness: Witness) -> None:
    for service in ("imap", "pop3"):
        for octets in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"a NOOP\r\n", b"\x16\x03\x01\xff\xff" + os.urandom(2000),
            b"\0" * 5000, os.urandom(5000), b"\x80\x2e\x01\x03\x01",
        ):
            client = Raw(site, service, tls=True)
            client.send(octets)
            client.half_close()
            said = client.rest()
            # A TLS alert or nothing; never a word of the protocol.
            assert said[:1] in (b"", b"\x15"), said
        # A handshake that stops in the middle.
        client = Raw(site, service, tls=True)
        tls_in, tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = context_object(tls_in, tls_out)
        with pytest.raises(ssl.SSLWantReadError):
            handshake.do_handshake()
        client.send(tls_out.read())
        assert client.socket.recv(100)
        client.vanish()


def context_object(tls_in: ssl.MemoryBIO, tls_out: ssl.MemoryBIO) -> ssl.SSLObject:
    """A client whose octets we carry ourselves."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made.wrap_bio(tls_in, tls_out)


def test_an_http_request_and_tls_where_neither_is_expected(site: Server, witness: Witness) -> None:
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    # A page may make a browser send this (RFC 9112): the commands in it must not work without an error in between.
    post += b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\nforged\r\n.\r\n" % ACCOUNT.encode()
    before = count(site)
    for service, refusal in (("smtp", b"421 "), ("imap", b" BAD "), ("pop3", b"-ERR")):
        client = Raw(site, service)
        client.send(post)
        client.half_close()
        assert refusal in client.rest()
        client = Raw(site, service)
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(512) + b"\r\n")
        client.half_close()
        client.rest()
    assert count(site) == before


@pytest.mark.parametrize(("service", "ask", "injected", "ready", "probe", "answer"), [
    ("smtp", b"STARTTLS\r\n", b"EHLO evil\r\nMAIL FROM:<evil@x.example>\r\n", b"220 ", b"NOOP\r\n", b"250 "),
    ("imap", b"t STARTTLS\r\n", b"evil1 NOOP\r\nevil2 CAPABILITY\r\n", b"t OK", b"n NOOP\r\n", b"n OK"),
    ("pop3", b"STLS\r\n", b"USER evil\r\nCAPA\r\n", b"+OK", b"NOOP\r\n", b"-ERR"),
])
def test_rfc_3207_nothing_sent_in_clear_is_executed_under_tls(
    site: Server, service: str, ask: bytes, injected: bytes, ready: bytes, probe: bytes, answer: bytes
) -> None:
    client = Raw(site, service)
    client.line()
    if service == "smtp":
        client.send(b"EHLO x\r\n")
        client.until(b"250 ")
    client.send(ask + injected)
    assert client.line().startswith(ready)
    assert client.read == b"", "answered in clear"
    client.start_tls()
    client.send(probe)
    assert client.line().startswith(answer), "something was answered before the probe"
    if service == "smtp":
        client.send(b"RCPT TO:<%s>\r\n" % ACCOUNT.encode())
        assert client.line().startswith(b"503 "), "MAIL was taken over, or EHLO was"
    client.vanish(rudely=False)


def test_lines_without_an_end_and_nul(site: Server, witness: Witness, figure: Callable[[str, float], None]) -> None:
    before = resident(site.pid)
    for service, refusal, command, answer in (
        ("smtp", b"500 5.5.", b"NOOP\r\n", b"250 "),
        ("imap", b"", b"n NOOP\r\n", b"n OK"),
        ("pop3", b"-ERR", b"CAPA\r\n", b"+OK"),
    ):
        client = Raw(site, service)
        client.line()
        try:
            client.send(b"A" * 5_000_000 + b"\r\n" + command)
        except ConnectionError:
            pass  # it may close, but it has to say why
        said = client.line()
        assert said.startswith(refusal) and (service != "imap" or b" BAD " in said or b"* BYE" in said), said
        client.vanish()
        nul = Raw(site, service)
        nul.line()
        nul.send(b"NO\0OP\r\n\0\r\n\r\n" + command)
        said = nul.line()
        assert said.startswith((b"500 ", b"501 ", b"-ERR", b"* BAD", b"NO BAD", b"NO\0OP BAD")), said
        assert nul.until(answer)
        nul.vanish()
    smtp = Raw(site, "smtp")
    smtp.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ACCOUNT.encode())
    smtp.until(b"354 ")
    smtp.send(b"B" * 5_000_000 + b"\r\n.\r\nNOOP\r\n")
    assert smtp.until(b"5").startswith((b"500 ", b"550 ", b"552 ", b"554 "))
    smtp.until(b"250 ")
    figure("lines without an end, growth in MB", (resident(site.pid) - before) / 1e6)
    assert resident(site.pid) - before < GROWTH


def test_huge_literals_and_deep_nesting(
    site: Server, witness: Witness, figure: Callable[[str, float], None]
) -> None:
    before = resident(site.pid)
    for octets in (
        b"a LOGIN {999999999}\r\n", b"a LOGIN {99999999999999999999999}\r\n", b"a LOGIN {100000+}\r\n" + b"x" * 100_000,
        b"a NOOP\r\n" * 10 + b"a LOGIN " + b'"' * 7999 + b"\r\n",
    ):
        client = Raw(site, "imap")
        client.line()
        client.send(octets)
        client.half_close()
        said = client.rest()
        assert b" BAD " in said or b" NO " in said or b"* BYE" in said, said
    for command in (
        b"SEARCH " + b"(" * 60_000 + b")" * 60_000,
        b"SEARCH " + b"NOT " * 50_000 + b"ALL",
        b"SEARCH " + b"OR SEEN " * 5_000 + b"SEEN",
        b"FETCH 1:4294967295,1:* (" + b" ".join([b"BODY[1.1.1.1.1.1.1.1.1.1]"] * 3000) + b")",
        b"FETCH 1 BODY[" + b"1." * 30_000 + b"1]",
        b"FETCH " + b",".join(b"%d" % n for n in range(1, 20_000, 2)) + b" FLAGS",
        b"STORE 1 +FLAGS (" + b" ".join(b"k%d" % n for n in range(9999)) + b")",
    ):
        client = imap(site)
        client.send(b"s SELECT INBOX\r\n")
        client.until(b"s OK")
        client.send(b"q " + command + b"\r\nn NOOP\r\n")
        answer = client.until(b"q ")
        assert answer.startswith((b"q BAD ", b"q NO ", b"q OK ")), answer
        # Where a command's end cannot be found any more the server says so and closes.
        assert client.line().startswith((b"n OK", b"* BYE")), command[:20]
        client.vanish(rudely=False)
    figure("commands of great depth and length, growth in MB", (resident(site.pid) - before) / 1e6)
    assert resident(site.pid) - before < GROWTH


def test_the_site_is_as_it_was(site: Server, figure: Callable[[str, float], None]) -> None:
    """After all of the above."""
    found = site.command("store", "check")
    assert found.returncode == 0, found.stdout + found.stderr
    assert soon(lambda: site.command("session", "list").stdout.count("127.0.0.1") == 0)
    figure("resident memory after all this, MB", resident(site.pid) / 1e6)
    assert Path(f"/proc/{site.pid}").exists()
