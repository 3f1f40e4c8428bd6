"""S-034..S-046, S-140: who may connect and who may relay, at whole sites, for all three protocols, with a name server.

Clients come from many addresses of 127.0.0.0/8; who they are by name, the name server of the test tells.
"""

from __future__ import annotations

import imaplib
import json
import smtplib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from .conftest import PASSWORD, Server
from .names import SERVFAIL, AskingServer, NameServer, named
from .test_standard_library import context

pytestmark = pytest.mark.live

ANNA = "anna@example.test"
PROTOCOLS = ("smtp", "imap", "pop3")
GREETING = {"smtp": b"220 ", "imap": b"* OK ", "pop3": b"+OK "}
DENIED = {
    "smtp": b"554 5.7.1 Access denied\r\n",
    "imap": b"* BYE Access denied\r\n",
    "pop3": b"-ERR [SYS/PERM] Access denied\r\n",
}
LATER = {"smtp": b"421 4.4.3 ", "imap": b"* BYE [UNAVAILABLE] ", "pop3": b"-ERR [SYS/TEMP] "}
#: Kind of entry (S-037) -> what is in the list, who is meant by it, who is not.
KINDS = {
    "computer": ("127.0.5.50", ["127.0.5.50"], ["127.0.5.51"]),
    "group": ("127.9.5/255.255.0.0", ["127.9.0.1", "127.9.255.254"], ["127.8.0.1", "127.10.0.1"]),
    "domain": ("eng.example.com", ["127.0.7.1", "127.0.7.2"], ["127.0.7.3", "127.0.7.4", "127.0.7.5", "127.0.7.6"]),
    "empty": ("", [], ["127.0.0.1"]),
}
MODES = {"only": "S-035", "except": "S-036"}
TABLES = {
    "imap": 'login_without_tls = true\nfailed_login_delay = "off"\n',
    "pop3": 'login_without_tls = true\nfailed_login_delay = "off"\n',
    "smtp": "",
}
SERVERS = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[access.changing]
mode = "except"
list = []
[access.relays]
mode = "only"
list = [
    "127.0.6.0/24",
    "eng.example.com",
]
[access.six]
mode = "only"
list = ["2001:db8:7::/48", "2001:db8:8::1", "198.51.100.7", "six.example.com"]
[access.self]
mode = "only"
list = ["127.0.0.1"]
[smtp.open]
listen = ["127.0.0.1:0"]
relay = "relays"
[smtp.submission]
role = "submission"
access = "self"
sender_check = false
listen = ["127.0.0.1:0"]
login_without_tls = true
failed_login_delay = "off"
[imap.strict]
require_tls = true
access = "self"
max_connections = 1
idle_timeout = "2s"
login_timeout = "1s"
listen = ["127.0.0.1:0"]
[pop3.strict]
require_tls = true
access = "self"
max_connections = 1
idle_timeout = "2s"
login_timeout = "1s"
listen = ["127.0.0.1:0"]
[smtp.strict]
role = "submission"
require_tls = true
access = "self"
max_connections = 1
idle_timeout = "2s"
login_timeout = "1s"
listen = ["127.0.0.1:0"]
"""


def configuration() -> str:
    """A list for each kind and mode, and for each list a server of each protocol."""
    text = SERVERS
    for mode in MODES:
        for kind, (entry, _, _) in KINDS.items():
            text += f'[access.{mode}-{kind}]\nmode = "{mode}"\nlist = {json.dumps([entry] if entry else [])}\n'
            for protocol in PROTOCOLS:
                text += f'[{protocol}.{mode}-{kind}]\nlisten = ["127.0.0.1:0"]\naccess = "{mode}-{kind}"\n'
                text += TABLES[protocol]
    for protocol in PROTOCOLS:
        text += f'[{protocol}.six]\nlisten = ["127.0.0.1:0"]\naccess = "six"\ntrusted_proxies = ["127.0.0.2"]\n'
        text += TABLES[protocol]
        text += f'[{protocol}.changing]\nlisten = ["127.0.0.1:0"]\naccess = "changing"\n'
        text += TABLES[protocol]
    for protocol in ("imap", "pop3"):
        text += f'[{protocol}.open]\nlisten = ["127.0.0.1:0"]\n' + TABLES[protocol]
    return text


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    """The names of the clients."""
    with named() as made:
        made.host("127.0.7.1", "eng.example.com")
        made.host("127.0.7.2", "bad.example.net", "host.Eng.example.com")
        # Its reverse zone claims a name that does not lead back: anybody's can.
        made.host("127.0.7.3", "liar.eng.example.com", confirmed=False)
        made.host("127.0.7.4", "dev.example.com")
        reverse = ip_address("2001:db8:9::1").reverse_pointer
        made.table |= {f"{reverse} PTR": ("a.six.example.com",), "a.six.example.com AAAA": ("2001:db8:9::1",)}
        # An end of letters is no end of labels.
        made.host("127.0.7.5", "teng.example.com")
        made.table["9.7.0.127.in-addr.arpa PTR"] = SERVFAIL
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, names: NameServer) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "password").write_text(PASSWORD + "\n")
    made = AskingServer(folder, configuration(), names)
    made.start()
    made.command("user", "add", ANNA, "--password-file", str(folder / "password"))
    try:
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def connect(site: Server, server: str, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port(server)), 20, (address, 0))


def first(site: Server, server: str, address: str) -> bytes:
    """The first line that a client from that address hears."""
    with connect(site, server, address) as client:
        heard = b""
        while not heard.endswith(b"\n") and (piece := client.recv(4096)):
            heard += piece
        return heard


def goes_in(site: Server, server: str, address: str) -> bool:
    """Whether a client from that address is greeted; else it hears that it is denied, and nothing else."""
    protocol = server.partition("/")[0]
    heard = first(site, server, address)
    if heard.startswith(GREETING[protocol]):
        return True
    assert heard == DENIED[protocol]
    return False


every = pytest.mark.parametrize("protocol", PROTOCOLS)


@every
def test_s_034_without_a_list_everybody_may_connect(site: Server, protocol: str) -> None:
    for address in ("127.0.0.1", "127.0.5.50", "127.9.0.1", "127.0.7.3"):
        assert goes_in(site, f"{protocol}/open", address)


@every
@pytest.mark.parametrize("kind", KINDS)
def test_s_035_s_037_only_the_list_below_is_granted(site: Server, protocol: str, kind: str) -> None:
    _, meant, others = KINDS[kind]
    server = f"{protocol}/only-{kind}"
    assert [goes_in(site, server, address) for address in meant] == [True] * len(meant)
    assert [goes_in(site, server, address) for address in others] == [False] * len(others)


@every
@pytest.mark.parametrize("kind", KINDS)
def test_s_036_s_037_all_except_the_list_below_are_granted(site: Server, protocol: str, kind: str) -> None:
    _, meant, others = KINDS[kind]
    server = f"{protocol}/except-{kind}"
    assert [goes_in(site, server, address) for address in meant] == [False] * len(meant)
    assert [goes_in(site, server, address) for address in others] == [True] * len(others)


@every
@pytest.mark.parametrize(("address", "granted"), [
    ("2001:db8:7:ffff::9", True), ("2001:db8:8::1", True), ("2001:db8:8::2", False), ("2001:db8:9::1", True),
    ("2001:db8:9::2", False), ("::ffff:198.51.100.7", True), ("::ffff:198.51.100.8", False),
])  # fmt: skip
def test_s_037_entries_of_ipv6_and_names_of_ipv6_clients(
    site: Server, protocol: str, address: str, granted: bool
) -> None:
    with connect(site, f"{protocol}/six", "127.0.0.2") as client:
        client.sendall(f"PROXY TCP6 {address} 2001:db8::25 40000 25\r\n".encode())
        heard = client.recv(4096)
        assert heard.startswith(GREETING[protocol]) if granted else heard == DENIED[protocol]


def test_s_038_entries_come_and_go_while_clients_are_there(site: Server) -> None:
    held = connect(site, "imap/changing", "127.0.8.8")
    held.recv(4096)
    for entry in ("127.0.8.8", "127.0.8/255.255.255.0", "127.0.8.0/24"):
        assert all(goes_in(site, f"{protocol}/changing", "127.0.8.8") for protocol in PROTOCOLS)
        site.command("access", "add", "changing", entry)
        assert not any(goes_in(site, f"{protocol}/changing", "127.0.8.8") for protocol in PROTOCOLS)
        site.command("access", "remove", "changing", entry)
    assert all(goes_in(site, f"{protocol}/changing", "127.0.8.8") for protocol in PROTOCOLS)
    # A list is about who comes, not about who is in.
    held.sendall(b"a NOOP\r\n")
    assert held.recv(4096).startswith(b"a OK ")
    held.close()


def test_s_039_who_is_granted_has_still_to_log_in(site: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/submission"), timeout=20) as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<{ANNA}>") == (530, b"5.7.0 Authentication required")
        assert client.docmd(f"RCPT TO:<{ANNA}>")[0] in (503, 530)
        client.login(ANNA, PASSWORD)
        assert client.docmd(f"MAIL FROM:<{ANNA}>")[0] == 250
    with connect(site, "imap/only-computer", "127.0.5.50") as client_imap:
        client_imap.recv(4096)
        client_imap.sendall(b"a SELECT INBOX\r\n")
        assert client_imap.recv(4096).startswith(b"a BAD ")
    with connect(site, "pop3/only-computer", "127.0.5.50") as client_pop3:
        client_pop3.recv(4096)
        client_pop3.sendall(b"STAT\r\n")
        assert client_pop3.recv(4096).startswith(b"-ERR")


@every
def test_s_040_the_right_password_lets_no_denied_computer_in(site: Server, protocol: str) -> None:
    login = {
        "smtp": b"EHLO c\r\nAUTH PLAIN AGFubmE=\r\n",
        "imap": b'a LOGIN %b "%b"\r\na SELECT INBOX\r\n' % (ANNA.encode(), PASSWORD.encode()),
        "pop3": b"USER %b\r\nPASS %b\r\n" % (ANNA.encode(), PASSWORD.encode()),
    }[protocol]
    with connect(site, f"{protocol}/except-computer", "127.0.5.50") as client:
        heard = b""
        try:
            client.sendall(login)
            while piece := client.recv(4096):
                heard += piece
        except ConnectionResetError:
            pass
        assert heard in (DENIED[protocol], b"")
    assert f"login of {ANNA} on {protocol}/except-computer" not in site.log()
    assert f"127.0.5.50 is not let in by {protocol}/except-computer: reject access" in site.log()


@every
def test_s_041_a_name_is_found_in_reverse_and_confirmed_forward(
    site: Server, names: NameServer, protocol: str
) -> None:
    assert goes_in(site, f"{protocol}/only-domain", "127.0.7.2")
    assert "2.7.0.127.in-addr.arpa PTR" in names.asked and "host.eng.example.com A" in names.asked
    assert not goes_in(site, f"{protocol}/only-domain", "127.0.7.3")
    assert "liar.eng.example.com A" in names.asked
    # The domain itself, without what is below it: a label more or less is another domain.
    assert not goes_in(site, f"{protocol}/only-domain", "127.0.7.5")


@every
@pytest.mark.parametrize("mode", MODES)
def test_s_041_a_client_whose_name_cannot_be_found_now_comes_again(site: Server, mode: str, protocol: str) -> None:
    heard = first(site, f"{protocol}/{mode}-domain", "127.0.7.9")
    assert heard.startswith(LATER[protocol]), heard


@every
def test_s_042_nothing_is_looked_up_without_an_entry_of_a_domain(
    site: Server, names: NameServer, protocol: str
) -> None:
    fresh = {"smtp": "127.0.9.1", "imap": "127.0.9.2", "pop3": "127.0.9.3"}[protocol]
    question = f"{fresh.rpartition('.')[2]}.9.0.127.in-addr.arpa PTR"
    for list_ in ("only-computer", "only-group", "except-computer", "except-group", "except-empty"):
        first(site, f"{protocol}/{list_}", fresh)
    assert question not in names.asked
    first(site, f"{protocol}/except-domain", fresh)
    first(site, f"{protocol}/except-domain", fresh)
    # Asked for each connection; what was learnt holds for its time to live.
    assert names.asked.count(question) == 1


def test_s_043_s_044_a_list_is_for_one_server_and_blocking_delivery_blocks_no_retrieval(site: Server) -> None:
    denied = "127.0.5.50"
    assert not goes_in(site, "pop3/except-computer", denied) and goes_in(site, "pop3/open", denied)
    assert not goes_in(site, "smtp/except-computer", denied)
    with imaplib.IMAP4("127.0.0.1", site.port("imap/open"), timeout=20) as client:
        assert client.login(ANNA, PASSWORD)[0] == "OK" and client.select()[0] == "OK"
    # And the other way round: mail is taken from who may not fetch any.
    assert not goes_in(site, "imap/except-computer", denied)
    with smtplib.SMTP("127.0.0.1", site.port("smtp/open"), timeout=20, source_address=(denied, 0)) as sender:
        assert sender.sendmail("a@b.example", [ANNA], "Subject: x\r\n\r\n") == {}


#: What needs TLS, and what needs a login: what to say, and how the refusal begins.
NEEDS_TLS = {
    "smtp": (b"MAIL FROM:<a@b.example>\r\n", b"530 5.7.0 Must issue a STARTTLS"),
    "imap": (b"a LOGIN x y\r\n", b"a NO "),
    "pop3": (b"USER x\r\n", b"-ERR "),
}
NEEDS_LOGIN = {
    "smtp": (b"MAIL FROM:<a@b.example>\r\n", b"530 5.7.0 Authentication required"),
    "imap": (b"a SELECT INBOX\r\n", b"a BAD "),
    "pop3": (b"STAT\r\n", b"-ERR "),
}
#: What comes before, in the clear and with TLS, and what begins TLS.
HELLO = {"smtp": b"EHLO c\r\n", "imap": b"h NOOP\r\n", "pop3": b"CAPA\r\n"}
START = {"smtp": b"STARTTLS\r\n", "imap": b"s STARTTLS\r\n", "pop3": b"STLS\r\n"}


def ask(client: socket.socket, line: bytes) -> bytes:
    client.sendall(line)
    return client.recv(4096)


@every
def test_s_046_clients_are_kept_out_by_address_and_by_number(site: Server, protocol: str) -> None:
    server = f"{protocol}/strict"
    assert not goes_in(site, server, "127.0.5.50")
    with connect(site, server, "127.0.0.1") as client:
        assert client.recv(4096).startswith(GREETING[protocol])
        heard = first(site, server, "127.0.0.1")
        assert b"Too many connections" in heard and not heard.startswith(GREETING[protocol])


@every
def test_s_046_clients_are_kept_out_without_tls_and_without_a_login(site: Server, protocol: str) -> None:
    with connect(site, f"{protocol}/strict", "127.0.0.1") as client:
        client.recv(4096)
        ask(client, HELLO[protocol])
        line, refusal = NEEDS_TLS[protocol]
        assert ask(client, line).startswith(refusal)
        ask(client, START[protocol])
        with context().wrap_socket(client, server_hostname="mx.example.test") as secured:
            secured.sendall(HELLO[protocol])
            secured.recv(4096)
            line, refusal = NEEDS_LOGIN[protocol]
            secured.sendall(line)
            assert secured.recv(4096).startswith(refusal)


@every
def test_s_046_clients_are_kept_out_after_a_time(site: Server, protocol: str) -> None:
    with connect(site, f"{protocol}/strict", "127.0.0.1") as client:
        rest = client.recv(4096)
        while piece := client.recv(4096):
            rest += piece
    goodbye = rest.partition(b"\r\n")[2]
    # RFC 1939 section 3: POP3 closes without a word.
    assert goodbye[:6] == {"smtp": b"421 4.", "imap": b"* BYE ", "pop3": b""}[protocol]


@pytest.mark.parametrize(("address", "code"), [
    ("127.0.6.77", 250), ("127.0.7.1", 250), ("127.0.7.2", 250), ("127.0.7.3", 550), ("127.0.7.4", 550),
    ("127.0.5.50", 550), ("127.0.7.9", 451),
])  # fmt: skip
def test_s_138_s_140_relay_lists_hold_groups_and_domains_too(site: Server, address: str, code: int) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/open"), timeout=20, source_address=(address, 0)) as client:
        client.ehlo()
        client.mail("a@b.example")
        assert client.rcpt("x@elsewhere.example")[0] == code
        # For our own domains everybody may send.
        assert client.rcpt(ANNA)[0] == 250


# ---------------------------------------------------------------- the commands of administrators


def line_of(site: Server, text: str) -> int:
    """Where that is in the file."""
    return next(n for n, line in enumerate(site.config.read_text().splitlines(), 1) if line.strip() == text)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_access_test_and_relay_test_tell_the_rule_and_its_line(site: Server, running: bool) -> None:
    if not running:
        site.stop()
    try:
        group, domain = line_of(site, '"127.0.6.0/24",'), line_of(site, '"eng.example.com",')
        relays = ("relay", "test", "--server", "smtp/open")
        told = site.command(*relays[:2], "127.0.6.9", *relays[2:]).stdout
        assert "allowed" in told and f"mailsrv.toml:{group}" in told and "127.0.6.0/24" in told
        told = site.command(*relays[:2], "192.0.2.1", *relays[2:], "--name", "a.eng.example.com").stdout
        assert "allowed" in told and f"mailsrv.toml:{domain}" in told
        denied = site.command(*relays[:2], "192.0.2.1", *relays[2:], "--name", "dev.example.com", check=False)
        assert denied.returncode == 1 and 'denied     list "relays" (only): not listed' in denied.stdout, denied
        denied = site.command("access", "test", "127.0.5.50", "--server", "pop3/except-computer", check=False)
        assert denied.returncode == 1 and "denied" in denied.stdout
        assert f"mailsrv.toml:{line_of(site, '[access.except-computer]') + 2}" in denied.stdout
        everybody = site.command("access", "test", "127.0.5.50", "--server", "pop3/open").stdout
        assert "allowed" in everybody and "no access list" in everybody
    finally:
        if not running:
            site.start()


@pytest.mark.parametrize(("address", "word", "rule"), [
    ("127.0.7.1", "allowed", "eng.example.com"), ("127.0.7.3", "denied", 'list "only-domain" (only): not listed'),
    ("127.0.7.9", "not decided", ""),
])  # fmt: skip
def test_access_test_looks_a_name_up_as_the_server_would(site: Server, address: str, word: str, rule: str) -> None:
    told = site.command("access", "test", address, "--server", "imap/only-domain", check=False)
    assert word in told.stdout and rule in told.stdout and (told.returncode == 0) == (word == "allowed")
    assert goes_in(site, "imap/only-domain", address) == (word == "allowed") if word != "not decided" else True
