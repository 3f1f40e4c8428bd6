"""`mailsrv certificate` on a site without a wire between: requests, installing, importing, assigning."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)

from mailsrv.cli import certificate
from mailsrv.cli.common import DONE, NO, USAGE
from mailsrv.cli.main import main, parser
from mailsrv.errors import Refused
from mailsrv.host.certificates import Certificates, certificates_of
from mailsrv.host.changes import Asked, Changes
from mailsrv.host.config.load import load
from mailsrv.host.control.run import run
from mailsrv.net.certificate_facts import read_facts
from mailsrv.net.tls import fit, read_key
from mailsrv.testing.loop import Loop
from tests.authority import Authority, key_pem, pem

CONFIG = """# The file of a small site.
[site]
hostname = "mx.example.test"
domains = ["example.test"]

[smtp.default]   # for the world
listen = ["*:25"]

[imap.default]
[pop3.default]
"""
CA = Authority()


class Site:
    """What the operations look at."""

    def __init__(self, file: Path) -> None:
        self.config_path, self.base = file, file.parent
        self.options = load(file)
        self.certificates: Certificates | None = certificates_of(self)
        self.changes = Changes(self, lambda: False)
        self.audit = None

    def monotonic(self) -> float:
        return 0.0

    def clock(self) -> float:
        return 1_795_492_800.0

    async def aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    async def apply_domains(self, domains: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site that answers the commands of this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailsrv.toml").write_text(CONFIG)
    made = Site(tmp_path / "mailsrv.toml")

    def perform(options: Any, calls: Any) -> list[Any]:
        # Each command is a process of its own.
        made.options, made.certificates = load(made.config_path), None
        answers = [Loop().run(run(made, name, arguments)) for name, arguments in calls]
        for answer in answers:
            if "error" in answer:
                raise Refused(answer["error"])
        return [answer["result"] for answer in answers]

    monkeypatch.setattr(certificate, "perform", perform)
    monkeypatch.setattr("mailsrv.cli.main.parser", lambda noun: PARSER)
    return made


#: Making it takes most of the time of a command.
PARSER = parser()


@pytest.fixture
def said(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `mailsrv certificate ...` writes: standard output, or with another status standard error."""

    def out(*arguments: str, status: int = DONE) -> str:
        capsys.readouterr()
        assert main(("certificate", *arguments)) == status
        found = capsys.readouterr()
        return found.out if status == DONE else found.err

    return out


def facts(said: Callable[..., str], *arguments: str) -> Any:
    return json.loads(said(*arguments, "--json"))


def listed(said: Callable[..., str], name: str) -> Any:
    return next(one for one in facts(said, "list") if one["name"] == name)


def files(*contents: bytes) -> list[str]:
    """Files with these contents."""
    for at, octets in enumerate(contents):
        Path(f"given{at}").write_bytes(octets)
    return [f"given{at}" for at in range(len(contents))]


# ---------------------------------------------------------------- requests


def test_s_048_a_request_and_a_key_that_stays_on_the_server(site: Site, said: Callable[..., str]) -> None:
    text = said("request", "mail", "--host", "Mail.Example.TEST", "--host", "*.example.test", "--org", "Acme")
    made = x509.load_pem_x509_csr(text.encode())
    assert made.is_signature_valid and made.subject.rfc4514_string() == "CN=mail.example.test,O=Acme"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mail.example.test", "*.example.test"]
    assert "PRIVATE" not in text
    key = site.options.data / "tls" / "requests" / "mail.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    assert read_key(key).public_key() == made.public_key()


def test_s_048_the_names_are_those_of_the_certificate_in_place(site: Site, said: Callable[..., str]) -> None:
    assert facts(said, "request", "default")["hosts"] == ["mx.example.test", "example.test"]
    assert facts(said, "request", "new", "--key", "rsa")["hosts"] == ["mx.example.test"]


def test_s_048_what_no_authority_would_sign_is_refused(said: Callable[..., str]) -> None:
    assert "no host name" in said("request", "mail", "--host", "a b", status=NO)
    assert "a country two letters" in said("request", "mail", "--country", "Germany", status=NO)
    assert "an organization has at most 64" in said("request", "mail", "--org", "x" * 65, status=NO)
    assert "letters, digits" in said("request", "../../etc/x", status=NO)
    assert listed(said, "default")["pending"] is None


