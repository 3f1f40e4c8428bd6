"""The site of the login tests: its files and accounts, and a client that knows only how a protocol carries SASL."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailsrv.net.certificate import ensure
from mailsrv.values import ClientContext
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

DOMAIN = "example.test"
#: Every account of the site has it.  Recognisable, and long enough to stand in no log by accident.
PASSWORD = "Jolly-Walrus-7319"
#: The accounts; a maildrop of POP3 has one session at a time, so tests that run in parallel take different ones.
ANNA, BO, CY, DEE, EVE, FAY = ACCOUNTS = tuple(f"{name}@{DOMAIN}" for name in ("anna", "bo", "cy", "dee", "eve", "fay"))
ISSUER = "https://issuer.example.test"
SERVERS = {"smtp": "smtp/default", "imap": "imap/default", "pop3": "pop3/default"}
PROTOCOLS = tuple(SERVERS)
KEPT = ("scram-sha-256", "scram-sha-1", "cram-md5", "ntlm")

_SERVER = """
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
login_without_tls = true
ntlm_v1 = true
failed_login_delay = "off"
"""
#: With everything; and `strict`, without NTLMv1 and without the mechanisms that the word sasl stands for.
CONFIG = f"""
[site]
hostname = "mx.example.test"
domains = ["{DOMAIN}"]
data = "data"
[limits]
failed_logins_per_address = "off"
failed_logins_per_account = "off"
[tls.default]
certificate = "server.crt"
key = "server.key"
client_ca = "authority.pem"
[store]
use = "sqlite"
[auth]
use = ["directory", "certificate", "jwt", "anonymous"]
[auth.directory]
keep = {json.dumps(KEPT)}
[auth.jwt]
keys = "token.pem"
issuer = "{ISSUER}"
audience = "mail"
[smtp.default]{_SERVER}
authentication = ["anonymous", "basic", "ntlm", "sasl"]
[imap.default]{_SERVER}
authentication = ["basic", "ntlm", "sasl"]
[pop3.default]{_SERVER}
authentication = ["basic", "ntlm", "sasl"]
""" + "".join(
    f"[{protocol}.strict]{_SERVER.replace('ntlm_v1 = true', 'ntlm_v1 = false')}authentication = ['basic', 'ntlm']\n"
    for protocol in SERVERS
)


def prepare(folder: Path) -> None:
    """The files that CONFIG names, and the client's: person.crt, person.key (ANNA's) and the private half of tokens."""
    ensure(folder / "server.crt", folder / "server.key", ["mx.example.test"])
    authority, person = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "authority.pem").write_bytes(_certificate("An authority", authority, authority, []))
    (folder / "person.crt").write_bytes(_certificate("Anna", person, authority, [ANNA]))
    _write_key(folder / "person.key", person)
    signer = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "token.key", signer)
    public = signer.public_key()
    (folder / "token.pem").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    lines = "".join(json.dumps({"address": name, "password": PASSWORD}) + "\n" for name in ACCOUNTS)
    (folder / "accounts").write_text(lines)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, addresses: list[str]
) -> bytes:
    """PEM; without addresses it is an authority's, all others are issued by "An authority"."""
    subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)]) for who in (name, "An authority"))
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder(
        by, subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=2)
    ).add_extension(x509.BasicConstraints(ca=not addresses, path_length=None), critical=True)
    if addresses:
        names = x509.SubjectAlternativeName([x509.RFC822Name(one) for one in addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def token(folder: Path, account: str, **claims: object) -> str:
    """A bearer token that the site takes, for a minute."""
    facts = {"iss": ISSUER, "aud": "mail", "exp": int(time.time()) + 60, "email": account, **claims}
    return jwt.encode(facts, (folder / "token.key").read_bytes(), algorithm="ES256")


def tls_context() -> ssl.SSLContext:
    """Takes any certificate: the site's is self-signed."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _next_turn(server: Any) -> None:
    """Lines are written at the end of a turn, after the answers of that turn: a greeting is of a later one."""
    with socket.create_connection(("127.0.0.1", server.port("smtp/default")), timeout=60) as client:
        client.recv(1000)


@contextmanager
def new_lines(server: Any) -> Iterator[list[str]]:
    """What the server logs of logins meanwhile, filled in at the end."""
    _next_turn(server)
    before, found = len(server.log()), []
    yield found
    _next_turn(server)
    found += [line for line in server.log()[before:].splitlines() if "login " in line]


def client_mechanism(name: str) -> Any:
    """The client side of a mechanism."""
    return Ntlm() if name == "NTLM" else mechanisms()[name]


class Client:
    """A connection of a protocol; `source` is the address it comes from.

    What a server answers last is told as "ok", "no" (refused), "later" (a temporary refusal) or "cannot" (there is no
    such mechanism); all it said is in `heard`.
    """

    def __init__(
        self, server: Any, protocol: str, *, name: str = "default", tls: bool = False, source: str = "127.0.0.1"
    ) -> None:
        self.protocol, self.heard, self.bindings = protocol, [], {}
        port = server.port(f"{protocol}/{name}", tls)
        self._socket = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        if tls:
            self._socket = wrapped = tls_context().wrap_socket(self._socket, server_hostname="mx.example.test")
            certificate = wrapped.getpeercert(binary_form=True)
            assert certificate is not None
            self.bindings["tls-server-end-point"] = sha256(certificate).digest()
        self._file = self._socket.makefile("rb")
        self.hear()
        if protocol == "smtp":
            self.say("EHLO client.example")
            while self.hear()[3:4] == "-":
                pass

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def say(self, line: str) -> None:
        """Send one."""
        self._socket.sendall(line.encode() + b"\r\n")

    def hear(self) -> str:
        """Read one."""
        line = self._file.readline().decode("utf-8").rstrip("\r\n")
        self.heard.append(line)
        return line

    def begin(self, mechanism: str, initial: bytes | None = None) -> str:
        """AUTH or AUTHENTICATE; "+" or how it ended."""
        command = {"smtp": "AUTH", "pop3": "AUTH", "imap": "a AUTHENTICATE"}[self.protocol]
        # An initial response of no octets is "=" (RFC 4954, RFC 4959, RFC 5034).
        more = "" if initial is None else " " + (b64encode(initial).decode() or "=")
        self.say(f"{command} {mechanism}{more}")
        return self._outcome()

    def go_on(self, octets: bytes) -> str:
        """Answer a challenge."""
        self.say(b64encode(octets).decode())
        return self._outcome()

    def abort(self) -> str:
        """Give the exchange up."""
        self.say("*")
        return self._outcome()

    def login(self, mechanism: str, user: str, password: str, *, initial: bool = True) -> str:
        """A whole exchange with the client side of this package, with the user's token as password where it is one."""
        context = ClientContext(
            user, password, token=password, service=self.protocol, hostname="mx.example.test",
            bindings=self.bindings if mechanism.endswith("-PLUS") else {}, random=os.urandom, now=time.time,
        )  # fmt: skip
        talk = client_mechanism(mechanism).respond(context)
        said = next(talk)
        if initial or said.octets is None:
            outcome = self.begin(mechanism, said.octets)
        else:
            outcome = self.begin(mechanism)
            # The server has nothing to say yet.
            assert outcome == "+" and self.challenge() == b"", self.heard
            outcome = self.go_on(said.octets)
        while outcome == "+":
            said = talk.send(self.challenge())
            outcome = self.go_on(said.octets or b"")
        assert outcome != "ok" or said.final, "success, but the server has not proved itself"
        return outcome

    def challenge(self) -> bytes:
        """What the server said last."""
        line = self.heard[-1]
        return b64decode(line[4:] if self.protocol == "smtp" else line[2:], validate=True)

    def _outcome(self) -> str:
        line = self.hear()
        while self.protocol == "imap" and line.startswith("* "):
            line = self.hear()
        if line.startswith(("+ ", "334 ")):
            return "+"
        for word, starts in _OUTCOMES:
            if line.startswith(starts):
                return word
        raise AssertionError(self.heard)


#: How answers begin, the more exact first.
_OUTCOMES = (
    ("ok", ("235 2.7.0", "a OK", "+OK")),
    ("later", ("454 4.7.0", "a NO [UNAVAILABLE]", "-ERR [SYS/TEMP]")),
    ("cannot", ("504 5.5.4", "a NO [CANNOT]", "-ERR No such mechanism")),
    ("no", ("535 5.7.8", "535 5.7.1", "a NO [AUTHENTICATIONFAILED]", "a NO [AUTHORIZATIONFAILED]", "-ERR [AUTH]")),
    ("aborted", ("501 ", "a BAD", "-ERR Authentication given up")),
)  # fmt: skip


def imaplib_answers(mechanism: str, user: str, password: str) -> Callable[[bytes], bytes | None]:
    """For `imaplib.IMAP4.authenticate`, which knows no initial response: the client side of this package."""
    context = ClientContext(user, password, service="imap", random=os.urandom, now=time.time)
    talk = client_mechanism(mechanism).respond(context)
    waiting = [next(talk).octets]

    def answer(challenge: bytes) -> bytes | None:
        first = waiting.pop() if waiting else None
        return first if first is not None else talk.send(challenge).octets

    return answer
