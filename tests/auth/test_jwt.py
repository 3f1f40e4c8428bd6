"""The authenticator `jwt`: signed tokens, what is wrong with them, keys that change."""

from __future__ import annotations

import base64
import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt as library
import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.logger import globalLogPublisher

from mailsrv.auth.anonymous import MAX_TRACE
from mailsrv.auth.anonymous import build as build_anonymous
from mailsrv.auth.jwt import MAX_FILE, MAX_TOKEN, JwtAuthenticator, Options, build
from mailsrv.errors import AuthenticationFailed, ConfigError, MailError
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT
from mailsrv.values import Credentials, Identity
from tests.properties import tries

from .beds import Site

ISSUER = "https://id.example"
CLAIMS = {"iss": ISSUER, "aud": "mail", "exp": 2000, "nbf": 900, "email": "Anna@Example.org"}
EC, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    kind = RSAAlgorithm if key is RSA else OKPAlgorithm if key is ED else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), **more}


class Bed(Site):
    """A file of keys, and a clock for tokens at 1000."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.wall = 1000.0
        self.write(jwk(EC, kid="one"), jwk(RSA, kid="two"), jwk(ED))

    def write(self, *entries: Any) -> None:
        """A JSON Web Key Set."""
        (self.base / "keys").write_text(json.dumps({"keys": entries}))

    def make(self, **options: Any) -> JwtAuthenticator:
        """The part, by a table of the configuration."""
        table = {"keys": "keys", "issuer": ISSUER, "audience": "mail", "create": True, **options}
        return build(read_table(Options, table, Place()), self)

    def show(self, part: Any, token: str, username: str = "", **more: Any) -> Any:
        """The identity or None."""
        context = evolve(CONTEXT, now=lambda: self.wall)
        return self.loop.run(part.authenticate(Credentials("token", username, token=token, **more), context))

    def refused(self, part: Any, token: str, username: str = "") -> bool:
        """Always true."""
        with pytest.raises(AuthenticationFailed) as refused:
            self.show(part, token, username)
        return refused.value.text == AuthenticationFailed.text


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.hasher.close()


def token(key: Any = EC, algorithm: str = "ES256", header: Any = None, drop: str = "", **changed: Any) -> str:
    """A signed token."""
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if name != drop}
    return library.encode(claims, key, algorithm, headers=header)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS512"), (ED, "EdDSA")], ids=lambda x: str(x)[:6]
)
def test_rfc7519_a_signed_token_names_the_account(bed: Bed, key: Any, algorithm: str) -> None:
    identity = bed.show(bed.make(), token(key, algorithm), authzid="x@example.org")
    assert (identity.authcid, identity.authzid) == ("anna@example.org", "x@example.org")


@pytest.mark.parametrize("name", ["", "anna", "ANNA@example.org", "EXAMPLE\\anna"])
def test_a_name_shown_besides_must_be_the_same(bed: Bed, name: str) -> None:
    assert bed.show(bed.make(), token(), name) is not None
    for other in ("bo", "anna@example.net", "a\nb"):
        assert bed.refused(bed.make(), token(), other)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "web"}, {"aud": ["web"]}, {"aud": 1}, {"drop": "aud"}, {"drop": "exp"}, {"exp": "soon"}, {"exp": True},
        {"exp": None}, {"nbf": "x"}, {"drop": "email"}, {"email": 1}, {"email": ["anna@example.org"]}, {"email": ""},
        {"email": "a\nb@example.org"}, {"email_verified": False}, {"email_verified": "true"},
        {"email": "anna@foreign.example"},
    ],
    ids=str,
)  # fmt: skip
def test_rfc7519_claims_that_do_not_fit_are_a_refusal(bed: Bed, changed: dict[str, Any]) -> None:
    assert bed.refused(bed.make(), token(**changed)) and bed.accounts() == []


def test_rfc7519_4_1_4_times_are_judged_by_the_clock_of_the_site(bed: Bed) -> None:
    part = bed.make(leeway="10s")
    for wall, good in ((889.0, False), (891.0, True), (2009.0, True), (2011.0, False)):
        bed.wall = wall
        assert bed.show(part, token()) is not None if good else bed.refused(part, token())


def test_an_audience_among_several_and_a_claim_of_ones_choice(bed: Bed) -> None:
    assert bed.show(bed.make(claim="sub"), token(aud=["web", "mail"], sub="bo")).authcid == "bo@example.org"


def test_rfc8725_only_the_algorithm_of_the_key_and_of_the_configuration(bed: Bed) -> None:
    public = EC.public_key().public_bytes(*PUBLIC_PEM)
    # HMAC with the public key as its secret: the oldest attack.  PyJWT does not even make such a token.
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).rstrip(b"=")
    import hmac

    mac = base64.urlsafe_b64encode(hmac.digest(public, head + b"." + body, "sha256")).rstrip(b"=")
    forged = b".".join([head, body, mac]).decode()
    for part in (bed.make(), bed.make(algorithms=["HS256", "ES256"])):
        assert bed.refused(part, forged)
        assert bed.refused(part, library.encode(CLAIMS, None, "none") + "AA")
    assert bed.refused(bed.make(algorithms=["RS256"]), token())
    bed.write(jwk(RSA, alg="RS512"))
    assert bed.refused(bed.make(), token(RSA, "RS256")) and bed.show(bed.make(), token(RSA, "RS512")) is not None


def test_a_shared_key_must_be_switched_on(bed: Bed) -> None:
    key = b"k" * 64
    bed.write({"kty": "oct", "k": base64.urlsafe_b64encode(key).rstrip(b"=").decode()})
    shown = token(key, "HS256")
    assert bed.refused(bed.make(), shown)
    assert bed.show(bed.make(algorithms=["HS256"]), shown) is not None


def test_a_key_is_found_by_its_name_or_tried(bed: Bed) -> None:
    part = bed.make()
    assert bed.show(part, token(header={"kid": "one"})) is not None
    assert bed.refused(part, token(header={"kid": "two"})) and bed.refused(part, token(header={"kid": "three"}))
    bed.write(jwk(OTHER), jwk(EC))
    assert bed.show(bed.make(), token()) is not None
    assert bed.refused(bed.make(), token(ec.generate_private_key(ec.SECP256R1())))


def test_what_is_no_token_of_this_issuer_is_left_to_others(bed: Bed) -> None:
    part = bed.make()
    for shown in ("", "opaque", "a.b.c", "a.b", ".." , token(iss="https://other.example"), token(drop="iss"),
                  token() + "\n", token(x="y" * MAX_TOKEN), "\ud800.a.b", "eyJ9.eyJ9.x"):  # fmt: skip
        assert bed.show(part, shown) is None
    head, body, signature = token().split(".")
    other, turned = token(OTHER).split(".")[2], signature.swapcase()
    for spoilt in (f"{head}.{body}.{turned[:40]}{signature[40:]}", f"{head}.{body}.AAAA", f"{head}.{body}.{other}"):
        assert bed.refused(part, spoilt)


@given(st.text(alphabet="eyJhbGciOiJ9.-_AQ", max_size=60), st.integers(0, 300), st.integers(0, 5))
@settings(max_examples=tries(60), deadline=None)
def test_no_text_makes_anything_but_an_answer(tmp_path_factory: Any, text: str, at: int, cut: int) -> None:
    bed = Bed(tmp_path_factory.getbasetemp())
    part, good = bed.make(), token()
    for shown in (text, good[:at] + text + good[at + cut :]):
        try:
            assert bed.show(part, shown) is None or shown == good
        except MailError as error:
            assert isinstance(error, AuthenticationFailed)


def test_deeply_nested_json_is_no_bug(bed: Bed) -> None:
    nest = base64.urlsafe_b64encode(b"[" * 2500 + b"]" * 2500).rstrip(b"=").decode()
    assert bed.show(bed.make(), f"{token().split('.')[0]}.{nest}.AA") is None


# ---------------------------------------------------------------- keys


def test_keys_may_be_pem_public_keys_and_certificates(bed: Bed) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "id")])
    begin = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, RSA.public_key(), 1, begin, begin + datetime.timedelta(days=1))
    certificate = builder.sign(RSA, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pems = [key.public_key().public_bytes(*PUBLIC_PEM) for key in (EC, ED)]
    (bed.base / "keys").write_bytes(b"comment\n".join([certificate, *pems]))
    part = bed.make()
    for key, algorithm in ((EC, "ES256"), (RSA, "RS384"), (ED, "EdDSA")):
        assert bed.show(part, token(key, algorithm)) is not None


@pytest.mark.parametrize(
    "octets",
    [
        None, b"", b"{", b"[]", b'{"keys": []}', b'{"keys": [1]}', b'{"keys": [{}]}', b'{"keys": [{"kty": "RSA"}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "secret-marker": 1}]}',
        b'{"keys": [{"kty": [], "crv": {}}]}', b"x" * (MAX_FILE + 1), b"[" * 100_000,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", b"-----BEGIN ",
        EC.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        json.dumps({"keys": [jwk(EC)] * 33}).encode(), json.dumps({"keys": [jwk(EC, use="enc")]}).encode(),
    ],
    ids=lambda octets: str(octets)[:30],
)  # fmt: skip
def test_a_file_without_usable_keys_is_a_mistake_of_the_configuration(bed: Bed, octets: bytes | None) -> None:
    (bed.base / "keys").unlink()
    if octets is not None:
        (bed.base / "keys").write_bytes(octets)
    with pytest.raises(ConfigError) as error:
        bed.make()
    assert error.value.key == "auth.jwt.keys" and "secret-marker" not in str(error.value)


def test_changed_keys_hold_a_second_later_and_broken_ones_leave_the_old(bed: Bed) -> None:
    part, shown = bed.make(), token(OTHER)
    bed.write(jwk(OTHER))
    assert bed.refused(part, shown) and bed.show(part, token()) is not None
    bed.now += 1.0
    assert bed.show(part, shown) is not None and bed.refused(part, token())
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    (bed.base / "keys").write_text("broken")
    for _ in range(3):
        bed.now += 1.0
        assert bed.show(part, shown) is not None
    globalLogPublisher.removeObserver(events.append)
    assert len([event for event in events if "as they were known" in event["log_format"]]) == 1


def test_without_the_library_it_says_what_to_install(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match=r"pip install \"mailsrv\[oauth\]\""):
        bed.make()


@pytest.mark.parametrize("algorithms", [[], ["none"], ["es256"], "ES256", [1]])
def test_algorithms_are_named_as_they_are(bed: Bed, algorithms: Any) -> None:
    with pytest.raises(ConfigError):
        bed.make(algorithms=algorithms)


def test_without_create_only_who_has_an_account_logs_in(bed: Bed) -> None:
    part = bed.make(create=False)
    assert bed.refused(part, token())
    bed.add("anna")
    assert bed.show(part, token()) is not None


# ---------------------------------------------------------------- nobody


def test_rfc4505_nobody_is_nobody_and_the_trace_is_logged_bounded() -> None:
    part, events = build_anonymous(None, None), []
    globalLogPublisher.addObserver(events.append)
    found = Site().loop.run(part.authenticate(Credentials("anonymous", "tr\nace" + "x" * 500), CONTEXT))
    globalLogPublisher.removeObserver(events.append)
    assert found == Identity(0, "anonymous", mechanism="ANONYMOUS") and found.anonymous
    (event,) = events
    assert event["trace"].startswith("tr?ace") and len(event["trace"]) == MAX_TRACE
    assert Site().loop.run(part.authenticate(Credentials("password", "anonymous", "x"), CONTEXT)) is None