def test_s_052_a_pending_request_is_remembered(site: Site, said: Callable[..., str]) -> None:
    first = said("request", "mail", "--host", "mail.example.test")
    assert said("request", "mail") == first == said("request", "mail", "--host", "MAIL.example.test")
    refusal = said("request", "mail", "--host", "other.test", status=NO)
    assert "a request for mail is pending, for mail.example.test" in refusal and "--renew" in refusal
    assert listed(said, "mail")["pending"]["hosts"] == ["mail.example.test"]
    assert "mail: a request is pending since" in said("list")
    second = said("request", "mail", "--renew", "--out", "mail.csr")
    assert "made a key and a request: CN=mx.example.test" in second
    assert said("request", "mail") == Path("mail.csr").read_text() != first
    assert "is forgotten" in said("cancel", "mail", "--yes")
    assert "no request for mail is pending" in said("cancel", "mail", "--yes", status=NO)
    assert list((site.options.data / "tls" / "requests").iterdir()) == []


# ---------------------------------------------------------------- install


def test_s_049_the_certificate_that_came_back_is_installed(site: Site, said: Callable[..., str]) -> None:
    leaf = CA.sign(said("request", "mail", "--host", "mail.example.test").encode())
    stranger = Authority("Stranger").root
    # In a wrong order, and with one that does not belong there.
    Path("mail.p7b").write_bytes(pkcs7.serialize_certificates([CA.root, stranger, CA.between, leaf], Encoding.DER))
    done = said("install", "mail", "mail.p7b")
    assert "data/tls/mail.crt is in place: mail.example.test, until" in done
    assert "warning: 1 certificates of the file have no place in the chain" in done
    assert "no server shows it yet: mailsrv certificate assign mail" in done
    pair = site.base / "data/tls/mail.crt", site.base / "data/tls/mail.key"
    assert x509.load_pem_x509_certificates(pair[0].read_bytes()) == [leaf, CA.between, CA.root]
    assert fit(leaf, read_key(pair[1])) and pair[1].stat().st_mode & 0o777 == 0o600
    added = '[tls.mail]\ncertificate = "data/tls/mail.crt"\nkey = "data/tls/mail.key"'
    assert Path("mailsrv.toml").read_text().startswith(CONFIG) and added in Path("mailsrv.toml").read_text()
    assert listed(said, "mail")["pending"] is None


def test_s_049_a_wrong_certificate_is_refused_and_nothing_changes(site: Site, said: Callable[..., str]) -> None:
    request = said("request", "default", "--host", "mail.example.test").encode()
    before = (site.base / "data/tls/default.crt").read_bytes()
    for octets, why in (
        (CA.issue("mail.example.test")[0], "in the file belongs to the pending request of default"),
        (pem(CA.sign(request, days=(-90, -1))), "expired on "),
        (pem(CA.sign(request, days=(1, 90))), "is not valid before "),
        (request, "no certificate is in the file"),
        (b"", "no certificate is in the file"),
    ):
        assert why in said("install", "default", *files(octets), status=NO)
    assert "no request for none is pending" in said("install", "none", *files(pem(CA.root)), status=NO)
    assert (site.base / "data/tls/default.crt").read_bytes() == before
    assert said("request", "default").encode() == request


def test_s_049_missing_names_and_a_missing_chain_are_told(said: Callable[..., str]) -> None:
    request = said("request", "default", "--host", "mail.example.test", "--host", "imap.example.test").encode()
    done = said("install", "default", *files(pem(CA.sign(request, hosts=["*.example.test"]))))
    assert "no certificate of an authority came with it" in done and "not good for" not in done
    assert "shown by smtp/default, imap/default, pop3/default" in done
    request = said("request", "default", "--host", "mail.example.test", "--host", "imap.example.test").encode()
    done = said("install", "default", *files(pem(CA.sign(request, hosts=["mail.example.test"])) + pem(CA.between)))
    assert "warning: it is not good for imap.example.test, which were asked for" in done


