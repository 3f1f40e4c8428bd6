"""Which certificate a client is shown, folders that others write to, and certificates that end soon."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.errors import ConfigError
from mailsrv.host import certificates as module
from mailsrv.host.certificate_watch import DAY, LOOK, CertificateWatch, certificate_warnings, step_of
from mailsrv.host.certificates import Certificates, certificates_of
from mailsrv.host.config.load import loads
from mailsrv.host.config.options import SiteOptions
from mailsrv.host.events import Events
from mailsrv.host.kept import kept_files
from mailsrv.net.certificate import finish_replacing, replace_pair
from mailsrv.net.certificate_facts import names_of
from mailsrv.net.tls import next_key
from tests.authority import Authority, key_pem, pem

CA = Authority()
V12, V13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


class Bed:
    """A folder with pairs, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0

    def pair(self, name: str, *hosts: str, days: tuple[float, float] = (-1, 90)) -> None:
        """NAME.crt and NAME.key."""
        certificate, key = CA.issue(*hosts, days=days)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.crt").write_bytes(certificate)
        path.with_name(f"{path.name}.key").write_bytes(key)

    def options(self, text: str) -> SiteOptions:
        return loads(f'[site]\nhostname = "mx.example.test"\n{text}', self.folder / "mailsrv.toml")

    def certificates(self, text: str) -> tuple[Certificates, Callable[[], Any]]:
        """Those of a configuration, and what the server imap/a shows."""
        options = self.options(text)
        made = Certificates(options, self.folder, lambda: self.now)
        context = made.context_of(options.servers["imap/a"])
        assert context is not None
        return made, context


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of the log."""
    found: list[str] = []
    observer: Callable[[LogEvent], None] = lambda event: found.append(formatEvent(event))
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)


def handshake(
    context: Any, host: str = "", version: int = V13, ciphers: str = "", after: Any = None, client: Any = None
) -> Any:
    """The client's side of a connection in memory; `client` is a context for it."""
    made = client
    if after is None and made is None:
        made = SSL.Context(SSL.TLS_CLIENT_METHOD)
        made.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
        made.set_min_proto_version(version)
        made.set_max_proto_version(version)
        if ciphers:
            made.set_cipher_list(ciphers.encode())
    client = SSL.Connection(after.get_context() if after else made, None)
    client.set_connect_state()
    if after:
        client.set_session(after.get_session())
    if host:
        client.set_tlsext_host_name(host.encode())
    server = context.serverConnectionForTLS(None)
    server.set_accept_state()
    for _ in range(3):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
    try:
        client.recv(1)
    except SSL.WantReadError:
        pass
    client.server = server
    return client


def shown(context: Any, host: str = "", version: int = V13) -> str:
    """The first name of the certificate that a client sees."""
    certificate = handshake(context, host, version).get_peer_certificate(as_cryptography=True)
    return names_of(certificate)[0]


# ---------------------------------------------------------------- by name


TWO = '[tls.one]\ncertificate="one.crt"\nkey="one.key"\n[tls.two]\ncertificate="two.crt"\nkey="two.key"\n'


@pytest.mark.parametrize("version", [V12, V13])
def test_rfc_6066_section_3_a_client_is_shown_what_it_asks_for(bed: Bed, version: int) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test", "*.wild.test")
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\n')
    for host, expected in {
        "": "mx.example.test", "mx.example.test": "mx.example.test", "mail.two.test": "mail.two.test",
        "MAIL.Two.test": "mail.two.test", "a.wild.test": "mail.two.test", "a.b.wild.test": "mx.example.test",
        "wild.test": "mx.example.test", "unknown.test": "mx.example.test",
    }.items():  # fmt: skip
        assert shown(context(), host, version) == expected, host


