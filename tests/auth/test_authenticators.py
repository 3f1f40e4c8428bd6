"""Every authenticator of mailsrv, and the one of the examples, keeps to the contract suite."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import jwt as pyjwt
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

from mailsrv.auth import anonymous, any, cred, directory, jwt, passwd, sql
from mailsrv.auth.accounts import Accounts
from mailsrv.auth.secrets import KINDS, MAKERS, make_secrets
from mailsrv.testing.authenticator_suite import CONTEXT, NAMES, AuthenticatorContract, SecretsContract, Subject
from mailsrv.values import Credentials

from .beds import Site

ANNA = Credentials("password", "anna@example.org", "correct horse")
WRONG = [evolve(ANNA, password=password) for password in ("", "Correct horse", "correct horse ", "correct hors")]
STRANGERS = [evolve(ANNA, username=name) for name in ("stranger@example.org", "anna@foreign.example", "stranger")]


class TestDirectory(AuthenticatorContract, SecretsContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        secrets = site.loop.run(make_secrets(site.hasher, KINDS, ANNA.password, bytes))
        site.add("anna", ANNA.password, secrets=secrets)
        part = directory.build(directory.Options(keep=KINDS), site)
        return Subject(
            part, site.loop, ANNA, WRONG, STRANGERS, disable=site.disable, close=site.close, kinds=frozenset(KINDS)
        )


class TestAny(AuthenticatorContract, SecretsContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        (tmp_path / "password").write_text(ANNA.password)
        part = any.build(any.Options("password"), site)
        return Subject(
            part, site.loop, ANNA, WRONG, STRANGERS[1:2], disable=site.disable, close=site.close, kinds=frozenset(KINDS)
        )

    def test_no_name_makes_anything_but_an_answer(self) -> None:
        """Every possible name is somebody's."""
        assert {self.outcome(self.subject.right, username=name) for name in NAMES} <= {"identity", "none", "failed"}

    def test_nobody_and_unknown_kinds_have_no_secrets(self) -> None:
        """Nobody is nobody."""
        assert self._secrets("ntlm", "anna@foreign.example") is None


class TestPasswd(AuthenticatorContract, SecretsContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        text = "{CRAM-MD5}" + MAKERS["cram-md5"](ANNA.password, bytes)
        (tmp_path / "users").write_text(f"anna:{text}\n", encoding="utf-8")
        part = passwd.build(passwd.Options("users", keep=KINDS), site)
        kinds = frozenset({"cram-md5"})
        return Subject(part, site.loop, ANNA, WRONG, STRANGERS, disable=site.disable, close=site.close, kinds=kinds)


class TestSql(AuthenticatorContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        with sqlite3.connect(tmp_path / "users.db") as database:
            database.execute("CREATE TABLE users (login TEXT, password TEXT)")
            database.execute("INSERT INTO users VALUES ('anna@example.org', '{PLAIN}correct horse')")
        database.close()
        options = sql.Options("sqlite3", ("users.db", {}), "SELECT password FROM users WHERE login = :login")
        part = sql.build(options, site)

        async def close() -> None:
            await part.close()
            await site.close()

        return Subject(part, site.loop, ANNA, WRONG, STRANGERS, disable=site.disable, close=close)


class TestCred(AuthenticatorContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(b"anna@example.org", b"correct horse")
        part = cred.CredAuthenticator(checker, Accounts(site.directory, True))
        return Subject(part, site.loop, ANNA, WRONG, STRANGERS[1:2], disable=site.disable, close=site.close)


class TestAnonymous(AuthenticatorContract):
    def make(self, tmp_path: Path) -> Subject:
        part = anonymous.build(None, None)
        return Subject(part, Site().loop, Credentials("anonymous", "trace@example.org"), anonymous=True)


class TestJwt(AuthenticatorContract):
    def make(self, tmp_path: Path) -> Subject:
        site = Site(tmp_path)
        key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        entry = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [entry]}))
        claims = {"iss": "https://id.example", "aud": "mail", "exp": 2000, "email": "anna@example.org"}
        options = jwt.Options("keys.json", "https://id.example", "mail", create=True)

        def shown(signer: Any = key, **changed: Any) -> Credentials:
            token = pyjwt.encode({**claims, **changed}, signer, "ES256")
            return Credentials("token", "anna@example.org", token=token)

        return Subject(
            jwt.build(options, site),
            site.loop,
            shown(),
            [shown(other), shown(aud="web"), evolve(shown(), username="bo@example.org"), shown(exp=900)],
            [Credentials("token", "", token="opaque"), shown(iss="https://other.example")],
            evolve(CONTEXT, now=lambda: 1000.0),
            disable=site.disable,
            close=site.close,
        )


class TestTheExample(AuthenticatorContract):
    def make(self, tmp_path: Path) -> Subject:
        sys.path.insert(0, "examples")
        try:
            import own_authenticator
        finally:
            sys.path.remove("examples")
        site = Site(tmp_path)
        part = own_authenticator.build(own_authenticator.Options("example.org"), site)
        return Subject(part, site.loop, ANNA, WRONG, STRANGERS, disable=site.disable, close=site.close)