def test_s_049_a_certificate_for_the_key_in_place_needs_no_request(said: Callable[..., str]) -> None:
    request = said("request", "default", "--host", "mail.example.test").encode()
    said("install", "default", *files(pem(CA.sign(request))))
    assert "until" in said("install", "default", *files(pem(CA.sign(request, days=(-1, 200)))))
    said("request", "default")
    refusal = said("install", "default", *files(pem(CA.sign(request))), status=NO)
    assert "belongs to the key in place of default, not to its pending request" in refusal


def test_s_049_from_standard_input(said: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = CA.sign(said("request", "default").encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pem(leaf) + pem(CA.between))))
    assert "chain of 2" in said("install", "default", "-")


def test_where_the_server_cannot_write_it_says_so(site: Site, said: Callable[..., str]) -> None:
    Path("mailsrv.toml").write_text(CONFIG + '[tls.far]\ncertificate = "/proc/x.crt"\nkey = "/proc/x.key"\n')
    refusal = said("self-signed", "far", status=NO)
    assert refusal.startswith("mailsrv: /proc/x.key.next: ") and "must be able to write there" in refusal
    Path("mailsrv.toml").write_text(CONFIG + '[tls.far]\ndirectory = "live"\n')
    assert "come from live" in said("request", "far", status=NO)


# ---------------------------------------------------------------- import


@pytest.mark.parametrize("form", ["one file", "two files", "PKCS 12"])
def test_import_of_what_another_server_had(site: Site, said: Callable[..., str], form: str) -> None:
    certificate_pem, key = CA.issue("old.example.test")
    leaf = x509.load_pem_x509_certificate(certificate_pem)
    given = {
        "one file": [key + certificate_pem],
        "two files": [key, certificate_pem],
        "PKCS 12": [pkcs12.serialize_key_and_certificates(
            b"x", load_pem_private_key(key, None), leaf, [CA.between], BestAvailableEncryption(b"open"))],
    }[form]  # fmt: skip
    Path("password").write_text("open\n")
    more = ["--password-file", "password"] if form == "PKCS 12" else []
    assert "old.example.test" in said("import", "old", *files(*given), *more)
    assert (site.base / "data/tls/old.crt").read_bytes() == certificate_pem
    assert (site.base / "data/tls/old.key").read_bytes() == key


def test_import_of_an_encrypted_key_reads_its_password_from_standard_input(
    site: Site, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificate_pem, key = CA.issue("old.example.test")
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open")
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("shut\n"))
    assert "the password is wrong" in said("import", "old", *files(certificate_pem, locked), status=NO)
    monkeypatch.setattr(sys, "stdin", io.StringIO("open\n"))
    assert "old.example.test" in said("import", "old", *files(certificate_pem, locked))
    assert (site.base / "data/tls/old.key").read_bytes() == key


def test_what_is_no_pair_is_not_imported(site: Site, said: Callable[..., str]) -> None:
    one, two = CA.issue("one.test"), CA.issue("two.test")
    for given, why in (
        ([one[0]], "no key is in what was given"),
        ([one[1]], "no certificate is in what was given"),
        ([one[0], two[1]], "the key belongs to none of the certificates"),
        ([*one, two[1]], "more than one key"),
        ([b"junk"], "no certificate is in the file"),
    ):
        assert why in said("import", "x", *files(*given), status=NO)
    assert not (site.base / "data/tls/x.key").exists() and "[tls.x]" not in Path("mailsrv.toml").read_text()
    Path("large").write_bytes(b"x" * (2**20 + 1))
    assert "that is no certificate" in said("import", "x", "large", status=USAGE)


# ---------------------------------------------------------------- self-signed, assign, list


def test_a_self_signed_certificate_takes_the_place_of_no_good_one(said: Callable[..., str]) -> None:
    done = facts(said, "self-signed", "lab", "--host", "lab.example.test", "--key", "rsa")
    assert (done["hosts"][0], done["issuer"], done["key"]) == ("lab.example.test", "itself", "RSA 2048")
    said("import", "lab", *files(*CA.issue("lab.example.test")))
    assert "good until" in said("self-signed", "lab", status=NO)
    assert "lab.example.test" in said("self-signed", "lab", "--replace")


