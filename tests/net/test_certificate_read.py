"""Certificates and keys in all the forms in which authorities and other programs hand them out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.errors import MailError, Refused
from mailsrv.net.certificate import make_key, request
from mailsrv.net.certificate_facts import facts_of, missing, patterns_for, read_facts
from mailsrv.net.certificate_folder import pairs_in
from mailsrv.net.certificate_read import chain_of, locked, read_bundle, read_certificates
from tests.authority import Authority, certificate, key_pem, pem

CA = Authority()
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = CA.certify(KEY.public_key(), ["mail.example.org", "*.example.net"])
ALL = [LEAF, CA.between, CA.root]
DER = Encoding.DER


@pytest.mark.parametrize("octets", [
    b"".join(map(pem, ALL)), pkcs7.serialize_certificates(ALL, Encoding.PEM), pkcs7.serialize_certificates(ALL, DER),
    b"Subject: something\r\n" + b"\r\n".join(pem(one).replace(b"\n", b"\r\n") for one in ALL),
], ids=["pem", "p7 pem", "p7 der", "pem with words and CRLF"])  # fmt: skip
def test_s_049_an_authority_sends_pem_or_pkcs_7(octets: bytes) -> None:
    assert set(read_certificates(octets)) == set(ALL)
    assert set(read_bundle(octets, "").certificates) == set(ALL) and not locked(octets)


def test_s_049_or_one_certificate_in_der() -> None:
    octets = LEAF.public_bytes(DER)
    assert read_certificates(octets) == (LEAF,) and read_bundle(octets, "").certificates == (LEAF,)
    assert not locked(octets)


@pytest.mark.parametrize(
    "octets", [b"", b"nonsense", pem(LEAF)[:-40], pem(LEAF) + pem(CA.between)[:200], b"-----BEGIN "]
)
def test_what_is_damaged_is_refused(octets: bytes) -> None:
    with pytest.raises(Refused, match=r"no certificate|damaged"):
        read_certificates(octets)


def test_files_have_a_bound() -> None:
    with pytest.raises(Refused, match="larger than"):
        read_certificates(b"x" * (2**20 + 1))
    with pytest.raises(Refused, match="more than 50"):
        read_certificates(pem(LEAF) * 51)


def test_s_049_the_order_of_a_chain_is_repaired_and_strangers_are_left_out() -> None:
    stranger = Authority("Other").between
    assert chain_of(LEAF, [CA.root, stranger, LEAF, CA.between]) == (ALL, [stranger])
    assert chain_of(LEAF, [CA.root]) == ([LEAF], [CA.root])
    assert chain_of(CA.root, [CA.root]) == ([CA.root], [])


def test_two_authorities_of_one_name_are_told_apart_by_their_signatures() -> None:
    twin = Authority()
    assert chain_of(LEAF, [twin.between, CA.between, twin.root]) == ([LEAF, CA.between], [twin.between, twin.root])


def encrypted(form: PrivateFormat, encoding: Encoding = Encoding.PEM) -> bytes:
    return KEY.private_bytes(encoding, form, BestAvailableEncryption(b"open"))


@pytest.mark.parametrize("octets", [
    encrypted(PrivateFormat.PKCS8), encrypted(PrivateFormat.TraditionalOpenSSL), encrypted(PrivateFormat.PKCS8, DER),
    pkcs12.serialize_key_and_certificates(b"x", KEY, LEAF, [CA.between], BestAvailableEncryption(b"open")),
], ids=["PKCS 8", "OpenSSL", "DER", "PKCS 12"])  # fmt: skip
def test_an_encrypted_key_needs_its_password(octets: bytes) -> None:
    assert locked(octets)
    bundle = read_bundle(octets, "open")
    assert key_pem(bundle.key) == key_pem(KEY) and "PrivateKey" not in repr(bundle)
    with pytest.raises(Refused, match="the key is encrypted: give its password"):
        read_bundle(octets, "")
    with pytest.raises(Refused, match="the password is wrong"):
        read_bundle(octets, "shut")


@pytest.mark.parametrize("octets", [
    key_pem(KEY), KEY.private_bytes(DER, PrivateFormat.PKCS8, NoEncryption()),
    b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    + KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    pkcs12.serialize_key_and_certificates(b"x", KEY, LEAF, [CA.between], NoEncryption()),
], ids=["PEM", "DER", "as openssl ecparam writes it", "PKCS 12"])  # fmt: skip
def test_a_key_in_the_clear_needs_none(octets: bytes) -> None:
    assert not locked(octets)
    assert key_pem(read_bundle(octets, "").key) == key_pem(KEY)


def test_pkcs_12_brings_its_chain() -> None:
    octets = pkcs12.serialize_key_and_certificates(b"x", KEY, LEAF, [CA.root, CA.between], NoEncryption())
    assert set(read_bundle(octets, "needless").certificates) == set(ALL)


def test_a_short_rsa_key_is_refused() -> None:
    short = key_pem(rsa.generate_private_key(65537, 1024))
    with pytest.raises(Refused, match="1024 bits; at least 2048"):
        read_bundle(short, "")


@given(st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda junk: b"-----BEGIN PRIVATE KEY-----\n" + junk + b"\n-----END PRIVATE KEY-----\n"),
    st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3)).map(
        lambda at: LEAF.public_bytes(DER)[: at[0]] + at[1] + LEAF.public_bytes(DER)[at[0] + len(at[1]) :]),
), st.text(max_size=4))  # fmt: skip
def test_nothing_but_mail_errors_comes_of_any_file(octets: bytes, password: str) -> None:
    locked(octets)
    for read in (lambda: read_bundle(octets, password), lambda: read_certificates(octets)):
        try:
            found = read()
        except MailError:
            continue
        for one in getattr(found, "certificates", found):
            try:
                facts_of(one)
            except ValueError:
                pass


# ---------------------------------------------------------------- facts


def test_facts_of_a_certificate() -> None:
    facts = facts_of(LEAF)
    assert (facts.subject, facts.issuer) == ("CN=mail.example.org", "CN=Test authority")
    assert (facts.names, facts.key) == (("mail.example.org", "*.example.net"), "EC secp256r1")
    assert not facts.self_signed and facts_of(CA.root).self_signed
    now = datetime.now(UTC)
    assert facts.days_left(now) == 89 and facts.trouble(now) == []
    assert facts.trouble(now + timedelta(days=91))[0].startswith("expired on ")
    assert facts.trouble(now - timedelta(days=2))[0].startswith("not valid before ")


def test_problems_are_told() -> None:
    for_clients = CA.certify(KEY.public_key(), ["a.example.org"], usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert facts_of(for_clients).problems == ("it was not made for servers (its extendedKeyUsage has no serverAuth)",)
    old = certificate("old.example.org", KEY.public_key(), "x", KEY, days=(-1, 1))
    assert facts_of(old).names == ("old.example.org",) and "needs a subjectAltName" in facts_of(old).problems[0]
    none = certificate("Mail", KEY.public_key(), "x", KEY, days=(-1, 1))
    assert "names no host" in facts_of(none).problems[0]


def test_rfc_9525_section_6_3_a_wildcard_is_one_label() -> None:
    assert patterns_for("mail.example.org") == ("mail.example.org", "*.example.org")
    assert patterns_for("localhost")[1] == "" and patterns_for("example.org")[1] == ""
    names = ["example.org", "*.example.org"]
    assert missing(names, ["mail.example.org", "a.mail.example.org", "example.org", "example.net"]) == [
        "a.mail.example.org", "example.net"
    ]


def test_facts_are_read_of_the_first_certificate_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    path.write_bytes(b"words\n" + b"".join(map(pem, ALL)))
    assert read_facts(path).names[0] == "mail.example.org"
    damaged = pem(LEAF)[:80] + pem(LEAF)[90:]
    for octets, text in ((b"", "no certificate"), (pem(LEAF)[:200], "no certificate"), (damaged, "damaged")):
        path.write_bytes(octets)
        with pytest.raises(ValueError, match=text):
            read_facts(path)


def test_s_048_a_request_holds_all_names_and_who_asks() -> None:
    made = x509.load_pem_x509_csr(request(KEY, ["mail.example.org", "bücher.example", "192.0.2.1"], "Acme", "DE"))
    assert made.is_signature_valid and made.subject.rfc4514_string() == "CN=mail.example.org,O=Acme,C=DE"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mail.example.org", "xn--bcher-kva.example"]
    for wrong in (["a b"], ["mail.example.org", "x" * 64]):
        with pytest.raises(ValueError, match="no host name"):
            request(KEY, wrong)


@pytest.mark.parametrize(("kind", "expected"), [("ec", "EC secp256r1"), ("rsa", "RSA 2048")])
def test_s_048_kinds_of_keys(kind: str, expected: str) -> None:
    assert facts_of(CA.certify(make_key(kind).public_key(), ["a.example.org"])).key == expected


# ---------------------------------------------------------------- folders


def test_the_layouts_of_certbot_lego_and_acme_sh(tmp_path: Path) -> None:
    for name in (
        "a.example.org/fullchain.pem", "a.example.org/privkey.pem", "b.example.org.crt", "b.example.org.key",
        "_.example.net.crt", "_.example.net.key", "b.example.org.issuer.crt", "c.example.org_ecc/fullchain.cer",
        "c.example.org_ecc/c.example.org.key", "README", "half.example.org.crt", "d.example.org/fullchain.pem",
        "d.example.org/cert.pem", "b.example.org.json",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = {pair.name: (pair.certificate.name, pair.key.name) for pair in pairs_in(tmp_path)}
    assert found == {
        "a.example.org": ("fullchain.pem", "privkey.pem"),
        "b.example.org": ("b.example.org.crt", "b.example.org.key"),
        "c.example.org": ("fullchain.cer", "c.example.org.key"),
        "*.example.net": ("_.example.net.crt", "_.example.net.key"),
    }
    with pytest.raises(FileNotFoundError):
        pairs_in(tmp_path / "none")
