"""The authenticator `passwd`: lines of htpasswd and Dovecot, a file that changes, who gets an account."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from mailsrv.auth import passwd_file
from mailsrv.auth.passwd import Options, PasswdAuthenticator, build, usual
from mailsrv.auth.passwd_file import MAX_LINE, User, read_users, user_of
from mailsrv.errors import AuthenticationFailed, ConfigError
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT
from mailsrv.values import Credentials, Peer
from tests.properties import tries

from .beds import Site
from .test_schemes import DOVEADM, HTPASSWD

LINES = """\
# users of the site

anna:{PLAIN}correct horse
Bo@Example.NET:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:1000:1000::/home/bo::userdb_quota=1G
carl:$apr1$0l9dPYdr$sQ2OCXlADGql0PDV1Yeo51:0:0::::allow_nets=192.0.2.0/24,2001:db8::/32,local
dora:{PLAIN}x::::::nologin
emil::::::
fritz:{PLAIN}x::::::user=anna
stranger@foreign.example:{PLAIN}x
anna:{PLAIN}a second line of the same name
"""


class Bed(Site):
    """A file of users, written by `write`."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.path = base / "users"
        self.write(LINES)

    def write(self, text: str | bytes) -> None:
        """Put the file there as editors do: a new one under the old name."""
        octets = text.encode() if isinstance(text, str) else text
        (self.base / "new").write_bytes(octets)
        os.replace(self.base / "new", self.path)

    def make(self, **options: Any) -> PasswdAuthenticator:
        """The part, by a table of the configuration."""
        return build(read_table(Options, {"file": "users", **options}, Place()), self)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.hasher.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def refused(bed: Bed, part: Any, name: str, password: str, **changed: Any) -> bool:
    with pytest.raises(AuthenticationFailed):
        bed.login(part, name, password, **changed)
    return True


# ---------------------------------------------------------------- lines


def test_users_of_the_file_log_in_and_get_an_account_at_first_sight(bed: Bed) -> None:
    part = bed.make()
    assert bed.login(part, "anna", "correct horse").authcid == "anna@example.org"
    assert bed.login(part, "bo@example.net", "secret").authcid == "bo@example.net"
    assert bed.accounts() == ["bo@example.net", "anna@example.org"]
    assert refused(bed, part, "anna", "a second line of the same name") and refused(bed, part, "emil", "")
    assert bed.login(part, "nobody", "x") is None and bed.login(part, "bo", "secret") is None


def test_a_user_of_a_domain_that_is_not_ours_gets_no_account(bed: Bed) -> None:
    assert refused(bed, bed.make(), "stranger@foreign.example", "x") and bed.accounts() == []


def test_dovecots_extra_fields_narrow_a_login(bed: Bed) -> None:
    part = bed.make()
    for host in ("192.0.2.77", "::ffff:192.0.2.1", "2001:db8::1", ""):
        assert bed.login(part, "carl", "secret", peer=Peer(host)) is not None
    for host in ("198.51.100.1", "2001:db9::1", "no address"):
        assert refused(bed, part, "carl", "secret", peer=Peer(host))
    assert refused(bed, part, "dora", "x")
    assert bed.login(part, "fritz", "x").authcid == "anna@example.org"


def test_names_without_a_domain_are_of_the_one_that_is_said(bed: Bed) -> None:
    part = bed.make(domain="example.net")
    assert bed.login(part, "anna", "correct horse") is None
    assert bed.login(part, "anna@example.net", "correct horse").authcid == "anna@example.net"


def test_passwords_themselves_are_shown_to_apop_alone_and_only_if_wanted(bed: Bed) -> None:
    bed.write("anna:{PLAIN}correct horse\nbo:{PLAIN.B64}c2Now7Zu\ncarl:eLD6/EIlCoEHE\n")
    part = bed.make(keep=["plain", "cram-md5"])

    def kept(part: Any, name: str, kind: str = "plain") -> str:
        found = bed.loop.run(part.secrets(kind, name, CONTEXT))
        return found.keys if found else ""

    assert [kept(part, name) for name in ("anna", "bo", "carl")] == ["correct horse", "schön", ""]
    assert kept(part, "anna", "cram-md5") == kept(bed.make(keep=["cram-md5"]), "anna") == ""