def test_a_server_shows_no_table_that_it_does_not_name(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\n')
    assert shown(context(), "mail.two.test") == "mx.example.test"


@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_is_resumed_whatever_certificate_was_chosen(bed: Bed, version: int) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\n')
    first = handshake(context(), "mail.two.test", version)
    second = handshake(context(), "mail.two.test", version, after=first)
    assert SSL._lib.SSL_session_reused(second._ssl)  # type: ignore[attr-defined]


def test_the_server_remembers_no_session_itself(bed: Bed) -> None:
    """A client that takes no tickets would otherwise cost memory for hours."""
    bed.pair("one", "mx.example.test")
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\n')
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_max_proto_version(V12)
    made.set_options(SSL.OP_NO_TICKET)
    made.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    first = handshake(context(), client=made)
    assert not SSL._lib.SSL_session_reused(handshake(context(), after=first)._ssl)  # type: ignore[attr-defined]


def test_the_authorities_of_clients_are_those_of_the_certificate_that_is_shown(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    (bed.folder / "ca.pem").write_bytes(pem(CA.root))
    (bed.folder / "other.pem").write_bytes(pem(Authority("Other").root))
    ours, other = "Test authority root", "Other root"
    for first, second, asked in (
        ("ca.pem", "", (ours, "")), ("", "ca.pem", ("", ours)), ("other.pem", "ca.pem", (other, ours)),
    ):  # fmt: skip
        text = TWO.replace("[tls.two]", (f'client_ca = "{first}"\n' if first else "") + "[tls.two]")
        text += f'client_ca = "{second}"\n' if second else ""
        _, context = bed.certificates(text + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\n')
        for host, name in zip(("mx.example.test", "mail.two.test"), asked, strict=True):
            client = handshake(context(), host)
            assert [one.CN for one in client.get_client_ca_list()] == ([name] if name else []), (first, second, host)
            assert (client.server.clients is not None) == bool(name)


def test_rfc_5929_the_end_point_is_that_of_the_certificate_that_is_shown(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\n')
    servers = [handshake(context(), host).server for host in ("", "mail.two.test")]
    assert len({one.bindings()["tls-server-end-point"] for one in servers}) == 2


def test_one_that_cannot_be_used_is_not_shown_and_hinders_nobody(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    (bed.folder / "two.key").write_bytes((bed.folder / "one.key").read_bytes())
    _, context = bed.certificates(TWO + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\n')
    assert shown(context(), "mail.two.test") == "mx.example.test"
    bed.pair("two", "mail.two.test")
    assert shown(context(), "mail.two.test") == "mx.example.test", "it is not tried at every handshake"
    bed.now += 6
    assert shown(context(), "mail.two.test") == "mail.two.test"


# ---------------------------------------------------------------- strong


def suites(context: Any) -> list[str]:
    """What TLS 1.2 is spoken with, one by one."""
    found = []
    for suite in (
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0",
    ):  # fmt: skip
        try:
            found.append(handshake(context, version=V12, ciphers=suite).get_cipher_name())
        except SSL.Error:
            found.append(None)
    return [suite for suite in found if suite]


def test_s_054_strong_is_authenticated_encryption_alone(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    text = TWO + '[imap.a]\ncertificate = "one"\ncertificates = ["two"]\nrequire_tls = true\n'
    _, usual = bed.certificates(text)
    _, strong = bed.certificates(text + "require_strong_tls = true\n")
    assert len(suites(usual())) == 4
    assert suites(strong()) == ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    with pytest.raises(SSL.Error):
        handshake(strong(), "mail.two.test", V12, "ECDHE-ECDSA-AES128-SHA256")
    assert shown(strong(), "mail.two.test") == "mail.two.test"
    assert handshake(strong()).get_cipher_name() == "TLS_AES_256_GCM_SHA384"


def test_s_054_strong_goes_with_require_tls() -> None:
    with pytest.raises(ConfigError, match="needs require_tls = true"):
        loads("[imap.a]\nrequire_strong_tls = true\n")


@pytest.mark.parametrize("suite", ["AES256-GCM-SHA384", "AES128-SHA"])
def test_nothing_without_forward_secrecy(bed: Bed, suite: str) -> None:
    """With an RSA certificate, whose key alone would do for these."""
    key = rsa.generate_private_key(65537, 2048)
    (bed.folder / "one.crt").write_bytes(pem(CA.certify(key.public_key(), ["mx.example.test"])))
    (bed.folder / "one.key").write_bytes(key_pem(key))
    _, context = bed.certificates('[tls.one]\ncertificate="one.crt"\nkey="one.key"\n[imap.a]\ncertificate = "one"\n')
    with pytest.raises(SSL.Error):
        handshake(context(), version=V12, ciphers=suite)
    both = handshake(context(), version=V12, ciphers=f"{suite}:ECDHE-RSA-AES128-SHA")
    assert both.get_cipher_name() == "ECDHE-RSA-AES128-SHA"


# ---------------------------------------------------------------- folders


FOLDER = '[tls.all]\ndirectory = "live"\n[imap.a]\ncertificate = "all"\n'


def test_a_folder_shows_the_servers_own_name_and_others_on_demand(bed: Bed) -> None:
    for host in ("a.test", "mx.example.test", "z.test"):
        bed.pair(f"live/{host}", host, f"www.{host}")
    made, context = bed.certificates(FOLDER)
    assert shown(context()) == "mx.example.test" and shown(context(), "z.test") == "z.test"
    assert shown(context(), "www.z.test") == "mx.example.test", "that name was not read yet"
    made.look()
    assert shown(context(), "www.z.test") == "z.test"


def test_nothing_of_a_folder_is_opened_before_a_client_asks(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    for at in range(5):
        bed.pair(f"live/h{at}.test", f"h{at}.test")
    made, context = bed.certificates(FOLDER)
    opened = made.shelves["all"]._open
    assert len(opened) == 0
    for at in (0, 1, 2, 3, 4, 0):
        assert shown(context(), f"h{at}.test") == f"h{at}.test"
        assert len(opened) <= 2


def test_what_comes_to_a_folder_and_what_goes(bed: Bed) -> None:
    bed.pair("live/a.test", "a.test")
    made, context = bed.certificates(FOLDER)
    bed.pair("live/b.test", "b.test")
    made.look()
    assert shown(context(), "b.test") == "b.test"
    for path in (bed.folder / "live").glob("a.test.*"):
        path.unlink()
    made.look()
    assert shown(context(), "a.test") == "b.test"
    shutil.rmtree(bed.folder / "live")
    made.look()
    assert made.shelves["all"].trouble == "cannot be read: No such file or directory"
    assert shown(context(), "b.test") == "b.test", "what is open is shown as long as it can be"


def test_of_two_for_a_host_the_one_that_is_good_for_longest(bed: Bed) -> None:
    bed.pair("live/a.test", "a.test", "old.test", days=(-80, 10))
    bed.pair("live/a.test-0001", "a.test", "new.test", days=(-1, 89))
    made, context = bed.certificates(FOLDER)
    made.look()
    certificate = handshake(context(), "a.test").get_peer_certificate(as_cryptography=True)
    assert names_of(certificate) == ["a.test", "new.test"]


def test_a_backup_has_the_pairs_of_a_folder(bed: Bed) -> None:
    bed.pair("live/a.test", "a.test")
    bed.pair("live/b.test", "b.test")
    (bed.folder / "live/b.test.key").unlink()
    kept = {name for _, name, _ in kept_files(bed.options(FOLDER))}
    assert kept == {"live/a.test.crt", "live/a.test.key"}
    assert kept_files(bed.options(FOLDER.replace("live", "none"))) == ()


def test_an_empty_folder_is_a_reason_for_a_server_to_stand_still(bed: Bed) -> None:
    (bed.folder / "live").mkdir()
    _, context = bed.certificates(FOLDER)
    with pytest.raises(ConfigError, match="no pair of certificate and key is there") as caught:
        context()
    assert caught.value.key == "tls.all.directory"


def test_a_folder_and_a_pair_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="a folder") as caught:
        loads('[tls.all]\ndirectory = "live"\nkey = "x"\n')
    assert caught.value.key == "tls.all.key"


def test_shelves_are_kept_when_other_options_change(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    bed.pair("two", "mail.two.test")
    text = TWO + '[imap.a]\ncertificate = "one"\n'
    made, context = bed.certificates(text)
    context()
    after = Certificates(bed.options(text.replace('"two.key"', '"other.key"')), bed.folder, lambda: 0.0, made)
    assert after.shelves["one"] is made.shelves["one"] and after.shelves["two"] is not made.shelves["two"]


def test_a_change_to_a_certificate_that_cannot_be_used_is_refused(bed: Bed) -> None:
    bed.pair("one", "mx.example.test")
    site = Site(bed, TWO + '[imap.a]\ncertificate = "one"\n')
    before = site.certificates
    site.options = bed.options(TWO + '[imap.a]\ncertificate = "two"\n')
    with pytest.raises(ConfigError, match="No such file"):
        certificates_of(site, before)
    # What was lost meanwhile hinders no change of something else.
    (bed.folder / "one.key").unlink()
    site.options = bed.options(TWO + '[imap.a]\ncertificate = "one"\ntitle = "Mail"\n')
    assert certificates_of(site, before).shelves["one"] is before.shelves["one"]


# ---------------------------------------------------------------- replacing


def test_a_pair_is_replaced_without_a_moment_of_misfit(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash after each step leaves files that a server starts with, the old ones or the new."""
    bed.pair("one", "old.test")
    text = '[tls.one]\ncertificate="one.crt"\nkey="one.key"\n[imap.a]\ncertificate = "one"\n'
    files = bed.folder / "one.crt", bed.folder / "one.key"
    real, seen = os.replace, []
    for steps in range(3):
        old = [path.read_bytes() for path in files]
        left = [steps]

        def crash(source: Any, target: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError(5, "crash")
            left[0] -= 1
            real(source, target)

        monkeypatch.setattr(os, "replace", crash)
        try:
            replace_pair(*files, *CA.issue("new.test"))
        except OSError:
            pass
        monkeypatch.setattr(os, "replace", real)
        seen.append(shown(bed.certificates(text)[1]()))
        finish_replacing(*files)
        assert shown(bed.certificates(text)[1]()) == seen[-1] and not next_key(files[1]).exists()
        assert files[1].stat().st_mode & 0o777 == 0o600 or steps == 0
        for path, octets in zip(files, old, strict=True):
            path.write_bytes(octets)
    assert seen == ["old.test", "new.test", "new.test"]


def test_a_half_written_pair_never_replaces_a_good_one(bed: Bed) -> None:
    bed.pair("one", "old.test")
    _, context = bed.certificates('[tls.one]\ncertificate="one.crt"\nkey="one.key"\n[imap.a]\ncertificate = "one"\n')
    assert shown(context()) == "old.test"
    certificate, key = CA.issue("new.test")
    for octets in (certificate[:300], certificate):
        (bed.folder / "one.crt").write_bytes(octets)
        bed.now += 6
        assert shown(context()) == "old.test"
    (bed.folder / "one.key").write_bytes(key[:50])
    bed.now += 6
    assert shown(context()) == "old.test"
    (bed.folder / "one.key").write_bytes(key)
    bed.now += 6
    assert shown(context()) == "new.test"


# ---------------------------------------------------------------- expiry


class Site:
    """What the watch looks at."""

    def __init__(self, bed: Bed, text: str) -> None:
        self.reactor = Clock()
        self.base, self.monotonic = bed.folder, self.reactor.seconds
        self.options = bed.options(text)
        self.certificates = certificates_of(self)
        self.today = datetime.now(UTC)
        self.events = Events(self.clock)

    def clock(self) -> float:
        return (self.today + timedelta(seconds=self.reactor.seconds())).timestamp()

    def aside(self, function: Any, *arguments: Any) -> Any:
        return succeed(function(*arguments))


@pytest.mark.parametrize(("days", "step"), [
    (31, None), (30, None), (29, 30), (14, 30), (13, 14), (6, 7), (2, 3), (1, 3), (0, 1), (-1, 0), (-100, 0),
])  # fmt: skip
def test_steps_of_telling(days: int, step: int | None) -> None:
    assert step_of(days) == step


def test_the_log_tells_at_the_start_and_when_the_end_comes_nearer(bed: Bed) -> None:
    bed.pair("one", "mx.example.test", days=(-60, 20))
    bed.pair("two", "unused.test", days=(-60, 2))
    site = Site(bed, TWO + '[imap.a]\ncertificate = "one"\n')
    told: list[list[str]] = []
    watch = CertificateWatch(site)
    tell = watch.tell
    watch.tell = lambda: told.append(tell()) or told[-1]  # type: ignore[func-returns-value,method-assign]
    watch.start()
    assert len(told) == 1 and told[0][0].startswith("the certificate of mx.example.test expires in 19 days, on ")
    site.reactor.pump([LOOK] * 10)
    assert len(told) == 1, "dates are looked at once a day"
    for _ in range(22):
        site.reactor.pump([LOOK, DAY - LOOK])
    lines = [line for lines in told[1:] for line in lines]
    assert [line.split(",")[0].split("test ", 1)[1] for line in lines[:4]] == [
        "expires in 13 days", "expires in 6 days", "expires in 2 days", "expires within a day",
    ]
    assert "expired on" in lines[4] and "clients refuse it" in lines[4]
    watch.stop()
    assert site.reactor.getDelayedCalls() == []


def test_a_folder_is_looked_at_every_half_minute_aside(bed: Bed) -> None:
    bed.pair("live/a.test", "a.test")
    site = Site(bed, FOLDER)
    context = site.certificates.context_of(site.options.servers["imap/a"])
    assert context is not None
    watch = CertificateWatch(site).start()
    bed.pair("live/new", "b.test")
    assert shown(context(), "b.test") == "a.test"
    site.reactor.advance(LOOK)
    assert shown(context(), "b.test") == "b.test"
    watch.stop()


def test_check_tells_of_a_folder_that_is_not_there_and_of_pairs_that_do_not_fit(bed: Bed) -> None:
    said = lambda: [warning.text for warning in certificate_warnings(bed.options(FOLDER), bed.folder)]
    assert said() == [f"{bed.folder}/live: cannot be read: No such file or directory"]
    bed.pair("live/a.test", "a.test")
    assert said() == []
    bed.pair("other", "a.test")
    shutil.copy(bed.folder / "other.key", bed.folder / "live/a.test.key")
    assert len(said()) == 1 and "the key does not belong to the certificate" in said()[0]


def test_a_key_is_read_again_only_when_a_file_is_another_one(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a thousand certificates is asked for again and again."""
    bed.pair("live/a.test", "a.test")
    shelf, read = bed.certificates(FOLDER)[0].shelves["all"], module.read_key
    (pair,), reads = [entry.pair for entry in shelf.entries], list[Path]()

    def counted(path: Path) -> Any:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(module, "read_key", counted)
    assert [shelf.key_trouble(pair), shelf.key_trouble(pair)] == ["", ""] and len(reads) == 1
    bed.pair("other", "a.test")
    shutil.copy(bed.folder / "other.key", pair.key)
    assert [shelf.key_trouble(pair)] * 2 == ["the key does not belong to the certificate"] * 2 and len(reads) == 2
    pair.key.write_bytes(b"none")
    assert shelf.key_trouble(pair) == f"{pair.key}: the key is not in PEM form"
    pair.key.unlink()
    assert shelf.key_trouble(pair) == f"{pair.key}: No such file or directory"


def test_check_warns_of_what_ends_soon(bed: Bed) -> None:
    bed.pair("one", "mx.example.test", days=(-60, 20))
    bed.pair("live/late.test", "late.test", days=(-60, -1))
    bed.pair("live/good.test", "good.test")
    options = bed.options(TWO + FOLDER.replace('"all"', '"one"\ncertificates = ["all"]'))
    warnings = [(warning.key, warning.text) for warning in certificate_warnings(options, bed.folder)]
    assert [key for key, _ in warnings] == ["tls.one", "tls.all"]
    assert "expires in 19 days" in warnings[0][1] and "late.test expired on" in warnings[1][1]


def test_a_thousand_certificates_are_told_in_few_lines(bed: Bed, logged: list[str]) -> None:
    certificate, key = CA.issue("same.test", days=(-60, 5))
    (bed.folder / "live").mkdir()
    for at in range(30):
        (bed.folder / f"live/h{at}.test.crt").write_bytes(certificate)
        (bed.folder / f"live/h{at}.test.key").write_bytes(key)
    site = Site(bed, FOLDER)
    site.certificates.look()
    assert len(CertificateWatch(site).tell()) == 30
    assert len([line for line in logged if "expire" in line]) == 21
