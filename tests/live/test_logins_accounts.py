"""The life of an account, by commands beside the running server: what is changed holds at the next login."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Server
from .logins import CONFIG, DEE, EVE, FAY, PASSWORD, PROTOCOLS, Client, prepare

pytestmark = pytest.mark.live

NEW = "Sober-Heron-2604"
EVERY = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "NTLM")


def outcome(
    server: Server, protocol: str, user: str, password: str, mechanism: str = "PLAIN", source: str = "127.0.0.1"
) -> str:
    """What one login on a connection of its own comes to."""
    with Client(server, protocol, source=source) as client:
        return client.login(mechanism, user, password)


def test_a_disabled_account_is_refused_like_a_wrong_password_until_it_is_enabled(logins: Server) -> None:
    with Client(logins, "imap") as client:
        assert client.login("PLAIN", EVE, "wrong") == "no"
        wrong = client.heard[-1]
    logins.command("user", "disable", EVE)
    for protocol in PROTOCOLS:
        for mechanism in EVERY:
            assert outcome(logins, protocol, EVE, PASSWORD, mechanism) == "no", mechanism
    with Client(logins, "imap") as client:
        assert client.login("PLAIN", EVE, PASSWORD) == "no" and client.heard[-1] == wrong
    logins.command("user", "enable", EVE)
    for mechanism in EVERY:
        assert outcome(logins, "imap", EVE, PASSWORD, mechanism) == "ok", mechanism


def test_a_new_password_is_good_for_every_mechanism_at_once_and_the_old_for_none(logins: Server) -> None:
    logins.command("user", "password", FAY, "--password-file", str(_file(logins, NEW)))
    for mechanism in EVERY:
        assert outcome(logins, "imap", FAY, PASSWORD, mechanism) == "no", mechanism
        assert outcome(logins, "imap", FAY, NEW, mechanism) == "ok", mechanism


def test_secrets_that_are_not_kept_any_more_open_nothing_until_the_password_is_shown(logins: Server) -> None:
    account = _new(logins, "kurt")
    assert outcome(logins, "imap", account, PASSWORD, "NTLM") == "ok"
    logins.command("user", "keep", account, "scram-sha-256")
    assert outcome(logins, "imap", account, PASSWORD, "NTLM") == "no"
    assert outcome(logins, "imap", account, PASSWORD, "SCRAM-SHA-256") == "ok"
    logins.command("user", "keep", account, "default")
    assert outcome(logins, "imap", account, PASSWORD, "NTLM") == "no"
    assert outcome(logins, "imap", account, PASSWORD, "PLAIN") == "ok"
    # They are made after that login, without keeping it waiting: the next may come too soon for them.
    until = time.monotonic() + 60
    while outcome(logins, "imap", account, PASSWORD, "NTLM") != "ok":
        assert time.monotonic() < until


def test_an_app_password_is_good_for_its_protocols_until_it_is_removed(logins: Server) -> None:
    added = logins.command("user", "app-password", "add", DEE, "Phone", "--for", "imap", "--json")
    shown = json.loads(added.stdout)["password"]
    assert outcome(logins, "imap", DEE, shown) == "ok"
    # It is a password like another as it is typed, but has no secrets for the mechanisms that show none.
    assert outcome(logins, "imap", DEE, shown, "NTLM") == "no"
    for protocol in ("pop3", "smtp"):
        with Client(logins, protocol) as client:
            assert client.login("PLAIN", DEE, shown) == "no"
    assert outcome(logins, "pop3", DEE, PASSWORD) == "ok"
    listed = logins.command("user", "app-password", "list", DEE).stdout
    assert "Phone" in listed and shown not in listed
    logins.command("user", "app-password", "remove", DEE, "Phone")
    assert outcome(logins, "imap", DEE, shown) == "no"
    assert outcome(logins, "imap", DEE, PASSWORD) == "ok"


def test_s_104_a_protocol_that_is_taken_from_an_account_is_given_back(logins: Server) -> None:
    account = _new(logins, "nils")
    logins.command("user", "deny", account, "pop3")
    assert [outcome(logins, protocol, account, PASSWORD) for protocol in ("smtp", "imap", "pop3")] == ["ok", "ok", "no"]
    with Client(logins, "pop3") as client:
        assert client.login("NTLM", account, PASSWORD) == "no"
    logins.command("user", "deny", account, "smtp/strict")
    for name, told in (("strict", "no"), ("default", "ok")):
        with Client(logins, "smtp", name=name) as client:
            assert client.login("PLAIN", account, PASSWORD) == told
            assert told == "ok" or client.heard[-1].startswith("535 5.7.1")
    logins.command("user", "allow", account, "pop3")
    assert outcome(logins, "pop3", account, PASSWORD) == "ok"


def test_auth_test_tells_an_administrator_why_a_login_fails(logins: Server) -> None:
    """`mailsrv auth test` makes a whole exchange; a client is never told so much."""
    right, wrong = _file(logins, PASSWORD), _file(logins, "wrong", "wrong")
    for mechanism in ("SCRAM-SHA-256", "NTLM"):
        done = logins.command("auth", "test", EVE, "--mechanism", mechanism, "--password-file", str(right))
        assert f"{EVE} can log in at smtp/default by {mechanism}" in done.stdout
    done = logins.command("auth", "test", EVE, "--password-file", str(wrong), check=False)
    assert done.returncode == 1 and f"wrong password for {EVE}" in done.stderr
    nobody = logins.command("auth", "test", "nobody", "--password-file", str(right), check=False)
    assert nobody.returncode == 1 and "no account of the directory has the name" in nobody.stderr


def _file(server: Server, text: str, name: str = "password") -> Path:
    path = server.folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def _new(server: Server, name: str) -> str:
    """An account for one test."""
    server.command("user", "add", f"{name}@example.test", "--password-file", str(_file(server, PASSWORD)))
    return f"{name}@example.test"


# ---------------------------------------------------------------- bans


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site that bans an address after 4 wrong guesses, and slows an account after 8."""
    folder = tmp_path_factory.mktemp("guarded")
    prepare(folder)
    config = CONFIG.replace('failed_logins_per_address = "off"', "failed_logins_per_address = 4")
    made = Server(folder, config.replace('failed_logins_per_account = "off"', "failed_logins_per_account = 8"))
    made.start()
    try:
        made.command("user", "add", "--from", str(folder / "accounts"))
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def test_an_address_that_guesses_is_banned_and_others_go_on(guarded: Server) -> None:
    # One program with an old password is not banned for it: the same guess counts once.
    for _ in range(6):
        assert outcome(guarded, "imap", DEE, "old", source="127.0.0.2") == "no"
    for number, mechanism in enumerate(("PLAIN", "NTLM", "SCRAM-SHA-256")):
        assert outcome(guarded, "imap", DEE, f"guess {number}", mechanism, source="127.0.0.2") == "no"
    for protocol in PROTOCOLS:
        # Not even the right password is looked at.
        assert outcome(guarded, protocol, EVE, PASSWORD, source="127.0.0.2") == "later", protocol
        assert outcome(guarded, protocol, DEE, PASSWORD, source="127.0.0.3") == "ok", protocol
    told = json.loads(guarded.command("ban", "list", "--json").stdout)
    assert [(one["subject"], one["kind"]) for one in told] == [("127.0.0.2", "address")]
    assert "127.0.0.2" in guarded.command("ban", "list").stdout
    guarded.command("ban", "lift", "127.0.0.2")
    assert outcome(guarded, "imap", DEE, PASSWORD, source="127.0.0.2") == "ok"
    assert json.loads(guarded.command("ban", "list", "--json").stdout) == []


def test_an_account_that_is_guessed_at_from_many_addresses_stays_open_to_its_owner(guarded: Server) -> None:
    assert outcome(guarded, "imap", FAY, PASSWORD, source="127.0.0.4") == "ok"
    for number in range(8):
        assert outcome(guarded, "imap", FAY, f"guess {number}", source=f"127.0.1.{number}") == "no"
    kinds = {one["subject"]: one["kind"] for one in json.loads(guarded.command("ban", "list", "--json").stdout)}
    assert kinds == {FAY: "account"}
    # At once, from where it was logged in before.
    assert outcome(guarded, "imap", FAY, PASSWORD, source="127.0.0.4") == "ok"
    guarded.command("ban", "lift", FAY)
    assert outcome(guarded, "imap", FAY, PASSWORD, source="127.0.0.5") == "ok"


def test_an_address_is_banned_by_hand(guarded: Server) -> None:
    guarded.command("ban", "add", "127.0.0.9", "--minutes", "1")
    assert outcome(guarded, "smtp", DEE, PASSWORD, source="127.0.0.9") == "later"
    guarded.command("ban", "lift", "127.0.0.9")
    assert outcome(guarded, "smtp", DEE, PASSWORD, source="127.0.0.9") == "ok"
