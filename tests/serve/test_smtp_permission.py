"""S-104 while a connection lasts: each MAIL is judged by the permissions of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailsrv.errors import TryLater
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Address, Identity, Verdict

LOGIN = "AUTH PLAIN AG1lAHNlY3JldA=="


class Rules:
    """An authorizer that can change its mind."""

    def __init__(self) -> None:
        self.verdict = Verdict()

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        return self.verdict


def connected(bed: Bed) -> tuple[MemoryTransport, Callable[[str], bytes]]:
    client = bed.connect("smtp")

    def say(line: str) -> bytes:
        client.take()
        client.send(line.encode() + b"\r\n")
        bed.settle()
        return client.take()

    say("EHLO c.example")
    assert say(LOGIN).startswith(b"235 ")
    return client, say


@pytest.mark.parametrize("take, answer", [
    (lambda directory, me: directory.set_denied(me, frozenset({"smtp"})), b"550 5.7.1 Access denied\r\n"),
    (lambda directory, me: directory.set_denied(me, frozenset({"smtp/default"})), b"550 5.7.1 Access denied\r\n"),
    (lambda directory, me: directory.set_enabled(me, False), b"550 5.7.1 Access denied\r\n"),
    (lambda directory, me: directory.remove_account(me), b"550 5.7.1 Access denied\r\n"),
    (lambda directory, me: directory.set_denied(me, frozenset({"imap"})), b"250 2.1.0 Sender OK\r\n"),
])
def test_s_104_what_is_taken_away_is_gone_at_the_next_mail(take: Any, answer: bytes) -> None:
    bed = Bed()
    _, say = connected(bed)
    assert say("MAIL FROM:<me@example.org>").startswith(b"250 ")
    bed.loop.run(take(bed.store.directory, bed.accounts["me"]))
    # The transaction that has begun goes on.
    assert say("RCPT TO:<you@example.org>").startswith(b"250 ")
    say("RSET")
    assert say("MAIL FROM:<me@example.org>") == answer


def test_s_137_a_right_to_relay_that_was_taken_away() -> None:
    bed = Bed(onward=True)
    _, say = connected(bed)
    say("MAIL FROM:<me@example.org>")
    assert say("RCPT TO:<x@elsewhere.example>").startswith(b"250 ")
    say("RSET")
    say("MAIL FROM:<me@example.org>")
    bed.loop.run(bed.store.directory.set_denied(bed.accounts["me"], frozenset({"smtp"})))
    say("RSET")
    assert say("MAIL FROM:<me@example.org>").startswith(b"550 5.7.1 ")
    # Without a transaction nothing follows; the login stays.
    assert say("RCPT TO:<x@elsewhere.example>").startswith(b"503 ")
    assert say(LOGIN).startswith(b"503 5.5.1 Already")


def test_s_104_etrn_is_judged_by_the_permissions_of_now() -> None:
    bed = Bed(onward=True, etrn="relay")
    _, say = connected(bed)
    assert say("ETRN a.example").startswith(b"251 ")
    bed.loop.run(bed.store.directory.set_enabled(bed.accounts["me"], False))
    assert say("ETRN b.example").startswith(b"550 5.7.1 ")


def test_s_104_vrfy_and_expn_are_judged_by_the_permissions_of_now() -> None:
    bed = Bed(vrfy="authenticated", expn="authenticated")
    bed.loop.run(bed.store.directory.add_alias(Address("all", "example.org"), [Address("you", "example.org")]))
    _, say = connected(bed)
    assert say("VRFY you") == b"250 2.1.5 <you@example.org>\r\n" == say("EXPN all")
    bed.loop.run(bed.store.directory.set_enabled(bed.accounts["me"], False))
    assert say("VRFY you") == b"252 2.1.5 Cannot VRFY; send the message and see\r\n"
    assert say("EXPN all").startswith(b"502 5.5.1 ")


def test_what_cannot_be_told_now_is_no_answer_to_vrfy_and_expn() -> None:
    rules = Rules()
    bed = Bed(authorizer=rules, vrfy="authenticated", expn="authenticated")
    _, say = connected(bed)
    rules.verdict = Verdict("tempfail", "Ask later")
    assert say("VRFY you").startswith(b"252 2.1.5 Cannot VRFY now")
    assert say("EXPN all") == b"451 4.3.0 Ask later\r\n"


def test_an_authorizer_that_cannot_tell_now_is_no_refusal() -> None:
    rules = Rules()
    bed = Bed(authorizer=rules)
    _, say = connected(bed)
    rules.verdict = Verdict("tempfail", "Ask later")
    assert say("MAIL FROM:<me@example.org>") == b"451 4.3.0 Ask later\r\n"
    rules.verdict = Verdict("reject", "No more")
    assert say("MAIL FROM:<me@example.org>") == b"550 5.7.1 No more\r\n"


def test_a_directory_that_cannot_tell_now_is_no_refusal() -> None:
    bed = Bed()
    _, say = connected(bed)

    async def account(account_id: int) -> Any:
        raise TryLater()

    bed.store.directory.account = account
    assert say("MAIL FROM:<me@example.org>").startswith(b"451 4.3.0 ")