def test_passwords_that_name_no_scheme_are_of_the_one_that_is_said(bed: Bed) -> None:
    bed.write("anna:correct horse\nbo:eLD6/EIlCoEHE\n")
    part = bed.make()
    assert bed.login(part, "bo", "secret") is not None and refused(bed, part, "anna", "correct horse")
    part = bed.make(scheme="plain")
    assert bed.login(part, "anna", "correct horse") is not None and refused(bed, part, "bo", "secret")
    with pytest.raises(ConfigError):
        bed.make(scheme="ROT13")


@pytest.mark.parametrize("encoded", [HTPASSWD[1], HTPASSWD[3], DOVEADM[3], DOVEADM[10]])
def test_hashes_of_other_servers_are_taken_as_they_are(bed: Bed, encoded: str) -> None:
    bed.write(f"anna:{encoded}\n")
    part = bed.make()
    assert bed.login(part, "anna", "secret") is not None and refused(bed, part, "anna", "wrong")


def test_without_create_only_who_has_an_account_logs_in(bed: Bed) -> None:
    part = bed.make(create=False)
    assert refused(bed, part, "anna", "correct horse") and not bed.seen(part, "anna")
    bed.add("anna")
    assert bed.login(part, "anna", "correct horse") is not None and bed.accounts() == ["anna@example.org"]


def test_mail_for_a_user_who_never_logged_in_is_taken(bed: Bed) -> None:
    part = bed.make()
    assert bed.seen(part, "Anna") and bed.accounts() == ["anna@example.org"]
    assert bed.seen(part, "carl+list") and "carl@example.org" in bed.accounts()
    assert bed.seen(part, "bo", "example.net")
    for local in ("nobody", "fritz", "", "+x"):
        assert not bed.seen(part, local)
    for local, domain in (("stranger", "foreign.example"), ("anna", "relayed.example"), ("bo", "")):
        assert not bed.seen(part, local, domain)


def test_a_name_that_is_an_alias_of_several_makes_no_account(bed: Bed) -> None:
    from mailsrv.values import Address

    targets = [Address("x", "example.org"), Address("y", "example.org")]
    bed.loop.run(bed.directory.add_alias(Address("anna", "example.org"), targets))
    part = bed.make()
    assert refused(bed, part, "anna", "correct horse") and not bed.seen(part, "anna") and bed.accounts() == []


@given(st.text(max_size=80))
@settings(max_examples=tries(100))
def test_no_line_makes_anything_but_a_user(text: str) -> None:
    user = user_of(text)
    assert isinstance(user, User) and isinstance(user.admits("192.0.2.1"), bool) and text.startswith(user.encoded)
    if user.encoded:
        assert user.encoded not in repr(user) or len(user.encoded) < 8


@given(st.binary(max_size=200))
@settings(max_examples=tries(100))
def test_no_octets_make_anything_but_users(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "octets"
    path.write_bytes(octets)
    users, _ = read_users(path, "example.org")
    assert len(users) <= octets.count(b":")
    for name, rest in users.items():
        assert name.isprintable() and (name + rest).encode("utf-8")


def test_lines_that_name_nobody_are_left_out_and_counted(bed: Bed, logged: list[Any]) -> None:
    bed.write(b"\xff\xfe:x\nno colon\n:x\n@example.org:x\nanna:{PLAIN}x\n" + b"b\x00o:x\n")
    assert bed.login(bed.make(), "anna", "x") is not None
    assert [event["count"] for event in logged if "lines name nobody" in event["log_format"]] == [5]


# ---------------------------------------------------------------- the file


def test_a_changed_file_holds_a_second_later(bed: Bed) -> None:
    part = bed.make()
    bed.write("anna:{PLAIN}new\n")
    assert bed.login(part, "anna", "correct horse") is not None, "not looked at yet"
    bed.now += 1.0
    assert refused(bed, part, "anna", "correct horse") and bed.login(part, "anna", "new") is not None
    assert bed.login(part, "carl", "secret") is None and bed.asides == []


def test_a_file_that_cannot_be_read_any_more_leaves_what_was_known(bed: Bed, logged: list[Any]) -> None:
    part = bed.make()
    for spoil in (bed.path.unlink, lambda: bed.write("x" * (MAX_LINE + 1))):
        spoil()
        for _ in range(3):
            bed.now += 1.0
            assert bed.login(part, "anna", "correct horse") is not None
    reasons = [event["reason"] for event in logged if "as it was known" in event["log_format"]]
    assert len(reasons) == 2 and "No such file" in reasons[0] and "line is longer" in reasons[1]
    bed.write("anna:{PLAIN}new\n")
    bed.now += 1.0
    assert bed.login(part, "anna", "new") is not None


def test_a_large_file_is_read_aside_and_nobody_waits_but_who_asked(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwd_file, "SMALL", 10)
    gate: Deferred[Any] = Deferred()

    async def aside(function: Any, *arguments: Any) -> Any:
        await gate
        return function(*arguments)

    monkeypatch.setattr(bed, "aside", aside)
    part = bed.make()
    bed.write("anna:{PLAIN}new\n")
    bed.now += 1.0
    first = Deferred.fromCoroutine(part.authenticate(Credentials("password", "anna", "new"), CONTEXT))
    assert not first.called
    assert bed.login(part, "anna", "correct horse") is not None, "by what was known"
    gate.callback(None)
    assert bed.login(part, "anna", "new") is not None and first.called


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [("missing", "", "cannot read"), ("users", "anna:" + "x" * MAX_LINE, "longer"), (".", "", "cannot read")],
)
def test_a_file_that_cannot_be_used_is_a_mistake_of_the_configuration(
    bed: Bed, name: str, text: str, reason: str
) -> None:
    bed.write(text)
    with pytest.raises(ConfigError) as error:
        bed.make(file=name)
    assert error.value.key == "auth.passwd.file" and reason in error.value.text


