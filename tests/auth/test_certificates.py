"""The authenticator `certificate`: whose address a certificate names, and whose account that is."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from mailsrv.auth.attempt import Attempt, Door
from mailsrv.auth.certificates import MAX_NAMES, MAX_OCTETS, SMTP_UTF8_MAILBOX, _utf8_string, build, names_of
from mailsrv.errors import AuthenticationFailed
from mailsrv.interfaces import IAuthenticator
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import ACCEPT, Address, AuthContext, Credentials, DomainFacts, Identity, Peer, TlsFacts, Verdict

KEY = ec.generate_private_key(ec.SECP256R1())
EMAIL, COMMON = x509.NameOID.EMAIL_ADDRESS, x509.NameOID.COMMON_NAME
START = datetime.datetime(2020, 1, 1)


def utf8(address: str, tag: int = 0x0C) -> x509.OtherName:
    """An SmtpUTF8Mailbox."""
    octets = address.encode()
    length = bytes([len(octets)]) if len(octets) < 128 else bytes([0x81, len(octets)])
    return x509.OtherName(SMTP_UTF8_MAILBOX, bytes([tag]) + length + octets)


def certificate(*alternatives: x509.GeneralName, **subject: str) -> bytes:
    """A certificate in DER; `subject` of common and email."""
    kinds = {"common": COMMON, "email": EMAIL}
    name = x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in subject.items()])
    builder = (
        x509.CertificateBuilder(name, name, KEY.public_key(), 1)
        .not_valid_before(START)
        .not_valid_after(START.replace(year=2040))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def mail(*addresses: str) -> list[x509.GeneralName]:
    return [x509.RFC822Name(address) for address in addresses]


ANNA = certificate(*mail("anna@example.org"), common="Anna")

# ---------------------------------------------------------------- names


def test_rfc_5280_section_4_2_1_6_addresses_of_the_alternative_names_in_order() -> None:
    made = certificate(
        x509.DNSName("example.org"), *mail("anna@example.org", "Info@Example.ORG", "anna@example.org"),
        x509.UniformResourceIdentifier("mailto:no@example.org"), common="cn@example.org", email="e@example.org",
    )  # fmt: skip
    assert names_of(made) == ("anna@example.org", "Info@Example.ORG")


def test_rfc_8398_section_3_addresses_beyond_ascii() -> None:
    long = "ü" * 62 + "@bücher.example"
    made = certificate(utf8("änna@bücher.example"), *mail("anna@example.org"), utf8(long))
    assert names_of(made) == ("änna@bücher.example", "anna@example.org", long)


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x0c", b"\x0c\x05a@b", b"\x0c\x03a@bc", b"\x0c\x81\x03a@b", b"\x0c\x81",
     b"\x0c\x80" + b"a" * 128, b"\x05\x00"],
)
def test_rfc_8398_what_is_no_utf8_string_is_no_name(octets: bytes) -> None:
    assert _utf8_string(octets) == ""


def test_rfc_8398_only_other_names_of_that_kind_count() -> None:
    assert names_of(certificate(utf8("a@b"))) == ("a@b",)
    assert names_of(certificate(utf8("a@b", tag=0x16))) == ()
    assert names_of(certificate(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x03a@b"))) == ()


def test_without_alternative_names_the_subject_counts() -> None:
    assert names_of(certificate(common="cn@example.org", email="e@example.org")) == ("e@example.org",)
    assert names_of(certificate(x509.DNSName("example.org"), email="e@example.org")) == ("e@example.org",)
    assert names_of(certificate(common="cn@example.org")) == ("cn@example.org",)


@pytest.mark.parametrize("name", ["Anna", "anna", "@example.org", "anna@", "an na@example.org", "a@b@example.org",
                                  "CORP\\anna@example.org", "anna@example.org\n"])
def test_what_does_not_look_like_an_address_is_none(name: str) -> None:
    assert names_of(certificate(common=name)) == ()


def test_names_are_bounded() -> None:
    many = [f"u{n}@example.org" for n in range(MAX_NAMES + 10)]
    assert names_of(certificate(*mail(*many))) == tuple(many[:MAX_NAMES])
    assert names_of(certificate(*mail("a" * 330 + "@example.org", "b@example.org"))) == ("b@example.org",)
    assert names_of(certificate(*mail(*many * 100))) == ()
    assert len(certificate(*mail(*many * 100))) > MAX_OCTETS


def test_malformed_octets_hold_no_names() -> None:
    assert [names_of(octets) for octets in (b"", b"x", ANNA[:-1], ANNA + b"x", b"\x30\x80")] == [()] * 5


@given(st.integers(0, len(ANNA) - 1), st.binary(min_size=1, max_size=4))
@example(ANNA.index(b"\x55\x1d\x11") + 4, b"\xff")
@example(ANNA.index(b"anna@"), b"\xff")
def test_damaged_certificates_raise_nothing(place: int, octets: bytes) -> None:
    names = names_of(ANNA[:place] + octets + ANNA[place + len(octets) :])
    assert all("@" in name and name.isprintable() for name in names)


@given(st.binary(max_size=200))
def test_any_other_name_raises_nothing(octets: bytes) -> None:
    assert len(_utf8_string(octets)) <= max(0, len(octets) - 2)


# ---------------------------------------------------------------- accounts


class Bed:
    """Accounts anna, bo and änna@bücher.example; info@example.org is anna's too."""

    def __init__(self) -> None:
        self.loop = Loop()
        domains = [DomainFacts("example.org"), DomainFacts("bücher.example")]
        self.directory: Any = MemoryStore(lambda: 0.0, domains).directory
        self.part = build(None, SimpleNamespace(directory=self.directory))
        add = lambda local, domain="example.org": self.loop.run(self.directory.add_account(Address(local, domain), ""))
        self.anna, self.bo, self.other = add("anna"), add("bo"), add("änna", "bücher.example")
        self.loop.run(self.directory.add_alias(Address("info", "example.org"), [Address("anna", "example.org")]))

    def login(self, shown: bytes | None, username: str = "", authzid: str = "", given: bytes = b"") -> Identity:
        """`shown` in TLS, `given` with the credentials."""
        peer = Peer("192.0.2.1", tls=TlsFacts("TLSv1.3", "x", peer_certificate=shown))
        context = AuthContext("imap", "imap/default", peer, login_domain="example.org")
        credentials = Credentials("certificate", username, authzid=authzid, certificate=given)
        found: Identity = self.loop.run(self.part.authenticate(credentials, context))
        return found


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_contract(bed: Bed) -> None:
    verifyObject(IAuthenticator, bed.part)
    assert bed.part.schemes == {"certificate"}


