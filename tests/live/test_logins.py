"""Logins over sockets with the client sides of this package: one set of mechanisms serves three protocols (S-098)."""

from __future__ import annotations

import pytest

from .conftest import Server
from .logins import ANNA, BO, PASSWORD, PROTOCOLS, SERVERS, Client, new_lines, token

pytestmark = pytest.mark.live

SECRET = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "NTLM")
SHOWN = ("PLAIN", "LOGIN")
BOUND = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
TOKENS = ("OAUTHBEARER", "XOAUTH2")


@pytest.mark.parametrize("initial", [True, False], ids=["initial", "bare"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_150_every_mechanism_with_and_without_initial_response(
    logins: Server, protocol: str, initial: bool
) -> None:
    for name in SECRET + SHOWN + BOUND + TOKENS:
        shown = token(logins.folder, BO) if name in TOKENS else PASSWORD
        with new_lines(logins) as lines, Client(logins, protocol, tls=name in BOUND) as client:
            assert client.login(name, BO, shown, initial=initial) == "ok", (name, client.heard)
        assert lines[-1].endswith(f"login of {BO} on {SERVERS[protocol]} from 127.0.0.1 by {name}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_wrong_secrets_are_refused_by_every_mechanism_in_the_same_words(logins: Server, protocol: str) -> None:
    said = set()
    for name in SECRET + SHOWN + BOUND + TOKENS:
        stale = token(logins.folder, BO, exp=1)
        for user in (BO, "nobody@example.test"):
            with Client(logins, protocol, tls=name in BOUND) as client:
                assert client.login(name, user, stale if name in TOKENS else "wrong") == "no", (name, client.heard)
                said.add(client.heard[-1])
    assert len(said) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_103_after_a_failed_or_aborted_mechanism_the_next_is_tried_on_the_same_connection(
    logins: Server, protocol: str
) -> None:
    with Client(logins, protocol) as client:
        assert client.login("NTLM", BO, "wrong") == "no"
        assert client.begin("NTLM") == "+" and client.abort() == "aborted"
        assert client.begin("CRAM-MD5") == "+" and client.abort() == "aborted"
        # Neither a mechanism that is not there nor an abort is a guess: the limit of a connection is 3.
        assert client.begin("GSSAPI") == "cannot"
        assert client.login("SCRAM-SHA-256", BO, "wrong") == "no"
        assert client.login("PLAIN", BO, PASSWORD) == "ok"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_107_a_mechanism_that_is_switched_off_is_refused(logins: Server, protocol: str) -> None:
    with Client(logins, protocol, name="strict") as client:
        for name in ("CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "EXTERNAL"):
            assert client.begin(name) == "cannot", client.heard
        assert client.login("NTLM", BO, PASSWORD) == "ok", client.heard


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rfc_4422_external_only_with_a_client_certificate(logins: Server, protocol: str) -> None:
    with Client(logins, protocol, tls=True) as client:
        assert client.begin("EXTERNAL", b"") == "cannot", client.heard


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_authzid_of_somebody_else_is_refused_and_the_own_is_none(logins: Server, protocol: str) -> None:
    for authzid, outcome in ((ANNA, "no"), (BO, "ok")):
        with Client(logins, protocol) as client:
            assert client.begin("PLAIN", f"{authzid}\0{BO}\0{PASSWORD}".encode()) == outcome


def test_s_137_who_logged_in_as_nobody_does_not_relay(logins: Server) -> None:
    """ANONYMOUS (RFC 4505) opens no more than no login at all."""
    answers = []
    for mechanism, password in (("", ""), ("ANONYMOUS", ""), ("PLAIN", PASSWORD)):
        with Client(logins, "smtp") as client:
            if mechanism:
                assert client.login(mechanism, BO, password) == "ok", client.heard
            for line in ("MAIL FROM:<x@remote.example>", "RCPT TO:<anna@example.test>"):
                client.say(line)
                assert client.hear().startswith("250 ")
            client.say("RCPT TO:<y@elsewhere.example>")
            answers.append(client.hear())
    assert answers[0] == answers[1] and answers[0].startswith("550 5.7.1")
    assert answers[2] != answers[0]