def test_a_file_larger_than_the_bound_is_refused(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwd_file, "MAX_FILE", 20)
    with pytest.raises(ConfigError, match="larger than 20"):
        bed.make()


def test_a_store_whose_accounts_are_not_ours_to_make_needs_create_off(bed: Bed) -> None:
    bed.directory = object()
    with pytest.raises(ConfigError) as error:
        bed.make()
    assert error.value.key == "auth.passwd.create"
    assert bed.make(create=False) is not None


# ---------------------------------------------------------------- secrets, time


def test_hashes_that_a_proof_can_be_checked_by_are_handed_out(bed: Bed) -> None:
    texts = {kind: text for kind, text in (
        ("cram-md5", next(text for text in DOVEADM if text.startswith("{CRAM-MD5}"))),
        ("scram-sha-1", next(text for text in DOVEADM if text.startswith("{SCRAM-SHA-1}"))),
        ("scram-sha-256", next(text for text in DOVEADM if text.startswith("{SCRAM-SHA-256}"))),
        ("ntlm", "{NTLM}878D8014606CDA29677A44EFA1353FC7"),
    )}  # fmt: skip
    bed.write("".join(f"{kind}:{text}\n" for kind, text in texts.items()) + "plain:{PLAIN}secret\nbad:{NTLM}00\n")
    part = bed.make(keep=list(texts))
    assert part.schemes == {"password", "secret"}
    for name in [*texts, "plain", "bad"]:
        for kind in texts:
            given = bed.loop.run(part.secrets(kind, name, CONTEXT))
            assert (given is not None) is (name == kind)
            if given is not None:
                shown = Credentials("secret", name, secrets=given)
                assert bed.loop.run(part.authenticate(shown, CONTEXT)) == bed.login(part, name, "secret")
                bed_without = bed.make(keep=[other for other in texts if other != kind])
                assert bed.loop.run(bed_without.secrets(kind, name, CONTEXT)) is None


def test_who_is_not_in_the_file_takes_as_long_as_most_who_are(bed: Bed) -> None:
    assert usual(read_users(bed.path, "example.org")[0], "CRYPT") == ""
    users = {"a": HTPASSWD[1], "b": "{PLAIN}x", "c": HTPASSWD[1] + "::::::"}
    assert usual(users, "CRYPT") == HTPASSWD[1] and usual({}, "CRYPT") == ""
    imitated: list[str] = []
    bed.hasher.imitate = imitated.append  # type: ignore[method-assign]
    bed.write(f"anna:{HTPASSWD[1]}\n")
    bed.make()
    assert imitated == [HTPASSWD[1]]


def test_after_the_directory_in_order_a_user_of_the_file_logs_in_for_a_second_time_too(bed: Bed) -> None:
    from mailsrv.auth import directory

    part, first = bed.make(), directory.build(directory.Options(), bed)
    for _ in range(2):
        assert bed.login(first, "anna", "correct horse") is None
        assert bed.login(part, "anna", "correct horse") is not None
