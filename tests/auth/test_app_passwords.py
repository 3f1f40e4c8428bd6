"""App passwords: made here, typed by people, good for some protocols."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.auth.app_passwords import ALPHABET, MAX_TYPED, matching, new_app_password
from mailsrv.auth.directory import Options, build
from mailsrv.errors import AuthenticationFailed

from .beds import Site, app


def test_it_is_random_readable_and_not_kept_itself() -> None:
    made = [new_app_password(os.urandom) for _ in range(50)]
    assert len(set(made)) == 50
    for shown, digest in made:
        assert len(shown) == 34 and shown.count("-") == 6
        assert set(shown) <= set(ALPHABET) | {"-"} and not set(shown) & set("ilou")
        assert shown not in digest and shown.replace("-", "") not in digest and len(digest) == 64


def test_every_bit_of_the_randomness_counts() -> None:
    seen = {new_app_password(lambda n, octet=octet: bytes([octet]) * n)[0][0] for octet in range(32)}
    assert seen == set(ALPHABET) and len(ALPHABET) == 32


@pytest.mark.parametrize(
    "typed", [str, str.upper, lambda t: t.replace("-", ""), lambda t: t.replace("-", " "), lambda t: f" {t} ",
              lambda t: t.replace("0", "O").replace("1", "l"), lambda t: t.replace("0", "o").replace("1", "I")],
)  # fmt: skip
def test_it_may_be_typed_as_people_type(typed: object) -> None:
    shown, digest = new_app_password(lambda n: bytes(range(n)))
    assert shown == "0123-4567-89ab-cdef-ghjk-mnpq-rstv"
    assert matching([app("x" * 64), app(digest, "imap")], typed(shown)).scopes == {"imap"}  # type: ignore[operator]


def test_anything_else_is_none() -> None:
    shown, digest = new_app_password(os.urandom)
    kept = [app(digest)]
    for text in ("", shown[:-1], shown + "0", shown[:-1] + "!", digest, shown[::-1] + "x", shown + " " * MAX_TYPED):
        assert matching(kept, text) is None
    assert matching([], shown) is None and matching([app("größe"), app("")], shown) is None


@given(st.text(max_size=120))
def test_no_text_makes_anything_but_an_answer(text: str) -> None:
    assert matching([app("0" * 64)], text) is None


def test_every_kept_one_is_compared_wherever_the_right_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailsrv.auth import app_passwords

    shown, digest = new_app_password(os.urandom)
    compared: list[object] = []
    real = app_passwords.hmac.compare_digest
    monkeypatch.setattr(app_passwords.hmac, "compare_digest", lambda a, b: (compared.append(a), real(a, b))[1])
    for place in range(3):
        kept = [app("0" * 64, name=str(n)) for n in range(3)]
        kept[place] = app(digest, name="mine")
        compared.clear()
        assert matching(kept, shown).name == "mine" and len(compared) == 3  # type: ignore[union-attr]


def test_a_login_with_one_has_its_scopes_and_needs_no_hash(tmp_path: Path) -> None:
    site = Site(tmp_path)
    account = site.add("anna", "correct horse").account_id
    part = build(Options(), site)
    shown, digest = new_app_password(os.urandom)
    site.loop.run(site.directory.add_app_password(account, "phone", digest, frozenset({"imap", "smtp"})))
    identity = site.login(part, "anna", shown.upper())
    assert (identity.account_id, identity.authcid, identity.scopes) == (account, "anna@example.org", {"imap", "smtp"})
    assert site.login(part, "anna", "correct horse").scopes == frozenset()
    with pytest.raises(AuthenticationFailed):
        site.login(part, "anna", shown[:-1] + ("0" if shown[-1] != "0" else "2"))
    site.loop.run(site.directory.remove_app_password(account, "phone"))
    with pytest.raises(AuthenticationFailed):
        site.login(part, "anna", shown)
    site.hasher.close()


def test_an_account_may_have_app_passwords_only_and_a_disabled_one_has_none(tmp_path: Path) -> None:
    site = Site(tmp_path)
    account = site.add("anna").account_id
    shown, digest = new_app_password(os.urandom)
    site.loop.run(site.directory.add_app_password(account, "phone", digest, frozenset()))
    part = build(Options(keep=("ntlm",)), site)
    assert site.login(part, "anna", shown) is not None
    site.loop.run(part.idle())
    assert site.stored("anna@example.org").secrets == {}, "nothing is derived from an app password"
    for password in ("", "correct horse", shown[:-1]):
        assert site.login(part, "anna", password) is None, "its password may be kept elsewhere"
    site.loop.run(site.disable())
    with pytest.raises(AuthenticationFailed):
        site.login(part, "anna", shown)
    site.hasher.close()