def test_rfc_4422_annex_a_without_a_name_the_certificate_says_who_it_is(bed: Bed) -> None:
    assert bed.login(ANNA) == Identity(bed.anna.account_id, "anna@example.org")
    assert bed.login(None, given=ANNA) == Identity(bed.anna.account_id, "anna@example.org")


def test_the_certificate_of_the_connection_counts_and_no_other(bed: Bed) -> None:
    assert bed.login(ANNA, given=certificate(*mail("bo@example.org"))).authcid == "anna@example.org"


@pytest.mark.parametrize("name", ["bo@example.org", "bo", "BO@Example.org", "EXAMPLE\\bo"])
def test_of_several_names_the_one_that_is_asked_for(bed: Bed, name: str) -> None:
    both = certificate(*mail("anna@example.org", "bo@example.org"))
    assert bed.login(both, authzid=name) == Identity(bed.bo.account_id, "bo@example.org", name)
    assert bed.login(both, username=name).account_id == bed.bo.account_id
    assert bed.login(both).account_id == bed.anna.account_id


def test_of_several_names_the_first_that_has_an_account(bed: Bed) -> None:
    made = certificate(*mail("gone@example.org", "x" * 65 + "@elsewhere.example", "bo@example.org", "anna@example.org"))
    assert bed.login(made).authcid == "bo@example.org"


def test_the_name_of_another_account_is_left_to_the_authorizer(bed: Bed) -> None:
    assert bed.login(ANNA, authzid="bo@example.org") == Identity(
        bed.anna.account_id, "anna@example.org", "bo@example.org"
    )


@pytest.mark.parametrize("granted", [True, False])
def test_s_104_who_asks_for_another_account_needs_login_as(bed: Bed, granted: bool) -> None:
    asked: list[tuple[str, str]] = []

    class Authorizer:
        async def permits(self, identity: Identity, action: str, resource: str) -> Verdict:
            asked.append((identity.authcid, action))
            return ACCEPT if granted or action == "server.use" else Verdict("reject")

    async def sleep(seconds: float) -> None:
        raise AssertionError("nobody waits")

    authorizer: Any = Authorizer()
    door = Door(
        server="imap/default", authenticators=[bed.part], authorizer=authorizer, directory=bed.directory, sleep=sleep
    )
    context = AuthContext("imap", "imap/default", Peer("192.0.2.1"), login_domain="example.org")
    for credentials in (
        Credentials("certificate", "bo@example.org", certificate=ANNA),
        Credentials("certificate", "", authzid="bo@example.org", certificate=ANNA),
    ):
        asked.clear()
        try:
            found = bed.loop.run(Attempt(door, context).check(credentials))
        except AuthenticationFailed as error:
            assert (granted, error.status) == (False, "5.7.1")
        else:
            assert granted and found.account_id == bed.bo.account_id
        assert asked[0] == ("anna@example.org", "login.as")


def test_an_alias_in_the_certificate_is_its_account(bed: Bed) -> None:
    assert bed.login(certificate(*mail("info@example.org"))).authcid == "anna@example.org"


def test_rfc_8398_names_beyond_ascii_find_their_account(bed: Bed) -> None:
    assert bed.login(certificate(utf8("änna@bücher.example"))).account_id == bed.other.account_id
    assert bed.login(certificate(utf8("ÄNNA@xn--bcher-kva.example"))).account_id == bed.other.account_id


@pytest.mark.parametrize(
    "shown",
    [None, b"", b"nonsense", certificate(common="Anna"), certificate(*mail("x@example.org")),
     certificate(*mail("anna@elsewhere.example"))],
)
def test_a_certificate_of_nobody_is_refused(bed: Bed, shown: bytes | None) -> None:
    with pytest.raises(AuthenticationFailed):
        bed.login(shown)
    with pytest.raises(AuthenticationFailed):
        bed.login(shown, authzid="anna@example.org")


def test_a_disabled_account_is_refused(bed: Bed) -> None:
    bed.loop.run(bed.directory.set_enabled(bed.anna.account_id, False))
    with pytest.raises(AuthenticationFailed):
        bed.login(ANNA)
    with pytest.raises(AuthenticationFailed):
        bed.login(ANNA, authzid="bo@example.org")


def test_a_name_that_nobody_can_have_is_refused(bed: Bed) -> None:
    with pytest.raises(AuthenticationFailed):
        bed.login(ANNA, authzid="bo\x00@example.org")


def test_what_the_account_may_not_use_goes_with_it(bed: Bed) -> None:
    bed.loop.run(bed.directory.set_denied(bed.anna.account_id, frozenset({"pop3"})))
    assert bed.login(ANNA).denied == {"pop3"}