def test_s_050_an_existing_certificate_is_assigned_to_further_servers(site: Site, said: Callable[..., str]) -> None:
    said("import", "mail", *files(*CA.issue("mail.example.test")))
    assert "imap/default, pop3/default show [tls.mail] now" in said("assign", "mail", "imap/default", "pop3/default")
    found = load(site.config_path).servers.values()
    assert [server.certificate for server in found] == ["default", "mail", "mail"]
    assert "# for the world" in Path("mailsrv.toml").read_text()
    assert listed(said, "mail")["servers"] == ["imap/default", "pop3/default"]
    assert 'there is no server imap/x' in said("assign", "mail", "imap/x", status=NO)
    assert "there is no table [tls.mial]" in said("assign", "mial", "imap/default", status=NO)


def test_s_051_all_servers_share_one_until_somebody_says_otherwise(site: Site, said: Callable[..., str]) -> None:
    assert listed(said, "default")["servers"] == ["smtp/default", "imap/default", "pop3/default"]


def test_servers_that_the_file_does_not_name_stay_when_one_is_given_a_certificate(
    site: Site, said: Callable[..., str]
) -> None:
    Path("mailsrv.toml").write_text(CONFIG[: CONFIG.index("[smtp")])
    said("import", "mail", *files(*CA.issue("mail.example.test")))
    said("assign", "mail", "imap/default")
    found = load(site.config_path).servers
    assert {name: server.certificate for name, server in found.items()} == {
        "smtp/default": "default", "imap/default": "mail", "pop3/default": "default"
    }


def test_the_list_tells_what_is_wrong(site: Site, said: Callable[..., str]) -> None:
    said("import", "mail", *files(*CA.issue("mail.example.test", days=(-1, 20))))
    (site.base / "data/tls/mail.key").write_bytes(key_pem(load_pem_private_key(CA.issue("x.test")[1], None)))
    row = listed(said, "mail")
    assert (row["days_left"], row["hosts"], row["issuer"]) == (19, ["mail.example.test"], "CN=Test authority")
    assert row["problems"] == ["the key does not belong to the certificate"]
    text = said("list")
    assert "mail: the key does not belong to the certificate" in text
    assert text.splitlines()[0].split() == ["NAME", "HOSTS", "ISSUER", "EXPIRES", "DAYS", "SERVERS"]
    (site.base / "data/tls/mail.crt").unlink()
    assert "No such file or directory" in said("list")


def test_the_certificates_of_a_folder_are_listed_one_by_one(site: Site, said: Callable[..., str]) -> None:
    (site.base / "live").mkdir()
    for name, days in (("a.test", 90), ("b.test", -1)):
        for suffix, octets in zip(("crt", "key"), CA.issue(name, days=(-30, days)), strict=True):
            (site.base / f"live/{name}.{suffix}").write_bytes(octets)
    Path("mailsrv.toml").write_text(CONFIG + '[tls.all]\ndirectory = "live"\n')
    rows = [one for one in facts(said, "list") if one["name"] == "all"]
    assert rows[0]["count"] == 2 and [one.get("pair") for one in rows] == [None, "a.test", "b.test"]
    assert rows[2]["problems"][0].startswith("expired on ")


def test_a_table_that_was_written_by_hand_is_left_alone(
    site: Site, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = load(site.config_path)
    Path("mailsrv.toml").write_text(CONFIG + '[tls.mail]\ncertificate = "/etc/mail.crt"\nkey = "/etc/mail.key"\n')
    monkeypatch.setitem(globals(), "load", lambda _: old)
    refusal = said("import", "mail", *files(*CA.issue("mail.example.test")), status=NO)
    assert "the file has a table [tls.mail] that is not in effect" in refusal
    assert "/etc/mail.crt" in Path("mailsrv.toml").read_text()


def test_changes_name_what_was_done(site: Site, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []
    edit = site.changes.edit

    async def watched(change: Any, why: Asked) -> Any:
        asked.append(why)
        return await edit(change, why)

    monkeypatch.setattr(site.changes, "edit", watched)
    said("import", "mail", *files(*CA.issue("mail.example.test")))
    said("assign", "mail", "imap/default")
    assert [one.what for one in asked] == ["certificate mail", "certificate mail for imap/default"]
    assert read_facts(site.base / "data/tls/mail.crt").names == ("mail.example.test",)
